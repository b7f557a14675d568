"""What a real cluster makes of PodDisruptionBudgets beside forks, and of asking for kinds that it does not serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import deployment, disruption_budget, having, ready_replicas, sandbox, service
from flow.cluster import until
from sidestream.api.sandbox import Sandbox, Workload
from sidestream.errors import NotServedError
from sidestream.kube import port
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.port import Object
from sidestream.sandbox.checks import READS
from sidestream.sandbox.fork import fork_deployment
from sidestream.sandbox.labels import budgets_of, selections_of

BASELINE_PODS, FORK_PODS = 2, 1


def plain(item: Object, namespace: str) -> Object:
    """A builder's object as a user would send it."""
    metadata = {"name": item["metadata"]["name"], "namespace": namespace}
    return {name: value for name, value in {**item, "metadata": metadata}.items() if name != "status"}


def fork_of(baseline: Object, budgets: list[Object], namespace: str) -> Object:
    """Alice's fork, without an owner that would have to exist."""
    workload = Workload(deployment="orders", replicas=FORK_PODS)
    selections = selections_of([baseline], [service()])
    fork = fork_deployment(baseline, Sandbox.from_json(sandbox()), workload, selections, budgets=budgets_of(budgets))
    metadata = {**fork["metadata"], "namespace": namespace}
    del metadata["ownerReferences"]
    return {**fork, "metadata": metadata}


async def expected_pods(api: AioKubeApi, namespace: str) -> int | None:
    """How many pods the budget counts, None while it has not answered for what it is now."""
    budget = await api.get(port.DISRUPTION_BUDGETS, namespace, "orders")
    assert budget is not None
    status: dict[str, Any] = budget.get("status") or {}
    return status.get("expectedPods")


async def pods_in(api: AioKubeApi, namespace: str) -> int:
    return len(await api.list(port.PODS, namespace))


@pytest.mark.parametrize(
    ("avoids", "counted"),
    [
        pytest.param(False, BASELINE_PODS + FORK_PODS, id="a fork that does not step aside is counted"),
        pytest.param(True, BASELINE_PODS, id="one that does is not"),
    ],
)
async def test_a_budget_counts_the_baselines_pods_alone(
    kubeconfig: str, namespace: str, *, avoids: bool, counted: int
) -> None:
    labels = having("spec.template.metadata.labels", {"app": "orders", "team": "x"})
    # an image that is nowhere: pods count whether or not they run
    image = having("spec.template.spec.containers", [{"name": "app", "image": "flow.invalid/orders:1"}])
    baseline = deployment("orders", ready_replicas(BASELINE_PODS), labels, image)
    budget = disruption_budget("orders", {"matchLabels": {"team": "x"}})
    async with connect(kubeconfig) as api:
        await api.create(port.DISRUPTION_BUDGETS, plain(budget, namespace))
        await api.create(port.DEPLOYMENTS, plain(baseline, namespace))
        await api.create(port.DEPLOYMENTS, fork_of(baseline, [budget] if avoids else [], namespace))

        async def all_are_there() -> bool:
            return await pods_in(api, namespace) == BASELINE_PODS + FORK_PODS

        async def are_counted() -> bool:
            return await expected_pods(api, namespace) == counted

        await until(all_are_there, "all pods were made")
        await until(are_counted, f"the budget counted {counted} pods")


async def test_every_kind_around_workloads_is_there_or_is_said_not_to_be_served(
    kubeconfig: str, namespace: str
) -> None:
    async with connect(kubeconfig) as api:
        for resource in READS:
            try:
                assert await api.list(resource, namespace) == []
            except NotServedError:
                assert resource in (port.VERTICAL_AUTOSCALERS, port.SCALED_OBJECTS), resource.kind
        unheard_of = replace(port.SCALED_OBJECTS, group="unheard-of.example")
        with pytest.raises(NotServedError):
            await api.list(unheard_of, namespace)
