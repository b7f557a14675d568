from __future__ import annotations

import pytest

from builders import EPOCH
from sidestream.api.conditions import Reason
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka.handback import needs_until
from sidestream.kafka.handoff import needs_kafka, plan
from sidestream.kafka.steps import Delete, Observed, Release, Step
from unit.kafka.scenes import (
    ABSENT,
    EMPTY,
    GROUP,
    JOINED,
    UNNAMED,
    at,
    discarded,
    ends,
    gone,
    listed,
    observed,
    phase,
    recorded,
    route,
    until,
)


def planned(subject: KafkaRoute, sight: Observed | None) -> Step:
    return plan(subject, sight, EPOCH)


def told(step: Step) -> list[str]:
    return [news.reason for news in step.news]


# --- routes that can go without a look at Kafka


@pytest.mark.parametrize(
    ("subject", "news"),
    [
        pytest.param(gone(), [], id="nothing was ever recorded"),
        pytest.param(
            gone(phase("Active"), recorded(), discarded()), ["GroupLeftBehind"], id="the user gave the group up"
        ),
        pytest.param(gone(phase("Pending"), discarded()), [], id="nothing to give up"),
    ],
)
def test_a_deleted_route_goes_at_once_where(subject: KafkaRoute, news: list[str]) -> None:
    assert not needs_kafka(subject)
    step = planned(subject, None)
    assert step.effect == Release()
    assert told(step) == news


def test_the_group_that_may_be_left_is_named() -> None:
    step = planned(gone(phase("Active"), recorded(), discarded()), None)
    assert GROUP in step.news[0].message
    assert "KafkaCluster main" in step.news[0].message


def test_giving_up_is_for_deletions_only() -> None:
    subject = route(phase("Active"), recorded(), discarded())
    assert needs_kafka(subject)
    assert planned(subject, observed(group=JOINED)).effect is None


# --- a group that the mapping never gave anything to


@pytest.mark.parametrize(
    ("sight", "effect", "next_phase", "news"),
    [
        pytest.param(observed(), Release(), Phase.CREATING, [], id="was not made yet"),
        pytest.param(observed(group=EMPTY, own=at(5, 7)), None, Phase.DELETING, [], id="was made"),
        pytest.param(observed(group=EMPTY, own=at(5)), None, Phase.DELETING, [], id="was made half"),
        pytest.param(
            observed(group=EMPTY, own=at(1)), Release(), Phase.CREATING, ["GroupLeftBehind"], id="is somebody else's"
        ),
        pytest.param(
            observed(group=JOINED, own=at(5, 7)), Release(), Phase.CREATING, ["GroupLeftBehind"], id="is in foreign use"
        ),
    ],
)
def test_a_group_of_a_route_that_is_deleted_while_creating(
    sight: Observed, effect: Release | None, next_phase: Phase, news: list[str]
) -> None:
    step = planned(gone(phase("Creating"), recorded()), sight)
    assert step.effect == effect
    assert step.status.phase is next_phase
    assert told(step) == news


# --- draining


@pytest.mark.parametrize("name", ["Preparing", "Active"])
def test_the_tenant_goes_back_to_the_baseline_first_from(name: str) -> None:
    step = planned(gone(phase(name), recorded()), observed(group=JOINED))
    assert step.effect is None
    assert step.status.phase is Phase.DRAINING
    assert step.ready.reason == Reason.DRAINING


@pytest.mark.parametrize(
    ("waited", "taken"),
    [
        pytest.param(4.9, False, id="while consumers may still read the old mapping"),
        pytest.param(5.0, True, id="once every consumer has read the new one"),
    ],
)
def test_the_end_of_the_work_is_taken(waited: float, *, taken: bool) -> None:
    subject = gone(phase("Draining", waited), recorded())
    assert needs_until(subject, EPOCH) is taken
    step = planned(subject, observed(group=JOINED, latest=ends(10, 12) if taken else {}))
    assert step.status.phase is Phase.DRAINING
    assert step.status.to_json()["until"] == (listed(10, 12) if taken else [])


