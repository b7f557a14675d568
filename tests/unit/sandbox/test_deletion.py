"""The reconciler in a small cluster: from deletion to a namespace without a trace."""

from __future__ import annotations

import pytest

from builders import (
    deployment,
    finalized,
    forking,
    having,
    sandbox,
    ttl,
)
from sidestream.api.labels import FINALIZER, FORCE_CLEANUP
from sidestream.kube import port
from sidestream.kube.port import Object
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes_live import MADE, STATUS, fenced_shop, shop, workloads

ROUTE = "kafkaroutes/fulfilment-orders-alice"


async def draining(cluster: Cluster) -> Object:
    """The hand-off once it has come to Draining."""
    for _ in range(20):
        route = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
        if route is not None and route["status"]["phase"] == "Draining":
            return route
        await cluster.reconcile()
        await cluster.others()
    raise AssertionError("it never drains")


async def test_deletion_goes_step_by_step() -> None:
    cluster = shop()
    await cluster.settle()
    await cluster.delete()
    steps: list[tuple[str, list[str]]] = []
    while cluster.api.live(port.SANDBOXES, "alice") is not None:
        cluster.api.forget_requests()
        await cluster.reconcile()
        live = cluster.api.live(port.SANDBOXES, "alice")
        waits = "" if live is None else cluster.condition("Ready")[2]
        steps.append((waits, [line for line in cluster.writes() if line != STATUS]))
        await cluster.others()
    assert steps == [
        ("Waits until no proxy routes to the forks of Service orders any more", []),
        (
            "Waits until the fork has worked off the records of KafkaRoute fulfilment-orders-alice",
            ["delete kafkaroutes shop/fulfilment-orders-alice"],
        ),
        ("Waits until the fork has worked off the records of KafkaRoute fulfilment-orders-alice", []),
        (
            "Waits until the pods of Deployments fulfilment-alice, orders-alice are gone",
            [
                "delete deployments shop/fulfilment-alice",
                "delete deployments shop/orders-alice",
                "delete services shop/orders-alice",
            ],
        ),
        ("Waits until the consumer group of KafkaRoute fulfilment-orders-alice is deleted", []),
        ("", ["patch sandboxes shop/alice"]),
    ]
    assert cluster.made() == []
    assert cluster.events()[-4:] == ["Deleting", "ForkRemoved", "ForkRemoved", "Deleted"]


async def test_a_pinned_sandbox_leaves_no_snapshot() -> None:
    cluster = Cluster(
        deployment(), sandbox("alice", having("spec.workloads", workloads("orders", baselineUpdates="Pin")))
    )
    await cluster.settle()
    await cluster.delete()
    await cluster.settle()
    assert cluster.made() == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(port.DEPLOYMENTS, "orders", id="the baseline is gone"),
        pytest.param(port.SERVICES, "orders", id="its Service is gone"),
        pytest.param(port.KAFKA_CONSUMERS, "fulfilment-orders", id="the KafkaConsumer is gone"),
        pytest.param(port.KAFKA_CLUSTERS, "main", id="the KafkaCluster is gone"),
        pytest.param(port.DEPLOYMENTS, "orders-alice", id="a fork is gone"),
        pytest.param(port.SERVICES, "orders-alice", id="a fork Service is gone"),
        pytest.param(port.KAFKA_ROUTES, "fulfilment-orders-alice", id="the KafkaRoute is gone"),
    ],
)
async def test_deletion_needs_nothing_of_what_the_sandbox_was_made_from(kind: port.Resource, name: str) -> None:
    cluster = shop()
    await cluster.settle()
    cluster.api.remove(kind, name, "" if not kind.namespaced else "shop")
    await cluster.delete()
    await cluster.settle()
    assert cluster.made() == []
    assert cluster.api.live(port.SANDBOXES, "alice") is None


async def test_a_hand_off_outlives_its_sandbox_until_the_baseline_has_passed() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    cluster.has_baseline_passed = False
    await cluster.delete()
    await cluster.settle()
    assert cluster.api.live(port.SANDBOXES, "alice") is None
    assert cluster.made() == [ROUTE]
    cluster.has_baseline_passed = True
    await cluster.others()
    assert cluster.made() == []


async def test_a_sandbox_of_the_same_name_waits_for_the_hand_off_of_the_last_one() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    cluster.has_baseline_passed = False
    await cluster.delete()
    await cluster.settle()
    cluster.api.seed(sandbox("alice", forking("orders", "fulfilment"), having("metadata.uid", "another")))
    await cluster.settle()
    status, reason, message = cluster.condition("Accepted")
    assert (status, reason) == ("False", "NameTaken")
    assert message == (
        "Workload fulfilment: KafkaRoute fulfilment-orders-alice belongs to an earlier Sandbox of this name and is not "
        "gone yet: it goes when consumer group fulfilment has passed the records that were that Sandbox's"
    )
    assert cluster.made() == [ROUTE]
    cluster.has_baseline_passed = True
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    assert cluster.made() == MADE


