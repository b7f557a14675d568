"""The clone algorithm: a tenant's request is decided as anybody's, with the fork for the baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.routing import table as table_module
from sidestream.routing.headers import any_tenant_matches
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers import virtualservice, virtualservice_rules
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.providers.virtualservice_rules import VirtualServiceDialect
from sidestream.routing.table import RouteTable, Rule, Tenant
from unit.routing.istio_model import BASELINE_SPELLINGS, Request, decide, with_baseline_swapped
from unit.routing.things import ORDERS, to

ALICE = Tenant("alice", ServiceHost("shop", "orders-alice"))
BOB = Tenant("bob", ServiceHost("shop", "orders-bob"))

HEADERS_OF_ALICE = {
    HeaderMode.BAGGAGE: [{"baggage": "tenant=alice"}, {"baggage": "a=b, tenant = alice;p=1"}],
    HeaderMode.EXACT: [{"x-tenant-id": "alice"}],
    HeaderMode.BOTH: [{"baggage": "a=b,tenant=alice"}, {"x-tenant-id": "alice"}],
}
HEADERS_OF_OTHERS: list[dict[str, str]] = [
    {},
    {"baggage": "a=b"},
    {"baggage": "tenant=carol"},
    {"x-tenant-id": "carol"},
]

# --- what users write

hosts = st.sampled_from([*sorted(BASELINE_SPELLINGS), "orders.billing", "inventory", "api.example.com"])
destinations = st.fixed_dictionaries(
    {"host": hosts},
    optional={"port": st.sampled_from([{"number": 80}, {"number": 81}]), "subset": st.sampled_from(["v1", "v2"])},
)
plain_routes = st.fixed_dictionaries(
    {"destination": destinations}, optional={"headers": st.just({"request": {"set": {"x-variant": "b"}}})}
)


def _weighted(routes: list[dict[str, Any]], weights: list[int]) -> list[dict[str, Any]]:
    if len(routes) == 1:
        return routes
    # the API server refuses routes that have no weight at all
    weights = weights if any(weights[: len(routes)]) else [1, *weights[1:]]
    return [{**route, "weight": weight} for route, weight in zip(routes, weights, strict=False)]


weights = st.lists(st.sampled_from([0, 10, 50, 90]), min_size=3, max_size=3)
routes = st.builds(_weighted, st.lists(plain_routes, min_size=1, max_size=3), weights)
strings = st.sampled_from([{"exact": "/api"}, {"prefix": "/"}, {"prefix": "/a"}, {"regex": "/[ab].*"}])
matches = st.fixed_dictionaries(
    {},
    optional={
        "uri": strings,
        "method": st.sampled_from([{"exact": "GET"}, {"exact": "POST"}]),
        "port": st.sampled_from([80, 81]),
        "headers": st.just({"x-beta": {"exact": "1"}}),
        "withoutHeaders": st.sampled_from([{"x-beta": {"exact": "1"}}, {"baggage": {"regex": ".*debug=1.*"}}]),
    },
)
extras: dict[str, st.SearchStrategy[Any]] = {
    "match": st.lists(matches, max_size=2),
    "timeout": st.just("3s"),
    "retries": st.just({"attempts": 2}),
    "headers": st.just({"response": {"add": {"x-a": "b"}}}),
    "fault": st.just({"abort": {"httpStatus": 500, "percentage": {"value": 10}}}),
    "mirror": st.just({"host": "orders-shadow"}),
    "mirrors": st.just([{"destination": {"host": "orders-shadow"}}]),
    "mirrorPercentage": st.just({"value": 5}),
    "aFieldOfTheFuture": st.just({"deep": [1]}),
}
forwarding = st.fixed_dictionaries({"route": routes}, optional={**extras, "rewrite": st.just({"uri": "/b"})})
answering = st.fixed_dictionaries(
    {"directResponse": st.just({"status": 410})}, optional={"match": st.lists(matches, max_size=2)}
)
rules_of_users = st.lists(st.one_of(forwarding, forwarding, answering), min_size=1, max_size=5)

requests = st.builds(
    Request,
    path=st.sampled_from(["/", "/api", "/a/1", "/b"]),
    method=st.sampled_from(["GET", "POST"]),
    port=st.sampled_from([80, 81]),
    headers=st.sampled_from([{}, {"x-beta": "1"}]),
)
modes = st.sampled_from(list(HeaderMode))


# --- the property


def rendered(rules: list[Rule], tenants: list[Tenant], mode: HeaderMode) -> list[Rule]:
    """The rules of our VirtualService; the user's own when none of theirs leads to the baseline."""
    table = RouteTable(ORDERS, (80, 81), tuple(rules), tuple(sorted(tenants)), "shop/orders")
    result = VirtualServiceProvider(HeaderSettings(mode=mode)).render(table, ["shop"])
    if result is None:
        return rules
    http: list[Rule] = result.obj["spec"]["http"]
    return http


def check(rules: list[Rule], request: Request, mode: HeaderMode, named: int, *, crowd: int) -> None:
    """Alice meets her fork, everybody else what they met before; `crowd` more tenants stand in the way."""
    others = [Tenant(f"t{number}", ServiceHost("shop", f"orders-t{number}")) for number in range(crowd)]
    http = rendered(rules, [ALICE, BOB, *others], mode)
    untagged = decide(rules, request)

    of_alice = HEADERS_OF_ALICE[mode][named % len(HEADERS_OF_ALICE[mode])]
    tagged = request.with_headers(of_alice)
    expected = with_baseline_swapped(decide(rules, tagged), ALICE.fork.fqdn)
    assert decide(http, tagged) == expected
    for headers in HEADERS_OF_OTHERS:
        other = request.with_headers(headers)
        assert decide(http, other) == decide(rules, other)
    assert decide(http, request) == untagged


