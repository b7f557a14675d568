"""The plan as a pure function: every reason, what is written and deleted, and when to look again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    EPOCH,
    conditioned,
    created,
    deleting,
    deployment,
    finalized,
    forking,
    generation,
    having,
    in_phase,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    labelled,
    pod,
    routing_key,
    sandbox,
    selecting,
    service,
    thing,
    ttl,
)
from fakes.kube import FakeKubeApi
from sidestream.api.conditions import find_condition
from sidestream.api.labels import BASELINE, BASELINE_SERVICE, FINALIZER, FORCE_CLEANUP, MANAGED_BY
from sidestream.api.labels import SANDBOX as SANDBOX_LABEL
from sidestream.kube.port import CONTROLLER_REVISIONS, DEPLOYMENTS, Object, Resource
from sidestream.sandbox.observe import observe
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.plan import Plan, SandboxConfig, plan

CONFIG = SandboxConfig(waiting_seconds=10, refused_seconds=30)


def seen(*objects: Object) -> Observed:
    """What the reconciler of Sandbox alice observes when these objects exist."""
    found = asyncio.run(observe(FakeKubeApi(*objects), "shop", "alice"))
    assert found is not None
    return found


def planned(*objects: Object, rejections: dict[tuple[Resource, str], str] | None = None) -> Plan:
    return plan(replace(seen(*objects), rejections=rejections or {}), EPOCH, CONFIG)


def ours(baseline: str = "orders", sandbox_name: str = "alice", uid: str = "uid-sandboxes-alice") -> Any:
    """The labels and the owner of what was made for a Sandbox."""

    def modify(obj: Object) -> None:
        labelled({MANAGED_BY: "sidestream", SANDBOX_LABEL: sandbox_name, BASELINE: baseline})(obj)
        having("metadata.ownerReferences", [{"uid": uid, "controller": True}])(obj)

    return modify


def fork(name: str = "orders-alice", *modifiers: Any) -> Object:
    """A rolled-out fork."""
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    return deployment(name, ours(name.removesuffix("-alice")), having("status", status), *modifiers)


def route(phase: str, *modifiers: Any) -> Object:
    """Alice's KafkaRoute in a phase, with its group recorded."""
    group = having("status.group", {"name": "fulfilment.sbx.alice"})
    return kafka_route("fulfilment-orders-alice", ours("fulfilment"), in_phase(phase), group, *modifiers)


def fork_service(name: str = "orders", baseline: str = "orders") -> Object:
    return service(f"{name}-alice", ours(baseline), labelled({BASELINE_SERVICE: name}))


def entry(state: str, reason: str, message: str = "", *, seen_generation: int = 1, of: str = "orders") -> Object:
    return {
        "service": of,
        "provider": "VirtualService",
        "mode": "Owned",
        "state": state,
        "reason": reason,
        "message": message,
        "observedGeneration": seen_generation,
    }


def routed(*entries: Object) -> Any:
    return having("status.routes", list(entries))


def said(result: Plan, type_: str) -> tuple[str, str, str]:
    assert result.status is not None
    found = find_condition(result.status.conditions, type_)  # type: ignore[arg-type]
    assert found is not None
    return found.status, found.reason, found.message


def targets(effects: Any) -> list[str]:
    return [f"{effect.resource.plural}/{effect.obj['metadata']['name']}" for effect in effects]


TAKEN = (
    "Sandbox {} is older and forks it for routing key alice already; take the workload out of one of the two, or give "
    "this Sandbox another routing key"
)
BASELINE_OBJECTS = (deployment(), service())
CONSUMING = (deployment("fulfilment"), kafka_cluster(), kafka_consumer())
FULFILMENT = forking("fulfilment")
PINNED = having("spec.workloads", [{"deployment": "orders", "baselineUpdates": "Pin"}])
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


def test_a_fork_that_no_service_leads_to_needs_no_routes() -> None:
    result = planned(deployment(), fork(), sandbox())
    assert said(result, "RoutesReady")[:2] == ("True", "NotApplicable")
    assert said(result, "KafkaReady")[:2] == ("True", "NotApplicable")
    assert said(result, "Ready")[:2] == ("True", "Ready")
    assert result.requeue_after is None
    assert [item.reason for item in result.news] == ["Ready"]


