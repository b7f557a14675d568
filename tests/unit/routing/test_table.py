"""The clone algorithm: a tenant's request is decided as anybody's, with its forks for the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.routing import table as table_module
from sidestream.routing.headers import any_tenant_matches
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers import virtualservice, virtualservice_rules
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.providers.virtualservice_rules import VirtualServiceDialect
from sidestream.routing.table import Dialect, Rule, Tenant
from unit.routing.examples import EXAMPLES, LOOK
from unit.routing.istio_model import Request, decide, with_forks
from unit.routing.istio_strategies import (
    HEADERS_OF_ALICE,
    HEADERS_OF_OTHERS,
    forked,
    modes,
    requests,
    rules_of_users,
)
from unit.routing.istio_things import host, mesh_entry, shop, tenant
from unit.routing.things import to

BOB = tenant("bob", "orders", "inventory")

# --- the property


def rendered(rules: list[Rule], tenants: list[Tenant], mode: HeaderMode) -> list[Rule]:
    """The rules of our VirtualService; the user's own when none of theirs leads to a fork."""
    provider = VirtualServiceProvider(HeaderSettings(mode=mode))
    parts = provider.render(mesh_entry(*rules), sorted(tenants), shop()).parts
    if not parts:
        return rules
    http: list[Rule] = parts[0].obj["spec"]["http"]
    return http


def check(
    rules: list[Rule], request: Request, mode: HeaderMode, named: int, forked: Sequence[str], *, crowd: int
) -> None:
    """Alice meets her forks, everybody else what they met before; `crowd` more tenants stand in the way."""
    others = [tenant(f"t{number}") for number in range(crowd)]
    http = rendered(rules, [tenant("alice", *forked), BOB, *others], mode)
    untagged = decide(rules, request)

    of_alice = HEADERS_OF_ALICE[mode][named % len(HEADERS_OF_ALICE[mode])]
    tagged = request.with_headers(of_alice)
    expected = with_forks(decide(rules, tagged), {name: host(f"{name}-alice").fqdn for name in forked})
    assert decide(http, tagged) == expected
    for headers in HEADERS_OF_OTHERS:
        other = request.with_headers(headers)
        assert decide(http, other) == decide(rules, other)
    assert decide(http, request) == untagged


@LOOK
@given(rules=rules_of_users, request=requests, mode=modes, named=st.integers(0, 1), forked=forked)
def test_a_tenant_is_decided_as_anybody_with_its_forks_for_the_baselines(
    rules: list[Rule], request: Request, mode: HeaderMode, named: int, forked: Sequence[str]
) -> None:
    check(rules, request, mode, named, forked, crowd=0)


