"""Routes as HTTPRoutes and GRPCRoutes of the Gateway API, for Services of the mesh and at gateways.

Proxies merge all routes of a Service or listener, so ours stand beside the users' and repeat those of their rules that
lead to forks, one set of objects for each tenant. Users' routes are read and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.config import HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import (
    GATEWAY_CLASSES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    REFERENCE_GRANTS,
    Object,
    Resource,
)
from sidestream.routing.entries import Entry, EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.httproute_gateway import gateway_entry, key_of_route, neighbours
from sidestream.routing.providers.httproute_grants import grants_for, is_about
from sidestream.routing.providers.httproute_groups import GROUPS, Group
from sidestream.routing.providers.httproute_mesh import mesh_entry
from sidestream.routing.providers.httproute_render import GroupRenderer
from sidestream.routing.providers.httproute_rules import backends_of, service_of
from sidestream.routing.providers.httproute_user import (
    ROUTES,
    Place,
    gateway_parents,
    rules_of,
    service_parents,
    users_routes,
)
from sidestream.routing.providers.provider import Cluster, Part, Rendered
from sidestream.routing.table import Tenant

_OLDER: Final = replace(HTTP_ROUTES, version="v1beta1")


class HTTPRouteProvider:
    """Reads and renders HTTPRoutes and GRPCRoutes for tenants named as `header` says."""

    name: Final = "HTTPRoute"
    carries: Final = frozenset({EntryKind.MESH, EntryKind.HTTP_ROUTE, EntryKind.GRPC_ROUTE})
    reads: Final[tuple[Resource, ...]] = (HTTP_ROUTES, GRPC_ROUTES, GATEWAYS, GATEWAY_CLASSES, REFERENCE_GRANTS)
    writes: Final[tuple[Resource, ...]] = (HTTP_ROUTES, GRPC_ROUTES, REFERENCE_GRANTS)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header
        self._memory: dict[EntryKey, _Memory] = {}

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """The Services and routes at gateways whose rules the object has a part in."""
        return dict.fromkeys(_concerned(obj, cluster))

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services that a route has as backends; none for other kinds."""
        if obj["kind"] not in [resource.kind for resource in ROUTES]:
            return frozenset()
        namespace = obj["metadata"]["namespace"]
        found = (service_of(item, namespace, domain) for rule in rules_of(obj) for item in backends_of(rule))
        return frozenset(service for service in found if service is not None)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """See `Provider.entry`."""
        if key.kind not in (EntryKind.MESH, EntryKind.HTTP_ROUTE, EntryKind.GRPC_ROUTE):
            return None
        if not any(cluster.is_served(resource) for resource in ROUTES):
            _refuse_older_crds(cluster)
            return None
        return mesh_entry(key, cluster) if key.kind is EntryKind.MESH else gateway_entry(key, cluster)

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """See `Provider.render`. What was rendered for an entry stays in memory as long as it does not change."""
        if not tenants:
            self._memory.pop(entry.key, None)
            return Rendered()
        memory = self._memory.get(entry.key)
        if memory is None or memory.entry != entry:
            memory = self._memory[entry.key] = _Memory(entry, self._header, cluster.domain)
        return Rendered(tuple(memory.parts(tenants)))


class _Memory:
    """What was rendered for an entry as it is, by tenant."""

    def __init__(self, entry: Entry, header: HeaderSettings, domain: str) -> None:
        self.entry = entry
        groups: tuple[Group, ...] = entry.place[GROUPS]
        self._renderers = [(group, GroupRenderer(group, entry.key, header, domain)) for group in groups]
        self._guards = [part for _, renderer in self._renderers for part in renderer.guard()]
        self._of_tenants: dict[Tenant, tuple[Part, ...]] = {}

    def parts(self, tenants: Sequence[Tenant]) -> list[Part]:
        """The guards, and what each tenant has; what others had is forgotten."""
        known = self._of_tenants
        self._of_tenants = {}
        for tenant in tenants:
            found = known.get(tenant)
            self._of_tenants[tenant] = self._rendered(tenant) if found is None else found
        parts = [part for found in self._of_tenants.values() for part in found]
        return [*self._guards, *parts] if parts else []

    def _rendered(self, tenant: Tenant) -> tuple[Part, ...]:
        reached = Tenant(tenant.key, tuple(item for item in tenant.stand_ins if item.service in self.entry.reaches))
        parts: list[Part] = []
        for group, renderer in self._renderers:
            grants = grants_for(reached, group, self.entry.key) if group.needs_grants else ()
            stage = 1 if grants else 0
            routes = renderer.of_tenant(reached, stage=stage)
            parts += (*grants, *routes) if routes else ()
        return tuple(parts)


def _concerned(obj: Object, cluster: Cluster) -> Iterator[EntryKey]:
    if is_ours(obj):
        return
    metadata = obj["metadata"]
    match obj["kind"]:
        case HTTP_ROUTES.kind | GRPC_ROUTES.kind:
            for place, _ in service_parents(obj):
                yield EntryKey(EntryKind.MESH, place.namespace, place.name)
            if gateway_parents(obj):
                yield key_of_route(obj)
                yield from map(key_of_route, neighbours(obj, cluster))
        case GATEWAYS.kind:
            yield from _at({Place(metadata["namespace"], metadata["name"])}, cluster)
        case GATEWAY_CLASSES.kind:
            gateways = [
                item["metadata"]
                for item in cluster.all(GATEWAYS)
                if item["spec"]["gatewayClassName"] == metadata["name"]
            ]
            yield from _at({Place(item["namespace"], item["name"]) for item in gateways}, cluster)
        case REFERENCE_GRANTS.kind:
            for route in users_routes(cluster):
                if gateway_parents(route) and is_about(obj, route):
                    yield key_of_route(route)
        case _:
            return


def _at(gateways: set[Place], cluster: Cluster) -> Iterator[EntryKey]:
    for route in users_routes(cluster):
        if any(place in gateways for place, _ in gateway_parents(route)):
            yield key_of_route(route)


def _refuse_older_crds(cluster: Cluster) -> None:
    if cluster.is_served(_OLDER):
        raise InvalidInputError(
            Reason.MESH_NOT_FOUND,
            f"The cluster serves HTTPRoute as {_OLDER.api_version} only; install the CRDs of Gateway API 1.0 or newer",
        )
