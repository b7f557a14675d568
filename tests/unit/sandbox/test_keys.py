"""The keys of RouteGroups on the hand-offs and in the status of their members."""

from __future__ import annotations

from typing import Any

import pytest

from builders import (
    created,
    deleting,
    deployment,
    forking,
    having,
    kafka_consumer,
    labelled,
    of_labels,
    of_sandboxes,
    route_group,
    routing_key,
    sandbox,
)
from fakes.kube import FakeKubeApi
from sidestream.kube import port
from sidestream.kube.port import Object
from sidestream.sandbox import handoffs
from sidestream.sandbox.observe import route_groups
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes import BASELINE_OBJECTS, CONSUMING, planned, targets
from unit.sandbox.scenes_live import FENCED, fenced_shop, key_of, shop, workloads

KEY = "release-42"


def keys(cluster: Cluster, name: str = "fulfilment-orders-alice") -> list[str]:
    """The keys of a KafkaRoute."""
    live = cluster.api.live(port.KAFKA_ROUTES, name)
    assert live is not None
    found: list[str] = live["spec"]["keys"]
    return found


def status(cluster: Cluster, name: str = "alice") -> Object:
    found: Object = cluster.sandbox(name)["status"]
    return found


async def grouped(*modifiers: Any) -> Cluster:
    """Alice's fork under Fenced, at rest, in a RouteGroup."""
    cluster = fenced_shop()
    cluster.api.seed(route_group(KEY, *modifiers))
    await cluster.settle()
    return cluster


async def test_a_members_forks_answer_to_its_own_key_and_the_groups() -> None:
    cluster = await grouped()
    assert keys(cluster) == ["alice", KEY]
    assert status(cluster)["routingKeys"] == ["alice", KEY]
    assert [item["keys"] for item in status(cluster)["workloads"]] == [["alice", KEY]] * 2
    assert cluster.conditions()["Ready"] == "True/Ready"


async def test_a_group_that_comes_to_a_living_fork_changes_its_keys_and_nothing_else() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    before = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    assert before is not None
    assert keys(cluster) == ["alice"]
    cluster.api.forget_requests()
    cluster.api.seed(route_group(KEY))
    await cluster.reconcile()
    assert cluster.writes() == [
        "apply kafkaroutes shop/fulfilment-orders-alice as sidestream-sandbox",
        "apply_status sandboxes shop/alice as sidestream-sandbox",
    ]
    after = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert cluster.conditions()["KafkaReady"].startswith("False"), "the hand-off has yet to answer the new keys"
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    cluster.api.remove(port.ROUTE_GROUPS, KEY)
    await cluster.settle()
    assert keys(cluster) == ["alice"]
    assert status(cluster)["routingKeys"] == ["alice"]
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.writes() == []


async def test_routes_are_ready_when_their_entries_speak_of_every_key() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    cluster.api.seed(route_group(KEY))
    await cluster.reconcile()
    assert cluster.condition("RoutesReady") == (
        "False",
        "Pending",
        f"The route of Service orders is being made for {KEY}, too",
    )
    await cluster.write_route("alice", "orders", "Programmed", keys=["alice", KEY])
    await cluster.reconcile()
    assert cluster.conditions()["RoutesReady"] == "True/Programmed"
    await cluster.write_route("alice", "orders", "Programmed", keys=["alice", KEY, "left"])
    await cluster.reconcile()
    assert cluster.conditions()["RoutesReady"] == "True/Programmed"


async def test_labels_make_a_member_and_unmake_it() -> None:
    cluster = await grouped(of_labels({"release": "42"}))
    assert keys(cluster) == ["alice"]
    live = cluster.sandbox()
    labelled({"release": "42"})(live)
    cluster.api.seed(live)
    await cluster.settle()
    assert keys(cluster) == ["alice", KEY]
    live = cluster.sandbox()
    live["metadata"]["labels"] = {}
    cluster.api.seed(live)
    await cluster.settle()
    assert keys(cluster) == ["alice"]


async def test_of_two_members_with_forks_of_one_deployment_the_older_has_the_key() -> None:
    cluster = await grouped()
    cluster.api.seed(sandbox("bob", forking("fulfilment"), created("2026-02-01T00:00:00Z")))
    await cluster.settle(key_of("bob"))
    assert keys(cluster, "fulfilment-orders-bob") == ["bob"]
    assert "routingKeys" in status(cluster, "bob")
    assert status(cluster, "bob")["routingKeys"] == ["bob"]
    await cluster.delete("alice")
    await cluster.reconcile(key_of("bob"))
    assert keys(cluster, "fulfilment-orders-bob") == ["bob", KEY], "a Sandbox in deletion leaves its groups"


