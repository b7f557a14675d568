"""Routes as Istio VirtualServices: for Services in the mesh and for users' VirtualServices at gateways.

Among VirtualServices for one host a sidecar uses only one: first those exported to its namespace by name, then public
ones, the oldest first. So ours names the namespaces when a user's exists: it then wins over the user's, whole, and
repeats it (an overlay). Where there is none, ours is public. At gateways see `virtualservice_edge`. A user may also
hand over to an object of ours by its name (a delegate), or allow us to put rules into theirs (a patch).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sidestream.config import HeaderSettings
from sidestream.kube.port import ISTIO_GATEWAYS, NAMESPACES, SERVICES, VIRTUAL_SERVICES, Object, Resource
from sidestream.routing import ownership
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ports import service_ports
from sidestream.routing.providers.provider import Cluster, Part, Provider, Rendered, key_of
from sidestream.routing.providers.virtualservice_delegates import delegates_of
from sidestream.routing.providers.virtualservice_edge import edge_entry, sharing
from sidestream.routing.providers.virtualservice_memo import Measured, Memo, hash_of, measured
from sidestream.routing.providers.virtualservice_patch import has_rules, is_patch_allowed, without_rules
from sidestream.routing.providers.virtualservice_render import parts_of, patch_of
from sidestream.routing.providers.virtualservice_rules import VirtualServiceDialect, service_at, services_of
from sidestream.routing.providers.virtualservice_user import UserRules, mesh_rules, users_of
from sidestream.routing.providers.virtualservice_words import gateways_of, is_for_the_mesh
from sidestream.routing.table import Rule, Tenant, guard_rules, tenant_rules

GUARDED_FROM: Final = 20
"""With more tenants than this, requests without one get rules of their own in front of the tenants'."""

_REPEATING: Final = frozenset({Mode.OWNED, Mode.OVERLAY})
"""Modes in which our object holds the rules without tenants too."""


