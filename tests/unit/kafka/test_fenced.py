"""The way to the fork under Fenced, through the reconciler, with members that acknowledge."""

from __future__ import annotations

import pytest

from builders import deployment, having, kafka_route
from sidestream.kafka.port import TopicPartition
from sidestream.kube.port import DEPLOYMENTS, KAFKA_ROUTES
from sidestream_sdk.notes import Kind
from unit.kafka.fenced_world import FencedWorld
from unit.kafka.scenes import BASELINE, GROUP, TOPIC


async def active(world: FencedWorld) -> FencedWorld:
    """Handed over to a fork that has joined."""
    await world.reconcile()
    world.speak()
    await world.until_phase("Active")
    world.start_fork()
    await world.until(lambda: world.ready[0] == "True")
    return world


async def test_the_baseline_is_asked_before_anything_is_made() -> None:
    world = FencedWorld()
    outcome = await world.reconcile()
    assert (world.phase, world.states) == ("Preparing", ["alice 0 Ask", "alice 1 Ask"])
    assert world.effects == []
    assert world.ready == ("False", "Reconciling")
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= 0.2


async def test_the_group_is_made_where_every_partition_of_the_baseline_acknowledged() -> None:
    world = FencedWorld()
    await world.reconcile()
    world.kafka.produce(TOPIC, 1, 4)
    world.speak()
    await world.until_phase("Active")
    assert world.states == ["alice 0 From 10", "alice 1 From 14"]
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 10, f"{TOPIC}/1": 14}
    assert world.kafka.offsets(BASELINE) == {f"{TOPIC}/0": 5, f"{TOPIC}/1": 7}
    assert world.told == ["GroupCreated", "HandedOver"]


async def test_members_of_the_fork_need_a_mapping_that_has_the_fences() -> None:
    world = FencedWorld()
    await world.reconcile()
    world.speak()
    asked = int(world.live["metadata"]["resourceVersion"])
    await world.until_phase("Active")
    notes = world.notes(GROUP, 0)
    assert notes.epoch == world.epoch
    assert asked < notes.version <= int(world.live["metadata"]["resourceVersion"])


async def test_one_partition_that_is_not_acknowledged_keeps_the_fork_from_starting() -> None:
    world = FencedWorld()
    await world.reconcile()
    world.speak()
    kept = world.kafka.groups[BASELINE].offsets
    kept[TopicPartition(TOPIC, 1)] = type(kept[TopicPartition(TOPIC, 1)])(7)
    await world.reconcile()
    assert (world.phase, world.states) == ("Preparing", ["alice 0 From 10", "alice 1 Ask"])


async def test_who_does_not_acknowledge_is_named_after_a_while() -> None:
    world = FencedWorld()
    world.kafka.leave(BASELINE)
    world.kafka.join(BASELINE, "10.0.0.7", [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    await world.reconcile()
    world.clock.move(11.0)
    await world.reconcile()
    assert world.ready == ("False", "WaitingForConsumers")
    assert world.message == (
        "Consumer consumer at 10.0.0.7 in consumer group fulfilment has not acknowledged partition 0 of topic "
        "orders.created: it may be busy for long between two polls, or use no Sidestream SDK, or an old one"
    )


async def test_a_baseline_without_members_is_stood_in_for_where_it_has_committed() -> None:
    world = FencedWorld()
    world.kafka.leave(BASELINE)
    await world.until_phase("Active")
    assert world.states == ["alice 0 From 10", "alice 1 From 10"]
    assert world.kafka.offsets(BASELINE) == {f"{TOPIC}/0": 5, f"{TOPIC}/1": 7}
    assert world.notes(BASELINE, 1).find(world.route.status.claims[0].id, Kind.FROM) == 10


async def test_metadata_of_the_application_stays_when_its_group_is_stood_in_for() -> None:
    world = FencedWorld()
    world.kafka.leave(BASELINE)
    world.kafka.commit(BASELINE, TOPIC, 0, 5, metadata="checkpoint 17")
    await world.until_phase("Active")
    assert world.notes(BASELINE, 0).app == "checkpoint 17"


async def test_nobody_guesses_where_a_baseline_begins_that_has_committed_nothing() -> None:
    world = FencedWorld()
    world.kafka.expire(BASELINE)
    await world.reconcile()
    world.clock.move(11.0)
    await world.reconcile()
    assert (world.phase, world.effects) == ("Preparing", [])
    assert world.message.startswith("Consumer group fulfilment has no members and has committed nothing on partition 0")


async def test_a_baseline_that_has_committed_nothing_begins_anywhere_on_an_empty_topic() -> None:
    world = FencedWorld()
    world.kafka.expire(BASELINE)
    world.kafka.delete_topic(TOPIC)
    world.kafka.create_topic(TOPIC, (0, 0), (3, 3))
    await world.until_phase("Active")
    assert world.states == ["alice 0 From 0", "alice 1 From 3"]


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        pytest.param(deployment("fulfilment"), "BaselineWithoutSdk", id="nobody told it where the mapping is"),
        pytest.param(None, "BaselineNotFound", id="there is none"),
    ],
)
async def test_a_baseline_that_cannot_answer_is_not_asked(baseline: dict[str, object] | None, reason: str) -> None:
    world = FencedWorld()
    world.api.remove(DEPLOYMENTS, "fulfilment")
    if baseline is not None:
        world.api.seed(baseline)
    await world.reconcile()
    assert (world.phase, world.ready, world.states) == ("Pending", ("False", reason), [])


