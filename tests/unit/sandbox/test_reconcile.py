"""The reconciler in a small cluster: from creation to Ready, and through changes."""

from __future__ import annotations

import pytest

from builders import (
    deployment,
    having,
    kafka_consumer,
    sandbox,
    selecting,
    service,
    ttl,
)
from sidestream.api.labels import BASELINE_SERVICE
from sidestream.errors import KubeError, ObjectRejectedError, TransientError
from sidestream.kube import port
from sidestream.sandbox.fork import template_mark
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes_live import AS_SANDBOX, MADE, STATUS, key_of, replicas, shop, workloads


async def test_a_sandbox_becomes_ready_step_by_step() -> None:
    cluster = shop()
    await cluster.reconcile()
    assert cluster.writes() == [
        "patch sandboxes shop/alice",
        f"apply kafkaroutes shop/fulfilment-orders-alice{AS_SANDBOX}",
        f"apply deployments shop/orders-alice{AS_SANDBOX}",
        f"apply deployments shop/fulfilment-alice{AS_SANDBOX}",
        f"apply services shop/orders-alice{AS_SANDBOX}",
        STATUS,
    ]
    assert replicas(cluster, "orders-alice") == 1
    assert replicas(cluster, "fulfilment-alice") == 0
    await cluster.others()
    await cluster.reconcile()
    assert cluster.conditions()["WorkloadsReady"] == "False/WaitingForKafka"
    await cluster.settle()
    assert replicas(cluster, "fulfilment-alice") == 1
    assert cluster.made() == MADE
    assert cluster.conditions() == {
        "Accepted": "True/Accepted",
        "WorkloadsReady": "True/Ready",
        "RoutesReady": "True/Programmed",
        "KafkaReady": "True/Active",
        "Ready": "True/Ready",
    }
    assert cluster.events() == ["ForkCreated", "ForkCreated", "Ready"]


async def test_a_fork_whose_pods_joined_the_baselines_group_is_stopped_until_they_change() -> None:
    cluster = shop()
    await cluster.settle()
    (route,) = cluster.api.stored(port.KAFKA_ROUTES).values()
    fork = cluster.api.live(port.DEPLOYMENTS, "fulfilment-alice")
    assert fork is not None
    cluster.api.seed({**route, "status": {**route["status"], "barred": template_mark(fork)}})
    await cluster.reconcile()
    assert replicas(cluster, "fulfilment-alice") == 0
    assert replicas(cluster, "orders-alice") == 1
    status, reason, message = cluster.condition("WorkloadsReady")
    assert (status, reason) == ("False", "WaitingForKafka")
    assert message.endswith("its program takes its consumer group from the variable that the KafkaConsumer names")
    cluster.edit(workloads=workloads("orders", "fulfilment", containers=[{"image": "mended:1"}]))
    await cluster.reconcile()
    assert replicas(cluster, "fulfilment-alice") == 1


async def test_the_status_tells_what_was_made_and_leaves_the_routes_to_their_owners() -> None:
    cluster = shop(ttl("72h"))
    await cluster.settle()
    status = cluster.sandbox()["status"]
    assert status["workloads"] == [
        {
            "deployment": "orders",
            "fork": "orders-alice",
            "services": ["orders-alice"],
            "readyReplicas": 1,
            "baselineGeneration": 1,
            "keys": ["alice"],
            "findings": [],
        },
        {
            "deployment": "fulfilment",
            "fork": "fulfilment-alice",
            "services": [],
            "readyReplicas": 1,
            "baselineGeneration": 1,
            "keys": ["alice"],
            "findings": [],
        },
    ]
    assert status["kafka"] == [
        {
            "consumer": "fulfilment-orders",
            "group": "fulfilment.sbx.alice",
            "phase": "Active",
            "partitions": 0,
            "pending": 0,
        }
    ]
    assert (status["routingKey"], status["observedGeneration"]) == ("alice", 1)
    assert (status["lastChangedAt"], status["expiresAt"]) == ("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z")
    assert [entry["service"] for entry in status["routes"]] == ["orders"]
    owners = [
        item["manager"]
        for item in cluster.sandbox()["metadata"]["managedFields"]
        if "f:routes" in item["fieldsV1"].get("f:status", {})
    ]
    assert owners == ["sidestream-route-orders"]


async def test_an_unchanged_sandbox_costs_no_write() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.api.forget_requests()
    for _ in range(3):
        outcome = await cluster.reconcile()
        assert not outcome.changed
        assert outcome.requeue_after is None
    assert cluster.api.writes == []


async def test_no_empty_list_is_applied_for_the_api_server_notes_no_owner_of_it() -> None:
    cluster = Cluster(deployment(), sandbox())
    await cluster.settle()
    assert "kafka" not in cluster.sandbox()["status"]
    assert [entry["deployment"] for entry in cluster.sandbox()["status"]["workloads"]] == ["orders"]


