"""Reads what users have in IngressRoutes: one as an entry, and the rules of all others that take precedence over its.

Traefik tries the rules of all IngressRoutes at an entry point together, by priority. So an entry's rules come out with
their priority spelled out, and with those of other IngressRoutes that come before them excluded: with that they mean
the same at any height above all that users have written.

One thing is lost by that: a rule of another IngressRoute whose Service has no ready pod is not there for Traefik, but
stays excluded in ours, so what it would have taken is left to the users' rules.
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
from sidestream.routing.providers.ingressroute_match import Match, negation, parsed
from sidestream.routing.providers.ingressroute_scope import Scope, scope_of
from sidestream.routing.providers.ingressroute_tokens import MatchError
from sidestream.routing.providers.provider import Cluster
from sidestream.routing.table import Rule

HIGHEST_PRIORITY: Final = 100_000_000
"""A rule of a higher priority leaves no room above it: Traefik has 32 bits for it on small machines."""

INGRESS_CLASS: Final = "kubernetes.io/ingress.class"
"""Annotation: which Traefik an IngressRoute is for, where there are several."""

_OTHER_SYNTAX: Final = "v2"
_MANY: Final = 3


@dataclass(frozen=True)
class UserRule:
    """`spec.routes[index]` of an IngressRoute; `priority` is the effective one, `raw` as written."""

    index: int
    owner: str
    match: Match
    scope: Scope
    priority: int
    raw: Rule

    def __str__(self) -> str:
        """As users find it."""
        return f"routes[{self.index}] of IngressRoute {self.owner}"

    def comes_before(self, other: UserRule) -> bool:
        """Whether it takes requests that the other one could match."""
        return self.priority > other.priority and self.scope.overlaps(other.scope)

    @property
    def order(self) -> tuple[int, str, int]:
        """By which rules are sorted: the one that Traefik tries first comes first."""
        return -self.priority, self.owner, self.index


@dataclass(frozen=True)
class UserRoute:
    """An IngressRoute as it is read: its rules, and `unread`, why others are none to Traefik or not understood here."""

    key: str
    entry_points: frozenset[str]
    has_tls: bool
    ingress_class: str
    rules: tuple[UserRule, ...]
    unread: tuple[str, ...]
    repeated: tuple[str, ...]


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
            if outranking and shared is _Shared.SOME:
                findings.append(_partly(outranking[0], rule, own.key))
        rules.append(_portable(rule, before))
    findings += [text for other, _ in rivals for text in other.unread]
    return Reading(tuple(rules), tuple(rule.scope for rule in own.rules), tuple(dict.fromkeys(findings)))


def concerned(obj: Object, cluster: Cluster) -> Iterator[Object]:
    """Users' IngressRoutes whose tenants' rules depend on this one: itself, and those that share requests with it."""
    own = view(obj)
    yield obj
    for other in _others(obj, cluster):
        seen = view(other)
        if _shared(seen, own) is not _Shared.NOTHING and any(
            mine.scope.overlaps(theirs.scope) for mine in own.rules for theirs in seen.rules
        ):
            yield other


def said(findings: Iterable[str]) -> str:
    """Findings as one text."""
    listed = list(findings)
    more = [f"There are {len(listed) - _MANY} more of this kind"] if len(listed) > _MANY else []
    return ". ".join([*listed[:_MANY], *more])


def view(obj: Object) -> UserRoute:
    """What an IngressRoute says."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    key = _key(obj)
    rules: dict[str, UserRule] = {}
    unread, repeated = [], []
    for index, raw in enumerate(spec.get("routes") or []):
        text = raw.get("match", "")
        try:
            match = _read_rule(raw)
        except MatchError as error:
            unread.append(f"Rule routes[{index}] of IngressRoute {key} cannot be understood: {error}")
            continue
        before = rules.pop(text, None)
        if before is not None:
            repeated.append(
                f"Rules routes[{before.index}] and routes[{index}] of IngressRoute {key} have the same match, of which "
                "Traefik uses the last"
            )
        rules[text] = UserRule(index, key, match, scope_of(match), effective_priority(raw), raw)
    return UserRoute(
        key=key,
        entry_points=frozenset(spec.get("entryPoints") or ()),
        has_tls=spec.get("tls") is not None,
        ingress_class=(metadata.get("annotations") or {}).get(INGRESS_CLASS, ""),
        rules=tuple(sorted(rules.values(), key=lambda rule: rule.order)),
        unread=tuple(unread),
        repeated=tuple(repeated),
    )


def effective_priority(raw: Rule) -> int:
    """The rule's own priority, or the length of its text in bytes."""
    return raw.get("priority") or len(raw["match"].encode())


def _read_rule(raw: Rule) -> Match:
    if raw.get("syntax") == _OTHER_SYNTAX:
        raise MatchError("it is in the syntax of Traefik 2")
    return parsed(raw.get("match", ""))


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


def _others(obj: Object, cluster: Cluster) -> Iterator[Object]:
    """All other IngressRoutes of users whose rules Traefik tries at an entry point."""
    for other in cluster.all(INGRESS_ROUTES):
        is_child = bool((other.get("spec") or {}).get("parentRefs"))
        if _key(other) != _key(obj) and not is_ours(other) and not is_child:
            yield other


def _rivals(own: UserRoute, obj: Object, cluster: Cluster) -> Iterator[tuple[UserRoute, _Shared]]:
    for other in _others(obj, cluster):
        seen = view(other)
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

    return rule.owner.partition("/")[0] != other.owner.partition("/")[0] or rest(rule) != rest(other)


def _partly(first: UserRule, rule: UserRule, key: str) -> str:
    return (
        f"Rule {first} comes before routes[{rule.index}] of IngressRoute {key} at some of its entry points only; at "
        "the others requests that match both stay on the baseline; give both IngressRoutes the same entryPoints and tls"
    )


def _conflict(message: str) -> InvalidInputError:
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
