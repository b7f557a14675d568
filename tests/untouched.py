"""Users' objects before and after: whether anything of them was written, if only who owns a field.

A snapshot leaves out what is not the user's: the status, and what a controller may write beside it without touching the
object itself. An object that no controller writes a status of must keep even its resourceVersion.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidestream.errors import ConflictError
from sidestream.kube.port import KubeApi, Object, Resource

GITOPS = "argocd-controller"
"""The field manager of what keeps users' objects as their repository has them."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Snapshot:
    """Objects as they were, by kind, namespace and name."""

    objects: Mapping[Key, Object]

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Snapshot:
        """As the API server returned them."""
        return cls({_key(obj): copy.deepcopy(obj) for obj in objects})

    def differences(self, objects: Iterable[Object]) -> list[str]:
        """What is not as it was, one line each; empty when nobody has written to any object."""
        now = {_key(obj): obj for obj in objects}
        lines = [f"{_name(key)} is gone" for key in self.objects.keys() - now.keys()]
        lines += [f"{_name(key)} is new" for key in now.keys() - self.objects.keys()]
        for key in self.objects.keys() & now.keys():
            lines += [f"{_name(key)}: {line}" for line in _differences(self.objects[key], now[key])]
        return sorted(lines)


def essence(obj: Object) -> Object:
    """The object without its status, without times, and without what changes when only a status is written."""
    kept = copy.deepcopy(obj)
    kept.pop("status", None)
    metadata = kept["metadata"]
    metadata.pop("resourceVersion", None)
    owners = [_timeless(item) for item in metadata.pop("managedFields", ()) if item.get("subresource") != "status"]
    return {**kept, "metadata": {**metadata, "managedFields": owners}}


async def reapplied(api: KubeApi, manifests: Iterable[tuple[Resource, Object]]) -> list[str]:
    """What meets a GitOps controller that applies its manifests once more: a line for each conflict and difference.

    It has applied them before, so when nobody else has written to the objects nothing is to be done.
    """
    lines = []
    for resource, manifest in manifests:
        metadata = manifest["metadata"]
        before = await api.get(resource, metadata.get("namespace", ""), metadata["name"])
        try:
            after = await api.apply(resource, manifest, manager=GITOPS, force=False)
        except ConflictError as error:
            lines.append(f"{resource.kind} {metadata['name']}: {error}")
        else:
            lines += Snapshot.of([before] if before else []).differences([after])
    return lines


def _differences(before: Object, after: Object) -> list[str]:
    lines = [
        f"{path} was {json.dumps(old)} and is {json.dumps(new)}"
        for path, old, new in _unequal("", essence(before), essence(after))
    ]
    versions = [obj["metadata"]["resourceVersion"] for obj in (before, after)]
    if not lines and "status" not in before and "status" not in after and versions[0] != versions[1]:
        lines.append(f"it was written and left as it was (resourceVersion {versions[0]} and {versions[1]})")
    return lines


def _unequal(path: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [item for name in names for item in _unequal(f"{path}.{name}", old.get(name), new.get(name))]
    return [] if old == new else [(path, old, new)]


def _timeless(owner: Object) -> Object:
    return {name: value for name, value in owner.items() if name != "time"}


def _key(obj: Object) -> Key:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _name(key: Key) -> str:
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}"