def test_a_service_that_leads_to_two_forks_gets_one_stand_in() -> None:
    both = [deployment(name, having("spec.template.metadata.labels", {"app": name, "tier": "web"})) for name in "ab"]
    result = planned(*both, service("web", selecting({"tier": "web"})), sandbox("alice", forking("b", "a")))
    made = [effect.obj for effect in result.writes if effect.obj["kind"] == "Service"]
    assert [item["spec"]["selector"][BASELINE] for item in made] == ["b"]


def ready_route(*modifiers: Any) -> Object:
    return route("Active", conditioned("Ready", "True", "Active"), *modifiers)


KAFKA_SANDBOX = sandbox("alice", FULFILMENT)
RUNNING = fork("fulfilment-alice")


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
    ("lifetime", "moment", "expected"),
    [
        pytest.param(ttl("1h"), timedelta(minutes=50), 600.0, id="ten minutes left"),
        pytest.param(ttl("1h"), timedelta(seconds=3595), 5.0, id="five seconds left"),
        pytest.param(ttl("99999d"), timedelta(days=1), None, id="more than a hundred years"),
        pytest.param(having("spec.lifetime", None), timedelta(days=900), None, id="no lifetime"),
    ],
)
def test_it_looks_again_when_the_lifetime_ends(lifetime: Any, moment: timedelta, expected: float | None) -> None:
    result = plan(seen(deployment(), fork(), sandbox("alice", lifetime)), EPOCH + moment, CONFIG)
    assert result.requeue_after == expected


@pytest.mark.parametrize(
    ("lifetime", "last_change", "is_expired"),
    [
        pytest.param(ttl("1h"), "2026-01-01T00:00:00Z", True, id="created an hour ago"),
        pytest.param(ttl("61m"), "2026-01-01T00:00:00Z", False, id="created less than its lifetime ago"),
        pytest.param(ttl("1h", "LastChange"), "2026-01-01T00:30:00Z", False, id="changed half an hour ago"),
        pytest.param(ttl("1h", "LastChange"), "2026-01-01T00:00:00Z", True, id="not changed since an hour"),
    ],
)
def test_it_deletes_itself_at_the_end_of_its_lifetime(lifetime: Any, last_change: str, is_expired: bool) -> None:  # noqa: FBT001
    status = having("status", {"observedGeneration": 1, "lastChangedAt": last_change})
    item = sandbox("alice", lifetime, status, finalized(FINALIZER))
    result = plan(seen(*BASELINE_OBJECTS, fork(), item), EPOCH + timedelta(hours=1), CONFIG)
    assert result.is_expired is is_expired
    if is_expired:
        assert said(result, "Ready")[:2] == ("False", "Expired")
        assert [news.reason for news in result.news] == ["Expired"]
        assert result.writes == result.deletes == ()


def test_a_change_of_the_spec_renews_the_time_of_the_last_change() -> None:
    status = having("status", {"observedGeneration": 1, "lastChangedAt": "2026-01-01T00:00:00Z"})
    later = EPOCH + timedelta(hours=5)
    same = plan(seen(*BASELINE_OBJECTS, sandbox("alice", status, ttl("9h", "LastChange"))), later, CONFIG).status
    item = sandbox("alice", status, ttl("9h", "LastChange"), generation(2))
    changed = plan(seen(*BASELINE_OBJECTS, item), later, CONFIG).status
    assert same is not None
    assert changed is not None
    assert (same.last_changed_at, same.expires_at) == ("2026-01-01T00:00:00Z", "2026-01-01T09:00:00Z")
    assert (changed.last_changed_at, changed.expires_at) == ("2026-01-01T05:00:00Z", "2026-01-01T14:00:00Z")


