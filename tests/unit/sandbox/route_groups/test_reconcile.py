"""The RouteGroup's reconciler beside the Sandboxes': status, Events, and nothing else."""

from __future__ import annotations

from builders import created, deleting, forking, labelled, of_labels, of_sandboxes, route_group, sandbox
from sidestream.kube import port
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import Object
from sidestream.sandbox.route_groups.reconcile import RouteGroupReconciler
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes_live import fenced_shop, key_of

KEY = "release-42"


async def look(cluster: Cluster, name: str = KEY) -> bool:
    """Reconcile the RouteGroup; whether anything was written."""
    reconciler = RouteGroupReconciler(cluster.api, EventRecorder(cluster.api, cluster.clock), cluster.clock)
    outcome = await reconciler.reconcile(key_of(name))
    assert outcome.requeue_after is None
    return outcome.changed


def status(cluster: Cluster, name: str = KEY) -> Object:
    live = cluster.api.live(port.ROUTE_GROUPS, name)
    assert live is not None
    found: Object = live["status"]
    return found


def conditions(cluster: Cluster) -> dict[str, str]:
    return {item["type"]: f"{item['status']}/{item['reason']}" for item in status(cluster)["conditions"]}


def events(cluster: Cluster) -> list[str]:
    """The reasons of the Events on RouteGroups."""
    return [
        item["reason"]
        for item in cluster.api.stored(port.EVENTS).values()
        if item["regarding"]["kind"] == port.ROUTE_GROUPS.kind
    ]


async def test_a_group_becomes_ready_with_its_members() -> None:
    cluster = fenced_shop()
    cluster.api.seed(route_group(KEY, of_sandboxes("alice")))
    await cluster.reconcile()
    await look(cluster)
    assert conditions(cluster) == {
        "Accepted": "True/Accepted",
        "Conflict": "False/NoConflict",
        "Ready": "False/MemberNotReady",
    }
    await cluster.settle()
    assert await look(cluster)
    assert conditions(cluster)["Ready"] == "True/Ready"
    assert status(cluster)["members"] == [{"sandbox": "alice", "ready": "True"}]
    assert events(cluster) == ["Ready"]
    assert not await look(cluster), "nothing is written again"


async def test_a_group_that_comes_later_waits_until_its_members_answer_to_it() -> None:
    cluster = fenced_shop()
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    cluster.api.seed(route_group(KEY, of_sandboxes("alice")))
    await look(cluster)
    assert conditions(cluster)["Ready"] == "False/MemberNotReady", "alice is ready, but not for this key"
    await cluster.settle()
    await look(cluster)
    assert conditions(cluster)["Ready"] == "True/Ready"


async def test_members_come_and_go_with_their_labels() -> None:
    cluster = fenced_shop(labelled({"release": "42"}))
    cluster.api.seed(route_group(KEY, of_labels({"release": "42"})))
    await cluster.settle()
    await look(cluster)
    assert status(cluster)["memberCount"] == 1
    live = cluster.sandbox()
    live["metadata"]["labels"] = {}
    cluster.api.seed(live)
    await look(cluster)
    assert "members" not in status(cluster)
    assert conditions(cluster)["Accepted"] == "False/NoMembers"
    assert events(cluster) == ["Ready", "NoMembers"]


async def test_a_conflict_is_told_once() -> None:
    cluster = fenced_shop()
    cluster.api.seed(sandbox("bob", forking("fulfilment"), created("2026-02-01T00:00:00Z")))
    cluster.api.seed(route_group(KEY))
    await cluster.settle()
    await cluster.settle(key_of("bob"))
    await look(cluster)
    await look(cluster)
    assert conditions(cluster)["Conflict"] == "True/WorkloadTaken"
    assert conditions(cluster)["Ready"] == "False/WorkloadTaken"
    assert events(cluster) == ["WorkloadTaken"]
    assert cluster.conditions()["Ready"] == cluster.conditions("bob")["Ready"] == "True/Ready", "both keep their own"


async def test_a_group_that_is_gone_or_going_is_left_alone() -> None:
    cluster = fenced_shop()
    assert not await look(cluster)
    cluster.api.seed(route_group(KEY, deleting()))
    assert not await look(cluster)