@pytest.mark.parametrize(
    "cluster",
    [
        pytest.param(Cluster(sandbox()), id="no baseline"),
        pytest.param(Cluster(deployment(), deployment("orders-alice"), sandbox()), id="a name that is taken"),
    ],
)
async def test_a_sandbox_that_is_not_accepted_costs_one_status_and_one_event(cluster: Cluster) -> None:
    await cluster.reconcile()
    assert cluster.writes() == [STATUS]
    assert len(cluster.events()) == 1
    cluster.api.forget_requests()
    outcome = await cluster.reconcile()
    assert cluster.api.writes == []
    assert outcome.requeue_after == 30.0


async def test_it_recovers_when_the_baseline_appears() -> None:
    cluster = Cluster(service(), sandbox())
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "False/BaselineNotFound"
    cluster.api.seed(deployment())
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    assert cluster.events() == ["BaselineNotFound", "ForkCreated", "Ready"]


async def test_a_change_reaches_the_fork_and_ready_waits_for_it() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.api.forget_requests()
    cluster.edit(workloads=[*workloads("orders", containers=[{"image": "orders:2"}]), *workloads("fulfilment")])
    await cluster.reconcile()
    assert cluster.writes() == [f"apply deployments shop/orders-alice{AS_SANDBOX}", STATUS]
    assert cluster.conditions()["WorkloadsReady"] == "False/ForkNotReady"
    assert cluster.conditions()["RoutesReady"] == "False/Pending"
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    fork = cluster.api.live(port.DEPLOYMENTS, "orders-alice")
    assert fork is not None
    assert fork["spec"]["template"]["spec"]["containers"][0]["image"] == "orders:2"