def test_a_pinned_fork_is_rendered_from_its_snapshot() -> None:
    first = planned(*BASELINE_OBJECTS, sandbox("alice", PINNED))
    revision = next(effect.obj for effect in first.writes if effect.resource is CONTROLLER_REVISIONS)
    assert revision["data"]["spec"] == deployment()["spec"]
    kept = thing(CONTROLLER_REVISIONS, "orders-alice", revision, ours())
    kept["metadata"]["namespace"] = "shop"
    newer = deployment("orders", generation(9), having("spec.minReadySeconds", 5))
    second = planned(newer, service(), {**kept, "metadata": {**kept["metadata"], "uid": "r"}}, sandbox("alice", PINNED))
    made = next(effect.obj for effect in second.writes if effect.resource is DEPLOYMENTS)
    assert "minReadySeconds" not in made["spec"]
    assert made["metadata"]["annotations"]["sidestream.dev/baseline-generation"] == "1"
    assert "controllerrevisions/orders-alice" not in targets(second.writes)


def test_a_snapshot_goes_when_the_fork_follows_its_baseline_again() -> None:
    kept = thing(CONTROLLER_REVISIONS, "orders-alice", {"data": {}}, ours())
    result = planned(*BASELINE_OBJECTS, fork(), kept, sandbox())
    assert targets(result.deletes) == ["controllerrevisions/orders-alice"]


GONE = sandbox("alice", forking("billing"), finalized(FINALIZER))
BILLING = deployment("billing")


def with_entry(item: Object) -> Object:
    return {**item, "status": {"routes": [entry("Programmed", "Programmed")]}}


LEFT_SERVICE = fork_service()
WITHDRAWN = service("orders-alice", ours())


@pytest.mark.parametrize(
    ("item", "left", "written", "deleted", "condition"),
    [
        pytest.param(
            with_entry(GONE),
            [fork(), LEFT_SERVICE],
            ["services/orders-alice"],
            [],
            ("RoutesReady", "Waits until no proxy routes to the forks of Service orders any more"),
            id="routes first: the Service is withdrawn",
        ),
        pytest.param(
            with_entry(GONE),
            [fork(), WITHDRAWN],
            [],
            [],
            ("RoutesReady", "Waits until no proxy routes to the forks of Service orders any more"),
            id="the entry is still there: wait",
        ),
        pytest.param(
            GONE,
            [fork(), WITHDRAWN, route("Active", ours("orders"))],
            [],
            ["kafkaroutes/fulfilment-orders-alice"],
            ("KafkaReady", "KafkaRoute fulfilment-orders-alice has not been looked at yet"),
            id="then the hand-off",
        ),
        pytest.param(
            GONE,
            [fork(), WITHDRAWN, route("Draining", ours("orders"), deleting(), finalized(FINALIZER))],
            [],
            [],
            ("KafkaReady", "KafkaRoute fulfilment-orders-alice is being given back"),
            id="it drains: wait",
        ),
        pytest.param(
            GONE,
            [fork(), WITHDRAWN, route("Drained", ours("orders"), deleting(), finalized(FINALIZER))],
            [],
            ["deployments/orders-alice", "services/orders-alice"],
            ("WorkloadsReady", "Waits until the pods of Deployment orders-alice are gone"),
            id="then the fork",
        ),
        pytest.param(
            GONE,
            [pod("p", ours()), route("Drained", ours("orders"), deleting(), finalized(FINALIZER))],
            [],
            [],
            ("WorkloadsReady", "Waits until the pods of Deployment orders-alice are gone"),
            id="pods are left: wait",
        ),
        pytest.param(
            GONE,
            [
                route(
                    "Deleting", ours("orders"), deleting(), finalized(FINALIZER), conditioned("Ready", "True", "Active")
                )
            ],
            [],
            [],
            ("KafkaReady", "KafkaRoute fulfilment-orders-alice is being given back"),
            id="then the group",
        ),
    ],
)
def test_a_workload_that_is_no_longer_wanted_goes_in_order(
    item: Object, left: list[Object], written: list[str], deleted: list[str], condition: tuple[str, str]
) -> None:
    wanted = {"deployments/billing-alice"}
    result = planned(BILLING, fork("billing-alice"), *left, item)
    assert [target for target in targets(result.writes) if target not in wanted] == written
    assert targets(result.deletes) == deleted
    assert said(result, condition[0])[0] == "False"
    assert said(result, condition[0])[2] == condition[1]


