from __future__ import annotations

import pytest

from builders import having, kafka_consumer
from sidestream.api.labels import FINALIZER, FORCE_CLEANUP, FORCE_CLEANUP_DISCARD
from sidestream.kafka.translation import Cause
from sidestream.kube.port import KAFKA_CLUSTERS, KAFKA_ROUTES, PODS
from unit.kafka.scenes import GROUP, TOPIC
from unit.kafka.world import MARK, POD, World

QUICK = having("spec.pollInterval", "1s")

# --- the way there


async def test_one_reconcile_takes_a_new_route_to_where_the_fork_may_start() -> None:
    world = World()
    outcome = await world.reconcile()
    assert world.phase == "Preparing"
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 5, f"{TOPIC}/1": 7}
    assert world.live["metadata"]["finalizers"] == [FINALIZER]
    assert outcome.requeue_after == pytest.approx(5.0)
    assert outcome.changed


async def test_the_finalizer_comes_first_then_the_record_then_the_group() -> None:
    world = World()
    world.kafka.fail("GROUP_AUTHORIZATION_FAILED")
    await world.reconcile()
    assert world.live["metadata"]["finalizers"] == [FINALIZER]
    assert world.route.status.group is None
    assert GROUP not in world.kafka.groups


async def test_a_fork_that_joins_makes_the_route_ready() -> None:
    world = World(QUICK)
    await world.until_phase("Active")
    assert world.ready == ("False", "WaitingForConsumers")
    world.start_fork()
    await world.reconcile()
    assert world.ready == ("True", "Active")
    assert world.message == f"Records of tenant alice go to consumer group {GROUP}"
    assert world.route.status.observed_generation == world.live["metadata"]["generation"]
    assert world.told == ["GroupCreated", "HandedOver"]


async def test_kafka_costs_less_than_two_seconds_beyond_the_poll_interval() -> None:
    world = World(QUICK)
    started = world.clock.monotonic()
    await world.until_ready()
    assert world.clock.monotonic() - started <= 1.0 + 2.0


async def test_a_fork_that_leaves_is_no_longer_ready() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.kafka.leave(GROUP)
    outcome = await world.reconcile()
    assert world.ready == ("False", "WaitingForConsumers")
    assert outcome.requeue_after == pytest.approx(0.3)


async def test_a_fork_in_the_baselines_group_is_barred_and_told_once() -> None:
    world = World(QUICK)
    await world.until_phase("Active")
    world.start_fork(joins=False, host="10.0.0.7")
    world.kafka.join("fulfilment", "10.0.0.7")
    await world.reconcile()
    assert world.ready == ("False", "ForkInBaselineGroup")
    assert world.route.status.barred == MARK
    world.stop_fork()
    await world.reconcile()
    assert world.ready == ("False", "ForkInBaselineGroup")
    assert world.told.count("ForkInBaselineGroup") == 1
    world.start_fork()
    await world.until(lambda: world.ready[0] == "True")
    assert world.route.status.barred is None


async def test_a_pod_with_the_nodes_address_is_not_taken_for_a_member() -> None:
    world = World(QUICK)
    await world.until_phase("Active")
    world.start_fork(joins=False, host="10.0.0.5", host_network=True)
    await world.reconcile()
    assert world.ready == ("False", "WaitingForConsumers")


@pytest.mark.parametrize("phase", ["Preparing", "Active"])
async def test_nothing_is_written_when_nothing_has_changed_in(phase: str) -> None:
    world = World()
    await world.until_phase(phase)
    world.start_fork()
    await world.reconcile()
    world.api.forget_requests()
    effects = list(world.effects)
    version = world.live["metadata"]["resourceVersion"]
    for _ in range(3):
        outcome = await world.reconcile()
        assert not outcome.changed
    assert world.api.writes == []
    assert world.effects == effects
    assert world.live["metadata"]["resourceVersion"] == version


async def test_a_restarted_operator_writes_nothing_for_a_route_that_is_well() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.restart()
    world.api.forget_requests()
    await world.reconcile()
    assert world.api.writes == []


# --- what only users can mend


