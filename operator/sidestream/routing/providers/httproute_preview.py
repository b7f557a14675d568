"""Previews at Gateways of the Gateway API, as routes of our own for hosts of their own, beside the users' routes.

Each user's route for the host of which it is a preview is repeated in its namespace, so that its backends are those
that it may name; for what a preview's listeners are, see `httproute_preview_table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidestream.api.labels import ROUTING_KEY
from sidestream.config import HeaderSettings
from sidestream.kube.port import GATEWAYS, GRPC_ROUTES, HTTP_ROUTES, REFERENCE_GRANTS, Object, Resource
from sidestream.routing.entries import Entry, EntryKey, Mode
from sidestream.routing.headers import tenant_matches
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import marked, own_name
from sidestream.routing.providers.httproute_answers import with_probe
from sidestream.routing.providers.httproute_grants import grants_for
from sidestream.routing.providers.httproute_listeners import Attachment, doors
from sidestream.routing.providers.httproute_precedence import Condition, conditions, ties
from sidestream.routing.providers.httproute_preview_table import PreviewGroup, groups_of, listeners_for, tables_of
from sidestream.routing.providers.httproute_rules import (
    MAX_HEADERS,
    RouteDialect,
    backends_of,
    divided,
    filters_of,
    narrowed,
    service_of,
)
from sidestream.routing.providers.httproute_shards import Piece, sharded
from sidestream.routing.providers.httproute_user import rules_of
from sidestream.routing.providers.preview import (
    ADDRESS,
    PORTS,
    TENANT,
    Marking,
    PreviewCarrier,
    address_of,
    asked,
    conflict,
    markings,
    not_served,
)
from sidestream.routing.providers.provider import Cluster, Part, Rendered, key_of
from sidestream.routing.table import Rule, Tenant

_GROUPS: Final = "groups"
_MODIFIER: Final = "RequestHeaderModifier"
_MODIFIED: Final = "requestHeaderModifier"
_MAX_CHANGES: Final = 16
"""Headers that one filter may set, and that it may add, as the CRDs validate."""


class HTTPRoutePreviews(PreviewCarrier):
    """Reads what a preview at a Gateway is to repeat, and renders it, for tenants named as `header` says."""

    name: Final = "HTTPRoute"
    writes: Final[tuple[Resource, ...]] = (HTTP_ROUTES, GRPC_ROUTES, REFERENCE_GRANTS)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services that a route has as backends; none for other kinds."""
        namespace = obj["metadata"]["namespace"]
        found = (service_of(item, namespace, domain) for rule in rules_of(obj) for item in backends_of(rule))
        return frozenset(service for service in found if service is not None)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """The rules for the host of which it is a preview; None where none is asked for at a Gateway.

        Raises:
            InvalidInputError: the Gateway does not take the preview's host, or users' rules cannot be repeated.
        """
        preview = asked(key, cluster, "Gateway")
        if preview is None:
            return None
        if not (cluster.is_served(GATEWAYS) and cluster.is_served(HTTP_ROUTES)):
            raise not_served(f"Gateway ({GATEWAYS.api_version})")
        listeners = listeners_for(preview, cluster)
        routes = tables_of(preview, listeners, cluster)
        groups = groups_of(preview, routes, cluster)
        self._refuse_what_cannot_be_repeated(groups)
        gateway = cluster.get(GATEWAYS, preview.namespace, preview.name)
        names = {name for group in groups for name in group.listeners}
        used = [item for item in listeners if item["name"] in names]
        at = doors([Attachment(gateway or {}, item, (preview.host,)) for item in used], cluster)
        why = "" if at else f"no Service in the cluster leads to Gateway {preview.gateway}"
        return Entry(
            key=key,
            mode=Mode.BESIDE,
            rules=tuple(item.rule for group in groups for item in group.group.rules),
            reaches=frozenset[ServiceHost]().union(*(group.granted for group in groups)),
            source=" and ".join(dict.fromkeys(key_of(item.route) for item in routes)),
            place={
                _GROUPS: groups,
                TENANT: preview.tenant,
                ADDRESS: address_of(preview.host, [_reached_at(item, groups) for item in used]),
            },
            doors=at,
            why_unprovable=why,
            why=f"the preview is at Gateway {preview.gateway}",
        )

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """For each group of routes, objects for requests that name a tenant themselves, and for all others.

        The first ask for one header more, so they win wherever both match, and among themselves each keeps its place.

        Raises:
            InvalidInputError: they would be over the API server's limits.
        """
        (tenant,) = tenants
        groups: tuple[PreviewGroup, ...] = entry.place[_GROUPS]
        return Rendered(
            tuple(part for group in groups for part in self._parts(entry.key, group, tenant, cluster.domain))
        )

    def _parts(self, key: EntryKey, group: PreviewGroup, tenant: Tenant, domain: str) -> Iterator[Part]:
        reached = Tenant(tenant.key, tuple(item for item in tenant.stand_ins if item.service in group.granted))
        dialect = RouteDialect(self._header, group.group.namespace, domain)
        grants = grants_for(reached, group.group, key)
        yield from grants
        forked = [dialect.with_forks(item.rule, reached) for item in group.group.rules]
        copied = group.conditions
        for variant, marking in enumerate(markings(self._header, tenant.key)):
            pieces = [
                piece for place, rule in enumerate(forked) for piece in _pieces(place, rule, copied, marking, group)
            ]
            shards = sharded(pieces, copied, is_weighted=group.group.is_weighted)
            for number, rules in enumerate(shards):
                name = own_name(f"{group.group.stem}.{variant}-{number}")
                yield _part(key, group, name, rules, tenant, stage=1 if grants else 0)

    def _refuse_what_cannot_be_repeated(self, groups: Sequence[PreviewGroup]) -> None:
        names = {match.name for match in tenant_matches(self._header, "any")}
        for group in groups:
            for item in group.conditions:
                origin = group.group.rules[item.rule].origin
                used = {header["name"].lower() for header in item.match.get("headers") or ()} & names
                if used:
                    raise conflict(
                        f"{origin} matches on header {min(used)}, which names the tenants; match on another header"
                    )
                if item.headers + 1 > MAX_HEADERS:
                    raise conflict(
                        f"{origin} has a match with {item.headers} headers; with the tenant's it would have more than "
                        f"the {MAX_HEADERS} that the API server takes"
                    )
            for user in group.group.rules:
                changed = {name for item in filters_of(user.rule) for name in _changes(item)} & names
                if changed:
                    raise conflict(
                        f"{user.origin} changes header {min(changed)}, by which a preview's requests name their tenant"
                    )
        _refuse_ties(groups)