LOOK = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LOOK
@given(rules=rules_of_users, request=requests, mode=modes, named=st.integers(0, 1))
def test_a_tenant_is_decided_as_anybody_with_the_fork_for_the_baseline(
    rules: list[Rule], request: Request, mode: HeaderMode, named: int
) -> None:
    check(rules, request, mode, named, crowd=0)


@settings(LOOK, max_examples=150)
@given(rules=rules_of_users, request=requests, mode=modes, named=st.integers(0, 1))
def test_so_it_is_with_the_guard_for_many_tenants(
    rules: list[Rule], request: Request, mode: HeaderMode, named: int
) -> None:
    check(rules, request, mode, named, crowd=virtualservice.GUARDED_FROM)


@settings(LOOK, max_examples=100)
@given(rules=rules_of_users, mode=modes)
def test_what_is_rendered_from_is_left_as_it_was(rules: list[Rule], mode: HeaderMode) -> None:
    before = repr(rules)
    rendered(rules, [ALICE], mode)
    assert repr(rules) == before


# --- the property sees every way to get it wrong

Patch = Callable[[pytest.MonkeyPatch], None]


def _stop_at_the_first(patch: pytest.MonkeyPatch) -> None:
    def first_only(table: RouteTable, dialect: table_module.Dialect) -> list[Rule]:
        return [rule for rule in table.rules if dialect.can_reach(rule, table.service)][:1]

    patch.setattr(table_module, "_up_to_the_service", first_only)


def _skip_what_leads_elsewhere(patch: pytest.MonkeyPatch) -> None:
    def to_the_baseline_only(table: RouteTable, dialect: table_module.Dialect) -> list[Rule]:
        return [rule for rule in table.rules if dialect.can_reach(rule, table.service)]

    patch.setattr(table_module, "_up_to_the_service", to_the_baseline_only)


def _clone_only_the_first_alternative(patch: pytest.MonkeyPatch) -> None:
    real = VirtualServiceDialect.for_tenant

    def partly(self: VirtualServiceDialect, rule: Rule, service: ServiceHost, tenant: Tenant) -> Rule:
        return {**real(self, {**rule, "match": rule.get("match", [])[:1]}, service, tenant)}

    patch.setattr(VirtualServiceDialect, "for_tenant", partly)


def _keep_the_trials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "_TRIALS", ())


def _drop_other_backends(patch: pytest.MonkeyPatch) -> None:
    def all_to_the_fork(_: VirtualServiceDialect, __: Rule, ___: ServiceHost, tenant: Tenant) -> list[Any]:
        return [to(tenant.fork.fqdn)]

    patch.setattr(VirtualServiceDialect, "_forked", all_to_the_fork)


def _merge_unlike_routes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "_without_weight", lambda route: route["destination"]["host"])


def _know_only_the_full_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ServiceHost, "is_named_by", lambda self, host, _namespace: host == self.fqdn)


def _know_the_name_of_any_namespace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ServiceHost, "is_named_by", lambda self, host, _namespace: host.split(".")[0] == self.name)


def _tenants_after_the_users_rules(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice, "tenant_rules", lambda _table, _dialect: [])


def _tagged_as_untagged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "_narrowed", lambda rule, _: rule.get("match", []))


def _guard_only_what_can_be_guarded(patch: pytest.MonkeyPatch) -> None:
    def with_gaps(table: RouteTable, dialect: table_module.Dialect) -> list[Rule]:
        return [guard for rule in table.rules if (guard := dialect.for_nobody(rule)) is not None]

    patch.setattr(virtualservice, "guard_rules", with_gaps)


def _guard_by_one_header_of_two(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "any_tenant_matches", lambda header: any_tenant_matches(header)[:1])


MUTANTS: dict[str, Patch] = {
    "only the first rule to the baseline is cloned": _stop_at_the_first,
    "rules that lead elsewhere are not cloned": _skip_what_leads_elsewhere,
    "only the first alternative is cloned": _clone_only_the_first_alternative,
    "fault and mirror are kept": _keep_the_trials,
    "other backends are dropped": _drop_other_backends,
    "routes that differ are merged": _merge_unlike_routes,
    "short names are not recognised": _know_only_the_full_name,
    "another namespace's Service is taken for the baseline": _know_the_name_of_any_namespace,
    "tenants are not routed": _tenants_after_the_users_rules,
    "the header is not asked for": _tagged_as_untagged,
    "the guard leaves rules out": _guard_only_what_can_be_guarded,
    "the guard asks for one header of two": _guard_by_one_header_of_two,
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_property_catches_an_algorithm_in_which(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)

    @settings(
        LOOK, max_examples=2000, phases=[Phase.generate], database=None, derandomize=True, report_multiple_bugs=False
    )
    @given(rules=rules_of_users, request=requests, mode=modes, named=st.integers(0, 1), crowd=st.sampled_from([0, 20]))
    def look(rules: list[Rule], request: Request, mode: HeaderMode, named: int, crowd: int) -> None:
        check(rules, request, mode, named, crowd=crowd)

    with pytest.raises(AssertionError):
        look()
