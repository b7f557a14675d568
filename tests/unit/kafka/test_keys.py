"""Several keys on one fork under Fenced: each joins and goes for itself, and Ready is about all of them."""

from __future__ import annotations

import pytest

from builders import claiming, fence, having, kafka_route
from sidestream.api.conditions import ConditionType, find_condition
from sidestream.kafka.port import TopicPartition
from sidestream.kafka.steps import REFUSED_SECONDS
from sidestream.kube.port import KAFKA_ROUTES, Object, Resource
from unit.kafka.fenced_world import FencedWorld
from unit.kafka.scenes import BASELINE, GROUP, TOPIC
from unit.kafka.test_fenced import active

KEY = "release-42"


def bobs(*modifiers: object, keys: tuple[str, ...] = ("bob",), **spec: object) -> Object:
    """Bob's KafkaRoute on the same baseline group."""
    fields = [having(f"spec.{name}", value) for name, value in spec.items()]
    return kafka_route(
        "fulfilment-orders-bob",
        having("spec.sandbox", "bob"),
        having("spec.fork", "fulfilment-bob"),
        having("spec.forkGroup", "fulfilment.sbx.bob"),
        having("spec.coordination", "Fenced"),
        having("spec.keys", list(keys)),
        *fields,
        *modifiers,  # type: ignore[arg-type]
    )


RETIRING = claiming("c1", KEY, {0: fence("Retire", 1, 2, 3), 1: fence("Retire", 1, 2, 3)})


def set_keys(world: FencedWorld, *keys: str) -> None:
    live = world.live
    live["spec"]["keys"] = list(keys)
    live["metadata"]["generation"] += 1
    world.api.seed(live)