@pytest.mark.parametrize("cause", ["a missing topic", "a group of that name", "a missing cluster", "a refusal"])
async def test_a_route_recovers_by_itself_from(cause: str) -> None:
    world = World(QUICK)
    cluster = world.api.live(KAFKA_CLUSTERS, "main")
    assert cluster is not None
    match cause:
        case "a missing topic":
            world.kafka.delete_topic(TOPIC)
        case "a group of that name":
            world.kafka.commit(GROUP, TOPIC, 0, 1)
        case "a missing cluster":
            world.api.remove(KAFKA_CLUSTERS, "main")
        case _:
            world.kafka.fail("GROUP_AUTHORIZATION_FAILED")
    await world.reconcile()
    expected = {
        "a missing topic": "TopicNotFound",
        "a group of that name": "GroupExists",
        "a missing cluster": "ClusterNotFound",
        "a refusal": "Unauthorized",
    }
    assert world.ready == ("False", expected[cause])
    assert world.told == [expected[cause]]
    assert world.effects == []
    world.api.forget_requests()
    await world.reconcile()
    assert world.api.writes == [], "the same problem is told once"
    match cause:
        case "a missing topic":
            world.kafka.create_topic(TOPIC, (0, 3))
        case "a group of that name":
            world.kafka.expire(GROUP)
        case "a missing cluster":
            world.api.seed(cluster)
        case _:
            world.kafka.mend()
    await world.until_ready()


async def test_a_refusal_names_the_operation_and_the_right_that_is_needed() -> None:
    world = World()
    world.kafka.fail("GROUP_AUTHORIZATION_FAILED")
    await world.reconcile()
    assert f"describe consumer group {GROUP}" in world.message or "describe itself" in world.message
    assert "needs Describe" in world.message


# --- outages


async def test_a_short_outage_is_no_news() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.kafka.fail("_TRANSPORT", Cause.CONNECT)
    world.api.forget_requests()
    outcome = await world.reconcile()
    assert outcome.requeue_after == pytest.approx(0.5)
    world.clock.move(2.0)
    await world.reconcile()
    assert world.api.writes == []
    world.kafka.mend()
    await world.reconcile()
    assert world.api.writes == []


async def test_a_long_outage_makes_a_fork_that_worked_unknown_and_names_the_servers() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.kafka.fail("_TRANSPORT", Cause.CONNECT)
    await world.reconcile()
    world.clock.move(3.0)
    await world.reconcile()
    assert world.ready == ("Unknown", "ClusterUnreachable")
    assert "kafka:9092" in world.message
    assert world.phase == "Active"
    world.kafka.mend()
    await world.reconcile()
    assert world.ready == ("True", "Active")


async def test_an_outage_before_the_fork_worked_is_a_plain_no() -> None:
    world = World()
    world.kafka.fail("_TIMED_OUT", Cause.RESOLVE)
    await world.reconcile()
    world.clock.move(3.0)
    await world.reconcile()
    assert world.ready == ("False", "ClusterUnreachable")
    assert "cannot be resolved" in world.message


async def test_a_group_that_expired_while_nobody_was_in_it_is_made_again_and_said() -> None:
    world = World(QUICK)
    await world.until_phase("Active")
    world.kafka.expire(GROUP)
    await world.reconcile()
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 5, f"{TOPIC}/1": 7}
    assert "GroupRecreated" in world.told


async def test_a_topic_that_was_made_anew_is_read_from_its_first_record() -> None:
    world = World(QUICK)
    await world.until_phase("Active")
    world.kafka.delete_topic(TOPIC)
    await world.reconcile()
    assert world.ready == ("False", "TopicNotFound")
    world.kafka.create_topic(TOPIC, (0, 4), (0, 4), (0, 4))
    await world.reconcile()
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 0, f"{TOPIC}/1": 0, f"{TOPIC}/2": 0}
    assert "TopicRecreated" in world.told
    assert world.ready == ("False", "WaitingForConsumers")


async def test_a_partition_that_is_added_while_the_fork_runs_is_recorded_and_left_to_the_fork() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.kafka.add_partition(TOPIC, 0, 2)
    effects = list(world.effects)
    await world.reconcile()
    assert world.route.status.topics[0].partitions == 3
    assert world.effects == effects
    assert world.ready == ("True", "Active")


# --- the way back


async def test_a_deleted_route_drains_waits_for_the_pods_and_deletes_the_group() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.delete()
    await world.reconcile()
    assert world.phase == "Draining"
    world.kafka.produce(TOPIC)
    world.clock.move(1.0)
    await world.reconcile()
    assert [item.offset for item in world.route.status.until] == [11, 10]
    world.kafka.produce(TOPIC)
    world.kafka.commit(GROUP, TOPIC, 0, 11)
    world.kafka.commit(GROUP, TOPIC, 1, 10)
    await world.reconcile()
    assert world.phase == "Drained"
    assert world.ready == ("False", "Deleting")
    world.stop_fork()
    await world.reconcile()
    assert world.is_gone
    assert GROUP not in world.kafka.groups
    assert world.told == ["Drained", "GroupCreated", "GroupDeleted", "HandedOver"]


