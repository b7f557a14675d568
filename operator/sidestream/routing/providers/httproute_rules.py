"""Rules of HTTPRoutes and GRPCRoutes: where they lead, and how they read for one tenant.

The two kinds differ in what a match may ask for; backends and filters have the same form in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.routing.headers import HeaderMatch, MatchKind, tenant_matches
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.table import Rule, Tenant

Match = dict[str, Any]
"""One alternative of a rule's `matches`."""

MAX_RULES: Final = 16
"""Rules of one object; this and the next three are what the CRDs of Gateway API v1.2 to v1.6 validate."""

MAX_MATCHES_OF_RULE: Final = 64
MAX_MATCHES: Final = 128
MAX_HEADERS: Final = 16
"""Header conditions of one match."""

MAX_WEIGHT: Final = 1_000_000

_PREFIX_OF_ALL: Final = {"type": "PathPrefix", "value": "/"}
_HEADER_TYPES: Final = {MatchKind.EXACT: "Exact", MatchKind.REGEX: "RegularExpression"}
_TRIAL: Final = "RequestMirror"
"""What a team tries on its baseline and no tenant asks for: doubled requests."""


def backends_of(rule: Rule) -> list[dict[str, Any]]:
    """The weighted backends of a rule; none for a redirect."""
    return list(rule.get("backendRefs") or ())


def matches_of(rule: Rule) -> list[Match]:
    """The alternatives of a rule; one without conditions where it states none."""
    return list(rule.get("matches") or ({},))


def service_of(backend: dict[str, Any], namespace: str, domain: str) -> ServiceHost | None:
    """The Service that a backend of a route in `namespace` names; None where it is something else."""
    if backend.get("group") or backend.get("kind", "Service") != "Service":
        return None
    return ServiceHost(backend.get("namespace") or namespace, backend["name"], domain)


def leads_to(rule: Rule, namespace: str, domain: str) -> frozenset[ServiceHost]:
    """The Services that get a share of the requests."""
    found = (service_of(item, namespace, domain) for item in backends_of(rule) if _weight(item) > 0)
    return frozenset(service for service in found if service is not None)


def to_service(service: ServiceHost, port: int) -> Rule:
    """The rule that sends everything to a port of a Service, as a mesh does where there are no routes."""
    backend = {"group": "", "kind": "Service", "name": service.name, "port": port, "weight": 1}
    return {"matches": [{"path": _PREFIX_OF_ALL}], "backendRefs": [backend]}


class RouteDialect:
    """Rules of routes in `namespace`, for tenants named as `header` says."""

    def __init__(self, header: HeaderSettings, namespace: str, domain: str) -> None:
        self._header = header
        self._namespace = namespace
        self._domain = domain

    def leads_to_fork(self, rule: Rule, tenant: Tenant) -> bool:
        """Whether a share of the rule's requests goes to a Service that the tenant has forked."""
        return any(tenant.fork_of(service) for service in leads_to(rule, self._namespace, self._domain))

    def for_tenant(self, rule: Rule, matches: Sequence[Match], tenant: Tenant) -> Iterator[Rule]:
        """The rule for this tenant's requests alone, with the forks in place of the Services they stand in for.

        Only `matches` of its alternatives are taken. It comes as several rules where one would have too many
        alternatives. A rule's name is its user's, so the copies have none.
        """
        headers = tenant_matches(self._header, tenant.key)
        yield from divided(
            self.with_forks(rule, tenant), [narrowed(match, header) for match in matches for header in headers]
        )

    def with_forks(self, rule: Rule, tenant: Tenant) -> Rule:
        """The rule with the forks in place of the Services they stand in for, without a name and matches."""
        clone = {key: value for key, value in rule.items() if key not in ("name", "matches")}
        if self.leads_to_fork(rule, tenant):
            clone = _without_trials(clone)
        if backends_of(rule):
            clone["backendRefs"] = _merged([self._forked(item, tenant) for item in backends_of(clone)])
        return clone

    def _forked(self, backend: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
        service = service_of(backend, self._namespace, self._domain)
        fork = None if service is None else tenant.fork_of(service)
        if fork is None:
            return backend
        place = {} if fork.namespace == self._namespace else {"namespace": fork.namespace}
        return {**{key: value for key, value in backend.items() if key != "namespace"}, **place, "name": fork.name}


def _weight(backend: dict[str, Any]) -> int:
    weight: int = backend.get("weight", 1)
    return weight


def divided(rule: Rule, matches: Sequence[Match]) -> Iterator[Rule]:
    """The rule for these alternatives, as several rules where one would have too many."""
    # the path that a filter replaces must be that of the rule's only match
    size = 1 if _replaces_prefix(rule) else MAX_MATCHES_OF_RULE
    for start in range(0, len(matches), size):
        yield {**rule, "matches": list(matches[start : start + size])}


def narrowed(match: Match, header: HeaderMatch) -> Match:
    """The alternative with one more condition."""
    condition = {"type": _HEADER_TYPES[header.kind], "name": header.name, "value": _escaped(header.value)}
    return {**match, "headers": [*(match.get("headers") or ()), condition]}


def _escaped(value: str) -> str:
    # the experimental CRD takes printable characters only
    return value.replace("\t", r"\t")


def filters_of(rule: Rule) -> Iterator[dict[str, Any]]:
    """All filters of a rule and its backends."""
    yield from rule.get("filters") or ()
    for backend in backends_of(rule):
        yield from backend.get("filters") or ()


def _replaces_prefix(rule: Rule) -> bool:
    return any(
        ((item.get(field) or {}).get("path") or {}).get("type") == "ReplacePrefixMatch"
        for item in filters_of(rule)
        for field in ("urlRewrite", "requestRedirect")
    )


def _without_trials(rule: Rule) -> Rule:
    spared = _spared(rule)
    if backends_of(rule):
        spared["backendRefs"] = [_spared(item) for item in backends_of(rule)]
    return spared


def _spared(holder: dict[str, Any]) -> dict[str, Any]:
    """A rule or backend without the filters that mirror; without the field where no other is left."""
    kept = [item for item in holder.get("filters") or () if item.get("type") != _TRIAL]
    others = {key: value for key, value in holder.items() if key != "filters"}
    return {**others, "filters": kept} if kept else others


def _merged(backends: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Backends that have become equal as one, where their weights allow it."""
    merged: list[dict[str, Any]] = []
    for backend in backends:
        alike = (item for item in merged if _without_weight(item) == _without_weight(backend))
        twin = next((item for item in alike if _weight(item) + _weight(backend) <= MAX_WEIGHT), None)
        if twin is None:
            merged.append(dict(backend))
        else:
            twin["weight"] = _weight(twin) + _weight(backend)
    return merged


def _without_weight(backend: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in backend.items() if key != "weight"}