@settings(LOOK, max_examples=max(1, EXAMPLES // 4))
@given(rules=rules_of_users, request=requests, mode=modes, named=st.integers(0, 1), forked=forked)
def test_so_it_is_with_the_guard_for_many_tenants(
    rules: list[Rule], request: Request, mode: HeaderMode, named: int, forked: Sequence[str]
) -> None:
    check(rules, request, mode, named, forked, crowd=virtualservice.GUARDED_FROM)


@settings(LOOK, max_examples=100)
@given(rules=rules_of_users, mode=modes)
def test_what_is_rendered_from_is_left_as_it_was(rules: list[Rule], mode: HeaderMode) -> None:
    before = repr(rules)
    rendered(rules, [tenant("alice")], mode)
    assert repr(rules) == before


# --- the property sees every way to get it wrong

Patch = Callable[[pytest.MonkeyPatch], None]


def _stop_at_the_first(patch: pytest.MonkeyPatch) -> None:
    def first_only(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
        return [rule for rule in rules if dialect.leads_to_fork(rule, tenant)][:1]

    patch.setattr(table_module, "_up_to_the_last_fork", first_only)


def _skip_what_leads_elsewhere(patch: pytest.MonkeyPatch) -> None:
    def to_forks_only(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
        return [rule for rule in rules if dialect.leads_to_fork(rule, tenant)]

    patch.setattr(table_module, "_up_to_the_last_fork", to_forks_only)


def _clone_only_the_first_alternative(patch: pytest.MonkeyPatch) -> None:
    real = VirtualServiceDialect.for_tenant

    def partly(self: VirtualServiceDialect, rule: Rule, tenant: Tenant) -> Rule:
        return {**real(self, {**rule, "match": rule.get("match", [])[:1]}, tenant)}

    patch.setattr(VirtualServiceDialect, "for_tenant", partly)


def _fork_only_the_first_service(patch: pytest.MonkeyPatch) -> None:
    def first_only(self: Tenant, service: ServiceHost) -> ServiceHost | None:
        first = self.stand_ins[0]
        return first.fork if first.service == service else None

    patch.setattr(Tenant, "fork_of", first_only)


def _keep_the_trials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "_TRIALS", ())


def _drop_other_backends(patch: pytest.MonkeyPatch) -> None:
    def all_to_the_fork(_: VirtualServiceDialect, __: Rule, tenant: Tenant) -> list[Any]:
        return [to(tenant.stand_ins[0].fork.fqdn)]

    patch.setattr(VirtualServiceDialect, "_forked", all_to_the_fork)


def _merge_unlike_routes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "_without_weight", lambda route: route["destination"]["host"])


def _know_only_the_full_name(patch: pytest.MonkeyPatch) -> None:
    real = virtualservice_rules.service_at

    def full_only(name: str, namespace: str, domain: str) -> ServiceHost | None:
        return real(name, namespace, domain) if name.endswith(domain) else None

    patch.setattr(virtualservice_rules, "service_at", full_only)


def _know_the_name_of_any_namespace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        virtualservice_rules, "service_at", lambda name, namespace, _: ServiceHost(namespace, name.split(".")[0])
    )


def _tenants_after_the_users_rules(patch: pytest.MonkeyPatch) -> None:
    real = table_module.tenant_rules

    def late(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
        return [*rules, *real(rules, tenant, dialect)]

    patch.setattr(virtualservice, "tenant_rules", late)


def _tagged_as_untagged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "narrowed", lambda rule, _: rule.get("match", []))


def _guard_only_what_can_be_guarded(patch: pytest.MonkeyPatch) -> None:
    def with_gaps(rules: Sequence[Rule], dialect: Dialect) -> list[Rule]:
        return [guard for rule in rules if (guard := dialect.for_nobody(rule)) is not None]

    patch.setattr(virtualservice, "guard_rules", with_gaps)


def _guard_by_one_header_of_two(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(virtualservice_rules, "any_tenant_matches", lambda header: any_tenant_matches(header)[:1])


MUTANTS: dict[str, Patch] = {
    "only the first rule to a fork is cloned": _stop_at_the_first,
    "rules that lead elsewhere are not cloned": _skip_what_leads_elsewhere,
    "only the first alternative is cloned": _clone_only_the_first_alternative,
    "one fork of several is used": _fork_only_the_first_service,
    "fault and mirror are kept": _keep_the_trials,
    "other backends are dropped": _drop_other_backends,
    "routes that differ are merged": _merge_unlike_routes,
    "short names are not recognised": _know_only_the_full_name,
    "another namespace's Service is taken for the baseline": _know_the_name_of_any_namespace,
    "tenants come after the users' rules": _tenants_after_the_users_rules,
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
    @given(
        rules=rules_of_users,
        request=requests,
        mode=modes,
        named=st.integers(0, 1),
        forked=forked,
        crowd=st.sampled_from([0, 20]),
    )
    def look(
        rules: list[Rule], request: Request, mode: HeaderMode, named: int, *, forked: Sequence[str], crowd: int
    ) -> None:
        check(rules, request, mode, named, forked, crowd=crowd)

    with pytest.raises(AssertionError):
        look()