async def test_a_member_that_outlives_its_pod_is_waited_for() -> None:
    world = World(QUICK)
    await world.until_ready()
    world.delete()
    await world.until_phase("Draining")
    world.kafka.catch_up(GROUP)
    await world.until_phase("Drained")
    member = next(iter(world.kafka.groups[GROUP].members))
    world.api.remove(PODS, POD)
    await world.reconcile()
    assert world.ready == ("False", "GroupBusy")
    world.kafka.leave(GROUP, member)
    await world.until(lambda: world.is_gone)


async def test_a_group_is_not_deleted_under_a_pod_that_has_yet_to_join() -> None:
    world = World(QUICK)
    await world.until_phase("Preparing")
    world.start_fork(joins=False)
    world.delete()
    await world.until_phase("Drained")
    await world.reconcile()
    assert GROUP in world.kafka.groups
    world.stop_fork()
    await world.until(lambda: world.is_gone)
    assert GROUP not in world.kafka.groups


async def test_a_pod_that_is_over_does_not_hold_the_deletion_up() -> None:
    world = World(QUICK)
    await world.until_phase("Preparing")
    world.start_fork(joins=False)
    over = world.api.live(PODS, POD)
    assert over is not None
    over["status"]["phase"] = "Failed"
    world.api.seed(over)
    world.delete()
    await world.until(lambda: world.is_gone)


async def test_a_route_that_never_recorded_a_group_goes_without_kafka() -> None:
    world = World()
    world.kafka.fail("_TRANSPORT")
    await world.reconcile()
    world.delete()
    await world.reconcile()
    assert world.is_gone


async def test_a_deletion_waits_for_kafka_says_so_and_completes_when_it_is_back() -> None:
    world = World(QUICK)
    await world.until_phase("Preparing")
    world.delete()
    world.kafka.fail("_TIMED_OUT", Cause.CONNECT)
    await world.reconcile()
    world.clock.move(3.0)
    await world.reconcile()
    assert world.ready == ("False", "ClusterUnreachable")
    assert f"consumer group {GROUP} is deleted when that is mended" in world.message
    assert f"{FORCE_CLEANUP}={FORCE_CLEANUP_DISCARD}" in world.message
    world.kafka.mend()
    await world.until(lambda: world.is_gone)
    assert GROUP not in world.kafka.groups


async def test_a_deletion_without_its_cluster_waits_until_it_is_there_again() -> None:
    world = World(QUICK)
    await world.until_phase("Preparing")
    cluster = world.api.live(KAFKA_CLUSTERS, "main")
    assert cluster is not None
    world.delete()
    world.api.remove(KAFKA_CLUSTERS, "main")
    world.restart()
    await world.reconcile()
    assert world.ready == ("False", "ClusterNotFound")
    world.api.seed(cluster)
    await world.until(lambda: world.is_gone)
    assert GROUP not in world.kafka.groups


async def test_a_discarded_route_lets_go_and_names_the_group_that_may_be_left() -> None:
    world = World(QUICK)
    await world.until_phase("Preparing")
    world.kafka.fail("_TRANSPORT")
    world.delete()
    world.annotate(FORCE_CLEANUP, FORCE_CLEANUP_DISCARD)
    await world.reconcile()
    assert world.is_gone
    assert "GroupLeftBehind" in world.told


async def test_a_group_of_somebody_else_survives_the_route_that_could_not_have_it() -> None:
    world = World()
    world.kafka.commit(GROUP, TOPIC, 0, 1)
    await world.reconcile()
    world.delete()
    await world.reconcile()
    assert world.is_gone
    assert world.kafka.offsets(GROUP) == {f"{TOPIC}/0": 1}


async def test_a_group_that_became_a_baselines_own_survives() -> None:
    world = World(QUICK)
    await world.until_phase("Preparing")
    world.api.seed(kafka_consumer("thief", having("spec.group", GROUP)))
    world.delete()
    await world.until_phase("Deleting")
    await world.reconcile()
    assert world.ready == ("False", "GroupExists")
    assert GROUP in world.kafka.groups


async def test_a_route_that_is_not_ours_to_hold_is_left_alone() -> None:
    world = World(having("metadata.finalizers", ["someone.else/first"]))
    world.delete()
    await world.reconcile()
    assert world.api.writes == []
    assert world.effects == []


async def test_a_route_that_is_gone_is_no_trouble() -> None:
    world = World()
    world.api.remove(KAFKA_ROUTES, "fulfilment-orders-alice")
    outcome = await world.reconcile()
    assert (outcome.requeue_after, outcome.changed) == (None, False)