async def test_a_fork_that_is_deleted_while_it_drains_is_made_again_and_then_goes() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    await cluster.delete()
    await draining(cluster)
    cluster.api.remove(port.DEPLOYMENTS, "fulfilment-alice")
    cluster.run_pods()
    cluster.run_kafka()
    await cluster.reconcile()
    assert "deployments/fulfilment-alice" in cluster.made()
    await cluster.settle()
    assert cluster.made() == []
    assert cluster.api.live(port.SANDBOXES, "alice") is None


async def test_the_baselines_pods_take_over_while_everything_goes() -> None:
    cluster = fenced_shop()
    cluster.edit(workloads=workloads("fulfilment", containers=[{"image": "pr:1"}]))
    await cluster.settle()
    await cluster.delete()
    route = await draining(cluster)
    cluster.api.seed({**route, "status": {**route["status"], "handback": True}})
    await cluster.reconcile()
    fork = cluster.api.live(port.DEPLOYMENTS, "fulfilment-alice")
    assert fork is not None
    (app,) = fork["spec"]["template"]["spec"]["containers"]
    assert app["image"] == "fulfilment:1"
    assert {"name": "KAFKA_GROUP_ID", "value": "fulfilment.sbx.alice"} in app["env"]
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.api.writes == []
    await cluster.settle()
    assert cluster.made() == []


@pytest.mark.parametrize("asked", ["halted", "stranded", "handback"])
async def test_a_fork_is_written_once_for_what_its_hand_off_asks(asked: str) -> None:
    cluster = fenced_shop()
    await cluster.settle()
    await cluster.delete()
    route = await draining(cluster)
    cluster.api.seed({**route, "status": {**route["status"], asked: True}})
    await cluster.reconcile()
    cluster.run_deployments()
    await cluster.reconcile()
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.api.writes == []


async def test_deletion_waits_for_a_recorded_group_and_says_so() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.run_kafka = lambda: None  # type: ignore[method-assign]
    await cluster.delete()
    await cluster.settle()
    assert cluster.conditions()["KafkaReady"] == "False/Draining"
    assert "kafkaroutes/fulfilment-orders-alice" in cluster.made()
    assert FINALIZER in cluster.sandbox()["metadata"]["finalizers"]


async def test_force_cleanup_reaches_the_kafka_route() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.run_kafka = lambda: None  # type: ignore[method-assign]
    await cluster.delete()
    await cluster.settle()
    live = cluster.sandbox()
    cluster.api.seed({**live, "metadata": {**live["metadata"], "annotations": {FORCE_CLEANUP: "discard"}}})
    await cluster.settle()
    route = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    assert route is not None
    assert route["metadata"]["annotations"][FORCE_CLEANUP] == "discard"
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.api.writes == []


async def test_a_sandbox_that_made_nothing_is_gone_at_once() -> None:
    cluster = Cluster(sandbox())
    await cluster.settle()
    await cluster.delete()
    assert cluster.api.live(port.SANDBOXES, "alice") is None
    outcome = await cluster.reconcile()
    assert not outcome.changed


async def test_pods_that_are_left_hold_the_deletion_up() -> None:
    cluster = Cluster(deployment(), sandbox())
    await cluster.settle()
    await cluster.delete()
    await cluster.reconcile()
    await cluster.reconcile()
    assert cluster.made() == []
    assert cluster.condition("Ready")[2] == "Waits until the pods of Deployment orders-alice are gone"
    await cluster.settle()
    assert cluster.api.live(port.SANDBOXES, "alice") is None


async def test_an_expired_sandbox_deletes_itself_in_the_ordinary_order() -> None:
    cluster = shop(ttl("1h"))
    await cluster.settle()
    cluster.clock.move(3599)
    assert (await cluster.reconcile()).requeue_after == 1.0
    cluster.clock.move(1)
    await cluster.reconcile()
    assert "deletionTimestamp" in cluster.sandbox()["metadata"]
    assert cluster.made() == MADE
    await cluster.settle()
    assert cluster.api.live(port.SANDBOXES, "alice") is None
    assert cluster.made() == []
    assert "Expired" in cluster.events()


async def test_a_foreign_finalizer_does_not_make_us_start_over() -> None:
    cluster = Cluster(deployment(), sandbox("alice", finalized("somebody/else")))
    await cluster.settle()
    await cluster.delete()
    await cluster.settle()
    assert cluster.sandbox()["metadata"]["finalizers"] == ["somebody/else"]
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.api.writes == []
