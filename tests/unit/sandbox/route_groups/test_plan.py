"""What a RouteGroup says of its members."""

from __future__ import annotations

from typing import Any

import pytest

from builders import (
    EPOCH,
    Modifier,
    conditioned,
    created,
    deleting,
    forking,
    generation,
    having,
    of_labels,
    of_sandboxes,
    route_group,
    routing_key,
    sandbox,
)
from sidestream.api.conditions import ConditionType, find_condition
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import Object
from sidestream.sandbox.route_groups.plan import Observed, Plan, plan

KEY = "release-42"


def ready(name: str, forked: str, *modifiers: Modifier, keys: tuple[str, ...] = (KEY,)) -> Object:
    """A Sandbox that is Ready and says that it answers to these keys besides its own."""
    answering = having("status.routingKeys", [name, *keys])
    return sandbox(name, forking(forked), answering, conditioned("Ready", "True", "Ready"), *modifiers)


def unready(name: str, forked: str, status: str = "False") -> Object:
    said = conditioned("Ready", status, "ForkNotReady", "Deployment orders-alice waits for its pods to become ready")
    return sandbox(name, forking(forked), having("status.routingKeys", [name, KEY]), said)


def planned(group: Object, *sandboxes: Object, others: tuple[Object, ...] = ()) -> Plan:
    groups = tuple(RouteGroup.from_json(item) for item in (group, *others))
    return plan(Observed(groups[0], tuple(Sandbox.from_json(item) for item in sandboxes), groups), EPOCH)


def said(result: Plan, type_: ConditionType) -> tuple[str, str, str]:
    found = find_condition(result.status.conditions, type_)
    assert found is not None
    return found.status, found.reason, found.message


ALICE, BOB = ready("alice", "orders"), ready("bob", "fulfilment")
YOUNG = ready("young", "orders", created("2026-02-01T00:00:00Z"))


def test_a_group_whose_members_answer_is_ready() -> None:
    result = planned(route_group(), ALICE, BOB)
    assert said(result, ConditionType.ACCEPTED) == ("True", "Accepted", "The RouteGroup has members")
    assert said(result, ConditionType.CONFLICT)[:2] == ("False", "NoConflict")
    assert said(result, ConditionType.READY) == ("True", "Ready", f"The forks of all members answer to {KEY}")
    assert [(item.sandbox, item.ready) for item in result.status.members] == [("alice", "True"), ("bob", "True")]
    assert result.status.member_count == 2
    assert [(item.type, item.reason) for item in result.news] == [("Normal", "Ready")]


TAKEN = (
    "Sandboxes alice and young both fork Deployment orders, and release-42 goes to the fork of alice, which is older: "
    "take the Deployment out of one of the two Sandboxes, or one of them out of the RouteGroup"
)

NOT_READY: list[tuple[str, Object, list[Object], str, str, str]] = [
    (
        "nobody has the labels",
        route_group(KEY, of_labels({"release": "42"})),
        [ALICE],
        "False",
        "NoMembers",
        "There is no Sandbox in namespace shop with these labels",
    ),
    (
        "none of the names is there",
        route_group(),
        [],
        "False",
        "NoMembers",
        "There is none of the Sandboxes alice, bob in namespace shop",
    ),
    (
        "the only name is not there",
        route_group(KEY, of_sandboxes("alcie")),
        [ALICE],
        "False",
        "NoMembers",
        "There is no Sandbox alcie in namespace shop",
    ),
    (
        "one of the names is not there",
        route_group(),
        [ALICE],
        "False",
        "SandboxNotFound",
        "The RouteGroup names Sandbox bob, which does not exist in namespace shop or is being deleted",
    ),
    (
        "two of the names are not there, one of them going",
        route_group(KEY, of_sandboxes("alice", "bob", "x")),
        [ALICE, ready("bob", "fulfilment", deleting())],
        "False",
        "SandboxNotFound",
        "The RouteGroup names Sandboxes bob, x, which do not exist in namespace shop or are being deleted",
    ),
    (
        "a member is not ready",
        route_group(),
        [unready("alice", "orders"), BOB],
        "False",
        "MemberNotReady",
        "Sandbox alice is not ready: Deployment orders-alice waits for its pods to become ready",
    ),
    (
        "of a member nobody knows",
        route_group(),
        [unready("alice", "orders", "Unknown"), BOB],
        "Unknown",
        "MemberNotReady",
        "Sandbox alice is not ready: Deployment orders-alice waits for its pods to become ready",
    ),
    (
        "a member has not heard of the group",
        route_group(),
        [ALICE, ready("bob", "fulfilment", keys=())],
        "False",
        "MemberNotReady",
        f"Sandbox bob does not answer to {KEY}",
    ),
    (
        "a member is new",
        route_group(),
        [ALICE, sandbox("bob", forking("fulfilment"))],
        "False",
        "Pending",
        "Sandbox bob has not been looked at yet",
    ),
    (
        "a member has changed since it was ready",
        route_group(),
        [ALICE, ready("bob", "fulfilment", generation(2))],
        "False",
        "Pending",
        "Sandbox bob has not been looked at yet",
    ),
    (
        "two members fork one Deployment",
        route_group(KEY, of_sandboxes("alice", "young")),
        [ALICE, YOUNG],
        "False",
        "WorkloadTaken",
        TAKEN,
    ),
]


