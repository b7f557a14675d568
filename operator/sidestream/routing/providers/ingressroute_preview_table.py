"""Which rules of users' IngressRoutes a preview at Traefik repeats, and how they read for its host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.kube.port import INGRESS_ROUTES, Object
from sidestream.routing.headers import tenant_matches
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.ingressroute_doors import Doors, doors_of
from sidestream.routing.providers.ingressroute_match import (
    Match,
    Rest,
    at_host,
    condition,
    conditions_of,
    printed,
)
from sidestream.routing.providers.ingressroute_rules import FOR_PREVIEWS
from sidestream.routing.providers.ingressroute_scope import Scope
from sidestream.routing.providers.ingressroute_tokens import MatchError
from sidestream.routing.providers.ingressroute_view import INGRESS_CLASS, UserRule, view
from sidestream.routing.providers.preview import ANY_HOST, Asked, conflict, refuse_a_used_host, users_host
from sidestream.routing.providers.provider import Cluster, key_of
from sidestream.routing.table import Rule

HIGHEST_PRIORITY: Final = 70_000_000
"""Twice a priority has to fit between our other rules' and what 32 bits hold."""

ANY_PATH: Final = condition("PathPrefix", "/")
"""Asks for nothing; makes two rules' texts differ."""

_ELSEWHERE: Final = "elsewhere.invalid"
"""A host for which nobody has rules; a regular expression that holds for it is for any host."""


@dataclass(frozen=True)
class PreviewRule:
    """A user's rule, and what it asks for beside the host (True: nothing)."""

    user: UserRule
    rest: Rest

    @property
    def raw(self) -> Rule:
        """As its user wrote it."""
        return self.user.raw


Group = list[tuple[Object, list[PreviewRule]]]
"""Users' IngressRoutes, each with its rules for the host of which it is a preview."""


def group_of(preview: Asked, cluster: Cluster) -> tuple[str, Group, list[str]]:
    """The users' host ("" is any), the rules for it, and what users should know.

    Raises:
        InvalidInputError: there are no rules, or it is not clear for which host; or the preview's host is used.
    """
    where = f"entry point {preview.name} of Traefik"
    found = [item for item in cluster.all(INGRESS_ROUTES) if not is_ours(item) and _is_at(item, preview.name)]
    rules = [(item, rule) for item in found for rule in view(item).rules]
    _refuse_a_used_host(preview, [rule for _, rule in rules])
    if preview.of is None and any(_patterns(rule.match) for _, rule in rules):
        raise conflict(f"Rules at {where} ask for hosts by regular expressions; name one in spec.preview.of")
    hosts = {host for _, rule in rules for host in _hosts(rule)}
    of = users_host(preview, hosts, where)
    _refuse_what_tells_them_apart(preview, of, [rule for _, rule in rules])
    group: Group = []
    findings: list[str] = []
    for item in found:
        unread = view(item).unread
        if unread and of and of in str(item["spec"]["routes"]).lower():
            raise conflict(f"{unread[0]}; correct the rule or remove it")
        findings += unread
        kept = [
            PreviewRule(rule, rest)
            for owner, rule in rules
            if owner is item and (rest := _at_host(rule, of)) is not False
        ]
        if kept:
            group.append((item, kept))
    if not group:
        raise conflict(f"Nobody has rules for host {of} at {where}")
    _refuse_two_kinds(group, where)
    return of, group, findings


def refuse_what_cannot_be_repeated(group: Group, header: HeaderSettings) -> None:
    """Refuse rules that would mean something else in the preview.

    Raises:
        InvalidInputError: a rule looks at what names the tenants, hands over, or has no room in the order of ours.
    """
    names = {match.name for match in tenant_matches(header, "any")}
    for item, rules in group:
        subject = f"IngressRoute {key_of(item)}"
        if item["spec"].get("parentRefs"):
            raise conflict(f"{subject} is a child of another one (parentRefs), which a preview cannot repeat")
        for rule in (entry.user for entry in rules):
            if not rule.raw.get("services"):
                raise conflict(f"Rule {rule} names no services and hands over to child IngressRoutes; name them here")
            if abs(rule.priority) > HIGHEST_PRIORITY:
                raise conflict(
                    f"Rule {rule} has priority {rule.priority}; for a preview it may be at most {HIGHEST_PRIORITY}"
                )
            for asked_for in conditions_of(rule.match):
                name = asked_for.arguments[0].lower()
                if asked_for.name.startswith("Header") and name in names:
                    raise conflict(
                        f"Rule {rule} matches on header {name}, which names the tenants; match on another header"
                    )