async def test_what_a_workload_no_longer_says_is_taken_back() -> None:
    cluster = Cluster(
        deployment(),
        sandbox(
            "alice", having("spec.workloads", workloads("orders", containers=[{"env": [{"name": "X", "value": "1"}]}]))
        ),
    )
    await cluster.settle()
    cluster.edit(workloads=workloads("orders"))
    await cluster.settle()
    fork = cluster.api.live(port.DEPLOYMENTS, "orders-alice")
    assert fork is not None
    names = [item["name"] for item in fork["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert names == ["SIDESTREAM_SANDBOX"]


@pytest.mark.parametrize(
    ("updates", "image"),
    [pytest.param("Follow", "orders:2", id="Follow"), pytest.param("Pin", "orders:1", id="Pin")],
)
async def test_a_fork_follows_its_baseline_or_stays_where_it_was_pinned(updates: str, image: str) -> None:
    item = sandbox("alice", having("spec.workloads", workloads("orders", baselineUpdates=updates)))
    cluster = Cluster(deployment(), service(), item)
    await cluster.settle()
    cluster.api.seed(
        deployment("orders", having("spec.template.spec.containers", [{"name": "app", "image": "orders:2"}]))
    )
    await cluster.settle()
    fork = cluster.api.live(port.DEPLOYMENTS, "orders-alice")
    assert fork is not None
    assert fork["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert ("controllerrevisions/orders-alice" in cluster.made()) == (updates == "Pin")


async def test_a_pinned_fork_that_follows_again_catches_up() -> None:
    cluster = Cluster(
        deployment(), sandbox("alice", having("spec.workloads", workloads("orders", baselineUpdates="Pin")))
    )
    await cluster.settle()
    cluster.api.seed(deployment("orders", having("spec.minReadySeconds", 7)))
    cluster.edit(workloads=workloads("orders"))
    await cluster.settle()
    fork = cluster.api.live(port.DEPLOYMENTS, "orders-alice")
    assert fork is not None
    assert fork["spec"]["minReadySeconds"] == 7
    assert cluster.made() == ["deployments/orders-alice"]


async def test_fork_pods_leave_a_selector_that_appears_later() -> None:
    cluster = Cluster(deployment(), sandbox())
    await cluster.settle()
    cluster.api.seed(service("all", selecting({"app": "orders-alice"})))
    await cluster.settle()
    fork = cluster.api.live(port.DEPLOYMENTS, "orders-alice")
    assert fork is not None
    assert fork["spec"]["template"]["metadata"]["labels"]["app"] == "orders-2-alice"


async def test_a_fork_that_somebody_deletes_or_edits_is_put_right() -> None:
    cluster = shop()
    await cluster.settle()
    before = cluster.state()
    cluster.api.remove(port.DEPLOYMENTS, "orders-alice")
    fork_service = cluster.api.live(port.SERVICES, "orders-alice")
    assert fork_service is not None
    cluster.api.seed({**fork_service, "spec": {**fork_service["spec"], "selector": {"app": "orders"}}})
    await cluster.settle()
    assert cluster.state() == before


async def test_a_service_that_appears_later_gets_its_stand_in() -> None:
    cluster = Cluster(deployment(), sandbox())
    await cluster.settle()
    assert cluster.conditions()["RoutesReady"] == "True/NotApplicable"
    cluster.api.seed(service())
    await cluster.settle()
    assert cluster.made() == ["deployments/orders-alice", "services/orders-alice"]
    assert cluster.conditions()["RoutesReady"] == "True/Programmed"


async def test_a_workload_taken_out_goes_in_order_and_the_rest_stays() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.edit(workloads=workloads("fulfilment"))
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.writes() == [f"apply services shop/orders-alice{AS_SANDBOX}", STATUS]
    withdrawn = cluster.api.live(port.SERVICES, "orders-alice")
    assert withdrawn is not None
    assert BASELINE_SERVICE not in withdrawn["metadata"]["labels"]
    assert cluster.conditions()["RoutesReady"] == "False/Deleting"
    await cluster.reconcile()
    assert "deployments/orders-alice" in cluster.made()
    await cluster.settle()
    assert cluster.made() == ["deployments/fulfilment-alice", "kafkaroutes/fulfilment-orders-alice"]
    assert cluster.conditions()["Ready"] == "True/Ready"
    assert cluster.events()[-2:] == ["ForkRemoved", "Ready"]


async def test_a_consumer_taken_out_drains_before_its_fork_stops() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.edit(workloads=workloads("orders"))
    seen: list[tuple[str, bool]] = []
    for _ in range(8):
        await cluster.reconcile()
        await cluster.others()
        route = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
        seen.append(
            ("gone" if route is None else route["status"]["phase"], "deployments/fulfilment-alice" in cluster.made())
        )
    assert seen[:4] == [("Draining", True), ("Drained", True), ("Deleting", False), ("gone", False)]
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    assert cluster.made() == ["deployments/orders-alice", "services/orders-alice"]


async def test_a_hand_off_that_is_another_by_now_is_made_anew() -> None:
    cluster = shop()
    await cluster.settle()
    consumer = kafka_consumer("fulfilment-orders", having("spec.group", "other"))
    cluster.api.seed(consumer)
    counts = []
    for _ in range(10):
        await cluster.reconcile()
        await cluster.others()
        counts.append(replicas(cluster, "fulfilment-alice"))
    assert 0 in counts
    await cluster.settle()
    route = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    assert route is not None
    assert route["spec"]["baselineGroup"] == "other"
    assert cluster.conditions()["Ready"] == "True/Ready"


async def test_topics_and_the_poll_interval_change_without_a_new_hand_off() -> None:
    cluster = shop()
    await cluster.settle()
    before = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    changes = [having("spec.topics", ["orders.created", "orders.cancelled"]), having("spec.pollInterval", "1s")]
    cluster.api.seed(kafka_consumer("fulfilment-orders", *changes))
    await cluster.settle()
    after = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["topics"] == ["orders.cancelled", "orders.created"]
    assert after["spec"]["pollInterval"] == "1s"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ObjectRejectedError("spec.template is invalid", status=422), id="invalid"),
        pytest.param(KubeError("admission webhook denied it", status=403), id="denied"),
    ],
)
async def test_a_fork_that_the_api_server_refuses_is_told_and_tried_again(error: KubeError) -> None:
    cluster = shop()
    cluster.api.fail(error, verb="apply", resource=port.DEPLOYMENTS, times=2)
    outcome = await cluster.reconcile()
    assert cluster.condition("Accepted") == ("False", "ForkRejected", f"Workload orders: {error.message}")
    assert outcome.requeue_after == 30.0
    assert cluster.events() == ["ForkRejected"]
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert STATUS not in cluster.writes()
    assert cluster.events() == ["ForkRejected"]
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"


async def test_an_api_server_that_is_away_is_no_verdict_about_the_sandbox() -> None:
    cluster = shop()
    cluster.api.fail(TransientError("no connection"), verb="apply")
    with pytest.raises(TransientError):
        await cluster.reconcile()
    assert "status" not in cluster.sandbox()


async def test_two_sandboxes_fork_one_deployment_for_different_tenants() -> None:
    cluster = Cluster(deployment(), service(), sandbox(), sandbox("bob"))
    for _ in range(3):
        await cluster.settle()
        await cluster.settle(key_of("bob"))
    assert cluster.conditions()["Ready"] == cluster.conditions("bob")["Ready"] == "True/Ready"
    await cluster.delete()
    await cluster.settle()
    assert cluster.made() == ["deployments/orders-bob", "services/orders-bob"]


async def test_a_workload_is_free_when_the_older_sandbox_is_gone() -> None:
    item = sandbox("zoe", having("spec.routingKey", "alice"))
    cluster = Cluster(deployment(), service(), sandbox(), item)
    await cluster.settle()
    await cluster.settle(key_of("zoe"))
    assert cluster.conditions("zoe")["Ready"] == "False/WorkloadTaken"
    await cluster.delete()
    await cluster.settle()
    await cluster.settle(key_of("zoe"))
    assert cluster.conditions("zoe")["Ready"] == "True/Ready"
