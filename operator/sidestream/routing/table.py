"""The route table of one Service, and the clone algorithm that gives each tenant its rules.

Rules are raw JSON in the dialect of one mesh: what this package does not know about them survives. The algorithm knows
no dialect; a provider brings its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sidestream.routing.hosts import ServiceHost

Rule = dict[str, Any]
"""One rule of a mesh object, as its users write it."""


@dataclass(frozen=True, order=True)
class Tenant:
    """A routing key and the fork Service that takes the tenant's requests."""

    key: str
    fork: ServiceHost


@dataclass(frozen=True)
class RouteTable:
    """Everything that decides where requests for one Service go.

    `rules` are the rules without tenants in the order in which proxies try them; a request that none of them matches is
    refused. `tenants` are sorted by key, each key once. `ports` are the Service's HTTP ports. `source` is the user's
    object that the rules were read from (`namespace/name`), None when the user has none.
    """

    service: ServiceHost
    ports: tuple[int, ...]
    rules: tuple[Rule, ...]
    tenants: tuple[Tenant, ...]
    source: str | None = None


class Dialect(Protocol):
    """What the algorithm must know about rules of one mesh; no method changes its argument."""

    def can_reach(self, rule: Rule, service: ServiceHost) -> bool:
        """Whether a request that matches the rule may arrive at `service`."""
        ...

    def matches_everything(self, rule: Rule) -> bool:
        """Whether no request passes the rule by, so that those after it are never tried."""
        ...

    def for_tenant(self, rule: Rule, service: ServiceHost, tenant: Tenant) -> Rule:
        """The rule for this tenant's requests alone, with the fork in place of `service`."""
        ...

    def for_nobody(self, rule: Rule) -> Rule | None:
        """The rule for requests that name no tenant at all; None where the dialect cannot say so."""
        ...


def leads_to_service(table: RouteTable, dialect: Dialect) -> bool:
    """Whether any rule can send a request to the Service; if none can, no tenant would ever see its fork."""
    return bool(_up_to_the_service(table, dialect))


def tenant_rules(table: RouteTable, dialect: Dialect) -> list[Rule]:
    """The rules to try before the table's own, so that tenants meet their forks and nothing else changes.

    Rules that lead elsewhere are cloned too where they come before one that leads to the Service: they must go on
    winning over it. After the last rule that can reach the Service a clone would only repeat the original.
    """
    cloned = _up_to_the_service(table, dialect)
    return [dialect.for_tenant(rule, table.service, tenant) for tenant in table.tenants for rule in cloned]


def guard_rules(table: RouteTable, dialect: Dialect) -> list[Rule]:
    """The table's own rules for requests that name no tenant, to be tried before all else.

    They spare other people's requests the walk through the tenants' rules. Empty where the dialect cannot say "no
    tenant" for every rule: with a rule left out, a later one would win.
    """
    guards = []
    for rule in table.rules:
        guard = dialect.for_nobody(rule)
        if guard is None:
            return []
        guards.append(guard)
        if dialect.matches_everything(rule):
            break
    return guards


def _up_to_the_service(table: RouteTable, dialect: Dialect) -> list[Rule]:
    tried: list[Rule] = []
    last = 0
    for rule in table.rules:
        tried.append(rule)
        if dialect.can_reach(rule, table.service):
            last = len(tried)
        if dialect.matches_everything(rule):
            break
    return tried[:last]
