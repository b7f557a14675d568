"""Reads an IngressRoute of a user's as an entry, among all else of users' that takes precedence over its rules.

Traefik tries the rules of all IngressRoutes and Ingresses at an entry point together, by priority. So an entry's rules
come out with their priority spelled out, and with those of others that come before them excluded: with that they mean
the same at any height above all that users have written.

One thing is lost by that: a rule of another object whose Service has no ready pod is not there for Traefik, but stays
excluded in ours, so what it would have taken is left to the users' rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import INGRESS_ROUTES, Object
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.ingressroute_ingresses import ingress_beside, ingresses_beside
from sidestream.routing.providers.ingressroute_match import negation
from sidestream.routing.providers.ingressroute_scope import Scope
from sidestream.routing.providers.ingressroute_view import UserRoute, UserRule, view
from sidestream.routing.providers.provider import Cluster, key_of
from sidestream.routing.table import Rule

HIGHEST_PRIORITY: Final = 100_000_000
"""A rule of a higher priority leaves no room above it: Traefik has 32 bits for it on small machines."""

_MANY: Final = 3


@dataclass(frozen=True)
class Reading:
    """The rules of an entry, in the order in which Traefik tries them, and what users should know about them."""

    rules: tuple[Rule, ...]
    scopes: tuple[Scope, ...]
    findings: tuple[str, ...]


class _Shared(Enum):
    """How much of one IngressRoute's traffic meets the rules of another."""

    NOTHING = auto()
    SOME = auto()
    ALL = auto()


def read(obj: Object, cluster: Cluster) -> Reading:
    """A user's IngressRoute among all others.

    Raises:
        InvalidInputError: it leaves no room for tenants' rules; the message names the rule.
    """
    own = view(obj)
    _refuse_what_cannot_be_repeated(own, obj)
    rivals = list(_rivals(own, obj, cluster))
    findings = [*own.repeated, *_ties(own.rules, own.rules)]
    rules = []
    for rule in own.rules:
        before = []
        for other, shared in rivals:
            findings += _ties((rule,), other.rules)
            outranking = [item for item in other.rules if item.comes_before(rule)]
            before += outranking
            if outranking and other.is_ingress:
                findings.append(_aside(outranking[0], rule))
            elif outranking and shared is _Shared.SOME:
                findings.append(_partly(outranking[0], rule))
        rules.append(_portable(rule, before))
    findings += [text for other, _ in rivals for text in other.unread]
    return Reading(tuple(rules), tuple(rule.scope for rule in own.rules), tuple(dict.fromkeys(findings)))


def concerned(obj: Object, cluster: Cluster) -> Iterator[Object]:
    """Users' IngressRoutes whose tenants' rules depend on this one: itself, and those that share requests with it."""
    own = view(obj)
    yield obj
    for other in _others(obj, cluster):
        if _may_meet(view(other), own):
            yield other


def concerned_by_ingress(obj: Object, cluster: Cluster) -> Iterator[Object]:
    """Users' IngressRoutes that share requests with an Ingress."""
    for item in _all(cluster):
        seen = view(item)
        ingress = ingress_beside(obj, seen, cluster)
        if ingress is not None and _may_meet(seen, ingress):
            yield item


def _may_meet(one: UserRoute, other: UserRoute) -> bool:
    """Whether a request may match rules of both."""
    return _shared(one, other) is not _Shared.NOTHING and any(
        mine.scope.overlaps(theirs.scope) for mine in one.rules for theirs in other.rules
    )


def said(findings: Iterable[str]) -> str:
    """Findings as one text."""
    listed = list(findings)
    more = [f"There are {len(listed) - _MANY} more of this kind"] if len(listed) > _MANY else []
    return ". ".join([*listed[:_MANY], *more])


