"""The way back under Fenced, through the reconciler, with members that acknowledge, and with forks that do not."""

from __future__ import annotations

import pytest

from builders import having
from sidestream.kube.port import DEPLOYMENTS, KAFKA_CLUSTERS
from sidestream_sdk.notes import Kind
from unit.kafka.fenced_world import FencedWorld
from unit.kafka.scenes import BASELINE, GROUP, TOPIC
from unit.kafka.test_fenced import active


async def deleted(world: FencedWorld) -> FencedWorld:
    """Active, with a backlog for the fork, and then asked to go."""
    await active(world)
    world.speak()
    world.kafka.produce(TOPIC, 0, 5, key="alice")
    world.delete()
    await world.reconcile()
    return world


async def drained(world: FencedWorld) -> FencedWorld:
    """The fork worked off its records and its pods are gone."""
    await deleted(world)
    world.speak(GROUP)
    await world.reconcile()
    world.speak(BASELINE)
    await world.reconcile()
    world.work(GROUP)
    await world.until_phase("Drained")
    world.stop_fork()
    return world


async def test_first_the_fork_says_where_it_holds() -> None:
    world = await deleted(FencedWorld())
    assert (world.phase, world.states) == ("Freezing", ["alice 0 Freeze 10", "alice 1 Freeze 10"])
    world.speak(BASELINE)
    await world.reconcile()
    assert world.phase == "Freezing"


async def test_then_the_baseline_says_from_where_on_it_goes_on() -> None:
    world = await deleted(FencedWorld())
    world.speak(GROUP)
    await world.reconcile()
    assert (world.phase, world.states) == ("PreparingOff", ["alice 0 Hold 10 10", "alice 1 Hold 10 10"])
    world.speak(BASELINE)
    await world.reconcile()
    assert (world.phase, world.states) == ("Draining", ["alice 0 Until 10 10 15", "alice 1 Until 10 10 10"])


async def test_the_fork_runs_until_it_has_passed_that() -> None:
    world = await deleted(FencedWorld())
    world.speak(GROUP)
    await world.reconcile()
    world.speak(BASELINE)
    await world.reconcile()
    await world.reconcile()
    assert world.phase == "Draining"
    world.work(GROUP)
    await world.reconcile()
    assert world.phase == "Drained"
    assert "Drained" in world.told


async def test_the_group_goes_when_the_pods_are_gone_and_the_route_when_the_baseline_has_passed_the_interval() -> None:
    world = await drained(FencedWorld())
    await world.until_phase("Retiring")
    assert GROUP not in world.kafka.groups
    await world.reconcile()
    assert world.phase == "Retiring"
    world.work(BASELINE)
    await world.reconcile()
    assert world.states == ["alice 0 Retire 10 10 15", "alice 1 Retire 10 10 10"]
    world.speak(BASELINE)
    await world.reconcile()
    assert world.is_gone
    assert world.told == ["Drained", "GroupCreated", "GroupDeleted", "HandedOver"]


async def test_a_baseline_without_members_is_stood_in_for_on_the_way_back_too() -> None:
    world = await drained(FencedWorld())
    await world.until_phase("Retiring")
    world.work(BASELINE)
    world.kafka.leave(BASELINE)
    await world.until(lambda: world.is_gone)


async def test_nobody_waits_for_a_baseline_that_does_not_exist_nor_for_its_kafka() -> None:
    world = await drained(FencedWorld())
    await world.until_phase("Retiring")
    world.api.remove(DEPLOYMENTS, "fulfilment")
    world.api.remove(KAFKA_CLUSTERS, "main", "")
    await world.reconcile()
    assert world.is_gone


async def test_a_baseline_whose_kafka_is_away_is_waited_for_with_the_way_out() -> None:
    world = await drained(FencedWorld())
    await world.until_phase("Retiring")
    world.kafka.fail("GROUP_AUTHORIZATION_FAILED")
    await world.reconcile()
    assert world.message.endswith("or if it is annotated sidestream.dev/force-cleanup=discard")
    world.annotate("sidestream.dev/force-cleanup", "discard")
    await world.reconcile()
    assert world.is_gone


async def test_a_dead_fork_holds_where_it_had_committed() -> None:
    world = await active(FencedWorld())
    world.speak()
    world.kafka.leave(GROUP)
    world.delete()
    await world.until_phase("PreparingOff")
    assert world.notes(GROUP, 0).find(world.route.status.claims[0].id, Kind.HOLD) == 10


async def test_a_fork_that_never_ran_and_has_no_record_goes_by_itself() -> None:
    """Deleted while the baseline was being asked: what it acknowledged counts, so the group is made all the same."""
    world = FencedWorld()
    await world.reconcile()
    world.delete()
    for _ in range(4):
        await world.reconcile()
        world.speak()
    world.kafka.produce(TOPIC, 0, 3, key="bob")
    for _ in range(40):
        if world.is_gone:
            break
        world.speak()
        world.work(BASELINE)
        world.clock.move((await world.reconcile()).requeue_after or 0.0)
    assert world.is_gone
    assert GROUP not in world.kafka.groups


