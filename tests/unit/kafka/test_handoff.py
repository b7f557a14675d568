from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from builders import EPOCH
from sidestream.api.conditions import Reason
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka.handoff import needs_kafka, plan
from sidestream.kafka.port import Group, Position, TopicPartition
from sidestream.kafka.steps import Observed, Place, Step
from unit.kafka.scenes import (
    EMPTY,
    GROUP,
    JOINED,
    P0,
    REBALANCING,
    TOPIC,
    UNNAMED,
    at,
    listed,
    observed,
    phase,
    recorded,
    route,
    was_ready,
)


def planned(subject: KafkaRoute, sight: Observed, now: datetime = EPOCH) -> Step:
    return plan(subject, sight, now)


def told(step: Step) -> list[str]:
    return [news.reason for news in step.news]


# --- before anything is made


def test_a_pending_route_records_the_group_before_it_is_made() -> None:
    step = planned(route(), observed())
    assert step.effect is None
    assert step.look_after == 0
    assert step.status.phase is Phase.CREATING
    status = step.status.to_json()
    assert status["group"] == {"name": GROUP, "clusterId": "cluster-1", "state": "Absent", "members": 0}
    assert status["topics"] == [{"name": TOPIC, "id": "topic-1", "partitions": 2}]
    assert status["start"] == listed(5, 7)
    assert step.ready.reason == Reason.PENDING


@pytest.mark.parametrize(
    ("sight", "reason", "words"),
    [
        pytest.param(
            observed(topics={TOPIC: None}),
            Reason.TOPIC_NOT_FOUND,
            f"Topic {TOPIC} does not exist",
            id="a missing topic",
        ),
        pytest.param(observed(group=EMPTY), Reason.GROUP_EXISTS, "exists already", id="an empty group of that name"),
        pytest.param(observed(group=JOINED), Reason.GROUP_EXISTS, "exists already", id="a live group of that name"),
        pytest.param(
            observed(taken={GROUP: "shop/billing"}), Reason.GROUP_EXISTS, "shop/billing", id="a baseline's own group"
        ),
    ],
)
def test_a_pending_route_refuses_and_records_nothing_over(sight: Observed, reason: Reason, words: str) -> None:
    step = planned(route(), sight)
    assert step.effect is None
    assert step.status.phase is Phase.PENDING
    assert step.status.group is None
    assert (step.ready.status, step.ready.reason) == ("False", reason)
    assert words in step.ready.message
    assert step.look_after > 0


# --- making the group


@pytest.mark.parametrize(
    "sight",
    [
        pytest.param(observed(), id="is absent"),
        pytest.param(observed(group=EMPTY, own=at(5)), id="was placed half"),
        pytest.param(observed(group=EMPTY), id="is empty and holds nothing"),
    ],
)
def test_a_recorded_group_is_placed_where_it(sight: Observed) -> None:
    step = planned(route(phase("Creating"), recorded()), sight)
    assert step.effect == Place(GROUP, at(5, 7))
    assert step.status.phase is Phase.CREATING


def test_the_baselines_leader_epoch_is_placed_while_it_still_stands_there() -> None:
    baseline = {P0: Position(5, leader_epoch=3), TopicPartition(TOPIC, 1): Position(8, leader_epoch=3)}
    step = planned(route(phase("Creating"), recorded()), observed(baseline=baseline))
    assert step.effect == Place(GROUP, {P0: Position(5, 3), TopicPartition(TOPIC, 1): Position(7)})


def test_once_the_offsets_read_back_the_mapping_may_give_the_tenant_to_the_fork() -> None:
    step = planned(route(phase("Creating"), recorded()), observed(group=EMPTY, own=at(5, 7)))
    assert step.effect is None
    assert step.status.phase is Phase.PREPARING
    assert step.status.group is not None
    assert step.status.group.state == "Empty"
    assert told(step) == ["GroupCreated"]


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(at(5, 8), id="holds other offsets"),
        pytest.param({TopicPartition("else", 0): Position(1)}, id="holds other topics"),
    ],
)
@pytest.mark.parametrize("group", [EMPTY, JOINED], ids=["empty", "live"])
def test_a_group_that_somebody_made_in_between_is_forgotten_where_it(
    own: dict[TopicPartition, Position], group: Group
) -> None:
    step = planned(route(phase("Creating"), recorded()), observed(group=group, own=own))
    assert step.effect is None
    assert step.status.phase is Phase.PENDING
    assert step.status.group is None
    assert step.status.start == ()
    assert step.ready.reason == Reason.GROUP_EXISTS


def test_a_group_with_members_before_its_fork_runs_is_waited_for() -> None:
    step = planned(route(phase("Creating"), recorded()), observed(group=JOINED, own=at(5, 7)))
    assert step.effect is None
    assert step.status.phase is Phase.CREATING
    assert step.ready.reason == Reason.GROUP_BUSY


def test_a_topic_that_vanishes_while_the_group_is_made_is_said() -> None:
    step = planned(route(phase("Creating"), recorded()), observed(topics={TOPIC: None}))
    assert step.effect is None
    assert step.ready.reason == Reason.TOPIC_NOT_FOUND


# --- handing over


