"""Routes and hand-offs in the conditions, and what a fork does meanwhile."""

from __future__ import annotations

import pytest

from builders import (
    conditioned,
    deleting,
    deployment,
    finalized,
    generation,
    having,
    kafka_cluster,
    kafka_consumer,
    sandbox,
    selecting,
    service,
)
from sidestream.api.labels import FINALIZER
from sidestream.kube.port import Object
from unit.sandbox.scenes import (
    BASELINE_OBJECTS,
    CONSUMING,
    KAFKA_SANDBOX,
    RUNNING,
    entry,
    fork,
    fork_service,
    planned,
    ready_route,
    route,
    routed,
    said,
    targets,
)
from unit.sandbox.scenes_live import FENCED


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([], ("False", "Pending", "The route of Service orders is being made"), id="no entry yet"),
        pytest.param(
            [entry("Programmed", "Programmed", seen_generation=0)],
            ("False", "Pending", "The route of Service orders is being made"),
            id="an entry for an earlier spec does not count",
        ),
        pytest.param(
            [entry("Programmed", "Programmed")],
            ("True", "Programmed", "All routes are in the proxies"),
            id="proven",
        ),
        pytest.param(
            [entry("Written", "NotVerified", "no prober runs")],
            ("Unknown", "NotVerified", "Service orders: no prober runs"),
            id="written without a prober",
        ),
        pytest.param(
            [entry("Written", "Pending", "not every proxy uses it yet")],
            ("False", "Pending", "Service orders: not every proxy uses it yet"),
            id="written and not yet everywhere",
        ),
        pytest.param(
            [entry("Refused", "MeshNotFound", "install Istio's CRDs")],
            ("False", "MeshNotFound", "Service orders: install Istio's CRDs"),
            id="refused",
        ),
        pytest.param(
            [entry("Pending", "ForkNotReady", "Deployment orders-alice has not had a ready pod yet")],
            ("False", "ForkNotReady", "Service orders: Deployment orders-alice has not had a ready pod yet"),
            id="waiting for the fork",
        ),
    ],
)
def test_routes_are_as_their_entries_say(entries: list[Object], expected: tuple[str, str, str]) -> None:
    result = planned(*BASELINE_OBJECTS, fork(), fork_service(), sandbox("alice", routed(*entries)))
    assert said(result, "RoutesReady") == expected
    assert said(result, "Ready")[:2] == (("True", "Ready") if expected[0] == "True" else expected[:2])


def test_false_outweighs_unknown_among_routes() -> None:
    second = service("web", selecting({"app": "orders"}))
    entries = [entry("Written", "NotVerified"), entry("Refused", "PortNotHttp", "no HTTP", of="web")]
    result = planned(*BASELINE_OBJECTS, second, fork(), sandbox("alice", routed(*entries)))
    assert said(result, "RoutesReady") == ("False", "PortNotHttp", "Service web: no HTTP")


# --- several ways to one Service

EDGE = "HTTPRoute web/storefront"


def way(state: str, reason: str, at: str = EDGE, message: str = "", *, seen_generation: int = 1) -> Object:
    return {**entry(state, reason, message, seen_generation=seen_generation), "entry": at}


def leading(row: Object, *gateways: str) -> Object:
    return {**row, "entry": "mesh", "gateways": list(gateways)}