async def stranded(world: FencedWorld) -> FencedWorld:
    """Deleted, its fork dead, with a record of its own that nobody handles."""
    await active(world)
    world.speak()
    world.kafka.produce(TOPIC, 0, 2, key="bob")
    world.kafka.produce(TOPIC, 0, 1, key="alice")
    world.stop_fork()
    world.delete()
    for _ in range(6):
        await world.reconcile()
        world.speak()
    world.clock.move(2.0)
    await world.reconcile()
    return world


async def test_a_dead_fork_is_taken_past_what_is_not_its_own_and_asked_to_run_for_the_rest() -> None:
    world = await stranded(FencedWorld())
    assert world.phase == "Draining"
    assert world.kafka.offsets(GROUP)[f"{TOPIC}/0"] == 12
    assert world.route.status.stranded


async def test_wait_goes_on_waiting_and_says_so() -> None:
    world = await stranded(FencedWorld())
    world.clock.move(15 * 60)
    await world.reconcile()
    assert world.phase == "Draining"
    assert world.route.status.overdue
    assert "has not worked off its records of tenant alice" in world.message
    assert "DrainTimedOut" in world.told
    told = len(world.told)
    world.clock.move(60)
    await world.reconcile()
    assert len(world.told) == told


async def test_handback_asks_for_the_baselines_own_pods() -> None:
    world = await stranded(FencedWorld(having("spec.drain", {"policy": "Handback", "timeout": "5s"})))
    world.clock.move(10)
    await world.reconcile()
    assert (world.phase, world.route.status.handback) == ("Draining", True)
    world.start_fork()
    world.work(GROUP)
    await world.reconcile()
    assert world.phase == "Drained"


async def test_discard_says_what_was_left_alone_and_goes_on() -> None:
    world = await stranded(FencedWorld(having("spec.drain", {"policy": "Discard", "timeout": "5s"})))
    world.clock.move(10)
    await world.reconcile()
    assert world.phase in ("Drained", "Deleting", "Retiring")
    left = [(item.topic, item.partition, item.begin, item.end) for item in world.route.status.discarded]
    assert left == [(TOPIC, 0, 12, 13)]
    assert "RecordsDiscarded" in world.told


async def test_a_fork_that_does_not_say_where_it_holds_is_stopped_in_the_end() -> None:
    world = await deleted(FencedWorld(having("spec.drain", {"policy": "Wait", "timeout": "5s"})))
    world.clock.move(6)
    await world.reconcile()
    assert (world.phase, world.route.status.halted) == ("Freezing", True)
    world.kafka.leave(GROUP)
    await world.until_phase("PreparingOff")
    assert not world.route.status.halted


@pytest.mark.parametrize("earliest", [15, 20], ids=["all of it", "and more"])
async def test_what_the_log_no_longer_has_is_nothing_to_wait_for(earliest: int) -> None:
    world = await deleted(FencedWorld())
    world.speak(GROUP)
    await world.reconcile()
    world.speak(BASELINE)
    await world.reconcile()
    world.kafka.produce(TOPIC, 0, 10)
    world.kafka.trim(TOPIC, 0, earliest)
    await world.reconcile()
    assert world.phase == "Drained"


async def test_a_marker_at_the_end_of_the_log_is_nothing_to_wait_for() -> None:
    world = await active(FencedWorld())
    world.speak()
    world.kafka.begin(TOPIC, 0)
    world.kafka.end(TOPIC, 0)
    world.delete()
    await world.reconcile()
    for _ in range(2):
        world.speak()
        await world.reconcile()
    assert (world.phase, world.states[0]) == ("Draining", "alice 0 Until 10 10 11")
    world.clock.move(1.5)
    await world.reconcile()
    assert world.phase == "Drained"
    assert world.kafka.offsets(GROUP)[f"{TOPIC}/0"] == 10


@pytest.mark.parametrize("looks", range(4), ids=["asked", "held", "given back", "draining"])
async def test_nothing_waits_for_a_baseline_and_a_fork_that_are_both_gone(looks: int) -> None:
    """As when the namespace goes."""
    world = await deleted(FencedWorld())
    for _ in range(looks):
        world.speak()
        await world.reconcile()
    world.api.remove(DEPLOYMENTS, "fulfilment")
    world.kafka.leave(BASELINE)
    world.stop_fork()
    await world.until(lambda: world.is_gone)
    assert GROUP not in world.kafka.groups
    assert "RecordsDiscarded" in world.told


async def test_a_route_that_only_asked_goes_with_its_baseline() -> None:
    world = FencedWorld()
    await world.reconcile()
    world.delete()
    world.api.remove(DEPLOYMENTS, "fulfilment")
    await world.until(lambda: world.is_gone)
    assert world.effects == []


async def test_who_keeps_a_deletion_from_going_on_is_named_with_the_way_out() -> None:
    world = FencedWorld()
    await world.reconcile()
    world.delete()
    world.clock.move(11)
    await world.reconcile()
    assert world.message.startswith("No member of consumer group fulfilment has partition 0 of topic orders.created")
    assert world.message.endswith(
        "annotate the Sandbox sidestream.dev/force-cleanup=discard to let it go without an answer"
    )


async def test_a_topic_that_is_gone_has_nothing_to_give_back() -> None:
    world = await deleted(FencedWorld())
    world.kafka.delete_topic(TOPIC)
    await world.until_phase("Drained")
