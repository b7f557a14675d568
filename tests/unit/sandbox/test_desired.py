"""Which Sandboxes are accepted, and what the first plan makes."""

from __future__ import annotations

import pytest

from builders import (
    created,
    deployment,
    finalized,
    forking,
    having,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    routing_key,
    sandbox,
    selecting,
    service,
    thing,
)
from sidestream.api.labels import BASELINE, FINALIZER
from sidestream.kube.port import CONTROLLER_REVISIONS, DEPLOYMENTS, Object
from unit.sandbox.scenes import (
    BASELINE_OBJECTS,
    CONFIG,
    CONSUMING,
    FULFILMENT,
    PINNED,
    entry,
    fork,
    fork_service,
    ours,
    planned,
    routed,
    said,
    seen,
    targets,
)

TAKEN = (
    "Sandbox {} is older and forks it for routing key alice already; take the workload out of one of the two, or give "
    "this Sandbox another routing key"
)


WITH_PATCH = having(
    "spec.workloads", [{"deployment": "orders", "patch": {"type": "Merge", "value": {"metadata": {"name": "x"}}}}]
)
UNKNOWN_CONTAINER = having("spec.workloads", [{"deployment": "orders", "containers": [{"name": "web"}]}])


@pytest.mark.parametrize(
    ("objects", "reason", "sentence"),
    [
        pytest.param(
            [sandbox()], "BaselineNotFound", "there is no Deployment orders in namespace shop", id="no baseline"
        ),
        pytest.param(
            [
                *BASELINE_OBJECTS,
                deployment("orders-bob", ours("orders", "bob")),
                sandbox("alice", forking("orders-bob")),
            ],
            "BaselineNotFound",
            "Deployment orders-bob is itself a fork of orders; name that one",
            id="a fork of a fork",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, sandbox("alice", UNKNOWN_CONTAINER)],
            "ContainerNotFound",
            "there is no container web; there is app",
            id="no such container",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, sandbox("alice", WITH_PATCH)],
            "PatchFailed",
            "the patch fails: it changes metadata.name, which Sidestream sets itself",
            id="a patch that renames the fork",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, sandbox("old", routing_key("alice"), created("2025-01-01T00:00:00Z")), sandbox()],
            "WorkloadTaken",
            TAKEN.format("old"),
            id="an older Sandbox has the workload",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, sandbox("aaron", routing_key("alice")), sandbox()],
            "WorkloadTaken",
            TAKEN.format("aaron"),
            id="one of the same age whose name comes first has it",
        ),
        pytest.param(
            [
                *BASELINE_OBJECTS,
                deployment(
                    "odd", having("spec.selector", {"matchExpressions": [{"key": "app", "operator": "Exists"}]})
                ),
                sandbox(),
            ],
            "ForkMatchesBaselineService",
            "Deployment odd selects the fork's pods whatever values their labels have; give it a selector that names a "
            "label with its value",
            id="a selector that cannot be escaped",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, deployment("orders-alice"), sandbox()],
            "NameTaken",
            "Deployment orders-alice exists and was not made by Sidestream; give this Sandbox another name",
            id="a Deployment of a user has the fork's name",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, service("orders-alice", selecting({"x": "y"})), sandbox()],
            "NameTaken",
            "Service orders-alice exists and was not made by Sidestream; give this Sandbox another name",
            id="a Service of a user has the fork's name",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, deployment("orders-alice", ours("orders-a", "lice")), sandbox()],
            "NameTaken",
            "Deployment orders-alice belongs to Sandbox lice; give this Sandbox another name",
            id="the fork of another Sandbox has the name",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, deployment("orders-alice", ours(uid="uid-earlier")), sandbox()],
            "NameTaken",
            "Deployment orders-alice belongs to an earlier Sandbox of this name and is not gone yet",
            id="the fork of an earlier Sandbox is still there",
        ),
        pytest.param(
            [*CONSUMING, kafka_route("fulfilment-orders-alice"), sandbox("alice", FULFILMENT)],
            "NameTaken",
            "KafkaRoute fulfilment-orders-alice exists and was not made by Sidestream; give this Sandbox another name",
            id="a KafkaRoute has the name",
        ),
        pytest.param(
            [*BASELINE_OBJECTS, thing(CONTROLLER_REVISIONS, "orders-alice", {"data": {}}), sandbox("alice", PINNED)],
            "NameTaken",
            "ControllerRevision orders-alice exists and was not made by Sidestream; give this Sandbox another name",
            id="a ControllerRevision has the name",
        ),
        pytest.param(
            [
                deployment("fulfilment"),
                kafka_cluster(),
                kafka_consumer("c", having("spec.groupEnv", {"name": "GROUP", "container": "web"})),
                sandbox("alice", FULFILMENT),
            ],
            "ContainerNotFound",
            "KafkaConsumer c sets GROUP in groupEnv: there is no container web; there is app",
            id="a consumer names a container that is not there",
        ),
    ],
)
def test_a_sandbox_that_cannot_be_served_is_not_accepted_and_makes_nothing(
    objects: list[Object], reason: str, sentence: str
) -> None:
    result = planned(*objects)
    workload = seen(*objects).sandbox.spec.workloads[0].deployment
    assert said(result, "Accepted") == ("False", reason, f"Workload {workload}: {sentence}")
    assert said(result, "Ready") == said(result, "Accepted")
    assert result.writes == result.deletes == ()
    assert result.finalizer == "keep"
    assert result.requeue_after == CONFIG.refused_seconds
    assert [(item.type, item.reason) for item in result.news] == [("Warning", reason)]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(sandbox("old", created("2025-01-01T00:00:00Z")), id="another routing key"),
        pytest.param(
            sandbox("old", routing_key("alice"), created("2025-01-01T00:00:00Z"), forking("billing")),
            id="the same key and another Deployment",
        ),
        pytest.param(sandbox("zoe", routing_key("alice"), created("2026-02-01T00:00:00Z")), id="a younger Sandbox"),
    ],
)
def test_sandboxes_live_side_by_side(other: Object) -> None:
    assert said(planned(*BASELINE_OBJECTS, other, sandbox()), "Accepted")[0] == "True"


