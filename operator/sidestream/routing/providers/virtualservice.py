"""Routes as an Istio VirtualService of our own, one per Service; users' VirtualServices are read and never written.

Among VirtualServices for one host a sidecar uses only one: first those exported to its namespace by name, then public
ones, the oldest first. So ours names the namespaces when a user's exists: it then wins over the user's, whole, and
repeats it (an overlay). Where there is none, ours is public.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.kube.port import NAMESPACES, SERVICES, VIRTUAL_SERVICES, Object, Resource
from sidestream.routing import ownership
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ports import service_ports
from sidestream.routing.proof import PROBE_HEADER, probe_answer
from sidestream.routing.providers.provider import Cluster, Part, Probe, Rendered
from sidestream.routing.providers.virtualservice_rules import VirtualServiceDialect, service_at, services_of
from sidestream.routing.providers.virtualservice_user import UserRules, is_for_the_mesh, user_rules
from sidestream.routing.table import Rule, Tenant, guard_rules, tenant_rules

GUARDED_FROM: Final = 20
"""With more tenants than this, requests without one get rules of their own in front of the tenants'."""


class VirtualServiceProvider:
    """Reads and renders VirtualServices for tenants named as `header` says."""

    name: Final = "VirtualService"
    reads: Final[tuple[Resource, ...]] = (VIRTUAL_SERVICES,)
    writes: Final[tuple[Resource, ...]] = (VIRTUAL_SERVICES,)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """The Services whose hosts the VirtualService names."""
        if ownership.is_ours(obj) or not is_for_the_mesh(obj):
            return ()
        namespace = obj["metadata"]["namespace"]
        hosts = obj["spec"].get("hosts") or ()
        named = {service_at(host, namespace, cluster.domain) for host in hosts if not host.startswith("*")}
        wild = [host for host in hosts if host.startswith("*")]
        covered = {
            service
            for service in (_host(item, cluster) for item in (cluster.all(SERVICES) if wild else ()))
            if any(service.is_covered_by(host) for host in wild)
        }
        found = covered | {service for service in named if service is not None}
        return tuple(EntryKey(EntryKind.MESH, service.namespace, service.name) for service in sorted(found))

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services of all routes, whatever their weights."""
        return services_of(obj["spec"].get("http") or (), obj["metadata"]["namespace"], domain)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """What sidecars do with requests to a Service; without rules of users, everything goes to the Service.

        Raises:
            InvalidInputError: the user's VirtualService cannot be overlaid.
        """
        if key.kind is not EntryKind.MESH or not cluster.is_served(VIRTUAL_SERVICES):
            return None
        service = cluster.get(SERVICES, key.namespace, key.name)
        if service is None:
            return None
        host = _host(service, cluster)
        ports = service_ports(service).http
        users = [item for item in cluster.all(VIRTUAL_SERVICES) if not ownership.is_ours(item)]
        found = user_rules(users, host, ports, self._header)
        rules = (_to(host),) if found is None else found.rules
        namespaces = {item["metadata"]["name"] for item in cluster.all(NAMESPACES)}
        return Entry(
            key=key,
            mode=Mode.OWNED if found is None else Mode.OVERLAY,
            rules=rules,
            reaches=services_of(rules, host.namespace, host.domain) | {host},
            source=None if found is None else found.source,
            place={
                "hosts": [host.fqdn],
                "exportTo": ["*"] if found is None else sorted({host.namespace, *namespaces}),
            },
            doors=tuple(Door(host.fqdn, port, host.fqdn) for port in ports),
            why=_why(found),
        )

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """Probe, guard, tenants, then the rules without tenants.

        No destination of ours names a port: a route without one keeps the caller's, and forks have the same ports.
        """
        dialect = VirtualServiceDialect(self._header, entry.key.namespace, cluster.domain)
        by_key = {tenant.key: tenant_rules(entry.rules, tenant, dialect) for tenant in tenants}
        routed = {key: rules for key, rules in by_key.items() if rules}
        if not routed:
            return Rendered()
        guards = guard_rules(entry.rules, dialect) if len(routed) > GUARDED_FROM else []
        http = [*guards, *(rule for rules in routed.values() for rule in rules), *entry.rules]
        return Rendered((_part(entry, {**entry.place, "http": http}, frozenset(routed)),))


def _part(entry: Entry, spec: dict[str, Any], keys: frozenset[str]) -> Part:
    name = ownership.own_name(entry.key.name)
    probe = Probe(name, ownership.config_hash(spec))
    spec = {**spec, "http": [_probe_rule(probe), *spec["http"]]}
    obj = ownership.marked(VIRTUAL_SERVICES, entry.key, entry.key.namespace, name, spec, source=entry.source)
    return Part(VIRTUAL_SERVICES, obj, probe, keys)


def _probe_rule(probe: Probe) -> Rule:
    """Answered by the proxy itself, so whoever asks learns which rules that proxy has; no pod sees the request."""
    return {
        "name": "probe",
        "match": [{"headers": {PROBE_HEADER: {"exact": probe.name}}}],
        "directResponse": {"status": 200, "body": {"string": probe_answer(probe.config_hash)}},
    }


def _host(service: Object, cluster: Cluster) -> ServiceHost:
    metadata = service["metadata"]
    return ServiceHost(metadata["namespace"], metadata["name"], cluster.domain)


def _to(service: ServiceHost) -> Rule:
    return {"route": [{"destination": {"host": service.fqdn}}]}


def _why(found: UserRules | None) -> str:
    if found is None:
        return "no VirtualService or HTTPRoute of a user names its host"
    return f"VirtualService {found.source} names its host"