class VirtualServiceProvider(Provider):
    """Reads and renders VirtualServices for tenants named as `header` says."""

    name: Final = "VirtualService"
    carries: Final = frozenset({EntryKind.MESH, EntryKind.VIRTUAL_SERVICE})
    reads: Final[tuple[Resource, ...]] = (VIRTUAL_SERVICES, ISTIO_GATEWAYS)
    writes: Final[tuple[Resource, ...]] = (VIRTUAL_SERVICES,)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header
        self._memo = Memo()

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """The Services whose hosts a VirtualService names, and at gateways itself and all that share a host with it.

        A delegate concerns what hands over to it, a Gateway all that is bound to it.
        """
        if obj["kind"] == ISTIO_GATEWAYS.kind:
            roots = [item for item in users_of(cluster) if key_of(obj) in gateways_of(item)]
        elif ownership.is_ours(obj):
            return ()
        elif obj["spec"].get("hosts"):
            roots = [obj]
        else:
            roots = [item for item in users_of(cluster) if key_of(obj) in delegates_of(item)]
        found = {key for root in roots for key in _entries_of_root(root, cluster)}
        return tuple(sorted(found))

    def is_patched(self, obj: Object) -> bool:
        """By the names of its rules."""
        return not ownership.is_ours(obj) and obj["kind"] == VIRTUAL_SERVICES.kind and has_rules(obj)

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services of all routes, whatever their weights."""
        return services_of(obj["spec"].get("http") or (), obj["metadata"]["namespace"], domain)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """What sidecars do with requests to a Service, or gateways with the hosts of a VirtualService.

        Where no user has rules for a Service, everything goes to it.

        Raises:
            InvalidInputError: the users' objects leave no room for tenant rules.
        """
        if not cluster.is_served(VIRTUAL_SERVICES):
            return None
        match key.kind:
            case EntryKind.MESH:
                service = cluster.get(SERVICES, key.namespace, key.name)
                return None if service is None else self._mesh_entry(key, service, cluster)
            case EntryKind.VIRTUAL_SERVICE:
                return edge_entry(key, cluster, self._header)
            case _:
                return None

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """Probe, guard, tenants, then, where ours stands in place of the user's, the rules without tenants.

        No destination of ours names a port: a route without one keeps the caller's, and forks have the same ports.

        Raises:
            InvalidInputError: it would be over the size limit.
        """
        dialect = VirtualServiceDialect(self._header, entry.key.namespace, cluster.domain)
        base = measured(entry.rules)
        made_from = hash_of({"namespace": entry.key.namespace, "domain": cluster.domain}, base)
        by_tenant = self._memo.rules(
            entry.key, made_from, tenants, lambda tenant: tenant_rules(entry.rules, tenant, dialect)
        )
        routed = {tenant: rules for tenant, rules in by_tenant.items() if rules.rules}
        live = None if entry.source is None else cluster.get(VIRTUAL_SERVICES, *entry.source.split("/", 1))
        is_guarded = len(routed) > GUARDED_FROM and entry.mode in _REPEATING | {Mode.PATCH}
        guards = measured(guard_rules(entry.rules, dialect) if is_guarded else ())
        parts: tuple[Part, ...] = ()
        if routed and entry.mode is Mode.PATCH and live is not None:
            parts = (patch_of(entry, live, routed, guards, base),)
        elif routed:
            parts = parts_of(entry, routed, guards, base if entry.mode in _REPEATING else Measured())
        return Rendered(self._memo.same(entry.key, parts) + _taken_out(entry, parts, live))

    def _mesh_entry(self, key: EntryKey, service: Object, cluster: Cluster) -> Entry:
        host = _host(service, cluster)
        ports = service_ports(service).http
        found = mesh_rules(host, ports, cluster, self._header) or UserRules((_to(host),), "", Mode.OWNED)
        return Entry(
            key=key,
            mode=found.mode,
            rules=found.rules,
            reaches=services_of(found.rules, host.namespace, host.domain) | {host},
            source=found.source or None,
            place=found.place or _place(host, found, cluster),
            doors=tuple(Door(host.fqdn, port, host.fqdn) for port in ports),
            why=_why(found),
        )


def _entries_of_root(root: Object, cluster: Cluster) -> Iterable[EntryKey]:
    metadata = root["metadata"]
    if is_for_the_mesh(root):
        hosts = root["spec"]["hosts"]
        named = {service_at(host, metadata["namespace"], cluster.domain) for host in hosts if not host.startswith("*")}
        loose = [host for host in hosts if host.startswith("*") or "." in host]
        services = [_host(item, cluster) for item in _users_services(cluster)] if loose else []
        meant = {
            service
            for service in services
            if any(service.is_covered_by(host) or service.is_half_named_by(host) for host in loose)
        }
        for service in named | meant:
            if service is not None:
                yield EntryKey(EntryKind.MESH, service.namespace, service.name)
    if gateways_of(root):
        yield EntryKey(EntryKind.VIRTUAL_SERVICE, metadata["namespace"], metadata["name"])
        for item in sharing(root, cluster):
            yield EntryKey(EntryKind.VIRTUAL_SERVICE, item["metadata"]["namespace"], item["metadata"]["name"])


def _taken_out(entry: Entry, parts: Sequence[Part], live: Object | None) -> tuple[Part, ...]:
    """What takes our rules out of a user's object that has some, in the end, when other objects have them."""
    if live is None or not has_rules(live) or any(part.patches is not None for part in parts):
        return ()
    if entry.mode is not Mode.PATCH and is_patch_allowed(live):
        # they are another entry's: the same object may be for the mesh and for gateways
        return ()
    return (Part(VIRTUAL_SERVICES, without_rules(live), stage=2, patches=live),)


def _place(host: ServiceHost, found: UserRules, cluster: Cluster) -> dict[str, list[str]]:
    namespaces = {item["metadata"]["name"] for item in cluster.all(NAMESPACES)}
    exported = ["*"] if found.mode is Mode.OWNED else sorted({host.namespace, *namespaces})
    return {"hosts": [host.fqdn], "exportTo": exported}


def _users_services(cluster: Cluster) -> Iterable[Object]:
    """All but the forks', which nobody calls by name."""
    return (item for item in cluster.all(SERVICES) if not ownership.is_ours(item))


def _host(service: Object, cluster: Cluster) -> ServiceHost:
    metadata = service["metadata"]
    return ServiceHost(metadata["namespace"], metadata["name"], cluster.domain)


def _to(service: ServiceHost) -> Rule:
    return {"route": [{"destination": {"host": service.fqdn}}]}


def _why(found: UserRules) -> str:
    match found.mode:
        case Mode.OWNED:
            return "no VirtualService or HTTPRoute of a user names its host"
        case Mode.DELEGATE:
            return f"VirtualService {found.source} names its host and hands over to one of Sidestream's"
        case Mode.PATCH:
            return f"VirtualService {found.source} names its host and allows a patch"
        case _:
            return f"VirtualService {found.source} names its host"
