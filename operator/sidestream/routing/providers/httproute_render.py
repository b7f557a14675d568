"""The objects of one group of rules: the guard, and each tenant's routes with the probe in front."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from sidestream.api.labels import ROUTING_KEY
from sidestream.config import HeaderSettings
from sidestream.routing.entries import EntryKey
from sidestream.routing.headers import tenant_matches
from sidestream.routing.ownership import marked, own_name
from sidestream.routing.providers.httproute_answers import with_probe
from sidestream.routing.providers.httproute_groups import Group, conflict
from sidestream.routing.providers.httproute_precedence import Condition, Precedence, conditions
from sidestream.routing.providers.httproute_rules import MAX_HEADERS, RouteDialect
from sidestream.routing.providers.httproute_shards import Piece, sharded
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import Rule, Tenant

GUARD, TENANTS = 0, 1
"""Stages: requests without a tenant must have their rule before tenants' routes replace what is implicit."""


class GroupRenderer:
    """Renders what joins one group; what it finds out about the group's rules serves all tenants."""

    def __init__(self, group: Group, key: EntryKey, header: HeaderSettings, domain: str) -> None:
        self._group = group
        self._key = key
        self._header = header
        self._dialect = RouteDialect(header, group.namespace, domain)
        self._conditions = conditions(
            [item.rule for item in group.rules], is_grpc=[item.is_grpc for item in group.rules]
        )
        self._closures: dict[tuple[int, ...], list[int]] = {}

    def guard(self) -> tuple[Part, ...]:
        """The object that keeps requests without a tenant on the Service; none where users have rules for them."""
        if self._group.guard is None:
            return ()
        return (self._part(own_name(self._group.stem), [self._group.guard], GUARD, key=None),)

    def of_tenant(self, tenant: Tenant, *, stage: int) -> tuple[Part, ...]:
        """The tenant's objects; none where no rule leads to a fork of theirs.

        Raises:
            InvalidInputError: they would be over the API server's limits, or change what others' rules decide.
        """
        copied = [self._conditions[index] for index in self._closure(self._seeds(tenant))]
        by_rule: dict[int, list[Condition]] = {}
        for item in copied:
            by_rule.setdefault(item.rule, []).append(item)
        pieces = [piece for place, items in by_rule.items() for piece in self._pieces(place, items, tenant)]
        stage = TENANTS if self._group.guard is not None else stage
        return tuple(
            self._part(own_name(f"{self._group.stem}.{tenant.key}.{number}"), rules, stage, key=tenant.key)
            for number, rules in enumerate(sharded(pieces, copied, is_weighted=self._group.is_weighted))
        )

    def _seeds(self, tenant: Tenant) -> tuple[int, ...]:
        """The places of the conditions of the entry's own rules that lead to a fork."""
        rules = self._group.rules
        leading = {
            place for place, item in enumerate(rules) if item.is_seed and self._dialect.leads_to_fork(item.rule, tenant)
        }
        if leading and self._group.is_weighted:
            # Traefik's numbers depend on a rule's place among all of its route
            leading = {place for place, item in enumerate(rules) if item.is_seed}
        return tuple(index for index, item in enumerate(self._conditions) if item.rule in leading)

    def _closure(self, seeds: tuple[int, ...]) -> list[int]:
        if seeds not in self._closures:
            self._closures[seeds] = self._checked(self._precedence.closure(seeds), seeds)
        return self._closures[seeds]

    @cached_property
    def _precedence(self) -> Precedence:
        return Precedence(self._conditions, is_weighted=self._group.is_weighted)

    def _checked(self, closure: list[int], seeds: Sequence[int]) -> list[int]:
        rules = self._group.rules
        names = {match.name for match in tenant_matches(self._header, "any")}
        for index in closure:
            item = self._conditions[index]
            origin = rules[item.rule].origin
            if rules[item.rule].is_foreign:
                raise conflict(
                    f"{origin} is for some of the requests of {rules[self._conditions[seeds[0]].rule].origin} and may "
                    "take precedence over it, which a tenant's rules would change; put both in one route"
                )
            if item.headers + 1 > MAX_HEADERS:
                raise conflict(
                    f"{origin} has a match with {item.headers} headers; with the tenant's it would have more than the "
                    f"{MAX_HEADERS} that the API server takes"
                )
            for header in item.match.get("headers") or ():
                if header["name"].lower() in names:
                    raise conflict(
                        f"{origin} matches on header {header['name']}, which names the tenants; match on another header"
                    )
        return closure

    def _pieces(self, place: int, items: Sequence[Condition], tenant: Tenant) -> list[Piece]:
        user = self._group.rules[place]
        matches = [item.match for item in items]
        return [Piece(place, rule, user.origin) for rule in self._dialect.for_tenant(user.rule, matches, tenant)]

    def _part(self, name: str, rules: Sequence[Rule], stage: int, *, key: str | None) -> Part:
        group = self._group
        ports = None if group.port is None else frozenset({group.port})
        spec, probe = with_probe(group, name, {**group.attachment, "rules": list(rules)}, ports)
        labels = {} if key is None else {ROUTING_KEY: key}
        obj = marked(group.resource, self._key, group.namespace, name, spec, labels=labels)
        return Part(group.resource, obj, probe, frozenset() if key is None else frozenset({key}), stage)
