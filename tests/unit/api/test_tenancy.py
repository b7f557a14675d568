"""Who serves which key: one Sandbox at most for each Deployment, whatever the order in which objects are read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from builders import (
    Modifier,
    created,
    deleting,
    forking,
    having,
    labelled,
    of_labels,
    of_sandboxes,
    route_group,
    routing_key,
    sandbox,
)
from sidestream.api import tenancy as tenancy_module
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.api.tenancy import Conflict, Tenancy, keys_of
from sidestream.kube.port import Object

KEY = "release-42"


def some(name: str, *modifiers: Modifier, at: int = 0) -> Sandbox:
    """A Sandbox made at this second."""
    return Sandbox.from_json(sandbox(name, created(f"2026-01-01T00:00:{at:02}Z"), *modifiers))


def group(name: str = KEY, *modifiers: Modifier) -> RouteGroup:
    return RouteGroup.from_json(route_group(name, *modifiers))


def served(sandboxes: list[Sandbox], groups: list[RouteGroup]) -> dict[str, dict[str, str]]:
    """The keys of each Sandbox by Deployment, as text."""
    tenancy = Tenancy(sandboxes, groups)
    return {
        item.metadata.name: {
            workload.deployment: " ".join(tenancy.keys_of(item.metadata.name, workload.deployment))
            for workload in item.spec.workloads
        }
        for item in sandboxes
    }


ALICE = some("alice", forking("orders"), at=1)
BOB = some("bob", forking("fulfilment"), at=2)
YOUNG = some("young", forking("orders", "stock"), at=3)


@dataclass(frozen=True)
class Case:
    id: str
    sandboxes: list[Sandbox]
    groups: list[RouteGroup]
    keys: dict[str, dict[str, str]]


CASES = [
    Case("no group: each its own key", [ALICE, BOB], [], {"alice": {"orders": "alice"}, "bob": {"fulfilment": "bob"}}),
    Case(
        "members answer to the group's key, too, after their own",
        [ALICE, BOB, YOUNG],
        [group()],
        {
            "alice": {"orders": f"alice {KEY}"},
            "bob": {"fulfilment": f"bob {KEY}"},
            "young": {"orders": "young", "stock": "young"},
        },
    ),
    Case(
        "by labels",
        [some("alice", labelled({"team": "red"})), some("bob", labelled({"team": "blue"}))],
        [group(KEY, of_labels({"team": "red"}))],
        {"alice": {"orders": f"alice {KEY}"}, "bob": {"orders": "bob"}},
    ),
    Case(
        "by an empty selector everybody",
        [ALICE, BOB],
        [group(KEY, having("spec.sandboxes", {"selector": {}}))],
        {"alice": {"orders": f"alice {KEY}"}, "bob": {"fulfilment": f"bob {KEY}"}},
    ),
    Case(
        "of two members that fork one Deployment the older serves the key; the younger keeps it elsewhere",
        [ALICE, YOUNG],
        [group(KEY, of_sandboxes("young", "alice"))],
        {"alice": {"orders": f"alice {KEY}"}, "young": {"orders": "young", "stock": f"young {KEY}"}},
    ),
    Case(
        "of two that were made within one second the first by name",
        [some("b", at=1), some("a", at=1)],
        [group(KEY, of_sandboxes("a", "b"))],
        {"a": {"orders": f"a {KEY}"}, "b": {"orders": "b"}},
    ),
    Case(
        "a Sandbox's own key comes before a group's, also when it is younger",
        [ALICE, some("carol", routing_key(KEY), at=9)],
        [group(KEY, of_sandboxes("alice"))],
        {"alice": {"orders": "alice"}, "carol": {"orders": KEY}},
    ),
    Case(
        "a Sandbox's own key and a group unite where they fork different Deployments",
        [BOB, some("carol", routing_key(KEY), at=9)],
        [group(KEY, of_sandboxes("bob"))],
        {"bob": {"fulfilment": f"bob {KEY}"}, "carol": {"orders": KEY}},
    ),
    Case(
        "two groups of one key unite; where both would fork a Deployment the older Sandbox serves, not the older group",
        [ALICE, BOB, YOUNG],
        [
            group("one", having("spec.routingKey", KEY), of_sandboxes("young"), created("2025-01-01T00:00:00Z")),
            group("two", having("spec.routingKey", KEY), of_sandboxes("alice", "bob")),
        ],
        {
            "alice": {"orders": f"alice {KEY}"},
            "bob": {"fulfilment": f"bob {KEY}"},
            "young": {"orders": "young", "stock": f"young {KEY}"},
        },
    ),
    Case(
        "a member of several groups answers to all of their keys, by name",
        [ALICE],
        [group("z"), group("b"), group("m")],
        {"alice": {"orders": "alice b m z"}},
    ),
    Case(
        "a group with the member's own key adds nothing",
        [ALICE],
        [group("alice")],
        {"alice": {"orders": "alice"}},
    ),
    Case(
        "who does not get its own key for a Deployment has no fork of it, so the next member serves the group's",
        [
            some("first", routing_key("shared"), at=1),
            some("taken", routing_key("shared"), forking("orders", "stock"), at=2),
            some("third", at=3),
        ],
        [group(KEY, of_sandboxes("taken", "third"))],
        {
            "first": {"orders": "shared"},
            "taken": {"orders": "", "stock": f"shared {KEY}"},
            "third": {"orders": f"third {KEY}"},
        },
    ),
    Case(
        "a Sandbox in deletion leaves its groups, and keeps its own key until it is gone",
        [some("alice", deleting(), at=1), YOUNG, some("heir", routing_key("alice"), at=9)],
        [group(KEY, of_sandboxes("alice", "young"))],
        {
            "alice": {"orders": "alice"},
            "young": {"orders": f"young {KEY}", "stock": f"young {KEY}"},
            "heir": {"orders": ""},
        },
    ),
    Case(
        "a suspended Sandbox stays and keeps what it has",
        [some("alice", having("spec.suspended", True), at=1), YOUNG],  # noqa: FBT003 - a field's value
        [group(KEY, of_sandboxes("alice", "young"))],
        {"alice": {"orders": f"alice {KEY}"}, "young": {"orders": "young", "stock": f"young {KEY}"}},
    ),
    Case("a RouteGroup in deletion has no members", [ALICE], [group(KEY, deleting())], {"alice": {"orders": "alice"}}),
    Case(
        "a name that is no Sandbox is nobody's",
        [ALICE],
        [group(KEY, of_sandboxes("x"))],
        {"alice": {"orders": "alice"}},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_keys(case: Case) -> None:
    assert served(case.sandboxes, case.groups) == case.keys


def test_one_question_is_answered_alike() -> None:
    assert keys_of(ALICE, "orders", [YOUNG, ALICE], [group()]) == ("alice", KEY)
    assert keys_of(ALICE, "elsewhere", [YOUNG, ALICE], [group()]) == ()
    assert keys_of(ALICE, "orders", [YOUNG], [group()]) == ()


def test_a_sandbox_answers_to_what_any_of_its_forks_answers_to() -> None:
    tenancy = Tenancy([ALICE, YOUNG], [group(KEY, of_sandboxes("alice", "young")), group("b", of_sandboxes("young"))])
    assert tenancy.keys_of_sandbox("young") == ("young", "b", KEY)
    assert tenancy.keys_of_sandbox("alice") == ("alice", KEY)
    assert tenancy.keys_of_sandbox("nobody") == ()


def test_a_key_that_nobody_claims_is_the_baselines() -> None:
    tenancy = Tenancy([ALICE], [group()])
    assert tenancy.server(KEY, "orders") == "alice"
    assert tenancy.server(KEY, "stock") is None
    assert tenancy.server("nobody", "orders") is None
    assert tenancy.owner(KEY, "orders") is None
    assert tenancy.owner("alice", "orders") == "alice"


def test_conflicts_name_who_serves_and_who_does_not() -> None:
    whole = group(KEY, of_sandboxes("alice", "bob", "young"))
    assert Tenancy([YOUNG, BOB, ALICE], [whole]).conflicts(whole) == (
        Conflict("orders", holder="alice", loser="young", is_own=False),
    )
    carol = some("carol", routing_key(KEY), forking("stock", "orders"), at=9)
    assert Tenancy([YOUNG, carol, ALICE], [whole]).conflicts(whole) == (
        Conflict("orders", holder="carol", loser="alice", is_own=True),
        Conflict("orders", holder="carol", loser="young", is_own=True),
        Conflict("stock", holder="carol", loser="young", is_own=True),
    )


def test_a_workload_that_is_taken_is_no_conflict_of_the_group() -> None:
    first, taken = some("first", routing_key("k"), at=1), some("taken", routing_key("k"), at=2)
    both = group(KEY, of_sandboxes("first", "taken"))
    assert Tenancy([first, taken], [both]).conflicts(both) == ()


def test_members_are_told_the_oldest_first_without_those_that_are_going() -> None:
    whole = group(KEY, of_sandboxes("alice", "bob", "young", "gone", "nobody"))
    gone = some("gone", deleting())
    assert [item.metadata.name for item in Tenancy([YOUNG, gone, BOB, ALICE], [whole]).members(whole)] == [
        "alice",
        "bob",
        "young",
    ]


# --- properties

NAMES = [f"s{number}" for number in range(5)]
KEYS = ["k0", "k1", "k2"]
DEPLOYMENTS = ["orders", "stock", "fulfilment"]


def _sandbox(name: str, key: str | None, forked: list[str], at: int, *modifiers: Modifier) -> Sandbox:
    own = [routing_key(key)] if key else []
    return some(name, forking(*forked), *own, *modifiers, at=at)


def _unchanged(_: Object) -> None:
    """No deletion."""


forked_deployments = st.lists(st.sampled_from(DEPLOYMENTS), min_size=1, max_size=3, unique=True)
teams = st.sampled_from(["red", "blue"])
sandboxes = st.lists(st.sampled_from(NAMES), unique=True, max_size=5).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(
                _sandbox,
                st.just(name),
                st.none() | st.sampled_from(KEYS),
                forked_deployments,
                st.integers(0, 3),
                teams.map(lambda team: labelled({"team": team})),
                st.sampled_from([_unchanged, _unchanged, deleting()]),
            )
            for name in names
        )
    )
)
memberships = st.builds(
    lambda names: of_sandboxes(*names), st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
) | st.builds(lambda team: of_labels({"team": team}), teams)
groups = st.lists(st.tuples(st.sampled_from(KEYS + NAMES), memberships), max_size=4).map(
    lambda items: [group(f"g{at}", having("spec.routingKey", key), which) for at, (key, which) in enumerate(items)]
)


def claimants(key: str, deployment: str, given_sandboxes: list[Sandbox], given_groups: list[RouteGroup]) -> list[str]:
    """Who answers to the key there by what `keys_of` says of each."""
    tenancy = Tenancy(given_sandboxes, given_groups)
    return [item.metadata.name for item in given_sandboxes if key in tenancy.keys_of(item.metadata.name, deployment)]


def check(given_sandboxes: list[Sandbox], given_groups: list[RouteGroup], seed: int) -> None:
    """All that is claimed of the answers."""
    tenancy = Tenancy(given_sandboxes, given_groups)
    for deployment in DEPLOYMENTS:
        for key in KEYS + NAMES:
            found = claimants(key, deployment, given_sandboxes, given_groups)
            assert len(found) <= 1, "one server at most"
            assert found == [name for name in [tenancy.server(key, deployment)] if name is not None]
    for item in given_sandboxes:
        for workload in item.spec.workloads:
            keys = tenancy.keys_of(item.metadata.name, workload.deployment)
            older = [
                other
                for other in given_sandboxes
                if other.routing_key == item.routing_key
                and any(one.deployment == workload.deployment for one in other.spec.workloads)
                and (other.metadata.creation_timestamp, other.metadata.key)
                < (item.metadata.creation_timestamp, item.metadata.key)
            ]
            assert keys[:1] == (() if older else (item.routing_key,)), "its own key first, whatever groups there are"
            assert not (item.is_deleting and keys[1:]), "who is going answers to no group"
    for one in given_groups:
        losers = {(conflict.loser, conflict.deployment) for conflict in tenancy.conflicts(one)}
        for member in tenancy.members(one):
            for workload in member.spec.workloads:
                keys = tenancy.keys_of(member.metadata.name, workload.deployment)
                is_lost = bool(keys) and one.spec.routing_key not in keys
                assert is_lost == ((member.metadata.name, workload.deployment) in losers), "served or in conflict"
    mixed_sandboxes, mixed_groups = list(given_sandboxes), list(given_groups)
    random.Random(seed).shuffle(mixed_sandboxes)  # noqa: S311 - an order, no secret
    random.Random(seed).shuffle(mixed_groups)  # noqa: S311 - an order, no secret
    by_name = dict(sorted(served(mixed_sandboxes, mixed_groups).items()))
    assert by_name == dict(sorted(served(list(given_sandboxes), list(given_groups)).items())), "in any order"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(sandboxes=sandboxes, groups=groups, seed=st.integers(0, 1000))
def test_every_key_of_every_deployment_has_one_server_at_most(
    sandboxes: tuple[Sandbox, ...], groups: list[RouteGroup], seed: int
) -> None:
    check(list(sandboxes), groups, seed)


def _unordered(_: Sandbox) -> tuple[str, str]:
    return "", ""


def _every_member_serves(self: Tenancy, sandbox: str, deployment: str) -> tuple[str, ...]:
    found = self._sandboxes.get(sandbox)
    if found is None or self._owners.get((found.routing_key, deployment)) is not found:
        return ()
    return (found.routing_key, *sorted(set(self._group_keys(found)) - {found.routing_key}))


def _groups_first(self: Tenancy, key: str, deployment: str) -> Sandbox | None:
    return self._oldest_member(key, deployment) or self._owners.get((key, deployment))


def _taken_ones_serve(self: Tenancy, key: str, deployment: str) -> Sandbox | None:
    rosters = self._rosters.get(key, ())
    forkers = self._forkers.get(deployment, ())
    return next((item for item in forkers if any(roster.has(item) for roster in rosters)), None)


def _going_ones_stay(self: tenancy_module._Roster, sandbox: Sandbox) -> bool:
    return sandbox.metadata.name in self._names


MUTATIONS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "no order": (tenancy_module, "age_of", _unordered),
    "every member serves": (Tenancy, "keys_of", _every_member_serves),
    "a group's key before a Sandbox's own": (Tenancy, "_server", _groups_first),
    "who has no fork serves": (Tenancy, "_oldest_member", _taken_ones_serve),
    "who is going stays": (tenancy_module._Roster, "has", _going_ones_stay),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MUTATIONS[name])

    @settings(max_examples=1000, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(sandboxes=sandboxes, groups=groups, seed=st.integers(0, 1000))
    def broken(sandboxes: tuple[Sandbox, ...], groups: list[RouteGroup], seed: int) -> None:
        check(list(sandboxes), groups, seed)

    with pytest.raises(AssertionError):
        broken()
