"""Field ownership and merging of server-side apply, near enough to the API server for reconcile tests.

A path is a tuple of the elements of FieldsV1 (`f:name`, `k:{...}`, `v:...`, and `.` for a list item itself).
Approximations: lists without a line in `LIST_KEYS` are atomic, apply always forces, nothing is validated.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Path = tuple[str, ...]
Names = tuple[str, ...]
Object = dict[str, Any]

_CONTAINER = {"ports": ("containerPort", "protocol"), "env": ("name",), "volumeMounts": ("mountPath",)}
_POD = {"containers": ("name",), "initContainers": ("name",), "volumes": ("name",)}

LIST_KEYS: dict[tuple[str, str], tuple[str, ...]] = {
    **{
        ("Deployment", f"spec.template.spec.{containers}.{name}"): keys
        for containers in ("containers", "initContainers")
        for name, keys in _CONTAINER.items()
    },
    **{("Deployment", f"spec.template.spec.{name}"): keys for name, keys in _POD.items()},
    ("Deployment", "status.conditions"): ("type",),
    ("Service", "spec.ports"): ("port", "protocol"),
    ("Sandbox", "spec.workloads"): ("deployment",),
    ("Sandbox", "spec.workloads.containers"): ("name",),
    ("Sandbox", "spec.workloads.containers.env"): ("name",),
    ("Sandbox", "status.workloads"): ("deployment",),
    ("Sandbox", "status.routes"): ("service", "entry"),
    ("Sandbox", "status.kafka"): ("consumer",),
    ("Sandbox", "status.conditions"): ("type",),
    ("RouteGroup", "status.members"): ("sandbox",),
    ("RouteGroup", "status.conditions"): ("type",),
    ("KafkaCluster", "spec.propertiesFrom"): ("secret",),
    ("KafkaCluster", "status.conditions"): ("type",),
    ("KafkaConsumer", "status.conditions"): ("type",),
    ("KafkaRoute", "status.topics"): ("name",),
    ("KafkaRoute", "status.start"): ("topic", "partition"),
    ("KafkaRoute", "status.until"): ("topic", "partition"),
    ("KafkaRoute", "status.claims"): ("id",),
    ("KafkaRoute", "status.claims.fences"): ("topic", "partition"),
    ("KafkaRoute", "status.discarded"): ("topic", "partition"),
    ("KafkaRoute", "status.conditions"): ("type",),
}
ATOMIC_OBJECTS = {("Deployment", "spec.selector"), ("Service", "spec.selector")}
DEFAULTS: dict[str, Any] = {"protocol": "TCP"}

_NOBODYS = {
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
}


class Schema:
    """How the lists and objects of one kind merge."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def list_keys(self, names: Names) -> tuple[str, ...] | None:
        return LIST_KEYS.get((self._kind, ".".join(names)))

    def is_atomic(self, names: Names) -> bool:
        return (self._kind, ".".join(names)) in ATOMIC_OBJECTS

    def leaves(self, value: Any, path: Path = (), names: Names = ()) -> dict[Path, Any]:
        """Every leaf of `value` by its path; list items appear themselves under `.`, and an empty list is nobody's."""
        if isinstance(value, dict) and value and not self.is_atomic(names):
            found: dict[Path, Any] = {}
            for name, child in value.items():
                found |= self.leaves(child, (*path, f"f:{name}"), (*names, name))
            return found
        keys = self.list_keys(names)
        if isinstance(value, list) and keys is not None:
            found = {}
            for item in value:
                here = (*path, item_element(item, keys))
                found[(*here, ".")] = None
                found |= self.leaves(item, here, names)
            return found
        return {path: value}

    def merged(self, live: Any, desired: Any, names: Names = ()) -> Any:
        """`live` with what `desired` says laid over it."""
        if isinstance(live, dict) and isinstance(desired, dict) and not self.is_atomic(names):
            result = dict(live)
            for name, value in desired.items():
                result[name] = self.merged(live.get(name), value, (*names, name))
            return result
        keys = self.list_keys(names)
        if isinstance(live, list) and isinstance(desired, list) and keys is not None:
            items = {item_element(item, keys): item for item in live}
            for item in desired:
                element = item_element(item, keys)
                items[element] = self.merged(items.get(element), item, names)
            return list(items.values())
        return copy.deepcopy(desired)


def item_element(item: Object, keys: tuple[str, ...]) -> str:
    values = {key: item.get(key, DEFAULTS.get(key, "")) for key in keys}
    return "k:" + json.dumps(values, sort_keys=True, separators=(",", ":"))


def owned_part(obj: Object) -> Object:
    """The object without what no manager owns."""
    part = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in _NOBODYS}
    return {**part, "metadata": metadata} if metadata else part


def remove(value: Any, path: Path) -> None:
    """Take the leaf at `path` out of `value`, and the parents that it leaves empty."""
    parents: list[tuple[Any, str]] = []
    node = value
    for element in path[:-1]:
        child = _child(node, element)
        if child is None:
            return
        parents.append((node, element))
        node = child
    _drop(node, path[-1])
    while parents and not node:
        node, element = parents.pop()
        _drop(node, element)


def _child(node: Any, element: str) -> Any:
    if element.startswith("f:"):
        return node.get(element[2:]) if isinstance(node, dict) else None
    return _item(node, element)


def _item(node: Any, element: str) -> Any:
    keys = json.loads(element[2:])
    return next((item for item in node if item_element(item, tuple(keys)) == element), None)


def _drop(node: Any, element: str) -> None:
    if element.startswith("f:"):
        node.pop(element[2:], None)
    elif element.startswith("k:"):
        item = _item(node, element)
        if item is not None:
            node.remove(item)


def fields_tree(paths: set[Path]) -> Object:
    """FieldsV1 of these paths."""
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    return tree
