"""Routes as HTTPRoutes and GRPCRoutes of the Gateway API, for Services of the mesh and at gateways.

Proxies merge all routes of a Service or listener, so ours stand beside the users' and repeat those of their rules that
lead to forks, one set of objects for each tenant. Users' routes are read and never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    VIRTUAL_SERVICES,
    Object,
    Resource,
)
from sidestream.routing.entries import Entry, EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.httproute_gateway import gateway_entry, key_of_route, neighbours
from sidestream.routing.providers.httproute_grants import grants_for
from sidestream.routing.providers.httproute_groups import GROUPS, Group
from sidestream.routing.providers.httproute_mesh import mesh_entry
from sidestream.routing.providers.httproute_render import GroupRenderer
from sidestream.routing.providers.httproute_rules import backends_of, service_of
from sidestream.routing.providers.httproute_user import (
    ROUTES,
    gateway_parents,
    rules_of,
    service_parents,
)
from sidestream.routing.providers.provider import Cluster, Part, Provider, Rendered
from sidestream.routing.table import Tenant


class HTTPRouteProvider(Provider):
    """Reads and renders HTTPRoutes and GRPCRoutes for tenants named as `header` says."""

    name: Final = "HTTPRoute"
    carries: Final = frozenset({EntryKind.MESH, EntryKind.HTTP_ROUTE, EntryKind.GRPC_ROUTE})
    reads: Final[tuple[Resource, ...]] = (HTTP_ROUTES, GRPC_ROUTES, GATEWAYS, GATEWAY_CLASSES, REFERENCE_GRANTS)
    writes: Final[tuple[Resource, ...]] = (HTTP_ROUTES, GRPC_ROUTES, REFERENCE_GRANTS)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header
        self._memory: dict[EntryKey, _Memory] = {}

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterator[EntryKey]:
        """The Services that a route is a mesh route of, and itself where a Gateway is its parent."""
        del cluster
        if is_ours(obj) or not _is_route(obj):
            return
        for place, _ in service_parents(obj):
            yield EntryKey(EntryKind.MESH, place.namespace, place.name)
        if gateway_parents(obj):
            yield key_of_route(obj)

    def neighbours_of(self, obj: Object, cluster: Cluster) -> Iterator[EntryKey]:
        """Routes for the same hosts of a Gateway, which merges their rules: which are copied depends on all of them."""
        if not is_ours(obj) and _is_route(obj) and gateway_parents(obj):
            yield from map(key_of_route, neighbours(obj, cluster))

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services that a route has as backends; none for other kinds."""
        if not _is_route(obj):
            return frozenset()
        namespace = obj["metadata"]["namespace"]
        found = (service_of(item, namespace, domain) for rule in rules_of(obj) for item in backends_of(rule))
        return frozenset(service for service in found if service is not None)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """See `Provider.entry`."""
        if key.kind not in self.carries:
            return None
        if not any(cluster.is_served(resource) for resource in ROUTES):
            _refuse_older_crds(key, cluster)
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


def _is_route(obj: Object) -> bool:
    return obj["kind"] in (HTTP_ROUTES.kind, GRPC_ROUTES.kind)


def _refuse_older_crds(key: EntryKey, cluster: Cluster) -> None:
    """Users' routes of an older version cannot be seen, so nobody knows what routes of ours would meet."""
    if key.kind is EntryKind.MESH and cluster.is_served(REFERENCE_GRANTS) and not cluster.is_served(VIRTUAL_SERVICES):
        raise InvalidInputError(
            Reason.MESH_NOT_FOUND,
            f"The cluster has Gateway API, but does not serve HTTPRoute as {HTTP_ROUTES.api_version}; install the CRDs "
            "of Gateway API 1.0 or newer",
        )
