"""What one IngressRoute says, as Traefik reads it: its rules with their priorities, and for which requests they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidestream.kube.port import Object
from sidestream.routing.providers.ingressroute_match import Match, parsed
from sidestream.routing.providers.ingressroute_scope import Scope, scope_of
from sidestream.routing.providers.ingressroute_tokens import MatchError
from sidestream.routing.providers.provider import key_of
from sidestream.routing.table import Rule

INGRESS_CLASS: Final = "kubernetes.io/ingress.class"
"""Annotation: which Traefik an IngressRoute or Ingress is for, where there are several."""

_OTHER_SYNTAX: Final = "v2"


@dataclass(frozen=True)
class UserRule:
    """A rule of the object `owner`, `IngressRoute shop/web` for example, at `where` in it.

    `place` is the same as numbers, `priority` the effective one, `raw` the rule as written.
    """

    where: str
    place: tuple[int, ...]
    owner: str
    namespace: str
    match: Match
    scope: Scope
    priority: int
    raw: Rule

    def __str__(self) -> str:
        """As users find it."""
        return f"{self.where} of {self.owner}"

    def comes_before(self, other: UserRule) -> bool:
        """Whether it takes requests that the other one could match."""
        return self.priority > other.priority and self.scope.overlaps(other.scope)

    @property
    def order(self) -> tuple[int, str, tuple[int, ...]]:
        """By which rules are sorted: the one that Traefik tries first comes first."""
        return -self.priority, self.owner, self.place


@dataclass(frozen=True)
class UserRoute:
    """An object as it is read: its rules, and `unread`, why others are none to Traefik or not understood here.

    `is_ingress`: it is an Ingress, whose requests are not routed by tenant.
    """

    key: str
    entry_points: frozenset[str]
    has_tls: bool
    ingress_class: str
    rules: tuple[UserRule, ...]
    unread: tuple[str, ...]
    repeated: tuple[str, ...] = ()
    is_ingress: bool = False


def view(obj: Object) -> UserRoute:
    """What an IngressRoute says."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    owner = f"IngressRoute {key_of(obj)}"
    rules: dict[str, UserRule] = {}
    unread, repeated = [], []
    for index, raw in enumerate(spec.get("routes") or []):
        text, where = raw.get("match", ""), f"routes[{index}]"
        try:
            match = read_rule(text, raw.get("syntax", ""))
        except MatchError as error:
            unread.append(f"Rule {where} of {owner} cannot be understood: {error}")
            continue
        before = rules.pop(text, None)
        if before is not None:
            repeated.append(
                f"Rules {before.where} and {where} of {owner} have the same match, of which Traefik uses the last"
            )
        rules[text] = UserRule(
            where, (index,), owner, metadata["namespace"], match, scope_of(match), effective_priority(raw), raw
        )
    return UserRoute(
        key=key_of(obj),
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


def read_rule(text: str, syntax: str) -> Match:
    """What a rule says.

    Raises:
        MatchError: it cannot be understood.
    """
    if syntax == _OTHER_SYNTAX:
        raise MatchError("it is in the syntax of Traefik 2")
    return parsed(text)
