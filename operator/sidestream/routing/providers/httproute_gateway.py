"""Entries at gateways: a user's route with a Gateway as parent, which leads requests from outside to Services.

A gateway merges the rules of all routes for one host. Rules of another route that would lose to a tenant's copies are
copied too where that route is attached as this one is; where it is not, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidestream.errors import InvalidInputError
from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES, Object
from sidestream.routing.entries import Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.httproute_answers import GRPC_IS_UNPROVABLE, answer_at
from sidestream.routing.providers.httproute_grants import is_granted
from sidestream.routing.providers.httproute_groups import GROUPS, Group, UserRule, age, listed
from sidestream.routing.providers.httproute_listeners import (
    Attachment,
    attachments,
    doors,
    is_of_traefik,
    may_share_a_host,
)
from sidestream.routing.providers.httproute_precedence import Precedence, conditions
from sidestream.routing.providers.httproute_rules import leads_to
from sidestream.routing.providers.httproute_user import (
    gateway_parents,
    hostnames_of,
    resource_of,
    user_rules,
    users_routes,
)
from sidestream.routing.providers.provider import Cluster, key_of, title_of

_WHERE: Final = ("sectionName", "port")
"""What in a parentRef narrows a Gateway down to some of its listeners."""


def key_of_route(route: Object) -> EntryKey:
    """The entry that a route at a gateway is."""
    kind = EntryKind.GRPC_ROUTE if resource_of(route) == GRPC_ROUTES else EntryKind.HTTP_ROUTE
    return EntryKey(kind, route["metadata"]["namespace"], route["metadata"]["name"])


def gateway_entry(key: EntryKey, cluster: Cluster) -> Entry | None:
    """The entry of one route; None where it is not there, has no Gateway as parent, or leads to no Service.

    Raises:
        InvalidInputError: no Gateway takes requests for it, or its rules leave no room for tenant rules.
    """
    resource = GRPC_ROUTES if key.kind is EntryKind.GRPC_ROUTE else HTTP_ROUTES
    route = cluster.get(resource, key.namespace, key.name)
    if route is None or is_ours(route) or not gateway_parents(route):
        return None
    own = user_rules(route)
    if not _reaches(own, key.namespace, cluster.domain):
        return None
    attached = _attached(route, cluster)
    is_weighted = any(is_of_traefik(item.gateway, cluster) for item in attached)
    merged = _with_neighbours(route, own, cluster, is_weighted=is_weighted)
    rules = _relevant(merged, key.namespace, cluster.domain, is_weighted=is_weighted)
    copyable = [item for item in rules if not item.is_foreign]
    reaches = _reaches(copyable, key.namespace, cluster.domain)
    granted = frozenset(item for item in reaches if is_granted(route, item, cluster))
    can_answer = answer_at(resource, [item.gateway for item in attached], cluster)
    at = doors(attached, cluster) if can_answer else ()
    return Entry(
        key,
        Mode.BESIDE,
        tuple(item.rule for item in copyable),
        granted,
        source=key_of(route),
        place={GROUPS: (_group(route, rules, is_weighted=is_weighted, can_answer=can_answer),)},
        doors=at,
        why_unprovable="" if at else _why_unprovable(attached, can_answer=can_answer),
        finding=_finding(route, reaches - granted),
        why=f"{title_of(route)} has Gateway {key_of(attached[0].gateway)} as parent",
    )


def neighbours(route: Object, cluster: Cluster) -> Iterator[Object]:
    """The other routes of users that some gateway may try for the same request, the preferred ones first."""
    for other in users_routes(cluster):
        is_itself = key_of_route(other) == key_of_route(route)
        if not is_itself and _shares_a_listener(route, other) and may_share_a_host(*map(hostnames_of, (route, other))):
            yield other


def _attached(route: Object, cluster: Cluster) -> list[Attachment]:
    found: list[Attachment] = []
    refused: InvalidInputError | None = None
    for place, ref in gateway_parents(route):
        try:
            found += attachments(route, place, ref, cluster)
        except InvalidInputError as error:
            refused = refused or error
    if not found and refused is not None:
        raise refused
    return found


def _shares_a_listener(one: Object, other: Object) -> bool:
    return any(
        first == second
        and all(ref.get(field) in (None, more.get(field)) or more.get(field) is None for field in _WHERE)
        for first, ref in gateway_parents(one)
        for second, more in gateway_parents(other)
    )


def _is_alike(one: Object, other: Object) -> bool:
    """Whether what is written for one route is for the very requests of the other too."""
    return _identity(one) == _identity(other)


def _identity(route: Object) -> tuple[Any, ...]:
    parents = {(place, *(ref.get(field) for field in _WHERE)) for place, ref in gateway_parents(route)}
    return route["kind"], route["metadata"]["namespace"], frozenset(hostnames_of(route)), frozenset(parents)


def _with_neighbours(route: Object, own: Sequence[UserRule], cluster: Cluster, *, is_weighted: bool) -> list[UserRule]:
    """The route's rules among those of its neighbours, the older routes' first."""
    rules: list[UserRule] = []
    place = 0
    for other in neighbours(route, cluster):
        # Traefik weighs a rule by its place in its own route, which it would not keep in a common one
        is_foreign = is_weighted or not _is_alike(route, other)
        rules += user_rules(other, is_seed=False, is_foreign=is_foreign)
        if age(other) < age(route):
            place = len(rules)
    return [*rules[:place], *own, *rules[place:]]


def _relevant(rules: list[UserRule], namespace: str, domain: str, *, is_weighted: bool) -> tuple[UserRule, ...]:
    """The rules without those of neighbours that no copy can take precedence over, whatever tenants fork."""
    items = conditions([item.rule for item in rules], is_grpc=[item.is_grpc for item in rules])
    seeds = [
        index
        for index, item in enumerate(items)
        if rules[item.rule].is_seed and (is_weighted or leads_to(rules[item.rule].rule, namespace, domain))
    ]
    kept = {items[index].rule for index in Precedence(items, is_weighted=is_weighted).closure(seeds)}
    return tuple(item for place, item in enumerate(rules) if item.is_seed or place in kept)


def _reaches(rules: Sequence[UserRule], namespace: str, domain: str) -> frozenset[ServiceHost]:
    return frozenset[ServiceHost]().union(*(leads_to(item.rule, namespace, domain) for item in rules))


def _group(route: Object, rules: tuple[UserRule, ...], *, is_weighted: bool, can_answer: bool) -> Group:
    metadata = route["metadata"]
    others = {field: value for field, value in route["spec"].items() if field not in ("parentRefs", "rules")}
    return Group(
        resource_of(route),
        metadata["namespace"],
        # one gateway serves many namespaces, and is asked for an object by its name alone
        f"{metadata['name']}.{metadata['namespace']}.{route['kind'].lower()}",
        {**others, "parentRefs": [ref for _, ref in gateway_parents(route)]},
        rules,
        is_weighted=is_weighted,
        needs_grants=True,
        can_answer=can_answer,
    )


def _why_unprovable(attached: Sequence[Attachment], *, can_answer: bool) -> str:
    if not can_answer:
        return GRPC_IS_UNPROVABLE
    return f"no Service in the cluster leads to Gateway {key_of(attached[0].gateway)}"


def _finding(route: Object, refused: frozenset[ServiceHost]) -> str:
    if not refused:
        return ""
    return (
        f"{title_of(route)} leads to Service {listed(refused)}, which no ReferenceGrant there allows, so gateways "
        "refuse these requests and forks do not get them; add a ReferenceGrant"
    )