def test_a_service_that_leads_to_the_baseline_no_more_loses_its_stand_in() -> None:
    other = service("orders", selecting({"app": "elsewhere"}))
    routed_sandbox = sandbox("alice", finalized(FINALIZER), routed(entry("Programmed", "Programmed")))
    first = planned(deployment(), other, fork(), fork_service(), routed_sandbox)
    withdrawn = next(effect.obj for effect in first.writes if effect.obj["kind"] == "Service")
    assert BASELINE_SERVICE not in withdrawn["metadata"]["labels"]
    assert first.deletes == ()
    second = planned(deployment(), other, fork(), WITHDRAWN, sandbox("alice", finalized(FINALIZER)))
    assert targets(second.deletes) == ["services/orders-alice"]


def going(*modifiers: Any) -> Object:
    return sandbox("alice", deleting(), finalized(FINALIZER), generation(2), *modifiers)


@pytest.mark.parametrize(
    ("item", "left", "deleted", "ready"),
    [
        pytest.param(
            going(routed(entry("Programmed", "Programmed"))),
            [fork(), fork_service(), route("Active")],
            [],
            ("Deleting", "Waits until no proxy routes to the forks of Service orders any more"),
            id="routes first",
        ),
        pytest.param(
            going(),
            [fork(), fork_service(), route("Active")],
            ["kafkaroutes/fulfilment-orders-alice"],
            ("Draining", "Waits until the fork has worked off the records of KafkaRoute fulfilment-orders-alice"),
            id="then hand-offs",
        ),
        pytest.param(
            going(),
            [
                fork(),
                route("Draining", deleting(), conditioned("Ready", "False", "ClusterUnreachable", "no broker answers")),
            ],
            [],
            ("ClusterUnreachable", "no broker answers"),
            id="Kafka is away: wait and say so",
        ),
        pytest.param(
            going(),
            [fork(), fork_service(), route("Drained", deleting(), finalized(FINALIZER))],
            ["deployments/orders-alice", "services/orders-alice"],
            ("Deleting", "Waits until the pods of Deployment orders-alice are gone"),
            id="then forks and Services",
        ),
        pytest.param(
            going(),
            [fork("orders-alice", deleting(), finalized("foregroundDeletion")), pod("p", ours())],
            [],
            ("Deleting", "Waits until the pods of Deployment orders-alice are gone"),
            id="pods are left: wait",
        ),
        pytest.param(
            going(),
            [route("Deleting", deleting(), finalized(FINALIZER))],
            [],
            ("Draining", "Waits until the consumer group of KafkaRoute fulfilment-orders-alice is deleted"),
            id="then groups",
        ),
    ],
)
def test_a_sandbox_is_deleted_in_order(
    item: Object, left: list[Object], deleted: list[str], ready: tuple[str, str]
) -> None:
    result = planned(*left, item)
    assert targets(result.deletes) == deleted
    assert said(result, "Ready") == ("False", *ready)
    assert result.finalizer == "keep"
    assert [news.reason for news in result.news] == ["Deleting"]


def test_the_finalizer_goes_when_nothing_is_left() -> None:
    result = planned(going())
    assert result.finalizer == "remove"
    assert result.status is None
    assert [news.reason for news in result.news] == ["Deleted"]


def test_a_sandbox_in_deletion_that_is_no_longer_ours_to_hold_is_left_alone() -> None:
    assert planned(fork(), sandbox("alice", deleting(), finalized("somebody/else"))) == Plan()


