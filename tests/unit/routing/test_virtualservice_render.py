"""How rules come into objects: several where one is too small, the same again at little cost, and into users' own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import annotated
from sidestream.config import HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import VIRTUAL_SERVICES, Object
from sidestream.routing import table
from sidestream.routing.entries import Mode
from sidestream.routing.proof import PROBE_HEADER
from sidestream.routing.providers import virtualservice, virtualservice_memo, virtualservice_render
from sidestream.routing.providers.provider import Part
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.providers.virtualservice_patch import has_rules, with_rules, without_rules
from sidestream.routing.table import Rule, Tenant
from unit.routing.istio_model import Request, decide
from unit.routing.istio_things import Objects, mesh_entry, shop, tenant
from unit.routing.istiod_model import Proxy, at_sidecar
from unit.routing.things import ORDERS_FQDN, to, virtual_service

DEFAULT = {"route": [to(ORDERS_FQDN)]}
LARGE = {"name": "x" * 300, "match": [{"uri": {"prefix": "/a"}}], "route": [to(ORDERS_FQDN)]}
WEB = Proxy("web")


def tenants(count: int) -> list[Tenant]:
    return [tenant(f"t{number:03}") for number in range(count)]


def render(
    of: Sequence[Tenant], *rules: Rule, mode: Mode = Mode.OVERLAY, provider: VirtualServiceProvider | None = None
) -> tuple[Part, ...]:
    provider = provider or VirtualServiceProvider(HeaderSettings())
    return provider.render(mesh_entry(*(rules or (LARGE, DEFAULT)), mode=mode), of, shop()).parts


def named(parts: Sequence[Part]) -> dict[str, Object]:
    return {part.obj["metadata"]["name"]: part.obj for part in parts}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects hold no more than 8,000 bytes, which are about nine tenants."""
    monkeypatch.setattr(virtualservice_render, "MAX_BYTES", 8_000)


# --- shards


@pytest.mark.usefixtures("small")
def test_what_is_too_large_is_a_root_with_delegates() -> None:
    parts = render(tenants(12))
    assert list(named(parts)) == ["sidestream-orders.2-0", "sidestream-orders.2-1", "sidestream-orders"]
    root = parts[-1]
    assert {part.stage for part in parts} == {0}
    assert root.keys == frozenset().union(*(part.keys for part in parts[:-1])) == {t.key for t in tenants(12)}
    assert [rule.get("delegate", {}).get("name") for rule in root.obj["spec"]["http"]] == [
        None,
        "sidestream-orders.2-0",
        "sidestream-orders.2-1",
        None,
        None,
    ]
    assert set(parts[0].obj["spec"]) == {"exportTo", "http"}
    assert parts[0].obj["spec"]["exportTo"] == ["shop"]


@pytest.mark.usefixtures("small")
def test_divided_rules_are_decided_as_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    divided = [dated(part.obj) for part in render(tenants(12))]
    monkeypatch.setattr(virtualservice_render, "MAX_BYTES", 900_000)
    whole = [dated(part.obj) for part in render(tenants(12))]
    assert len(whole) == 1
    for key in [*(item.key for item in tenants(12)), "nobody"]:
        for path in ("/a", "/b"):
            request = Request(path, headers={"baggage": f"tenant={key}"})
            answers = [decide(at_sidecar(objects, WEB, 80, ORDERS_FQDN), request) for objects in (divided, whole)]
            assert answers[0] == answers[1] is not None


def dated(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "creationTimestamp": "2026-01-01T00:00:00Z"}}


@pytest.mark.usefixtures("small")
def test_one_tenant_more_changes_its_shard_alone() -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    before, after = (render(tenants(count), provider=provider) for count in (12, 13))
    assert [part.name for part in before] == [part.name for part in after]
    changed = [part for part, other in zip(before, after, strict=True) if part.obj is not other.obj]
    assert len([part for part in changed if part.name != "sidestream-orders"]) == 1
    assert before[-1].obj == after[-1].obj


