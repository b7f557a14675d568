"""Paths and conditions of raw objects, as the demo and the end-to-end tests read them."""

from typing import Any

import pytest

from sidestream.kube.port import DEPLOYMENTS, KAFKA_CLUSTERS, PODS, SANDBOXES, Resource
from sidestream_demo.cluster import is_condition, path_of
from sidestream_demo.shop import is_rolled_out


@pytest.mark.parametrize(
    ("resource", "place", "path"),
    [
        (PODS, ("shop", "a"), "/api/v1/namespaces/shop/pods/a"),
        (PODS, (), "/api/v1/pods"),
        (DEPLOYMENTS, ("shop",), "/apis/apps/v1/namespaces/shop/deployments"),
        (SANDBOXES, ("shop", "a", "status"), "/apis/sidestream.dev/v1alpha1/namespaces/shop/sandboxes/a/status"),
        (KAFKA_CLUSTERS, ("shop", "main"), "/apis/sidestream.dev/v1alpha1/kafkaclusters/main"),
    ],
)
def test_paths_are_those_of_the_rest_api(resource: Resource, place: tuple[str, ...], path: str) -> None:
    assert path_of(resource, *place) == path


def sandbox(status: str, reason: str, *, observed: int = 2, generation: int = 2) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason, "observedGeneration": observed}
    return {"metadata": {"generation": generation}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize(
    ("obj", "holds"),
    [
        pytest.param(sandbox("True", "Ready"), True, id="as it should be"),
        pytest.param(sandbox("False", "Ready"), False, id="another status"),
        pytest.param(sandbox("True", "Ready", observed=1), False, id="of an older generation"),
        pytest.param({"metadata": {"generation": 1}}, False, id="no status yet"),
        pytest.param(None, False, id="no object"),
    ],
)
def test_a_condition_counts_only_for_the_current_generation(obj: dict[str, Any] | None, *, holds: bool) -> None:
    assert is_condition("Ready")(obj) is holds


def test_a_condition_may_be_asked_for_its_reason() -> None:
    obj = sandbox("False", "BaselineNotFound")
    assert is_condition("Ready", "False", "BaselineNotFound")(obj)
    assert not is_condition("Ready", "False", "WorkloadTaken")(obj)


def deployment(*, observed: int = 3, updated: int = 2, total: int = 2, available: int = 2) -> dict[str, Any]:
    status = {
        "observedGeneration": observed,
        "updatedReplicas": updated,
        "replicas": total,
        "availableReplicas": available,
    }
    return {"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": status}


@pytest.mark.parametrize(
    ("obj", "done"),
    [
        pytest.param(deployment(), True, id="all new pods available, no old one left"),
        pytest.param(deployment(observed=2), False, id="not yet seen by its controller"),
        pytest.param(deployment(updated=1), False, id="a pod is still of the old template"),
        pytest.param(deployment(total=3), False, id="an old pod is left"),
        pytest.param(deployment(available=1), False, id="a pod is not available"),
        pytest.param(None, False, id="no Deployment"),
    ],
)
def test_a_rollout_is_done_when_kubectl_would_say_so(obj: dict[str, Any] | None, *, done: bool) -> None:
    assert is_rolled_out(obj) is done