def recorded(world: FencedWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on Ready of every status that is written."""
    said: list[str] = []
    write = world.api.apply_status

    async def apply_status(resource: Resource, obj: Object, *, manager: str) -> Object:
        said.extend(item["status"] for item in obj["status"]["conditions"])
        return await write(resource, obj, manager=manager)

    monkeypatch.setattr(world.api, "apply_status", apply_status)
    return said


def words(world: FencedWorld) -> str:
    found = find_condition(world.route.status.conditions, ConditionType.READY)
    assert found is not None
    return found.message


async def test_a_fork_is_not_ready_before_a_key_that_joins_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(FencedWorld())
    set_keys(world, "alice", KEY)
    said = recorded(world, monkeypatch)
    outcome = await world.reconcile()
    assert set(said) == {"False"}, "not for a moment is it Ready"
    assert world.ready == ("False", "Reconciling")
    assert words(world) == (
        f"Waiting until the members of consumer groups {BASELINE} and {GROUP} acknowledge from which records on tenant "
        f"{KEY} goes to {GROUP}"
    )
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= 0.2, "a fork that has been Active for long is asked as often as a new one"
    world.speak(GROUP)
    await world.reconcile()
    assert world.ready == ("False", "Reconciling")
    world.speak(BASELINE)
    await world.reconcile()
    assert world.ready == ("True", "Active")
    assert words(world) == f"Records of tenants alice, {KEY} go to consumer group {GROUP}"


async def test_a_member_that_does_not_answer_for_a_key_is_named_after_a_while_and_not_at_once() -> None:
    world = await active(FencedWorld())
    world.kafka.leave(GROUP)
    world.kafka.join(GROUP, "10.0.0.5", [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    world.clock.move(3600)
    set_keys(world, "alice", KEY)
    await world.reconcile()
    assert world.ready == ("False", "Reconciling")
    world.clock.move(11)
    await world.reconcile()
    assert world.ready == ("False", "WaitingForConsumers")
    assert "has not acknowledged partition" in words(world)


async def test_a_partition_that_is_added_leaves_a_fork_with_several_keys_ready() -> None:
    world = FencedWorld(having("spec.keys", ["alice", KEY]))
    await active(world)
    world.kafka.add_partition(TOPIC)
    await world.reconcile()
    assert world.ready == ("True", "Active")
    assert [state for state in world.states if " 2 " in state] == ["alice 2 Aware", f"{KEY} 2 Aware"]


async def test_a_key_goes_while_the_fork_is_ready_with_the_others() -> None:
    world = FencedWorld(having("spec.keys", ["alice", KEY]))
    await active(world)
    set_keys(world, "alice")
    for _ in range(3):
        outcome = await world.reconcile()
        assert world.ready == ("True", "Active")
        world.speak()
    assert [state.split()[2] for state in world.states[2:]] == ["Until"] * 2, "nobody is asked, the baseline is behind"
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= 2.0, "somebody may wait for the key"


async def test_a_key_that_is_wanted_again_on_its_way_back_is_waited_for() -> None:
    world = FencedWorld(having("spec.keys", ["alice", KEY]))
    await active(world)
    set_keys(world, "alice")
    await world.reconcile()
    set_keys(world, "alice", KEY)
    await world.reconcile()
    assert world.ready == ("False", "Reconciling")
    for _ in range(12):
        world.clock.move(0.1)
        await world.reconcile()
        world.speak()
        world.work()
    await world.reconcile()
    assert world.ready == ("True", "Active")


async def test_a_new_hand_off_begins_without_a_key_that_another_fork_still_has() -> None:
    world = FencedWorld(having("spec.keys", ["alice", KEY]))
    world.api.seed(bobs(RETIRING))
    await active_without_ready(world)
    assert world.states == ["alice 0 From 10", "alice 1 From 10"]
    assert world.ready == ("False", "Pending")
    assert words(world) == (
        f"Waiting until the hand-off of tenant {KEY} to Sandbox bob is over: consumer group {BASELINE} has yet to pass "
        "the records that were that Sandbox's"
    )
    outcome = await world.reconcile()
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= REFUSED_SECONDS
    world.api.remove(KAFKA_ROUTES, "fulfilment-orders-bob")
    for _ in range(3):
        await world.reconcile()
        world.speak()
    assert world.states[2:] == [f"{KEY} 0 From 10", f"{KEY} 1 From 10"]
    assert world.ready == ("True", "Active")


async def test_a_hand_off_whose_keys_are_all_taken_does_not_begin() -> None:
    world = FencedWorld(having("spec.keys", [KEY]))
    world.api.seed(bobs(RETIRING))
    await world.reconcile()
    assert (world.phase, world.states) == ("Pending", [])
    assert world.ready == ("False", "Pending")


MAY_STILL_CLAIM: list[tuple[str, Object, bool]] = [
    ("another fork of the Deployment that still asks for it", bobs(keys=("bob", KEY)), True),
    ("one that asks for other keys", bobs(), False),
    (
        "one that asks for it and goes",
        bobs(having("metadata.deletionTimestamp", "2026-01-01T00:00:00Z"), keys=(KEY,)),
        False,
    ),
    ("a fork of another Deployment in the same group", bobs(keys=(KEY,), deployment="packing"), False),
    ("another hand-off of the same Sandbox", bobs(keys=(KEY,), sandbox="alice"), False),
    ("one that has it on another Kafka cluster", bobs(RETIRING, keys=(KEY,), cluster="other"), False),
    ("one of another baseline group", bobs(RETIRING, keys=(KEY,), baselineGroup="other"), False),
]


@pytest.mark.parametrize("row", [pytest.param(row[1:], id=row[0]) for row in MAY_STILL_CLAIM])
async def test_a_key_is_claimed_when_nobody_else_has_it_or_may_claim_it(row: tuple[Object, bool]) -> None:
    other, waits = row
    world = await active(FencedWorld())
    world.api.seed(other)
    set_keys(world, "alice", KEY)
    await world.reconcile()
    assert (world.states[2:] == []) is waits
    assert world.ready == ("False", "Pending" if waits else "Reconciling")


async def active_without_ready(world: FencedWorld) -> None:
    """Handed over to a fork that has joined, with what can be handed over."""
    await world.reconcile()
    world.speak()
    await world.until_phase("Active")
    world.start_fork()
    await world.reconcile()
