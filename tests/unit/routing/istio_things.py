"""What only tests of VirtualServices speak of: a cluster as a value, and an entry without reading one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builders import namespace, service
from sidestream.kube.port import SERVICES, Object, Resource
from sidestream.routing.entries import Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import DEFAULT_DOMAIN, ServiceHost
from sidestream.routing.table import StandIn, Tenant

MESH_ORDERS = EntryKey(EntryKind.MESH, "shop", "orders")


class Objects:
    """A cluster of just these objects, which serves every kind but those of `missing`."""

    domain = DEFAULT_DOMAIN

    def __init__(self, *objects: Object, missing: Sequence[Resource] = ()) -> None:
        self._objects = objects
        self._missing = missing

    def is_served(self, resource: Resource) -> bool:
        return resource not in self._missing

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        if not self.is_served(resource):
            return []
        found = [item for item in self._objects if item["kind"] == resource.kind]
        within = [item for item in found if namespace in ("", item["metadata"].get("namespace", ""))]
        return sorted(within, key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        found = [item for item in self.all(resource, namespace) if item["metadata"]["name"] == name]
        return found[0] if found else None


def shop(*objects: Object, missing: Sequence[Resource] = ()) -> Objects:
    """The cluster of namespaces `shop` and `web`, with Service `orders` unless there is one among the objects."""
    services = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (SERVICES.kind, "orders")]
    return Objects(*objects, *([] if services else [service()]), namespace(), namespace("web"), missing=missing)


def host(name: str, namespace: str = "shop") -> ServiceHost:
    return ServiceHost(namespace, name)


def tenant(key: str, *services: str) -> Tenant:
    """A tenant with forks of these Services (else of `orders`), each named `<service>-<key>`."""
    forked = sorted(services or ("orders",))
    return Tenant(key, tuple(StandIn(host(name), host(f"{name}-{key}")) for name in forked))


def mesh_entry(*rules: dict[str, Any], mode: Mode = Mode.OVERLAY, **place: Any) -> Entry:
    """The entry of Service `orders` with these rules of a user's."""
    hosts = {"hosts": ["orders.shop.svc.cluster.local"], "exportTo": ["shop", "web"]}
    return Entry(MESH_ORDERS, mode, rules, frozenset([host("orders")]), "shop/orders", {**hosts, **place})