@pytest.mark.usefixtures("small")
def test_every_object_of_a_division_answers_by_its_name() -> None:
    for part in render(tenants(12)):
        assert part.probe is not None
        assert part.probe.name == part.name
        asked = Request(headers={PROBE_HEADER: part.name, "baggage": "tenant=t001"})
        objects = [dated(item.obj) for item in render(tenants(12))]
        answer = decide(at_sidecar(objects, WEB, 80, ORDERS_FQDN), asked)
        assert answer is not None
        assert part.probe.config_hash in answer.rest


@pytest.mark.usefixtures("small")
def test_another_division_has_other_names_so_that_no_root_leads_to_half_of_it() -> None:
    before, after = named(render(tenants(12))), named(render(tenants(30)))
    assert before.keys() & after.keys() == {"sidestream-orders"}


@pytest.mark.parametrize(
    ("mode", "rules", "sentence"),
    [
        (
            Mode.OVERLAY,
            [{**LARGE, "name": "x" * 900}] * 9,
            "The rules of VirtualService shop/orders take over 8000 bytes around those of tenants; shorten them",
        ),
        (
            Mode.BESIDE,
            [{**LARGE, "name": "x" * 900}] * 9,
            "The rules of tenant t000 alone are over 8000 bytes; shorten the user's rules",
        ),
        (
            Mode.DELEGATE,
            [LARGE, DEFAULT],
            "The rules of VirtualService shop/sidestream-orders are over 8000 bytes; delegate less to it",
        ),
    ],
)
@pytest.mark.usefixtures("small")
def test_what_cannot_be_divided_is_refused(mode: Mode, rules: list[Rule], sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        render(tenants(12), *rules, mode=mode)
    assert refused.value.message == sentence


# --- the same again

keys = st.lists(st.sampled_from(["alice", "bob", "carol", "dave"]), unique=True, max_size=4).map(sorted)
rule_lists = st.lists(
    st.fixed_dictionaries(
        {"route": st.sampled_from([[to(ORDERS_FQDN)], [to("inventory")]])}, optional={"name": st.just("a")}
    ),
    min_size=1,
    max_size=3,
)
renderings = st.lists(st.tuples(keys, rule_lists), min_size=1, max_size=6)


@given(renderings=renderings)
def test_what_was_rendered_before_changes_nothing(renderings: list[tuple[list[str], list[Rule]]]) -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    for names, rules in renderings:
        of = [tenant(key) for key in names]
        assert render(of, *rules, provider=provider) == render(of, *rules)


@given(renderings=renderings)
def test_hashes_are_equal_just_when_specs_are(renderings: list[tuple[list[str], list[Rule]]]) -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    seen: dict[str, Any] = {}
    for names, rules in renderings:
        for part in render([tenant(key) for key in names], *rules, provider=provider):
            assert part.probe is not None
            spec = {**part.obj["spec"], "http": part.obj["spec"]["http"][1:]}
            assert seen.setdefault(part.probe.config_hash, spec) == spec
    assert all(spec not in list(seen.values())[:number] for number, spec in enumerate(seen.values()))


def test_a_memo_that_forgets_what_rules_were_made_from_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualservice, "hash_of", lambda *_: "always the same")
    with pytest.raises(AssertionError):
        test_what_was_rendered_before_changes_nothing()


def test_a_tenant_more_of_a_thousand_is_the_only_one_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = table.tenant_rules

    def counting(rules: Sequence[Rule], of: Tenant, dialect: Any) -> list[Rule]:
        made.append(of.key)
        return real(rules, of, dialect)

    provider = VirtualServiceProvider(HeaderSettings())
    render(tenants(999), DEFAULT, provider=provider)
    monkeypatch.setattr(virtualservice, "tenant_rules", counting)
    render(tenants(1000), DEFAULT, provider=provider)
    assert made == ["t999"]


