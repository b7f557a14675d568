"""A provider as plain as one can be, so that the core is tested without any real mesh's dialect.

A user's HTTPRoute is `{"to": [Services]}` with `service` (for callers in the mesh) or `gateway` (for those outside).
For the mesh it writes a guard, then a route per tenant; at a gateway a route and a Middleware per tenant, which answers
no probe where the user's route is `mute`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from builders import Modifier, thing
from fakes.kube import KINDS
from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object, Resource
from sidestream.routing import ownership
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.provider import Cluster, Part, Probe, Provider, Rendered
from sidestream.routing.table import Tenant

HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
MIDDLEWARES: Final = Resource("traefik.io", "v1alpha1", "middlewares", "Middleware")
GATEWAYS: Final = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
for _resource in (HTTP_ROUTES, MIDDLEWARES, GATEWAYS):
    KINDS.setdefault((_resource.api_version, _resource.kind), _resource)

EDGE: Final = "edge.shop.svc.cluster.local"
EDGE_DOOR: Final = Door(EDGE, 80, "shop.example.com", is_gateway=True)
STOREFRONT: Final = EntryKey(EntryKind.HTTP_ROUTE, "shop", "storefront")


def http_route(name: str = "storefront", *to: str, **spec: Any) -> Object:
    """A user's route at the gateway `edge` unless `service` says that it is for the mesh."""
    way = {} if "service" in spec else {"gateway": "edge"}
    return thing(HTTP_ROUTES, name, {"spec": {"to": list(to or ("orders",)), **way, **spec}})


def mesh_route(*to: str, service: str = "orders", **spec: Any) -> Object:
    """A user's route for callers of `service` in the mesh."""
    return http_route(f"{service}-rules", *to, service=service, **spec)


def gateway(name: str = "edge", *modifiers: Modifier) -> Object:
    """What a plain provider may read without ever knowing whom it concerns."""
    return thing(GATEWAYS, name, {"spec": {}}, *modifiers)


class PlainProvider(Provider):
    """`reads` may be widened to kinds that concern nobody in particular."""

    name = "HTTPRoute"
    carries = frozenset({EntryKind.MESH, EntryKind.HTTP_ROUTE})
    reads: tuple[Resource, ...] = (HTTP_ROUTES,)
    writes: tuple[Resource, ...] = (HTTP_ROUTES, MIDDLEWARES)

    def __init__(self, *also_read: Resource) -> None:
        self.reads = (HTTP_ROUTES, *also_read)

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        del cluster
        if obj["kind"] != HTTP_ROUTES.kind or ownership.is_ours(obj):
            return ()
        metadata, spec = obj["metadata"], obj["spec"]
        if "service" in spec:
            return (EntryKey(EntryKind.MESH, metadata["namespace"], spec["service"]),)
        return (EntryKey(EntryKind.HTTP_ROUTE, metadata["namespace"], metadata["name"]),)

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        to = obj.get("spec", {}).get("to", ())
        return frozenset(ServiceHost(obj["metadata"]["namespace"], name, domain) for name in to)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        if key.kind is EntryKind.MESH:
            found = [item for item in cluster.all(HTTP_ROUTES, key.namespace) if self._is_for(item, key, cluster)]
            source = found[0] if found else None
        else:
            source = cluster.get(HTTP_ROUTES, key.namespace, key.name)
            if source is None:
                return None
        spec: dict[str, Any] = {"to": [key.name]} if source is None else source["spec"]
        if "refuse" in spec:
            raise InvalidInputError(Reason.ROUTE_CONFLICT, spec["refuse"])
        own = ServiceHost(key.namespace, key.name, cluster.domain)
        reaches = frozenset(ServiceHost(key.namespace, name, cluster.domain) for name in spec["to"])
        doors = (Door(own.fqdn, 80, own.fqdn),) if key.kind is EntryKind.MESH else (EDGE_DOOR,)
        return Entry(
            key=key,
            mode=Mode.BESIDE,
            rules=({"to": spec["to"]},),
            reaches=reaches | ({own} if key.kind is EntryKind.MESH else set()),
            source=None if source is None else f"{key.namespace}/{source['metadata']['name']}",
            doors=() if "unprovable" in spec else doors,
            why_unprovable=spec.get("unprovable", ""),
            finding=spec.get("finding", ""),
            place={"mute": spec.get("mute", False)},
        )

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        del cluster
        names = entry.rules[0]["to"]
        parts = [
            part
            for tenant in tenants
            if (to := [pair.fork.name for pair in tenant.stand_ins if pair.service.name in names])
            for part in _tenants_parts(entry, tenant, to)
        ]
        if not parts:
            return Rendered()
        if entry.key.kind is EntryKind.MESH:
            parts.insert(0, _part(entry, HTTP_ROUTES, "guard", {"to": names}, frozenset(), stage=0))
        return Rendered(tuple(parts))

    def _is_for(self, obj: Object, key: EntryKey, cluster: Cluster) -> bool:
        return key in self.entries_of(obj, cluster)


def _tenants_parts(entry: Entry, tenant: Tenant, to: list[str]) -> list[Part]:
    keys = frozenset({tenant.key})
    is_mesh = entry.key.kind is EntryKind.MESH
    route = _part(entry, HTTP_ROUTES, tenant.key, {"to": to, "key": tenant.key}, keys, stage=1 if is_mesh else 0)
    if is_mesh:
        return [route]
    return [_part(entry, MIDDLEWARES, f"{tenant.key}-strip", {"strip": tenant.key}, keys, stage=0), route]


def _part(
    entry: Entry, resource: Resource, word: str, spec: dict[str, Any], keys: frozenset[str], *, stage: int
) -> Part:
    name = ownership.own_name(entry.key.name, word)
    is_mute = resource == MIDDLEWARES and entry.place.get("mute", False)
    probe = None if is_mute else Probe(name, ownership.config_hash(spec))
    answer = {} if probe is None else {"answer": probe.config_hash}
    obj = ownership.marked(resource, entry.key, entry.key.namespace, name, {**spec, **answer}, source=entry.source)
    return Part(resource, obj, probe, keys, stage)