def _refuse_what_cannot_be_repeated(own: UserRoute, obj: Object) -> None:
    subject = f"IngressRoute {own.key}"
    if obj["spec"].get("parentRefs"):
        raise _conflict(f"{subject} is a child of another one (parentRefs), above which no tenant's rule can be put")
    if own.unread:
        raise _conflict(f"{own.unread[0]}; correct the rule or remove it")
    for rule in own.rules:
        if not rule.raw.get("services"):
            raise _conflict(f"Rule {rule} names no services and hands over to child IngressRoutes; name them here")
        if abs(rule.priority) > HIGHEST_PRIORITY:
            raise _conflict(
                f"Rule {rule} has priority {rule.priority}, which leaves no room above it; "
                f"choose one of at most {HIGHEST_PRIORITY}"
            )


def _portable(rule: UserRule, before: Iterable[UserRule]) -> Rule:
    exclusions = [negation(item.match) for item in sorted(before, key=lambda item: item.order)]
    own = rule.raw["match"].strip()
    match = " && ".join([f"({own})", *dict.fromkeys(exclusions)]) if exclusions else own
    return {**rule.raw, "match": match, "priority": rule.priority}


def _all(cluster: Cluster) -> Iterator[Object]:
    """All IngressRoutes of users whose rules Traefik tries at an entry point."""
    for item in cluster.all(INGRESS_ROUTES):
        is_child = bool((item.get("spec") or {}).get("parentRefs"))
        if not is_ours(item) and not is_child:
            yield item


def _others(obj: Object, cluster: Cluster) -> Iterator[Object]:
    return (item for item in _all(cluster) if key_of(item) != key_of(obj))


def _rivals(own: UserRoute, obj: Object, cluster: Cluster) -> Iterator[tuple[UserRoute, _Shared]]:
    for seen in (*map(view, _others(obj, cluster)), *ingresses_beside(own, cluster)):
        shared = _shared(own, seen)
        if shared is not _Shared.NOTHING:
            yield seen, shared


def _shared(own: UserRoute, other: UserRoute) -> _Shared:
    """How much of the traffic of `own` meets the rules of `other`.

    Without entry points an IngressRoute is at Traefik's default ones, which are all unless an administrator has chosen.
    Without `tls` it may have it all the same, from its entry point.
    """
    if own.ingress_class != other.ingress_class:
        return _Shared.NOTHING
    if own.entry_points and other.entry_points and not own.entry_points & other.entry_points:
        return _Shared.NOTHING
    is_everywhere = not other.entry_points or (bool(own.entry_points) and own.entry_points <= other.entry_points)
    return _Shared.ALL if is_everywhere and own.has_tls == other.has_tls else _Shared.SOME


def _ties(rules: Iterable[UserRule], others: Iterable[UserRule]) -> Iterator[str]:
    for rule in rules:
        for other in others:
            is_tie = other.order > rule.order if other.owner == rule.owner else True
            if is_tie and other.priority == rule.priority and other.scope.overlaps(rule.scope) and _differ(rule, other):
                yield (
                    f"Rules {rule} and {other} have the same priority {rule.priority}, so that Traefik chooses between "
                    "them at random; give them different ones"
                )


def _differ(rule: UserRule, other: UserRule) -> bool:
    """Whether it matters which of the two is used."""
    ignored = ("match", "priority", "kind")

    def rest(item: UserRule) -> dict[str, Any]:
        return {key: value for key, value in item.raw.items() if key not in ignored}

    return rule.namespace != other.namespace or rest(rule) != rest(other)


def _partly(first: UserRule, rule: UserRule) -> str:
    return (
        f"Rule {first} comes before {rule} at some of its entry points only; at the others requests that match both "
        "stay on the baseline; give both IngressRoutes the same entryPoints and tls"
    )


def _aside(first: UserRule, rule: UserRule) -> str:
    return (
        f"Rule {first} comes before {rule}, and Ingresses are not routed by tenant, so requests that match both go the "
        "same way for everybody; write an IngressRoute in its place if forks are to have them"
    )


def _conflict(message: str) -> InvalidInputError:
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)
