"""The operator's process dies at each of its calls in turn; the next one finishes what it had begun."""

from __future__ import annotations

import pytest

from builders import having
from unit.kafka.crashes import EFFECTS, CrashError, Crashes
from unit.kafka.fenced_world import FencedWorld
from unit.kafka.scenes import BASELINE, GROUP, TOPIC
from unit.kafka.world import World

LOOKS = 80


async def live_and_die(crashes: Crashes, *, deleted_at_the_crash: bool = False) -> World:
    """A whole life: handed over, joined, deleted, drained, gone. Around it the Sandbox and its pods do their part."""
    world = World(having("spec.pollInterval", "1s"))
    world.restart(crashes)
    was_ready = False
    for _ in range(LOOKS):
        wait = 0.0
        try:
            wait = (await world.reconcile()).requeue_after or 0.0
        except CrashError:
            world.restart()
            if deleted_at_the_crash:
                was_ready = True
        if world.is_gone:
            return world
        world.clock.move(wait)
        was_ready = was_ready or (bool(world.route.status.conditions) and world.ready[0] == "True")
        act_as_the_sandbox(world, delete=was_ready)
    raise AssertionError(f"died at {crashes.last} and never came through: {world.live}")


def act_as_the_sandbox(world: World, *, delete: bool) -> None:
    if world.phase in ("Preparing", "Active") and not world.has_pod and not world.route.is_deleting:
        world.start_fork()
    if delete and not world.route.is_deleting:
        world.delete()
    if world.phase == "Draining":
        world.kafka.catch_up(GROUP)
    if world.phase in ("Drained", "Deleting"):
        world.stop_fork()


async def test_a_life_without_a_crash_leaves_nothing() -> None:
    world = await live_and_die(Crashes())
    assert GROUP not in world.kafka.groups
    assert world.effects == [f"place {GROUP}", f"delete {GROUP}"]
    assert world.told == ["Drained", "GroupCreated", "GroupDeleted", "HandedOver"]


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("deleted", [False, True], ids=["lived on", "deleted meanwhile"])
async def test_no_crash_leaks_a_group_or_a_finalizer(*, after: bool, deleted: bool) -> None:
    whole = Crashes()
    await live_and_die(whole)
    assert whole.calls > 50
    for number in range(1, whole.calls + 1):
        crashes = Crashes(number, after=after)
        world = await live_and_die(crashes, deleted_at_the_crash=deleted)
        where = f"call {number}, {crashes.last}"
        assert world.is_gone, where
        assert GROUP not in world.kafka.groups, where
        assert world.effects.count(f"delete {GROUP}") <= 2, where


# --- under Fenced


async def live_and_die_fenced(
    crashes: Crashes, *, deleted_at_the_crash: bool = False, has_members: bool = True
) -> FencedWorld:
    """A whole life with an update in it: handed over, a partition and a key more, deleted, drained, gone."""
    world = FencedWorld()
    if not has_members:
        world.kafka.leave(BASELINE)
    world.restart(crashes)
    was_updated = False
    for _ in range(LOOKS):
        wait, is_killed = 0.0, False
        try:
            wait = (await world.reconcile()).requeue_after or 0.0
        except CrashError:
            world.restart()
            is_killed = True
        if world.is_gone:
            return world
        world.clock.move(wait)
        act_as_members_and_sandbox(world)
        if world.phase == "Active" and not was_updated and not world.route.is_deleting:
            was_updated = True
            live = world.live
            live["spec"]["keys"] = ["alice", "release-42"]
            world.api.seed(live)
            world.kafka.add_partition(TOPIC)
        elif not world.route.is_deleting and (is_at_rest(world) or (is_killed and deleted_at_the_crash)):
            world.delete()
    raise AssertionError(f"died at {crashes.last} and never came through: {world.live}")


def is_at_rest(world: FencedWorld) -> bool:
    states = [state.split()[2] for state in world.states]
    return world.phase == "Active" and len(states) == 2 * 3 and set(states) == {"From"} and world.ready[0] == "True"


def act_as_members_and_sandbox(world: FencedWorld) -> None:
    if world.phase in ("Active", "Freezing", "PreparingOff", "Draining") and not world.has_pod:
        world.start_fork()
    world.speak()
    if world.phase == "Draining":
        world.work(GROUP)
    if world.phase in ("Drained", "Deleting"):
        world.stop_fork()
    if world.phase == "Retiring":
        world.work()
        world.catch_up_the_absent(BASELINE)


@pytest.mark.parametrize("has_members", [True, False], ids=["baseline runs", "baseline at 0 replicas"])
async def test_a_fenced_life_without_a_crash_leaves_nothing(*, has_members: bool) -> None:
    world = await live_and_die_fenced(Crashes(), has_members=has_members)
    assert GROUP not in world.kafka.groups
    assert world.told == ["Drained", "GroupCreated", "GroupDeleted", "HandedOver"]
    assert world.effects.count(f"delete {GROUP}") == 1


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("deleted", [False, True], ids=["lived on", "deleted meanwhile"])
@pytest.mark.parametrize("has_members", [True, False], ids=["baseline runs", "baseline at 0 replicas"])
async def test_no_crash_under_fenced_leaks_a_group_or_a_finalizer(
    *, after: bool, deleted: bool, has_members: bool
) -> None:
    whole = Crashes(verbs=EFFECTS)
    await live_and_die_fenced(whole, has_members=has_members)
    assert whole.calls > 20
    for number in range(1, whole.calls + 1):
        crashes = Crashes(number, after=after, verbs=EFFECTS)
        world = await live_and_die_fenced(crashes, deleted_at_the_crash=deleted, has_members=has_members)
        where = f"call {number}, {crashes.last}"
        assert world.is_gone, where
        assert GROUP not in world.kafka.groups, where
        assert world.effects.count(f"delete {GROUP}") <= 2, where