PROGRAMMED = entry("Programmed", "Programmed")
WAYS: dict[str, tuple[list[Object], tuple[str, str, str]]] = {
    "all are proven": (
        [leading(PROGRAMMED, EDGE), way("Programmed", "Programmed")],
        ("True", "Programmed", "All routes are in the proxies"),
    ),
    "a gateway that the mesh's row names has no row yet": (
        [leading(PROGRAMMED, EDGE)],
        ("False", "Pending", f"The route of Service orders by {EDGE} is being made"),
    ),
    "its row is about an earlier spec": (
        [leading(PROGRAMMED, EDGE), way("Programmed", "Programmed", seen_generation=0)],
        ("False", "Pending", f"The route of Service orders by {EDGE} is being made"),
    ),
    "a gateway's route is not everywhere yet": (
        [leading(PROGRAMMED, EDGE), way("Written", "Pending", message="not every proxy uses it yet")],
        ("False", "Pending", f"Service orders by {EDGE}: not every proxy uses it yet"),
    ),
    "a gateway's route cannot be proven": (
        [leading(PROGRAMMED, EDGE), way("Written", "NotVerified", message="the gateway has no Service")],
        ("Unknown", "NotVerified", f"Service orders by {EDGE}: the gateway has no Service"),
    ),
    "a gateway's route is refused": (
        [leading(PROGRAMMED, EDGE), way("Refused", "RouteConflict", message="odd")],
        ("False", "RouteConflict", f"Service orders by {EDGE}: odd"),
    ),
    "a way that the mesh's row does not name counts too": (
        [leading(PROGRAMMED), way("Refused", "RouteConflict", message="odd")],
        ("False", "RouteConflict", f"Service orders by {EDGE}: odd"),
    ),
    "gateways without the mesh's own row": (
        [way("Programmed", "Programmed")],
        ("False", "Pending", "The route of Service orders is being made"),
    ),
    "the mesh is not wanted and a gateway is proven": (
        [leading(entry("Unrouted", "NotApplicable"), EDGE), way("Programmed", "Programmed")],
        ("True", "Programmed", "All routes are in the proxies"),
    ),
    "the mesh is not wanted and a gateway is away": (
        [leading(entry("Unrouted", "NotApplicable"), EDGE)],
        ("False", "Pending", f"The route of Service orders by {EDGE} is being made"),
    ),
    "False outweighs Unknown among ways": (
        [
            leading(entry("Written", "NotVerified", "no prober runs"), EDGE),
            way("Refused", "RouteConflict", message="odd"),
        ],
        ("False", "RouteConflict", f"Service orders by {EDGE}: odd"),
    ),
    "the mesh has the word where several are false": (
        [
            leading(entry("Refused", "MeshNotFound", "install a mesh"), EDGE),
            way("Refused", "RouteConflict", message="odd"),
        ],
        ("False", "MeshNotFound", "Service orders: install a mesh"),
    ),
    "another way of the mesh is told apart by its name": (
        [leading(PROGRAMMED), way("Written", "Pending", at="Mesh shop/web", message="not yet")],
        ("False", "Pending", "Service orders by Mesh shop/web: not yet"),
    ),
}


@pytest.mark.parametrize(("rows", "expected"), WAYS.values(), ids=WAYS)
def test_routes_are_ready_when_every_way_is(rows: list[Object], expected: tuple[str, str, str]) -> None:
    result = planned(*BASELINE_OBJECTS, fork(), fork_service(), sandbox("alice", routed(*rows)))
    assert said(result, "RoutesReady") == expected


def test_a_fork_that_no_service_leads_to_needs_no_routes() -> None:
    result = planned(deployment(), fork(), sandbox())
    assert said(result, "RoutesReady")[:2] == ("True", "NotApplicable")
    assert said(result, "KafkaReady")[:2] == ("True", "NotApplicable")
    assert said(result, "Ready")[:2] == ("True", "Ready")
    assert result.requeue_after is None
    assert [item.reason for item in result.news] == ["Ready"]


@pytest.mark.parametrize(
    ("objects", "kafka", "workloads"),
    [
        pytest.param(
            [],
            ("False", "Pending", "KafkaRoute fulfilment-orders-alice is being made"),
            ("False", "WaitingForKafka"),
            id="no KafkaRoute yet",
        ),
        pytest.param(
            [route("Pending")],
            ("False", "Pending", "KafkaRoute fulfilment-orders-alice has not been looked at yet"),
            ("False", "WaitingForKafka"),
            id="a KafkaRoute without a condition",
        ),
        pytest.param(
            [route("Creating", conditioned("Ready", "False", "ClusterUnreachable", "no broker answers"))],
            ("False", "ClusterUnreachable", "no broker answers"),
            ("False", "WaitingForKafka"),
            id="Kafka is away",
        ),
        pytest.param(
            [route("Preparing", conditioned("Ready", "False", "Reconciling", "preparing"))],
            ("False", "Reconciling", "preparing"),
            ("True", "Ready"),
            id="the group stands: the fork runs",
        ),
        pytest.param(
            [route("Active", conditioned("Ready", "False", "WaitingForConsumers", "nobody joined"))],
            ("False", "WaitingForConsumers", "nobody joined"),
            ("True", "Ready"),
            id="nobody has joined",
        ),
        pytest.param(
            [ready_route(generation(2), having("status.conditions", []), conditioned("Ready", "True", "Active"))],
            ("True", "Active", "The forks consume their tenant's records"),
            ("True", "Ready"),
            id="active",
        ),
        pytest.param(
            [ready_route(generation(2))],
            ("False", "Pending", "KafkaRoute fulfilment-orders-alice has not been looked at yet"),
            ("True", "Ready"),
            id="a condition for an earlier spec does not count",
        ),
    ],
)
def test_hand_offs_are_as_their_kafka_routes_say(
    objects: list[Object], kafka: tuple[str, str, str], workloads: tuple[str, str]
) -> None:
    result = planned(*CONSUMING, RUNNING, *objects, KAFKA_SANDBOX)
    assert said(result, "KafkaReady") == kafka
    assert said(result, "WorkloadsReady")[:2] == workloads
    if kafka[0] == "False":
        assert said(result, "Ready") == kafka
    replicas = {effect.obj["metadata"]["name"]: effect.obj["spec"].get("replicas") for effect in result.writes}
    assert replicas["fulfilment-alice"] == (0 if workloads[1] == "WaitingForKafka" else 1)


