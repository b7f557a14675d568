"""What is found around a fork: budgets and autoscalers that speak of its baseline alone."""

from __future__ import annotations

import pytest

from builders import (
    deployment,
    disruption_budget,
    having,
    horizontal_autoscaler,
    in_namespace,
    sandbox,
    scaled_object,
    service,
    vertical_autoscaler,
)
from sidestream.api.labels import SANDBOX
from sidestream.errors import TransientError
from sidestream.kube import port
from sidestream.kube.port import Object
from sidestream.sandbox import checks, desired
from sidestream.sandbox.checks import READS, findings_of
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes import fork, going, seen

EVERYBODY: Object = {}
FORKS_TOO = {"matchLabels": {"team": "x"}}
ONLY_FORKS = {"matchExpressions": [{"key": SANDBOX, "operator": "Exists"}]}
NO_FORKS = {
    "matchLabels": {"team": "x"},
    "matchExpressions": [{"key": SANDBOX, "operator": "DoesNotExist"}],
}

BASELINE = deployment("orders", having("spec.template.metadata.labels", {"app": "orders", "team": "x"}))
FORK = fork(
    "orders-alice",
    having("spec.template.metadata.labels", {"app": "orders-alice", "team": "x", SANDBOX: "alice"}),
)

PODS = "Deployment orders and not its fork orders-alice"
NOT_PROTECTED = (
    "DisruptionBudgetNotApplied",
    (
        f"PodDisruptionBudget orders protects the pods of {PODS}, all of whose pods a node's drain may evict at once; "
        "if that matters, write one that selects label sidestream.dev/sandbox"
    ),
)
COUNTED = (
    "DisruptionBudgetCountsFork",
    (
        "PodDisruptionBudget orders counts the pods of fork orders-alice among those of Deployment orders, so it may "
        "allow one eviction too many or none at all; add to its selector the matchExpression that label "
        "sidestream.dev/sandbox DoesNotExist"
    ),
)
KEEPS = "which keeps the number of pods in spec.workloads[].replicas of the Sandbox"
NOT_SCALED = "AutoscalerNotApplied", f"HorizontalPodAutoscaler orders scales {PODS}, {KEEPS}"
NOT_SIZED = (
    "AutoscalerNotApplied",
    (
        f"VerticalPodAutoscaler orders sets the resources of the pods of {PODS}, whose pods ask for what the "
        "Deployment's template says, or spec.workloads[].containers[].resources of the Sandbox"
    ),
)
NOT_SCALED_BY_KEDA = "AutoscalerNotApplied", f"ScaledObject orders scales {PODS}, {KEEPS}"
NOT_SCALED_BY_LAG = (
    "AutoscalerNotApplied",
    (f"{NOT_SCALED_BY_KEDA[1]}; it goes by the lag of consumer group orders, and the fork reads in a group of its own"),
)


def found(*around: Object) -> list[tuple[str, str]]:
    observed = seen(BASELINE, FORK, sandbox(), *around)
    return [(item.reason, item.message) for item in findings_of(observed, "orders", "orders-alice")]


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        pytest.param([disruption_budget()], [NOT_PROTECTED], id="a budget of the baseline alone"),
        pytest.param([disruption_budget("orders", FORKS_TOO)], [COUNTED], id="a budget by a label that both have"),
        pytest.param([disruption_budget("orders", EVERYBODY)], [COUNTED], id="a budget of all pods"),
        pytest.param([disruption_budget("orders", NO_FORKS)], [NOT_PROTECTED], id="a budget that leaves out forks"),
        pytest.param([disruption_budget("billing")], [], id="a budget of somebody else"),
        pytest.param([disruption_budget("orders", ONLY_FORKS)], [], id="a budget of forks"),
        pytest.param(
            [disruption_budget(), disruption_budget("forks", ONLY_FORKS)], [], id="a budget for either is complete"
        ),
        pytest.param([disruption_budget("orders", None, in_namespace("other"))], [], id="a budget elsewhere"),
        pytest.param([horizontal_autoscaler()], [NOT_SCALED], id="an autoscaler of the baseline"),
        pytest.param([horizontal_autoscaler("billing")], [], id="an autoscaler of somebody else"),
        pytest.param([horizontal_autoscaler("orders-alice")], [], id="an autoscaler of the fork itself"),
        pytest.param(
            [horizontal_autoscaler("orders", having("spec.scaleTargetRef.kind", "StatefulSet"))],
            [],
            id="an autoscaler of something else of that name",
        ),
        pytest.param(
            [horizontal_autoscaler("orders", having("metadata.ownerReferences", [{"kind": "ScaledObject"}]))],
            [],
            id="an autoscaler that KEDA made",
        ),
        pytest.param([scaled_object()], [NOT_SCALED_BY_LAG], id="KEDA by the lag of the baseline's group"),
        pytest.param(
            [scaled_object("orders", having("spec.triggers", [{"type": "cpu", "metadata": {"value": "50"}}]))],
            [NOT_SCALED_BY_KEDA],
            id="KEDA by something else",
        ),
        pytest.param([scaled_object("billing")], [], id="KEDA for somebody else"),
        pytest.param([vertical_autoscaler()], [NOT_SIZED], id="a vertical autoscaler"),
        pytest.param(
            [vertical_autoscaler("orders", having("spec.updatePolicy", {"updateMode": "Off"}))],
            [],
            id="a vertical autoscaler that only recommends",
        ),
        pytest.param(
            [vertical_autoscaler(), horizontal_autoscaler(), disruption_budget()],
            [NOT_PROTECTED, NOT_SCALED, NOT_SIZED],
            id="several, in fixed order",
        ),
    ],
)
def test_a_finding_where_something_speaks_of_the_baseline_alone(
    around: list[Object], expected: list[tuple[str, str]]
) -> None:
    assert found(*around) == expected