def test_what_has_not_changed_is_the_very_same_object() -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    (before,), (after,) = (render(tenants(3), provider=provider) for _ in range(2))
    assert before is after
    (other,) = render(tenants(4), provider=provider)
    assert other is not before


def test_an_entry_without_tenants_is_forgotten() -> None:
    memo = virtualservice_memo.Memo()
    key = mesh_entry().key
    memo.rules(key, "a", tenants(3), lambda _: [DEFAULT])
    memo.rules(key, "a", [], lambda _: [DEFAULT])
    assert not memo._entries


# --- into users' own

PATCH = {"sidestream.dev/routing": "Patch"}


def patched(live: Object, *of: Tenant) -> tuple[Part, ...]:
    cluster = shop(live)
    provider = VirtualServiceProvider(HeaderSettings())
    entry = provider.entry(mesh_entry().key, cluster)
    assert entry is not None
    return provider.render(entry, of, cluster).parts


def mine(*rules: Rule) -> Object:
    obj = virtual_service("mine", *(rules or ({"name": "all", **DEFAULT},)))
    annotated(PATCH)(obj)
    return obj


def test_ours_are_put_before_the_users_and_nothing_else_differs() -> None:
    (part,) = patched(mine(), tenant("alice"))
    http = part.obj["spec"]["http"]
    assert [rule["name"] for rule in http] == ["sidestream-probe", "sidestream-tenant-alice-all", "all"]
    assert {**part.obj, "spec": {**part.obj["spec"], "http": http[2:]}} == mine()
    assert part.patches == mine()
    assert part.keys == {"alice"}


def test_ours_replace_those_that_were_there() -> None:
    (before,) = patched(mine(), tenant("alice"), tenant("bob"))
    assert patched(before.obj, tenant("bob"))[0].obj == patched(mine(), tenant("bob"))[0].obj


def test_when_nobody_is_routed_ours_are_taken_out() -> None:
    (before,) = patched(mine(), tenant("alice"))
    (after,) = patched(before.obj)
    assert (after.obj, after.patches, after.probe, after.keys) == (mine(), before.obj, None, frozenset())
    assert patched(mine()) == ()


def test_without_the_annotation_ours_go_when_the_overlay_stands() -> None:
    (before,) = patched(mine(), tenant("alice"))
    live = copy.deepcopy(before.obj)
    del live["metadata"]["annotations"]["sidestream.dev/routing"]
    overlay, taken_out = patched(live, tenant("alice"))
    assert overlay.obj["metadata"]["name"] == "sidestream-orders"
    assert (taken_out.obj, taken_out.patches) == (without_rules(live), live)
    assert taken_out.stage > overlay.stage


def test_a_patch_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualservice_render, "MAX_BYTES", 300)
    with pytest.raises(InvalidInputError, match="would be over 300 bytes with the tenants' rules"):
        patched(mine(), tenant("alice"), tenant("bob"))


any_rules = st.lists(
    st.fixed_dictionaries({"route": st.just([to()])}, optional={"name": st.sampled_from(["a", "sidestream", "-"])})
)


@given(users=any_rules, first=any_rules, second=any_rules)
def test_what_was_put_in_comes_out_again(users: list[Rule], first: list[Rule], second: list[Rule]) -> None:
    obj = virtual_service("mine", *users)
    before = copy.deepcopy(obj)
    once = with_rules(obj, first)
    assert obj == before
    assert without_rules(once) == obj
    assert with_rules(once, second) == with_rules(obj, second)
    assert has_rules(once) is bool(first)


def test_what_holds_none_of_ours_stays_the_very_same_object() -> None:
    obj = mine()
    assert without_rules(obj) is obj


def test_a_tenants_rules_are_not_taken_out_for_the_gateways_entry_of_the_same_object() -> None:
    cluster = Objects(with_rules(mine(), [{"name": "tenant-alice", **DEFAULT}]))
    entry = mesh_entry(mode=Mode.BESIDE)
    live = cluster.all(VIRTUAL_SERVICES)[0]
    assert virtualservice._taken_out(entry, (), live) == ()
