"""Service orders with alice's fork of it, as checks see them, and whatever a test puts around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builders import Modifier, deployment, having, labelled, namespace, service, thing
from sidestream.api.labels import BASELINE
from sidestream.kube import port
from sidestream.kube.port import Object, Resource
from sidestream.routing.checks.findings import findings_of
from sidestream.routing.checks.subject import Check, Finding, Fork, Subject
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import DEFAULT_DOMAIN, ServiceHost
from unit.routing.things import fork_deployment, fork_service

POD_LABELS = {"app": "orders", "team": "x"}
ESCAPED = {"app": "orders-alice"}
"""What is different in the fork's pods, so that the Service does not select them."""
MESH = EntryKey(EntryKind.MESH, "shop", "orders")
AT_A_GATEWAY = EntryKey(EntryKind.HTTP_ROUTE, "shop", "storefront")


class View:
    """A cluster that holds these objects; a kind is served if there is one of it."""

    def __init__(self, *objects: Object) -> None:
        self._objects = sorted(objects, key=lambda item: (item["metadata"].get("namespace", ""), _name(item)))

    @property
    def domain(self) -> str:
        return DEFAULT_DOMAIN

    def is_served(self, resource: Resource) -> bool:
        return bool(self.all(resource))

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        return [
            item
            for item in self._objects
            if (item["apiVersion"], item["kind"]) == (resource.api_version, resource.kind)
            and namespace in ("", item["metadata"].get("namespace"))
        ]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return next((item for item in self.all(resource, namespace) if _name(item) == name), None)


def subject(
    *around: Object,
    provider: str = "VirtualService",
    key: EntryKey = MESH,
    source: str | None = None,
    baseline: Object | None = None,
    of: Object | None = None,
    sandboxes: Sequence[str] = ("alice",),
) -> Subject:
    """Service orders with the forks of these Sandboxes; `around` is what else there is."""
    of = of or service()
    baseline = baseline or deployment("orders", having("spec.template.metadata.labels", POD_LABELS))
    objects: list[Object] = [of, baseline, *around]
    if not any(item["kind"] == "Namespace" for item in around):
        objects.append(namespace("shop", labelled({"kubernetes.io/metadata.name": "shop"})))
    forks = []
    for name in sandboxes:
        objects += [fork_service(name)]
        forks.append(Fork(ServiceHost("shop", f"orders-{name}"), _fork_of(name), baseline))
    return Subject(key, provider, source, of, tuple(forks), View(*objects))


def _fork_of(name: str) -> Object:
    item = fork_deployment(name)
    item["spec"]["template"]["metadata"]["labels"] = {**POD_LABELS, "app": f"orders-{name}", BASELINE: "orders"}
    return item


def found(check: Check, *around: Object, **fields: Any) -> list[Finding]:
    return list(check(subject(*around, **fields)))


def message(check: Check, *around: Object, **fields: Any) -> str:
    """The one thing that a check says, once it is seen that all checks together say it too."""
    (finding,) = found(check, *around, **fields)
    assert finding in findings_of(subject(*around, **fields))
    return finding.message


def route(name: str = "orders", *parents: dict[str, Any], kind: Resource = port.HTTP_ROUTES, **metadata: Any) -> Object:
    """A user's route of Gateway API with these parents, Service orders if none is named."""
    item = thing(kind, name, {"spec": {"parentRefs": list(parents or (parent(),)), "rules": []}})
    item["metadata"].update(metadata)
    return item


def parent(name: str = "orders", **fields: Any) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, **fields}


def policy(resource: Resource, name: str, spec: dict[str, Any], *modifiers: Modifier) -> Object:
    return thing(resource, name, {"spec": spec}, *modifiers)


def network_policy(name: str, *modifiers: Modifier, **spec: Any) -> Object:
    return thing(port.NETWORK_POLICIES, name, {"spec": spec}, *modifiers)


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])
