"""A suspended Sandbox in a small cluster: to sleep in order, awake again, under either coordination."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builders import having
from sidestream.api.labels import BASELINE_SERVICE
from sidestream.kube import port
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes_live import MADE, fenced_shop, replicas, shop

ROUTE = "fulfilment-orders-alice"

either_way = pytest.mark.parametrize("make", [pytest.param(shop, id="Polling"), pytest.param(fenced_shop, id="Fenced")])


def phase(cluster: Cluster) -> str:
    route = cluster.api.live(port.KAFKA_ROUTES, ROUTE)
    return "gone" if route is None else str(route["status"]["phase"])


def is_offered(cluster: Cluster) -> bool:
    service = cluster.api.live(port.SERVICES, "orders-alice")
    return service is not None and BASELINE_SERVICE in service["metadata"]["labels"]


async def suspended(cluster: Cluster) -> Cluster:
    await cluster.settle()
    cluster.edit(suspended=True)
    return cluster


async def test_a_suspended_sandbox_gives_back_in_order() -> None:
    cluster = await suspended(fenced_shop())
    steps: list[tuple[bool, bool, str, int]] = []
    for _ in range(14):
        await cluster.reconcile()
        step = (
            is_offered(cluster),
            bool(cluster.sandbox()["status"].get("routes")),
            phase(cluster),
            replicas(cluster, "fulfilment-alice"),
        )
        if step not in steps:
            steps.append(step)
        await cluster.others()
    assert steps == [
        (False, True, "Active", 1),
        (False, False, "Active", 1),
        (False, False, "Freezing", 1),
        (False, False, "PreparingOff", 1),
        (False, False, "Draining", 1),
        (False, False, "Drained", 0),
        (False, False, "Deleting", 0),
        (False, False, "Retiring", 0),
        (False, False, "gone", 0),
    ]


@either_way
async def test_a_suspended_sandbox_rests_without_routes_records_and_pods(make: Callable[[], Cluster]) -> None:
    cluster = await suspended(make())
    await cluster.settle()
    assert cluster.made() == ["deployments/fulfilment-alice", "deployments/orders-alice"]
    assert (replicas(cluster, "orders-alice"), replicas(cluster, "fulfilment-alice")) == (0, 0)
    assert cluster.conditions() == {
        "Accepted": "True/Accepted",
        "WorkloadsReady": "True/Ready",
        "RoutesReady": "True/NotApplicable",
        "KafkaReady": "True/NotApplicable",
        "Ready": "False/Suspended",
    }
    assert [cluster.condition(type_)[2] for type_ in ("WorkloadsReady", "RoutesReady", "KafkaReady")] == [
        "A suspended Sandbox runs no pods",
        "A suspended Sandbox takes no requests",
        "A suspended Sandbox takes no records",
    ]
    cluster.api.forget_requests()
    assert not (await cluster.reconcile()).changed
    assert cluster.api.writes == []


@either_way
async def test_a_sandbox_that_is_made_suspended_takes_nothing(make: Callable[..., Cluster]) -> None:
    cluster = make(having("spec.suspended", value=True))
    await cluster.settle()
    assert cluster.made() == ["deployments/fulfilment-alice", "deployments/orders-alice"]
    assert replicas(cluster, "fulfilment-alice") == 0


@either_way
@pytest.mark.parametrize("rounds", range(12))
async def test_a_sandbox_that_is_resumed_at_any_moment_is_ready_again(make: Callable[[], Cluster], rounds: int) -> None:
    cluster = await suspended(make())
    for _ in range(rounds):
        await cluster.reconcile()
        await cluster.others()
    cluster.edit(suspended=False)
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    assert cluster.made() == MADE
    assert replicas(cluster, "fulfilment-alice") == 1


async def test_a_fork_does_not_start_while_its_last_hand_off_retires() -> None:
    cluster = await suspended(fenced_shop())
    cluster.has_baseline_passed = False
    await cluster.settle()
    cluster.edit(suspended=False)
    await cluster.settle()
    assert phase(cluster) == "Retiring"
    assert replicas(cluster, "fulfilment-alice") == 0
    assert replicas(cluster, "orders-alice") == 1
    assert cluster.conditions()["KafkaReady"].startswith("False/")
    cluster.has_baseline_passed = True
    await cluster.settle()
    assert (phase(cluster), replicas(cluster, "fulfilment-alice")) == ("Active", 1)
    assert cluster.conditions()["Ready"] == "True/Ready"


async def test_nothing_is_given_back_while_a_service_is_still_offered_although_no_entry_says_so() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    await cluster.write_route("alice", "orders", None)
    cluster.edit(suspended=True)
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert not is_offered(cluster)
    assert phase(cluster) == "Active"
    assert not [line for line in cluster.writes() if line.startswith("delete")]
    assert replicas(cluster, "orders-alice") == 1


async def test_a_suspended_sandbox_waits_for_routes_whose_service_somebody_deleted() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    cluster.api.remove(port.SERVICES, "orders-alice")
    cluster.edit(suspended=True)
    await cluster.reconcile()
    text = "Waits until no proxy routes to the forks of Service orders any more"
    assert cluster.condition("RoutesReady") == ("False", "Deleting", text)
    assert cluster.condition("Ready")[2] == text
    assert replicas(cluster, "orders-alice") == 1


async def test_a_fork_that_never_ran_works_off_what_it_was_given() -> None:
    cluster = fenced_shop()
    while phase(cluster) != "Creating":
        await cluster.reconcile()
        await cluster.others()
    assert replicas(cluster, "fulfilment-alice") == 0
    cluster.edit(suspended=True)
    counts = []
    for _ in range(14):
        await cluster.reconcile()
        counts.append((phase(cluster), replicas(cluster, "fulfilment-alice")))
        await cluster.others()
    assert ("Draining", 1) in counts
    assert counts[-1] == ("gone", 0)


async def test_a_suspended_sandbox_is_deleted_in_the_ordinary_order() -> None:
    cluster = await suspended(fenced_shop())
    await cluster.settle()
    await cluster.delete()
    await cluster.settle()
    assert cluster.made() == []
    assert cluster.api.live(port.SANDBOXES, "alice") is None