def test_the_end_of_the_work_is_taken_once() -> None:
    assert not needs_until(gone(phase("Draining", 20), recorded(), until(10, 12)), EPOCH)


@pytest.mark.parametrize(
    ("sight", "waited", "drained", "news"),
    [
        pytest.param(observed(group=JOINED, own=at(10, 11)), 20, False, [], id="one record short"),
        pytest.param(observed(group=JOINED, own=at(10)), 20, False, [], id="nothing committed on a partition"),
        pytest.param(observed(group=JOINED, own=at(10, 12)), 20, True, ["Drained"], id="worked off"),
        pytest.param(observed(group=UNNAMED, own=at(10, 11)), 20, False, [], id="a state without a name"),
        pytest.param(observed(group=EMPTY, own=at(5, 7)), 20, True, ["Drained"], id="nobody left to work"),
        pytest.param(observed(group=ABSENT), 20, True, ["Drained"], id="the group is gone"),
        pytest.param(observed(group=JOINED, own=at(5, 7)), 64.9, False, [], id="nearly out of time"),
        pytest.param(observed(group=JOINED, own=at(5, 7)), 65, True, ["DrainTimedOut"], id="out of time"),
    ],
)
def test_a_fork_may_stop_with(sight: Observed, waited: float, *, drained: bool, news: list[str]) -> None:
    step = planned(gone(phase("Draining", waited), recorded(), until(10, 12)), sight)
    assert step.effect is None
    assert step.status.phase is (Phase.DRAINED if drained else Phase.DRAINING)
    assert told(step) == news


def test_a_fork_whose_topics_are_all_gone_has_nothing_to_work_off() -> None:
    step = planned(gone(phase("Draining", 5), recorded()), observed(group=JOINED, topics={}, latest={}))
    assert step.status.phase is Phase.DRAINED


# --- deleting the group


@pytest.mark.parametrize("name", ["Drained", "Deleting"])
@pytest.mark.parametrize(
    ("sight", "reason", "words"),
    [
        pytest.param(
            observed(group=EMPTY, pods=("p",)), Reason.DELETING, "pods of fulfilment-alice", id="pods are left"
        ),
        pytest.param(observed(group=JOINED), Reason.GROUP_BUSY, "still has members", id="members are left"),
        pytest.param(observed(group=UNNAMED), Reason.GROUP_BUSY, "still has members", id="members may be left"),
    ],
)
def test_a_group_is_kept_while(name: str, sight: Observed, reason: Reason, words: str) -> None:
    step = planned(gone(phase(name), recorded()), sight)
    assert step.effect is None
    assert step.status.phase == name
    assert step.ready.reason == reason
    assert words in step.ready.message


def test_a_deletion_is_recorded_before_it_is_done() -> None:
    step = planned(gone(phase("Drained"), recorded()), observed(group=EMPTY, own=at(5, 7)))
    assert step.effect is None
    assert step.status.phase is Phase.DELETING
    assert step.look_after == 0


def test_an_empty_group_is_deleted() -> None:
    step = planned(gone(phase("Deleting"), recorded()), observed(group=EMPTY, own=at(5, 7)))
    assert step.effect == Delete(GROUP)


def test_a_group_that_became_a_baselines_own_is_not_deleted() -> None:
    step = planned(gone(phase("Deleting"), recorded()), observed(group=EMPTY, taken={GROUP: "shop/billing"}))
    assert step.effect is None
    assert step.ready.reason == Reason.GROUP_EXISTS
    assert "shop/billing" in step.ready.message


def test_the_finalizer_goes_when_the_group_is_seen_to_be_gone() -> None:
    step = planned(gone(phase("Deleting"), recorded()), observed(group=ABSENT))
    assert step.effect == Release()
    assert told(step) == ["GroupDeleted"]
