"""The dialect of `VirtualService.spec.http`: one rule for one tenant, for nobody, and which Services a rule reaches."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.routing.headers import HeaderMatch, any_tenant_matches, tenant_matches
from sidestream.routing.hosts import ServiceHost, qualified
from sidestream.routing.providers.virtualservice_words import MESH, qualified_gateway
from sidestream.routing.table import Rule, Tenant

_TRIALS: Final = ("fault", "mirror", "mirrors", "mirrorPercent", "mirrorPercentage")
"""What a team tries on its baseline and no tenant asks for: a broken or doubled request."""

_NO_CONDITION: Final = frozenset({"name", "statPrefix", "ignoreUriCase"})


Match = dict[str, Any]
"""One of the alternatives of a rule's `match`; all its conditions must hold."""


def routes_of(rule: Rule) -> list[dict[str, Any]]:
    """The weighted routes of a rule; none for a redirect or a direct response."""
    return list(rule.get("route") or ())


def matches_of(rule: Rule) -> list[Match]:
    """The alternative conditions of a rule; none means that it matches everything."""
    return list(rule.get("match") or ())


def portable(rule: Rule, namespace: str, domain: str) -> Rule:
    """A rule of a VirtualService in `namespace`, spelled so that it means the same in one of any other."""
    rule = copy.deepcopy(rule)
    destinations = [route["destination"] for route in routes_of(rule)]
    destinations += [mirror["destination"] for mirror in rule.get("mirrors") or ()]
    destinations += [rule["mirror"]] if rule.get("mirror") else []
    for destination in destinations:
        destination["host"] = qualified(destination["host"], namespace, domain)
    for match in matches_of(rule):
        if match.get("gateways"):
            match["gateways"] = [
                name if name == MESH else qualified_gateway(name, namespace) for name in match["gateways"]
            ]
    return rule


def service_at(host: str, namespace: str, domain: str) -> ServiceHost | None:
    """The Service that `host` means in a VirtualService of `namespace`; None where it is no Service of the cluster.

    Istio completes a short name, and takes every other one for a full name.
    """
    spelled = host.lower()
    if "." not in spelled:
        return None if spelled in ("", "*") else ServiceHost(namespace, spelled, domain)
    name, dot, elsewhere = spelled.removesuffix(f".svc.{domain}").partition(".")
    found = ServiceHost(elsewhere, name, domain)
    return found if dot and spelled == found.fqdn and name not in ("", "*") and "." not in elsewhere else None


def services_of(rules: Iterable[Rule], namespace: str, domain: str) -> frozenset[ServiceHost]:
    """The Services to which routes of the rules lead, whatever their weights."""
    hosts = {route["destination"]["host"] for rule in rules for route in routes_of(rule)}
    return frozenset(service for host in hosts if (service := service_at(host, namespace, domain)) is not None)


class VirtualServiceDialect:
    """Rules of `spec.http` in a VirtualService of `namespace`, for tenants named as `header` says."""

    def __init__(self, header: HeaderSettings, namespace: str, domain: str) -> None:
        self._header = header
        self._namespace = namespace
        self._domain = domain

    def leads_to_fork(self, rule: Rule, tenant: Tenant) -> bool:
        """Whether a route with a share of the requests leads to a Service that the tenant has forked."""
        routes = routes_of(rule)
        return any(
            self._fork(route, tenant) is not None for route in routes if len(routes) == 1 or route.get("weight", 0) > 0
        )

    def matches_everything(self, rule: Rule) -> bool:
        """Whether an alternative is free of conditions; Istio drops all that follows."""
        matches = matches_of(rule)
        return not matches or any(set(match) <= _NO_CONDITION for match in matches)

    def for_tenant(self, rule: Rule, tenant: Tenant) -> Rule:
        """The rule with the tenant's header in every alternative, leading to forks in place of what they stand for."""
        clone = self.with_forks(rule, tenant)
        clone["name"] = f"tenant-{tenant.key}-{rule['name']}" if rule.get("name") else f"tenant-{tenant.key}"
        clone["match"] = list(narrowed(clone, tenant_matches(self._header, tenant.key)))
        return clone

    def with_forks(self, rule: Rule, tenant: Tenant) -> Rule:
        """The rule leading to forks in place of what they stand for, and then without the team's trials."""
        clone = copy.deepcopy(rule)
        if self.leads_to_fork(rule, tenant):
            for field in _TRIALS:
                clone.pop(field, None)
            clone["route"] = self._forked(clone, tenant)
        return clone

    def for_nobody(self, rule: Rule) -> Rule | None:
        """The rule with every way to name a tenant excluded; None where the rule itself excludes by that header."""
        excluded = {match.name: {match.kind.value: match.value} for match in any_tenant_matches(self._header)}
        if any(_header_names(match, "withoutHeaders") & set(excluded) for match in matches_of(rule)):
            return None
        clone = copy.deepcopy(rule)
        clone["name"] = f"no-tenant-{rule['name']}" if rule.get("name") else "no-tenant"
        clone["match"] = [
            {**match, "withoutHeaders": {**match.get("withoutHeaders", {}), **excluded}}
            for match in matches_of(clone) or [{}]
        ]
        return clone

    def _forked(self, rule: Rule, tenant: Tenant) -> list[dict[str, Any]]:
        """The routes with forks in place of Services; routes that thereby became equal are one."""
        forked: list[dict[str, Any]] = []
        for route in routes_of(rule):
            fork = self._fork(route, tenant)
            if fork is None:
                forked.append(route)
            else:
                # subsets are groups of the baseline's own pods: the fork has none of them
                kept = {key: value for key, value in route["destination"].items() if key != "subset"}
                forked.append({**route, "destination": {**kept, "host": fork.fqdn}})
        return _merged(forked)

    def _fork(self, route: dict[str, Any], tenant: Tenant) -> ServiceHost | None:
        service = service_at(route["destination"]["host"], self._namespace, self._domain)
        return None if service is None else tenant.fork_of(service)


def header_condition_names(rule: Rule) -> set[str]:
    """Names, in lower case, of the headers that the rule's alternatives demand a value of."""
    return {name for match in matches_of(rule) for name in _header_names(match, "headers")}


def narrowed(rule: Rule, alternatives: tuple[HeaderMatch, ...]) -> Iterator[Match]:
    """The rule's alternatives, each together with each of the conditions on headers."""
    for match in matches_of(rule) or [{}]:
        for header in alternatives:
            yield {**match, "headers": {**match.get("headers", {}), header.name: {header.kind.value: header.value}}}


def _header_names(match: dict[str, Any], field: str) -> set[str]:
    return {name.lower() for name in match.get(field) or ()}


def _merged(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for route in routes:
        twin = next((other for other in merged if _without_weight(other) == _without_weight(route)), None)
        if twin is None:
            merged.append(dict(route))
        else:
            twin["weight"] = twin.get("weight", 0) + route.get("weight", 0)
    return merged


def _without_weight(route: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in route.items() if key != "weight"}