@pytest.mark.parametrize(
    ("waited", "expected", "look"),
    [
        pytest.param(0.0, Phase.PREPARING, 5.0, id="just begun"),
        pytest.param(4.9, Phase.PREPARING, 0.1, id="nearly"),
        pytest.param(5.0, Phase.ACTIVE, 0.0, id="a poll interval later"),
    ],
)
def test_every_consumer_gets_a_poll_interval_to_read_the_mapping(waited: float, expected: Phase, look: float) -> None:
    step = planned(route(phase("Preparing", waited), recorded()), observed(group=EMPTY, own=at(5, 7)))
    assert step.status.phase is expected
    assert step.look_after == pytest.approx(look)
    assert step.ready.status == "False"


def test_a_poll_interval_is_not_cut_short_by_the_second_that_a_phase_began_in() -> None:
    begun = EPOCH + timedelta(milliseconds=900)
    step = planned(route(phase("Creating"), recorded()), observed(group=EMPTY, own=at(5, 7)), begun)
    preparing = KafkaRoute.from_json(
        {
            **route().model_dump(by_alias=True),
            "status": step.status.to_json(),
            "spec": {**route().spec.to_json(), "pollInterval": "1s"},
        }
    )
    sight = observed(group=EMPTY, own=at(5, 7))
    assert planned(preparing, sight, begun + timedelta(seconds=0.99)).status.phase is Phase.PREPARING
    assert planned(preparing, sight, begun + timedelta(seconds=1)).status.phase is Phase.ACTIVE


@pytest.mark.parametrize(
    ("group", "before", "joined"),
    [
        pytest.param(JOINED, "False", True, id="a stable group"),
        pytest.param(UNNAMED, "False", True, id="a state that the library has no name for"),
        pytest.param(REBALANCING, "False", False, id="a first rebalance"),
        pytest.param(REBALANCING, "True", True, id="a rebalance of a fork that was in it"),
        pytest.param(EMPTY, "True", False, id="nobody left"),
    ],
)
def test_a_route_is_ready_with(group: Group, before: str, *, joined: bool) -> None:
    step = planned(route(phase("Active"), recorded(), was_ready(before)), observed(group=group, own=at(5, 7)))
    assert (step.ready.status == "True") is joined
    assert step.ready.reason == (Reason.ACTIVE if joined else Reason.WAITING_FOR_CONSUMERS)
    assert step.status.group is not None
    assert step.status.group.members == len(group.members)


@pytest.mark.parametrize(
    ("waited", "look"),
    [
        pytest.param(0.0, 0.3, id="at once"),
        pytest.param(4.0, 0.3, id="after four seconds"),
        pytest.param(10.0, 0.5, id="after ten"),
        pytest.param(40.0, 2.0, id="after forty"),
        pytest.param(3600.0, 5.0, id="after an hour"),
    ],
)
def test_members_are_looked_for_quickly_at_first(waited: float, look: float) -> None:
    subject = route(phase("Active", waited), recorded(), was_ready("False", waited))
    assert planned(subject, observed(group=EMPTY, own=at(5, 7))).look_after == look


@pytest.mark.parametrize(
    ("sight", "words"),
    [
        pytest.param(observed(), "has no pod yet", id="no pod"),
        pytest.param(observed(pods=("p",)), "kubectl logs deployment/fulfilment-alice", id="a pod that does not join"),
    ],
)
def test_a_fork_that_has_not_joined_is_told_apart_by(sight: Observed, words: str) -> None:
    subject = route(phase("Active"), recorded())
    step = planned(subject, observed(group=EMPTY, own=at(5, 7), pods=sight.pods))
    assert words in step.ready.message


def test_a_ready_route_is_looked_at_again_now_and_then() -> None:
    step = planned(route(phase("Active"), recorded()), observed(group=JOINED))
    assert step.look_after == 30.0


# --- what goes wrong later


@pytest.mark.parametrize("name", ["Creating", "Preparing", "Active", "Draining", "Drained", "Deleting"])
def test_nothing_is_concluded_from_another_cluster_in_phase(name: str) -> None:
    subject = route(phase(name), recorded(cluster="cluster-0"))
    step = planned(subject, observed())
    assert step.effect is None
    assert step.status == subject.status
    assert step.ready.reason == Reason.CLUSTER_INVALID
    assert "cluster-0" in step.ready.message


@pytest.mark.parametrize("name", ["Draining", "Drained", "Deleting"])
def test_a_route_that_nobody_deletes_is_handed_over_again_if_its_status_was_edited_to(name: str) -> None:
    step = planned(route(phase(name), recorded()), observed(group=EMPTY, own=at(5, 7)))
    assert step.effect is None
    assert step.status.phase is Phase.PREPARING


def test_a_route_that_is_not_being_deleted_always_needs_kafka() -> None:
    assert needs_kafka(route())
    assert needs_kafka(route(phase("Active"), recorded()))


@pytest.mark.parametrize("name", [item.value for item in Phase])
def test_a_step_is_the_same_whenever_it_is_planned_again_in_phase(name: str) -> None:
    subject = route(phase(name, 3.0), recorded())
    sight = observed(group=EMPTY, own=at(5, 7))
    assert planned(subject, sight) == planned(subject, sight)