def _reached_at(listener: dict[str, Any], groups: Sequence[PreviewGroup]) -> tuple[int, bool]:
    """The port by which a listener is known outside, and whether it is for TLS.

    A listener of Traefik has the port of an entry point within its pods, which stands for the usual one outside.
    """
    is_tls = listener["protocol"] == "HTTPS"
    is_of_traefik = any(group.group.is_weighted for group in groups)
    return (PORTS[is_tls] if is_of_traefik else listener["port"]), is_tls


def _refuse_ties(groups: Sequence[PreviewGroup]) -> None:
    """Between rules of different objects age would decide, and ours are not of the same age as the users'."""
    where = [(group, item) for group in groups for item in group.group.rules]
    items = conditions([item.rule for _, item in where], is_grpc=[item.is_grpc for _, item in where])
    for first, second in ties(items, is_weighted=any(group.group.is_weighted for group in groups)):
        one, other = where[items[first].rule], where[items[second].rule]
        if one[0] is not other[0] and set(one[0].listeners) & set(other[0].listeners):
            raise conflict(
                f"{one[1].origin} and {other[1].origin} ask for as much of the same requests, so that the ages of "
                "their routes decide, which a preview cannot repeat; put both in one route"
            )


def _pieces(
    place: int, rule: Rule, copied: Sequence[Condition], marking: Marking, group: PreviewGroup
) -> Iterator[Piece]:
    matches = [item.match for item in copied if item.rule == place]
    if marking.naming is not None:
        matches = [narrowed(match, marking.naming) for match in matches]
    origin = group.group.rules[place].origin
    for piece in divided(_marked(rule, marking, origin), matches):
        yield Piece(place, piece, origin)


def _marked(rule: Rule, marking: Marking, origin: str) -> Rule:
    """The rule with the filter that makes requests the tenant's; one that leads nowhere needs none."""
    if not backends_of(rule):
        return rule
    filters = list(rule.get("filters") or ())
    theirs: dict[str, Any] = next((item for item in filters if item.get("type") == _MODIFIER), {"type": _MODIFIER})
    changes: dict[str, Any] = dict(theirs.get(_MODIFIED) or {})
    for field, values in (("set", marking.set), ("add", marking.add)):
        more = [{"name": name, "value": value} for name, value in sorted(values.items())]
        if more:
            changes[field] = [*(changes.get(field) or ()), *more]
        if len(changes.get(field) or ()) > _MAX_CHANGES:
            raise conflict(f"{origin} changes so many headers that the tenant's finds no room in the filter")
    ours = {**theirs, _MODIFIED: changes}
    if theirs in filters:
        return {**rule, "filters": [ours if item is theirs else item for item in filters]}
    return {**rule, "filters": [*filters, ours]}


def _changes(item: dict[str, Any]) -> set[str]:
    """The headers of a request that a filter changes, in lower case."""
    changes = item.get(_MODIFIED) or {}
    named = [entry["name"] for field in ("set", "add") for entry in changes.get(field) or ()]
    return {name.lower() for name in (*named, *(changes.get("remove") or ()))}


def _part(key: EntryKey, group: PreviewGroup, name: str, rules: list[Rule], tenant: Tenant, *, stage: int) -> Part:
    inner = group.group
    spec, probe = with_probe(inner, name, {**inner.attachment, "rules": rules}, group.ports)
    obj = marked(inner.resource, key, inner.namespace, name, spec, labels={ROUTING_KEY: tenant.key})
    return Part(inner.resource, obj, probe, frozenset({tenant.key}), stage)