def rules_of(rules: Sequence[PreviewRule], host: str) -> list[Rule]:
    """The rules as they read for the preview's host, above all that others may have for it.

    Users' rules may differ in hosts alone, but of two with one text Traefik would keep one.
    """
    found: dict[str, Rule] = {}
    for item in sorted(rules, key=lambda entry: entry.user.order):
        rest = "" if isinstance(item.rest, bool) else f" && ({printed(item.rest)})"
        match = condition("Host", host) + rest
        while match in found:
            # twice, since with one more it is the rule for want of a fork
            match += f" && {ANY_PATH} && {ANY_PATH}"
        found[match] = {**item.raw, "match": match, "priority": FOR_PREVIEWS + 2 * item.user.priority + 1}
    return list(found.values())


def listened_by(objects: Iterable[Object], host: str, cluster: Cluster) -> Doors:
    """Where the preview can be asked for; `objects` are as ours will be."""
    scopes = [Scope(hosts=frozenset({host}))]
    found = [doors_of(obj, scopes, cluster) for obj in objects]
    doors = tuple(dict.fromkeys(door for item in found for door in item.doors))
    return replace(found[0], doors=doors)


def _is_at(obj: Object, entry_point: str) -> bool:
    """Whether its rules are tried there; without entry points it is at Traefik's default ones."""
    return entry_point in (obj["spec"].get("entryPoints") or (entry_point,))


def _refuse_a_used_host(preview: Asked, rules: Iterable[UserRule]) -> None:
    used = []
    for rule in rules:
        used += [(host, f"Rule {rule}") for host in rule.scope.hosts or ()]
        if any(_holds(pattern, preview.host) for pattern in _patterns(rule.match)):
            used.append((preview.host, f"Rule {rule}"))
    refuse_a_used_host(preview, used)


def _refuse_what_tells_them_apart(preview: Asked, of: str, rules: Iterable[UserRule]) -> None:
    """A rule that holds for the preview's host and not for the users' would take what the preview has no rule for."""
    for rule in rules:
        here = at_host(rule.match, preview.host)
        if here is not False and here != _at_host(rule, of):
            raise conflict(
                f"Rule {rule} holds for host {preview.host} and not alike for {of or 'others'}, so it would take "
                "requests of the preview; let it name the hosts that it is for"
            )


def _patterns(match: Match) -> list[Match]:
    """The conditions on hosts by regular expression, without those that hold for any host."""
    found = [item for item in conditions_of(match) if item.name == "HostRegexp"]
    return [item for item in found if not _holds(item, _ELSEWHERE)]


def _holds(pattern: Match, host: str) -> bool:
    try:
        return at_host(pattern, host) is True
    except MatchError as error:
        raise conflict(f"{error}; name hosts in full") from error


def _at_host(rule: UserRule, of: str) -> Rest:
    return at_host(rule.match, of or _ELSEWHERE)


def _hosts(rule: UserRule) -> frozenset[str]:
    return frozenset({ANY_HOST}) if rule.scope.hosts is None else rule.scope.hosts


def _refuse_two_kinds(group: Group, where: str) -> None:
    """Probes to one address cannot tell which of two Traefiks, or of TLS and none, an object of ours is for."""

    def kind(obj: Object) -> tuple[Any, ...]:
        annotations = obj["metadata"].get("annotations") or {}
        return obj["spec"].get("tls") is not None, annotations.get(INGRESS_CLASS, "")

    first = group[0][0]
    for obj, _ in group:
        if kind(obj) != kind(first):
            one, other = map(key_of, (first, obj))
            raise conflict(
                f"IngressRoutes {one} and {other} at {where} differ in tls or in {INGRESS_CLASS}, so a preview would "
                "have to be two; make them alike"
            )