def test_force_cleanup_is_handed_on_to_the_kafka_routes() -> None:
    answer = having("metadata.annotations", {FORCE_CLEANUP: "discard"})
    result = planned(route("Active"), going(answer))
    (forced,) = (effect.obj for effect in result.writes)
    assert forced["metadata"]["annotations"][FORCE_CLEANUP] == "discard"
    assert forced["metadata"]["uid"] == "uid-kafkaroutes-fulfilment-orders-alice"
    assert forced["spec"] == route("Active")["spec"]
    assert targets(result.deletes) == ["kafkaroutes/fulfilment-orders-alice"]


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        pytest.param(
            "True", fork("orders-alice", having("status", {})), [("Warning", "ForkNotReady")], id="no longer ready"
        ),
        pytest.param("False", fork(), [("Normal", "Ready")], id="ready"),
        pytest.param("True", fork(), [], id="still ready"),
        pytest.param("False", fork("orders-alice", having("status", {})), [], id="still not ready"),
    ],
)
def test_events_tell_of_transitions_only(before: str, after: Object, news: list[tuple[str, str]]) -> None:
    item = sandbox("alice", conditioned("Accepted", "True", "Accepted"), conditioned("Ready", before, "x"))
    result = planned(deployment(), after, item)
    assert [(told.type, told.reason) for told in result.news] == news


def test_times_of_conditions_move_only_with_their_status() -> None:
    item = sandbox("alice", conditioned("WorkloadsReady", "True", "x"), conditioned("RoutesReady", "False", "x"))
    later = EPOCH + timedelta(hours=1)
    result = plan(seen(deployment(), fork(), item), later, CONFIG)
    assert result.status is not None
    times = {found.type: found.last_transition_time for found in result.status.conditions}
    assert times["WorkloadsReady"] == "2026-01-01T00:00:00Z"
    assert times["RoutesReady"] == "2026-01-01T01:00:00Z"


def test_messages_have_no_time_in_them() -> None:
    first, second = (
        plan(
            seen(deployment(), fork("orders-alice", having("status", {})), sandbox()),
            EPOCH + timedelta(hours=h),
            CONFIG,
        )
        for h in (1, 2)
    )
    messages = [[found.message for found in result.status.conditions] for result in (first, second) if result.status]
    assert messages[0] == messages[1]


worlds = st.lists(
    st.sampled_from(
        [
            deployment(),
            deployment("fulfilment"),
            service(),
            service("web", selecting({"app": "orders"})),
            kafka_cluster(),
            kafka_consumer(),
            fork(),
            fork("fulfilment-alice"),
            fork_service(),
            WITHDRAWN,
            route("Active"),
            route("Drained", deleting(), finalized(FINALIZER)),
            pod("p", ours()),
            sandbox("old", routing_key("alice"), created("2025-01-01T00:00:00Z")),
        ]
    ),
    unique_by=lambda item: (item["kind"], item["metadata"]["name"]),
)
sandboxes = st.sampled_from(
    [
        sandbox(),
        sandbox("alice", forking("orders", "fulfilment")),
        going(),
        sandbox("alice", PINNED),
        GONE,
        with_entry(GONE),
    ]
)


def shuffled(observed: Observed, random: Any) -> Observed:
    def anew(items: Any) -> list[Any]:
        return list(random.sample(list(items), len(items)))

    return replace(
        observed,
        objects={kind: dict(anew(items.items())) for kind, items in anew(observed.objects.items())},
        pods=tuple(anew(observed.pods)),
        others=tuple(anew(observed.others)),
        consumers=tuple(anew(observed.consumers)),
    )


@settings(deadline=None)
@given(worlds, sandboxes, st.randoms())
def test_the_plan_depends_on_nothing_but_what_is(world: list[Object], item: Object, random: Any) -> None:
    observed = seen(*world, item)
    assert plan(observed, EPOCH, CONFIG) == plan(shuffled(observed, random), EPOCH, CONFIG)


@settings(deadline=None)
@given(worlds, sandboxes)
def test_no_fork_goes_while_its_hand_off_lives(world: list[Object], item: Object) -> None:
    result = planned(*world, item)
    alive = {found["metadata"]["name"] for found in world if found.get("status", {}).get("phase") == "Active"}
    if alive:
        assert "deployments/fulfilment-alice" not in targets(result.deletes)
    if item.get("status", {}).get("routes"):
        assert not [name for name in targets(result.deletes) if name.endswith("s/orders-alice")]