def test_one_workload_at_fault_holds_up_all() -> None:
    result = planned(*BASELINE_OBJECTS, sandbox("alice", forking("orders", "missing")))
    assert result.writes == ()
    assert said(result, "Accepted")[2] == "Workload missing: there is no Deployment missing in namespace shop"
    assert said(result, "WorkloadsReady") == ("False", "ForkNotReady", "Deployment orders-alice has not been made")
    assert said(result, "RoutesReady")[:2] == ("False", "Pending")


def test_what_the_api_server_refuses_is_told_in_its_words() -> None:
    words = 'Deployment.apps "orders-alice" is invalid: spec.template.spec.containers[0].image: Required value'
    result = planned(*BASELINE_OBJECTS, sandbox(), rejections={(DEPLOYMENTS, "orders-alice"): words})
    assert said(result, "Accepted") == ("False", "ForkRejected", f"Workload orders: {words}")


def test_forks_stay_as_they_are_when_their_baseline_goes() -> None:
    result = planned(
        fork(), fork_service(), sandbox("alice", finalized(FINALIZER), routed(entry("Programmed", "Programmed")))
    )
    assert said(result, "Accepted")[1] == "BaselineNotFound"
    assert said(result, "WorkloadsReady")[0] == "True"
    assert said(result, "RoutesReady")[0] == "True"
    assert result.writes == result.deletes == ()


def test_the_first_plan_makes_everything_in_the_order_in_which_it_is_needed() -> None:
    result = planned(*BASELINE_OBJECTS, *CONSUMING, sandbox("alice", forking("orders", "fulfilment")))
    assert result.finalizer == "add"
    assert targets(result.writes) == [
        "kafkaroutes/fulfilment-orders-alice",
        "deployments/orders-alice",
        "deployments/fulfilment-alice",
        "services/orders-alice",
    ]
    assert [item.news.reason for item in result.writes if item.news] == ["ForkCreated", "ForkCreated"]
    assert result.requeue_after == CONFIG.waiting_seconds


def test_a_service_that_leads_to_two_forks_gets_one_stand_in() -> None:
    both = [deployment(name, having("spec.template.metadata.labels", {"app": name, "tier": "web"})) for name in "ab"]
    result = planned(*both, service("web", selecting({"tier": "web"})), sandbox("alice", forking("b", "a")))
    made = [effect.obj for effect in result.writes if effect.obj["kind"] == "Service"]
    assert [item["spec"]["selector"][BASELINE] for item in made] == ["b"]