@pytest.mark.parametrize(
    ("objects", "reason", "sentence"),
    [
        pytest.param(
            [kafka_consumer()],
            "ClusterNotFound",
            "KafkaConsumer fulfilment-orders names KafkaCluster main, which does not exist",
            id="no such cluster",
        ),
        pytest.param(
            [kafka_consumer(), kafka_cluster("main", having("spec.groupName", "{group}"))],
            "GroupNameInvalid",
            "KafkaCluster main names no group: groupName makes the baseline's own group fulfilment for a fork; add "
            "{sandbox} to it",
            id="a group name that is the baseline's",
        ),
    ],
)
def test_a_fork_whose_group_cannot_be_named_waits(objects: list[Object], reason: str, sentence: str) -> None:
    result = planned(deployment("fulfilment"), *objects, KAFKA_SANDBOX)
    assert said(result, "KafkaReady") == ("False", reason, sentence)
    assert said(result, "Ready")[1] == "ForkNotReady"
    assert said(result, "Accepted")[0] == "True"
    assert [(effect.obj["kind"], effect.obj["spec"].get("replicas")) for effect in result.writes] == [("Deployment", 0)]


def test_a_fork_is_told_the_group_that_is_recorded() -> None:
    recorded = ready_route(having("status.group", {"name": "recorded"}))
    renamed = kafka_cluster("main", having("spec.groupName", "other.{sandbox}"))
    result = planned(deployment("fulfilment"), kafka_consumer(), renamed, recorded, KAFKA_SANDBOX)
    written = {effect.obj["kind"]: effect.obj for effect in result.writes}
    env = written["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "KAFKA_GROUP_ID", "value": "recorded"} in env
    assert written["KafkaRoute"]["spec"]["forkGroup"] == "fulfilment.sbx.alice"
    assert result.deletes == ()


def test_a_hand_off_that_is_another_by_now_is_given_back_while_the_fork_stays_as_it_is() -> None:
    moved = ready_route(having("spec.baselineGroup", "former"))
    result = planned(*CONSUMING, RUNNING, moved, KAFKA_SANDBOX)
    assert targets(result.deletes) == ["kafkaroutes/fulfilment-orders-alice"]
    assert targets(result.writes) == []


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        pytest.param("Draining", [], id="draining: the fork is not touched"),
        pytest.param("Drained", [("fulfilment-alice", 0)], id="drained: the fork stops"),
        pytest.param("Deleting", [("fulfilment-alice", 0)], id="deleting: the fork stays stopped"),
    ],
)
def test_a_fork_follows_a_hand_off_that_somebody_deletes(phase: str, expected: list[tuple[str, int]]) -> None:
    leaving = route(phase, deleting(), finalized(FINALIZER), conditioned("Ready", "False", "Draining", "draining"))
    result = planned(*CONSUMING, RUNNING, leaving, KAFKA_SANDBOX)
    written = [effect.obj for effect in result.writes]
    assert [(item["metadata"]["name"], item["spec"]["replicas"]) for item in written] == expected
    assert said(result, "KafkaReady") == ("False", "Draining", "draining")


def test_a_consumer_that_is_gone_takes_its_hand_off_with_it() -> None:
    result = planned(deployment("fulfilment"), RUNNING, ready_route(), KAFKA_SANDBOX)
    assert targets(result.deletes) == ["kafkaroutes/fulfilment-orders-alice"]


@pytest.mark.parametrize(
    ("phase", "is_through"),
    [
        pytest.param("Retiring", True, id="retiring"),
        pytest.param("Deleting", False, id="deleting"),
    ],
)
def test_a_hand_off_that_nobody_wants_any_more_counts_until_its_group_is_gone(phase: str, *, is_through: bool) -> None:
    former = route(phase, FENCED, having("metadata.name", "former"), deleting(), finalized(FINALIZER))
    result = planned(*CONSUMING, RUNNING, ready_route(), former, KAFKA_SANDBOX)
    assert (said(result, "KafkaReady")[0] == "True") is is_through
    assert (said(result, "Ready")[0] == "True") is is_through
    replicas = [effect.obj["spec"]["replicas"] for effect in result.writes if effect.obj["kind"] == "Deployment"]
    assert replicas == [1 if is_through else 0]
