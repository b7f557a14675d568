"""What is put right about a group that stands: strays, topics, offsets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from builders import EPOCH, Modifier, having
from sidestream.api.kafka import KafkaRoute
from sidestream.api.times import format_time
from sidestream.kafka.handoff import plan
from sidestream.kafka.port import Group, Position, Topic, TopicPartition
from sidestream.kafka.steps import Observed, Place, Step
from unit.kafka.scenes import (
    ABSENT,
    EMPTY,
    GROUP,
    JOINED,
    TOPIC,
    at,
    ends,
    listed,
    observed,
    phase,
    recorded,
    route,
    topic,
)

DAY = 24 * 3600.0


def planned(subject: KafkaRoute, sight: Observed) -> Step:
    return plan(subject, sight, EPOCH)


def told(step: Step) -> list[str]:
    return [news.reason for news in step.news]


def refreshed(seconds_ago: float) -> Modifier:
    return having("status.refreshedAt", format_time(EPOCH - timedelta(seconds=seconds_ago)))


STRAYED = observed(group=EMPTY, own=at(5, 7), pods=("p",), strays={"p": "mark-1"})


@pytest.mark.parametrize("where", ["Preparing", "Active"])
def test_pods_in_the_baselines_group_are_barred_in(where: str) -> None:
    step = planned(route(phase(where), recorded()), STRAYED)
    assert step.status.barred == "mark-1"
    assert (step.ready.status, step.ready.reason) == ("False", "ForkInBaselineGroup")
    assert "fulfilment instead of fulfilment.sbx.alice" in step.ready.message


def test_what_is_barred_says_so_when_its_pods_are_gone_and_while_others_have_not_started() -> None:
    subject = route(phase("Active"), recorded(), having("status.barred", "mark-1"))
    stopped = planned(subject, observed(group=EMPTY, own=at(5, 7)))
    assert (stopped.status.barred, stopped.ready.reason) == ("mark-1", "ForkInBaselineGroup")
    assert stopped.ready == planned(subject, STRAYED).ready
    started = planned(subject, observed(group=EMPTY, own=at(5, 7), pods=("q",)))
    assert (started.status.barred, started.ready.reason) == ("mark-1", "WaitingForConsumers")


def test_a_fork_that_joins_its_own_group_is_barred_no_longer() -> None:
    subject = route(phase("Active"), recorded(), having("status.barred", "mark-1"))
    step = planned(subject, observed(group=JOINED))
    assert (step.status.barred, step.ready.status) == (None, "True")


def test_a_group_that_expired_is_made_again_where_it_started() -> None:
    step = planned(route(phase("Active"), recorded()), observed(group=ABSENT))
    assert step.effect == Place(GROUP, at(5, 7))
    assert told(step) == ["GroupRecreated"]


def test_a_start_that_the_log_no_longer_holds_moves_to_the_first_record() -> None:
    step = planned(route(phase("Active"), recorded()), observed(group=ABSENT, earliest=ends(6, 0)))
    assert step.effect == Place(GROUP, at(6, 7))


def test_only_what_an_empty_group_lost_is_placed_again() -> None:
    step = planned(route(phase("Active"), recorded()), observed(group=EMPTY, own=at(9)))
    assert step.effect == Place(GROUP, {TopicPartition(TOPIC, 1): Position(7)})
    assert told(step) == []


def test_a_group_with_members_is_never_placed() -> None:
    step = planned(route(phase("Active"), recorded()), observed(group=JOINED, own={}))
    assert step.effect is None


def test_a_topic_made_anew_voids_its_offsets_and_is_said() -> None:
    sight = observed(group=EMPTY, topics={TOPIC: topic("topic-2")}, earliest=ends(1, 0))
    step = planned(route(phase("Active"), recorded()), sight)
    assert step.effect is None
    assert step.status.to_json()["topics"][0]["id"] == "topic-2"
    assert step.status.to_json()["start"] == listed(1, 0)
    assert told(step) == ["TopicRecreated"]
    assert step.look_after == 0


def test_a_partition_that_is_added_starts_at_its_first_record() -> None:
    sight = observed(
        group=EMPTY,
        topics={TOPIC: topic(partitions=3)},
        baseline=at(5, 7, 4),
        earliest=ends(0, 0, 0),
        latest=ends(9, 9, 9),
    )
    step = planned(route(phase("Active"), recorded()), sight)
    assert step.status.to_json()["start"] == listed(5, 7, 0)
    assert told(step) == []


def test_a_topic_that_is_new_to_the_consumer_starts_where_the_baseline_is() -> None:
    new = TopicPartition("refunds", 0)
    sight = observed(
        group=EMPTY,
        topics={TOPIC: topic(), "refunds": Topic("refunds", "topic-9", 1)},
        baseline=at(6, 8) | {new: Position(3)},
        earliest=ends(0, 0) | {new: 0},
        latest=ends(9, 9) | {new: 9},
    )
    step = planned(route(phase("Active"), recorded(), having("spec.topics", [TOPIC, "refunds"])), sight)
    start = {(item.topic, item.partition): item.offset for item in step.status.start}
    assert start == {(TOPIC, 0): 5, (TOPIC, 1): 7, ("refunds", 0): 3}


def test_a_topic_that_the_consumer_no_longer_has_is_dropped() -> None:
    subject = route(phase("Active"), recorded(), having("spec.topics", ["refunds"]))
    new = TopicPartition("refunds", 0)
    sight = observed(
        group=EMPTY,
        topics={"refunds": Topic("refunds", "topic-9", 1)},
        baseline={},
        earliest={new: 2},
        latest={new: 9},
    )
    step = planned(subject, sight)
    assert [(item.topic, item.offset) for item in step.status.start] == [("refunds", 2)]


@pytest.mark.parametrize(
    ("since", "last", "is_due"),
    [
        pytest.param(DAY - 1, None, False, id="not before it has stood for a day"),
        pytest.param(DAY, None, True, id="when it has stood for a day"),
        pytest.param(9 * DAY, DAY - 1, False, id="not a second time on one day"),
        pytest.param(9 * DAY, DAY, True, id="again on the next day"),
    ],
)
def test_a_group_without_members_is_committed_again_daily(since: float, last: float | None, *, is_due: bool) -> None:
    before = [] if last is None else [refreshed(last)]
    step = planned(route(phase("Active", since), recorded(), *before), observed(group=EMPTY, own=at(9, 8)))
    assert step.effect == (Place(GROUP, at(9, 8)) if is_due else None)
    assert (step.status.refreshed_at == format_time(EPOCH)) is is_due
    assert told(step) == []


@pytest.mark.parametrize("group", [pytest.param(JOINED, id="joined"), pytest.param(ABSENT, id="gone")])
def test_only_what_stands_without_members_is_committed_again(group: Group) -> None:
    step = planned(route(phase("Active", 9 * DAY), recorded()), observed(group=group))
    assert step.status.refreshed_at is None
