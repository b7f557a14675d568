"""The clone algorithm at Traefik: a tenant's request is decided as anybody's, with forks for what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.port import INGRESS_ROUTES, Object
from sidestream.routing import table as table_module
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.headers import any_tenant_matches
from sidestream.routing.providers import (
    ingressroute_match,
    ingressroute_render,
    ingressroute_rules,
    ingressroute_scope,
    ingressroute_services,
    ingressroute_user,
    ingressroute_view,
)
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.ingressroute_rules import IngressRouteDialect
from sidestream.routing.providers.ingressroute_services import Backends
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import Rule, Tenant
from unit.routing.examples import LOOK
from unit.routing.istio_things import Objects, tenant
from unit.routing.traefik_model import Decision, Request, anonymous, decide, with_forks
from unit.routing.traefik_things import (
    HEADERS_OF_ALICE,
    HEADERS_OF_OTHERS,
    ingress_route,
    modes,
    requests,
    requests_at_web,
    route,
    users,
)

ALICE = tenant("alice", "orders", "inventory")
BOB = tenant("bob", "orders")
FORKS = {f"shop/{name}": f"shop/{name}-alice" for name in ("orders", "inventory")}
NOBODY: frozenset[str] = frozenset()

downs = st.sampled_from([NOBODY, {"shop/orders-alice"}, {"shop/lonely"}, {"shop/lonely", "shop/inventory-alice"}]).map(
    frozenset
)


def rendered(objects: list[Object], tenants: list[Tenant], mode: HeaderMode, *, only: str = "") -> list[Object]:
    """Our objects for all IngressRoutes, or for the one of this name in namespace `shop`."""
    provider = IngressRouteProvider(HeaderSettings(mode=mode))
    cluster = Objects(*objects)
    parts: list[Part] = []
    for obj in cluster.all(INGRESS_ROUTES):
        metadata = obj["metadata"]
        if obj["spec"]["routes"] and only in ("", metadata["name"]):
            entry = provider.entry(EntryKey(EntryKind.INGRESS_ROUTE, metadata["namespace"], metadata["name"]), cluster)
            assert entry is not None
            parts += provider.render(entry, sorted(tenants), cluster).parts
    return [part.obj for part in parts]


def check(
    objects: list[Object],
    request: Request,
    mode: HeaderMode,
    named: int,
    *,
    crowd: int = 0,
    only: str = "",
    down: frozenset[str] = NOBODY,
) -> None:
    """Alice meets her forks, everybody else what they met before; `crowd` more tenants stand in the way."""
    others = [tenant(f"t{number}", "orders") for number in range(crowd)]
    everything = [*objects, *rendered(objects, [ALICE, BOB, *others], mode, only=only)]

    tagged = request.with_headers(HEADERS_OF_ALICE[mode][named % len(HEADERS_OF_ALICE[mode])])
    deserved = {_deserved(item, only, down) for item in decide(objects, tagged, down)}
    assert {anonymous(item) for item in decide(everything, tagged, down)} <= deserved
    for headers in HEADERS_OF_OTHERS:
        other = request.with_headers(headers)
        if mode is HeaderMode.BAGGAGE or ("x-tenant-id", "alice") not in other.headers:
            before = {anonymous(item) for item in decide(objects, other, down)}
            assert {anonymous(item) for item in decide(everything, other, down)} <= before


def _deserved(decision: Decision, only: str, down: frozenset[str]) -> Decision:
    is_ours = decision.owner == f"shop/{only}" if only else not decision.owner.startswith("Ingress ")
    return anonymous(with_forks(decision, FORKS, down) if is_ours else decision)


@LOOK
@given(objects=users(), request=requests, mode=modes, named=st.integers(0, 2), down=downs)
def test_a_tenant_is_decided_as_anybody_with_the_forks_for_what_they_stand_in_for(
    objects: list[Object], request: Request, mode: HeaderMode, named: int, down: frozenset[str]
) -> None:
    # where a rule of another IngressRoute has no pods, what it excludes in ours stays on the baseline: a known limit
    check(objects, request, mode, named, down=down, only="web" if "shop/lonely" in down else "")


@settings(LOOK, max_examples=max(LOOK.max_examples // 4, 100))
@given(objects=users(), request=requests, mode=modes, named=st.integers(0, 2))
def test_so_it_is_with_the_guard_for_many_tenants(
    objects: list[Object], request: Request, mode: HeaderMode, named: int
) -> None:
    check(objects, request, mode, named, crowd=ingressroute_render.GUARDED_FROM)


@settings(LOOK, max_examples=max(LOOK.max_examples // 4, 100))
@given(objects=users(), request=requests, mode=modes, named=st.integers(0, 2))
def test_so_it_is_while_other_ingress_routes_have_no_rules_of_ours_yet(
    objects: list[Object], request: Request, mode: HeaderMode, named: int
) -> None:
    check(objects, request, mode, named, only="web")


@settings(LOOK, max_examples=100)
@given(objects=users(), mode=modes)
def test_what_is_rendered_from_is_left_as_it_was(objects: list[Object], mode: HeaderMode) -> None:
    before = repr(objects)
    rendered(objects, [ALICE], mode)
    assert repr(objects) == before


# --- the property sees every way to get it wrong

Patch = Callable[[pytest.MonkeyPatch], None]


def _stop_at_the_first(patch: pytest.MonkeyPatch) -> None:
    def first_only(rules: list[Rule], of: Tenant, dialect: table_module.Dialect) -> list[Rule]:
        return [rule for rule in rules if dialect.leads_to_fork(rule, of)][:1]

    patch.setattr(table_module, "_up_to_the_last_fork", first_only)


def _skip_what_leads_elsewhere(patch: pytest.MonkeyPatch) -> None:
    real = IngressRouteDialect.for_tenant

    def skipping(self: IngressRouteDialect, rule: Rule, of: Tenant) -> Rule:
        clone = real(self, rule, of)
        return clone if self.leads_to_fork(rule, of) else {**clone, "priority": 1}

    patch.setattr(IngressRouteDialect, "for_tenant", skipping)


def _below_the_users_rules(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_rules, "FOR_TENANTS", -1_000_000)


def _all_at_one_priority(patch: pytest.MonkeyPatch) -> None:
    real = IngressRouteDialect.for_tenant
    patch.setattr(
        IngressRouteDialect, "for_tenant", lambda self, rule, of: {**real(self, rule, of), "priority": 1_000_000_000}
    )


def _ignore_other_ingress_routes(patch: pytest.MonkeyPatch) -> None:
    real = ingressroute_user._portable
    patch.setattr(ingressroute_user, "_portable", lambda rule, _before: real(rule, ()))


def _give_way_to_all_other_ingress_routes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_view.UserRule, "comes_before", lambda self, other: self.scope.overlaps(other.scope))


def _overlook_ingresses(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_user, "ingresses_beside", lambda _own, _cluster: ())


def _take_rules_for_apart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_scope.PathSet, "met_with", lambda self, other: self if self == other else None)


def _take_all_priorities_for_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_view, "effective_priority", lambda raw: raw.get("priority") or 30)


def _ask_for_no_header(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(IngressRouteDialect, "_names_tenant", lambda _self, of: f"!Header(`x`, `{of.key}`)")


def _leave_brackets_out(patch: pytest.MonkeyPatch) -> None:
    real = IngressRouteDialect.for_tenant

    def bare(self: IngressRouteDialect, rule: Rule, of: Tenant) -> Rule:
        return {**real(self, rule, of), "match": f"{self._names_tenant(of)} && {rule['match']}"}

    patch.setattr(IngressRouteDialect, "for_tenant", bare)


def _search_anywhere(patch: pytest.MonkeyPatch) -> None:
    real = ingressroute_rules._header
    patch.setattr(ingressroute_rules, "_header", lambda match: real(match).replace("`^", "`").replace("$`", "`"))


def _merge_unlike_services(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_services, "_without_weight", lambda item: item["name"])


def _overlook_namespaces(patch: pytest.MonkeyPatch) -> None:
    real = ingressroute_services._place
    patch.setattr(ingressroute_services, "_place", lambda item, home: real({**item, "namespace": None}, home))


def _keep_mirroring(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_services, "_MIRRORING_ONLY", ())


def _look_into_no_traefik_service(patch: pytest.MonkeyPatch) -> None:
    real = Backends.reached

    def shallow(self: Backends, item: dict[str, Any], home: str, *rest: Any) -> Any:
        return iter(()) if item.get("kind") == "TraefikService" else real(self, item, home, *rest)

    patch.setattr(Backends, "reached", shallow)


def _fork_what_has_no_weight(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        ingressroute_services._Swap,
        "all",
        lambda self, items, home: ingressroute_services._merged([self(item, home) for item in items]),
    )


def _let_requests_fall(patch: pytest.MonkeyPatch) -> None:
    real = IngressRouteDialect.for_want_of_it
    patch.setattr(
        IngressRouteDialect,
        "for_want_of_it",
        lambda self, rule, of, middleware: {**real(self, rule, of, middleware), "priority": 1},
    )


def _write_both_rules_alike(patch: pytest.MonkeyPatch) -> None:
    real = IngressRouteDialect.for_want_of_it

    def alike(self: IngressRouteDialect, rule: Rule, of: Tenant, middleware: str) -> Rule:
        return {**real(self, rule, of, middleware), "match": self.for_tenant(rule, of)["match"]}

    patch.setattr(IngressRouteDialect, "for_want_of_it", alike)


def _guard_only_the_last(patch: pytest.MonkeyPatch) -> None:
    real = table_module.guard_rules
    patch.setattr(ingressroute_render, "guard_rules", lambda rules, dialect: real(rules, dialect)[-1:])


def _guard_by_one_header_of_two(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingressroute_rules, "any_tenant_matches", lambda header: any_tenant_matches(header)[:1])


def _print_without_brackets(patch: pytest.MonkeyPatch) -> None:
    real = ingressroute_match.printed

    def bare(match: ingressroute_match.Match) -> str:
        text = real(match)
        return text.replace("(", "", 1).replace(")", "", 1) if isinstance(match, ingressroute_match.Or) else text

    def printed(match: ingressroute_match.Match) -> str:
        match match:
            case ingressroute_match.Or(left, right):
                return f"{printed(left)} || {printed(right)}"
            case ingressroute_match.And(left, right):
                return f"{printed(left)} && {printed(right)}"
            case _:
                return bare(match)

    patch.setattr(ingressroute_match, "printed", printed)


MUTANTS: dict[str, Patch] = {
    "only the first rule to a fork is cloned": _stop_at_the_first,
    "rules that lead elsewhere are not cloned": _skip_what_leads_elsewhere,
    "tenants' rules are below the users'": _below_the_users_rules,
    "tenants' rules are all of one priority": _all_at_one_priority,
    "other IngressRoutes are not given way to": _ignore_other_ingress_routes,
    "other IngressRoutes are given way to always": _give_way_to_all_other_ingress_routes,
    "Ingresses are not given way to": _overlook_ingresses,
    "rules that meet are taken for apart": _take_rules_for_apart,
    "the length of a rule says nothing": _take_all_priorities_for_one,
    "the header is not asked for": _ask_for_no_header,
    "the user's rule is not in brackets": _leave_brackets_out,
    "the pattern is searched for anywhere": _search_anywhere,
    "services that differ are merged": _merge_unlike_services,
    "another namespace's Service is taken for the baseline": _overlook_namespaces,
    "requests to forks are mirrored": _keep_mirroring,
    "TraefikServices are not looked into": _look_into_no_traefik_service,
    "a fork of weight 0 breaks a rule": _fork_what_has_no_weight,
    "a fork without pods lets requests fall": _let_requests_fall,
    "two rules of ours have one text": _write_both_rules_alike,
    "the guard leaves rules out": _guard_only_the_last,
    "the guard asks for one header of two": _guard_by_one_header_of_two,
    "an excluded rule is not in brackets": _print_without_brackets,
}


PATHS_THAT_MEET: list[Object] = [
    ingress_route("web", route("PathPrefix(`/api`)", "orders", priority=1)),
    ingress_route("rival", route("Path(`/api`)", "rival", priority=40)),
]
"""Of all mistakes the one with these is seen by chance only once in thousands."""


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_property_catches_an_algorithm_in_which(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    ingressroute_render._shelf.cache_clear()
    mutant(monkeypatch)

    @settings(
        LOOK,
        max_examples=5000,
        phases=[Phase.explicit, Phase.generate],
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
    )
    @example(objects=PATHS_THAT_MEET, request=Request("/api"), mode=HeaderMode.BAGGAGE, named=0, down=NOBODY, crowd=0)
    @given(
        objects=users(),
        request=requests_at_web,
        mode=modes,
        named=st.integers(0, 2),
        down=downs,
        crowd=st.sampled_from([0, ingressroute_render.GUARDED_FROM]),
    )
    def look(
        objects: list[Object], request: Request, mode: HeaderMode, *, named: int, down: frozenset[str], crowd: int
    ) -> None:
        only = "web" if "shop/lonely" in down else ""
        check(objects, request, mode, named, down=down, crowd=crowd, only=only)

    try:
        with pytest.raises(AssertionError):
            look()
    finally:
        ingressroute_render._shelf.cache_clear()