@pytest.mark.parametrize("row", [pytest.param(row[1:], id=row[0]) for row in NOT_READY])
def test_a_group_is_not_ready_when(row: tuple[Object, list[Object], str, str, str]) -> None:
    group, sandboxes, *expected = row
    assert list(said(planned(group, *sandboxes), ConditionType.READY)) == expected


def test_only_a_group_without_members_is_not_accepted() -> None:
    for _, group, sandboxes, *_, reason, _ in NOT_READY:
        status, why, _ = said(planned(group, *sandboxes), ConditionType.ACCEPTED)
        assert (status == "False") == (reason == "NoMembers") == (why == "NoMembers")


def test_a_conflict_names_both_sandboxes_and_the_deployment() -> None:
    carol = sandbox("carol", forking("fulfilment", "orders"), routing_key(KEY), created("2026-03-01T00:00:00Z"))
    result = planned(route_group(), ALICE, BOB, carol)
    status, reason, message = said(result, ConditionType.CONFLICT)
    assert (status, reason) == ("True", "WorkloadTaken")
    assert message.startswith(
        f"Sandboxes carol and bob both fork Deployment fulfilment, and {KEY} goes to the fork of carol, whose own key "
        f"it is; Sandboxes carol and alice both fork Deployment orders, and {KEY} goes to the fork of carol, whose own "
        "key it is: take"
    )
    assert [(item.type, item.reason) for item in result.news] == [("Warning", "WorkloadTaken")]


def test_a_long_list_of_conflicts_is_cut() -> None:
    forked = [f"d{number}" for number in range(8)]
    old = sandbox("old", forking(*forked))
    new = sandbox("young", forking(*forked), created("2026-02-01T00:00:00Z"))
    message = said(planned(route_group(KEY, of_sandboxes("old", "young")), old, new), ConditionType.CONFLICT)[2]
    assert message.count("both fork") == 5
    assert " and others: take" in message


def again(result: Plan, *modifiers: Any, key: str = KEY) -> Object:
    """The RouteGroup after its status was written."""
    return route_group(key, having("status", result.status.to_json()), *modifiers)


def test_what_was_told_is_not_told_again() -> None:
    first = planned(route_group(), ALICE, BOB)
    assert planned(again(first), ALICE, BOB) == Plan(first.status)
    both = of_sandboxes("alice", "young")
    conflict = planned(route_group(KEY, both), ALICE, YOUNG)
    assert planned(again(conflict, both), ALICE, YOUNG) == Plan(conflict.status)


def test_a_group_that_stops_being_ready_says_why() -> None:
    first = planned(route_group(), ALICE, BOB)
    lost = planned(again(first), unready("alice", "orders"), BOB)
    assert [(item.type, item.reason) for item in lost.news] == [("Warning", "MemberNotReady")]
    assert [item.sandbox for item in lost.status.members] == ["alice", "bob"], "it stays a member"


def test_another_group_of_the_same_key_may_be_in_the_way() -> None:
    first = route_group(KEY, of_sandboxes("young"))
    second = route_group("second", having("spec.routingKey", KEY), of_sandboxes("alice"))
    status, _, message = said(planned(first, ALICE, YOUNG, others=(second,)), ConditionType.CONFLICT)
    assert status == "True"
    assert message.startswith("Sandboxes alice and young both fork Deployment orders")
