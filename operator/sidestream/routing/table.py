"""The clone algorithm, which gives each tenant its rules.

Rules are raw JSON in the dialect of one mesh: what this package does not know about them survives. The algorithm knows
no dialect; a provider brings its own. It works on one entry (see `entries`): the rules without tenants in the order in
which proxies try them, a request that none of them matches being refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidestream.routing.hosts import ServiceHost

Rule = dict[str, Any]
"""One rule of a mesh object, as its users write it."""


@dataclass(frozen=True, order=True)
class StandIn:
    """The fork Service that takes the requests that would go to `service`."""

    service: ServiceHost
    fork: ServiceHost


@dataclass(frozen=True, order=True)
class Tenant:
    """A routing key and the forks that take the tenant's requests, at most one for each Service, sorted."""

    key: str
    stand_ins: tuple[StandIn, ...]

    def fork_of(self, service: ServiceHost) -> ServiceHost | None:
        """What stands in for `service` for this tenant; None when requests to it stay as they are."""
        return next((item.fork for item in self.stand_ins if item.service == service), None)


class Dialect(Protocol):
    """What the algorithm must know about rules of one mesh; no method changes its argument."""

    def leads_to_fork(self, rule: Rule, tenant: Tenant) -> bool:
        """Whether a request that matches the rule may arrive at a Service that the tenant has forked."""
        ...

    def matches_everything(self, rule: Rule) -> bool:
        """Whether no request passes the rule by, so that those after it are never tried."""
        ...

    def for_tenant(self, rule: Rule, tenant: Tenant) -> Rule:
        """The rule for this tenant's requests alone, with the forks in place of the Services they stand in for."""
        ...

    def for_nobody(self, rule: Rule) -> Rule | None:
        """The rule for requests that name no tenant at all; None where the dialect cannot say so."""
        ...


def tenant_rules(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
    """The rules to try before `rules`, so that the tenant meets its forks and nothing else changes.

    Rules that lead elsewhere are cloned too where they come before one that leads to a forked Service: they must go on
    winning over it. After the last rule that can reach one a clone would only repeat the original. Empty when none can.
    """
    return [dialect.for_tenant(rule, tenant) for rule in _up_to_the_last_fork(rules, tenant, dialect)]


def guard_rules(rules: Sequence[Rule], dialect: Dialect) -> list[Rule]:
    """`rules` for requests that name no tenant, to be tried before all else.

    They spare other people's requests the walk through the tenants' rules. Empty where the dialect cannot say "no
    tenant" for every rule: with a rule left out, a later one would win.
    """
    guards = []
    for rule in rules:
        guard = dialect.for_nobody(rule)
        if guard is None:
            return []
        guards.append(guard)
        if dialect.matches_everything(rule):
            break
    return guards


def _up_to_the_last_fork(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
    tried: list[Rule] = []
    last = 0
    for rule in rules:
        tried.append(rule)
        if dialect.leads_to_fork(rule, tenant):
            last = len(tried)
        if dialect.matches_everything(rule):
            break
    return tried[:last]
