"""Previews at Traefik, as IngressRoutes of our own beside those that have rules for the users' host.

A rule for the users' host reads, for the preview's, as what is left of it where the host is known. Traefik can set
headers and not add to them, so what baggage a request brings is replaced, and the status says so.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.port import INGRESS_ROUTES, MIDDLEWARES, TRAEFIK_SERVICES, Object, Resource
from sidestream.routing.entries import Entry, EntryKey, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.ingressroute import place_of
from sidestream.routing.providers.ingressroute_preview_table import (
    ANY_PATH,
    group_of,
    listened_by,
    refuse_what_cannot_be_repeated,
    rules_of,
)
from sidestream.routing.providers.ingressroute_render import Made, Written, named, proven, refusing
from sidestream.routing.providers.ingressroute_rules import FOR_PREVIEW_PROBES, answered
from sidestream.routing.providers.ingressroute_services import Backends, Place, backends_of, services_in
from sidestream.routing.providers.ingressroute_user import said
from sidestream.routing.providers.preview import (
    ADDRESS,
    TENANT,
    PreviewCarrier,
    address_of,
    asked,
    markings,
    not_served,
)
from sidestream.routing.providers.provider import Cluster, Part, Rendered
from sidestream.routing.table import Rule, Tenant

_ROUTES: Final = "routes"
_REPLACED: Final = "Traefik cannot add to a header, so baggage that a request brings is replaced by the tenant's"


class IngressRoutePreviews(PreviewCarrier):
    """Reads what a preview at an entry point of Traefik is to repeat, and renders it, for tenants as in `header`."""

    name: Final = "IngressRoute"
    writes: Final[tuple[Resource, ...]] = (INGRESS_ROUTES, MIDDLEWARES, TRAEFIK_SERVICES)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services that the object itself names."""
        return services_in(obj, domain)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """The rules for the host of which it is a preview; None where none is asked for at Traefik.

        Raises:
            InvalidInputError: users' rules cannot be repeated, or there are none.
        """
        preview = asked(key, cluster, "Traefik")
        if preview is None:
            return None
        if not cluster.is_served(INGRESS_ROUTES):
            raise not_served(f"IngressRoute ({INGRESS_ROUTES.api_version})")
        of, group, findings = group_of(preview, cluster)
        refuse_what_cannot_be_repeated(group, self._header)
        routes, reaches = [], set()
        for obj, rules in group:
            namespace = obj["metadata"]["namespace"]
            backends, _ = backends_of([item.raw for item in rules], namespace, cluster)
            reaches |= {host for item in rules for host in backends.reached_by(item.raw, namespace)}
            own = _of_the_preview(obj, preview.name, rules_of(rules, preview.host))
            routes.append((obj["metadata"], place_of(own, backends, preview.host), own["spec"]["routes"]))
        doors = listened_by([_of_the_preview(obj, preview.name, []) for obj, _ in group], preview.host, cluster)
        has_baggage = self._header.mode is not HeaderMode.EXACT
        return Entry(
            key=key,
            mode=Mode.BESIDE,
            rules=tuple(rule for _, _, rules in routes for rule in rules),
            reaches=frozenset(reaches),
            source=" and ".join(f"{meta['namespace']}/{meta['name']}" for meta, _, _ in routes),
            place={
                _ROUTES: tuple(routes),
                TENANT: preview.tenant,
                ADDRESS: address_of(preview.host, [(door.port, door.is_tls) for door in doors.doors])
                or f"{'https' if group[0][0]['spec'].get('tls') is not None else 'http'}://{preview.host}",
            },
            doors=doors.doors,
            why_unprovable=doors.why_unprovable,
            finding=said([*([_REPLACED] if has_baggage else []), *findings]),
            why=f"the preview is at entry point {preview.name} of Traefik, for {of or 'any host'}",
        )

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """For each of the users' IngressRoutes one of our own, with Middlewares that set headers or refuse.

        Raises:
            InvalidInputError: one would be too large.
        """
        (tenant,) = tenants
        parts: list[Part] = []
        for metadata, place, rules in entry.place[_ROUTES]:
            source = f"{metadata['namespace']}/{metadata['name']}"
            for_ = Written(entry.key, metadata["namespace"], source, place, FOR_PREVIEW_PROBES)
            parts += self._parts(for_, rules, tenant, cluster.domain)
        return Rendered(tuple(parts))

    def _parts(self, for_: Written, rules: Sequence[Rule], tenant: Tenant, domain: str) -> Iterator[Part]:
        backends = Backends({Place(*path): spec for *path, spec in for_.place["services"]}, domain)
        keys = frozenset({tenant.key})
        beside = for_.source.split("/")
        refusal = refusing(for_.namespace, named(for_.key, "unavailable", *beside), keys)
        marks = {name: value for item in markings(self._header, tenant.key) for name, value in item.set.items()}
        marking = Made(
            MIDDLEWARES,
            for_.namespace,
            named(for_.key, "tenant", *beside),
            {"headers": {"customRequestHeaders": marks}},
            keys,
        )
        names = {at: named(for_.key, "to", *beside, at.namespace, at.name) for at in backends.specs}
        changed: dict[Place, dict[str, Any]] = {}
        routes: list[Rule] = []
        for rule in rules:
            services, more = backends.forked(rule, for_.namespace, tenant, names.__getitem__)
            changed |= more
            after = [*(rule.get("middlewares") or ()), {"name": marking.name}]
            routes.append({**copy.deepcopy(rule), "services": services, "middlewares": after})
            if any(tenant.fork_of(host) for host in backends.reached_by(rule, for_.namespace)):
                # of two rules with one text Traefik keeps one
                match = f"{rule['match']} && {ANY_PATH}"
                routes.append(answered(match, rule["priority"] - 1, refusal.name, rule))
        needed = [Made(TRAEFIK_SERVICES, at.namespace, names[at], changed[at], keys) for at in sorted(changed)]
        yield from proven(for_, named(for_.key, "preview", *beside), routes, [*needed, refusal, marking])


def _of_the_preview(obj: Object, entry_point: str, rules: Sequence[Rule]) -> Object:
    """A user's IngressRoute with these rules, at this entry point alone, without names for certificates."""
    spec = {**obj["spec"], "entryPoints": [entry_point], "routes": list(rules)}
    if spec.get("tls"):
        spec["tls"] = {key: value for key, value in spec["tls"].items() if key != "domains"}
    return {**obj, "spec": spec}