async def test_a_sandbox_whose_own_key_is_the_groups_takes_it_from_a_member() -> None:
    cluster = await grouped()
    cluster.api.seed(sandbox("carol", forking("fulfilment"), routing_key(KEY), created("2026-02-01T00:00:00Z")))
    await cluster.settle(key_of("carol"))
    await cluster.settle()
    assert keys(cluster, "fulfilment-orders-carol") == [KEY]
    assert keys(cluster) == ["alice"]
    assert status(cluster)["routingKeys"] == ["alice", KEY], "it still serves the key with its fork of orders"
    assert cluster.conditions("carol")["Accepted"] == "True/Accepted"


async def test_a_sandbox_that_is_not_accepted_gives_up_what_is_no_longer_its_own_and_nothing_else() -> None:
    cluster = await grouped()
    cluster.edit(workloads=workloads("orders", "fulfilment", "nothing"))
    await cluster.settle()
    assert cluster.conditions()["Accepted"] == "False/BaselineNotFound"
    assert keys(cluster) == ["alice", KEY]
    cluster.api.seed(route_group("other", of_sandboxes("alice")))
    await cluster.settle()
    assert keys(cluster) == ["alice", KEY], "nothing new is made for it"
    cluster.api.remove(port.ROUTE_GROUPS, KEY)
    await cluster.settle()
    assert keys(cluster) == ["alice"]
    cluster.edit(workloads=workloads("orders", "fulfilment"))
    await cluster.settle()
    assert keys(cluster) == ["alice", "other"]


async def test_under_polling_a_change_of_keys_ends_the_hand_off_and_begins_another() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.api.seed(route_group(KEY))
    await cluster.reconcile()
    going = cluster.api.live(port.KAFKA_ROUTES, "fulfilment-orders-alice")
    assert going is not None
    assert "deletionTimestamp" in going["metadata"]
    assert keys(cluster) == ["alice"]
    await cluster.reconcile()
    assert cluster.conditions()["KafkaReady"] == "False/Draining"
    await cluster.settle()
    assert keys(cluster) == ["alice", KEY]
    assert cluster.conditions()["Ready"] == "True/Ready"


async def test_a_suspended_member_takes_the_groups_key_up_again_with_its_own() -> None:
    cluster = await grouped()
    cluster.edit(suspended=True)
    await cluster.settle()
    assert cluster.made() == ["deployments/fulfilment-alice", "deployments/orders-alice"]
    cluster.edit(suspended=False)
    await cluster.settle()
    assert keys(cluster) == ["alice", KEY]
    assert cluster.conditions()["Ready"] == "True/Ready"


async def test_a_deletion_goes_its_way_with_or_without_the_group() -> None:
    cluster = await grouped()
    await cluster.delete()
    cluster.api.remove(port.ROUTE_GROUPS, KEY)
    await cluster.settle()
    assert cluster.api.live(port.SANDBOXES, "alice") is None
    assert cluster.made() == []


def test_a_group_in_deletion_and_one_that_cannot_be_read_have_no_members() -> None:
    item = sandbox("alice", forking("fulfilment"))
    consuming = (*BASELINE_OBJECTS, deployment("fulfilment"), CONSUMING[1], kafka_consumer("fulfilment-orders", FENCED))
    unreadable = route_group("broken", having("spec", {"sandboxes": "all"}))
    result = planned(item, *consuming, route_group(KEY, deleting()), unreadable)
    (written,) = [effect.obj for effect in result.writes if effect.resource is port.KAFKA_ROUTES]
    assert written["spec"]["keys"] == ["alice"]
    assert targets(result.writes)[0] == "kafkaroutes/fulfilment-orders-alice"


async def test_a_cluster_whose_definitions_know_no_route_group_has_none() -> None:
    api = FakeKubeApi()
    api.unserve(port.ROUTE_GROUPS)
    assert await route_groups(api, "shop") == ()


async def test_keys_that_may_not_change_on_a_living_fork_would_end_the_hand_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tests above see it when a fork is not left in place."""
    monkeypatch.setattr(handoffs, "_is_same_handoff", lambda live, wanted: live == wanted)
    with pytest.raises(AssertionError):
        await test_a_group_that_comes_to_a_living_fork_changes_its_keys_and_nothing_else()