async def test_a_baseline_whose_environment_is_elsewhere_may_use_the_sdk() -> None:
    world = FencedWorld()
    containers = [{"name": "app", "image": "app:1", "envFrom": [{"configMapRef": {"name": "settings"}}]}]
    world.api.seed(deployment("fulfilment", having("spec.template.spec.containers", containers)))
    await world.reconcile()
    assert world.phase == "Preparing"


async def test_a_key_waits_until_an_earlier_fork_has_given_it_back() -> None:
    world = FencedWorld()
    earlier = kafka_route(
        "fulfilment-orders-anne",
        having("metadata.uid", "anne"),
        having("spec.sandbox", "anne"),
        having("spec.coordination", "Fenced"),
        having("status.claims", [{"id": "c1", "key": "alice", "fences": []}]),
    )
    world.api.seed(earlier)
    await world.reconcile()
    assert world.phase == "Pending"
    assert "the hand-off of tenant alice to Sandbox anne is over" in world.message
    world.api.remove(KAFKA_ROUTES, "fulfilment-orders-anne")
    await world.reconcile()
    assert world.phase == "Preparing"


async def test_a_group_of_somebody_else_is_not_taken() -> None:
    world = FencedWorld()
    await world.reconcile()
    world.kafka.commit(GROUP, TOPIC, 0, 3)
    world.speak(BASELINE)
    await world.reconcile()
    assert world.ready == ("False", "GroupExists")
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 3}


async def test_a_new_partition_is_announced_to_the_fork_before_the_baseline_is_asked() -> None:
    world = await active(FencedWorld())
    world.kafka.add_partition(TOPIC)
    await world.reconcile()
    assert world.states[2:] == ["alice 2 Aware"]
    world.speak(BASELINE)
    await world.reconcile()
    assert world.states[2:] == ["alice 2 Aware"]
    world.speak(GROUP)
    await world.reconcile()
    assert world.states[2:] == ["alice 2 Ask"]
    world.kafka.produce(TOPIC, 2, 3)
    world.speak()
    await world.reconcile()
    assert world.states[2:] == ["alice 2 From 3"]
    assert world.ready == ("True", "Active")


async def test_a_key_that_is_added_takes_nothing_from_the_baseline_before_the_fork_knows_of_it() -> None:
    world = await active(FencedWorld())
    live = world.live
    live["spec"]["keys"] = ["alice", "release-42"]
    world.api.seed(live)
    await world.reconcile()
    assert world.states[2:] == ["release-42 0 Aware", "release-42 1 Aware"]
    world.speak(GROUP)
    await world.reconcile()
    world.speak(BASELINE)
    await world.reconcile()
    assert world.states[2:] == ["release-42 0 From 10", "release-42 1 From 10"]


async def test_a_key_that_is_taken_away_goes_back_and_the_other_stays() -> None:
    world = FencedWorld(having("spec.keys", ["alice", "release-42"]))
    await active(world)
    live = world.live
    live["spec"]["keys"] = ["alice"]
    world.api.seed(live)

    async def step() -> None:
        await world.reconcile()
        world.speak()
        world.work()

    for _ in range(8):
        await step()
    assert world.states == ["alice 0 From 10", "alice 1 From 10"]
    assert world.phase == "Active"


async def test_a_key_that_is_wanted_again_on_its_way_back_is_claimed_anew() -> None:
    world = FencedWorld(having("spec.keys", ["alice", "release-42"]))
    await active(world)
    before = {claim.key: claim.id for claim in world.route.status.claims}

    async def step(keys: list[str]) -> None:
        live = world.live
        live["spec"]["keys"] = keys
        world.api.seed(live)
        world.clock.move(0.1)
        await world.reconcile()
        world.speak()
        world.work()

    await step(["alice"])
    assert world.states[2:] == ["release-42 0 Freeze 10", "release-42 1 Freeze 10"]
    for _ in range(12):
        await step(["alice", "release-42"])
    assert [state.split()[2] for state in world.states] == ["From"] * 4
    after = {claim.key: claim.id for claim in world.route.status.claims}
    assert after["alice"] == before["alice"]
    assert after["release-42"] != before["release-42"]


async def test_a_topic_that_is_made_anew_voids_its_fences() -> None:
    world = await active(FencedWorld())
    world.kafka.delete_topic(TOPIC)
    world.kafka.create_topic(TOPIC, (0, 2), (0, 2))
    await world.reconcile()
    assert world.states == ["alice 0 Aware", "alice 1 Aware"]
    assert "TopicRecreated" in world.told
    for _ in range(3):
        world.speak()
        await world.reconcile()
    assert world.states == ["alice 0 From 2", "alice 1 From 2"]


async def test_offsets_that_a_group_lost_are_placed_with_the_version_that_its_members_need() -> None:
    world = await active(FencedWorld())
    world.kafka.leave(GROUP)
    world.kafka.expire(GROUP)
    await world.reconcile()
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 10, f"{TOPIC}/1": 10}
    assert world.notes(GROUP, 0).version > 0


async def test_a_route_at_rest_writes_nothing() -> None:
    world = await active(FencedWorld())
    world.speak()
    await world.reconcile()
    before = world.live["metadata"]["resourceVersion"]
    outcome = await world.reconcile()
    assert world.live["metadata"]["resourceVersion"] == before
    assert not outcome.changed
    assert outcome.requeue_after == pytest.approx(30.0)