@pytest.mark.parametrize("number", range(len(checks.CHECKS)))
def test_every_check_is_needed(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    around = [disruption_budget(), horizontal_autoscaler(), scaled_object(), vertical_autoscaler()]
    complete = found(*around)
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS[:number], *checks.CHECKS[number + 1 :]))
    assert len(found(*around)) == len(complete) - 1


def test_nothing_is_found_about_a_fork_that_is_not_there_yet() -> None:
    observed = seen(BASELINE, sandbox(), disruption_budget())
    assert findings_of(observed, "orders", "orders-alice") == ()


# --- with the reconciler


def shop(*around: Object) -> Cluster:
    labels = having("spec.template.metadata.labels", {"app": "orders", "team": "x"})
    return Cluster(deployment("orders", labels), service(), sandbox(), *around)


def findings(cluster: Cluster) -> list[str]:
    (workload,) = cluster.sandbox()["status"]["workloads"]
    return [item["reason"] for item in workload["findings"]]


def pod_labels(cluster: Cluster) -> dict[str, str]:
    live = cluster.api.live(port.DEPLOYMENTS, "orders-alice")
    assert live is not None
    labels: dict[str, str] = live["spec"]["template"]["metadata"]["labels"]
    return labels


async def test_findings_are_told_in_status_and_once_as_an_event_and_do_not_keep_from_ready() -> None:
    cluster = shop(horizontal_autoscaler(), disruption_budget())
    await cluster.settle()
    assert findings(cluster) == ["DisruptionBudgetNotApplied", "AutoscalerNotApplied"]
    assert cluster.conditions()["Ready"] == "True/Ready"
    told = [item for item in cluster.api.stored(port.EVENTS).values() if item["type"] == "Warning"]
    assert [(item["reason"], item["note"]) for item in told] == [NOT_PROTECTED, NOT_SCALED]
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.writes() == []


async def test_a_finding_goes_when_its_cause_does_and_is_told_anew_when_it_returns() -> None:
    cluster = shop(horizontal_autoscaler())
    await cluster.settle()
    cluster.api.remove(port.HORIZONTAL_AUTOSCALERS, "orders")
    await cluster.settle()
    assert findings(cluster) == []
    cluster.api.seed(horizontal_autoscaler())
    await cluster.settle()
    assert findings(cluster) == ["AutoscalerNotApplied"]
    assert cluster.events().count("AutoscalerNotApplied") == 2


async def test_a_budget_by_a_label_that_no_service_demands_does_not_count_the_fork() -> None:
    cluster = shop(disruption_budget("orders", FORKS_TOO))
    await cluster.settle()
    assert pod_labels(cluster)["team"] == "x-alice"
    assert findings(cluster) == ["DisruptionBudgetNotApplied"]


async def test_a_budget_that_comes_later_has_the_fork_step_aside() -> None:
    cluster = shop()
    await cluster.settle()
    assert pod_labels(cluster)["team"] == "x"
    cluster.api.seed(disruption_budget("orders", FORKS_TOO))
    await cluster.settle()
    assert pod_labels(cluster)["team"] == "x-alice"


async def test_a_budget_of_all_pods_refuses_no_sandbox() -> None:
    cluster = shop(disruption_budget("orders", EVERYBODY))
    await cluster.settle()
    assert cluster.conditions()["Accepted"] == "True/Accepted"
    assert findings(cluster) == ["DisruptionBudgetCountsFork"]


async def test_the_fork_is_counted_where_budgets_are_not_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desired, "budgets_of", lambda _: ())
    cluster = shop(disruption_budget("orders", FORKS_TOO))
    await cluster.settle()
    assert findings(cluster) == ["DisruptionBudgetCountsFork"]


async def test_kinds_that_are_not_served_are_no_obstacle() -> None:
    cluster = shop()
    cluster.api.unserve(*READS)
    await cluster.settle()
    assert cluster.conditions()["Ready"] == "True/Ready"
    assert findings(cluster) == []


async def test_each_kind_is_listed_once_in_a_reconcile_and_only_in_the_namespace() -> None:
    cluster = shop()
    await cluster.settle()
    cluster.api.forget_requests()
    await cluster.reconcile()
    listed = [request for request in cluster.api.requests if request.resource in READS]
    assert {(request.verb, request.namespace) for request in listed} == {("list", "shop")}
    assert sorted(request.resource.kind for request in listed) == sorted(item.kind for item in READS)


async def test_what_cannot_be_read_is_not_taken_for_nothing() -> None:
    cluster = shop()
    cluster.api.fail(TransientError("away"), verb="list", resource=port.DISRUPTION_BUDGETS)
    with pytest.raises(TransientError):
        await cluster.reconcile()


def test_a_deletion_looks_at_nothing_around() -> None:
    assert seen(BASELINE, FORK, going(), disruption_budget()).all(port.DISRUPTION_BUDGETS) == []
