"""Whatever a Sandbox asks for: it comes to rest, another run writes nothing, and in the end nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import deployment, having, kafka_cluster, kafka_consumer, sandbox, selecting, service
from sidestream.kube import port
from sidestream.kube.port import Object
from unit.sandbox.cluster import Cluster

PATCHES = [
    {
        "type": "Strategic",
        "value": {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}},
    },
    {"type": "Merge", "value": {"spec": {"replicas": 2, "template": {"metadata": {"labels": {"tier": "web"}}}}}},
    {"type": "JSON", "value": [{"op": "add", "path": "/spec/minReadySeconds", "value": 3}]},
    {"type": "JSON", "value": [{"op": "remove", "path": "/spec/nothing"}]},
]
workloads = st.fixed_dictionaries(
    {"deployment": st.sampled_from(["orders", "fulfilment", "billing", "missing"])},
    optional={
        "replicas": st.integers(0, 2),
        "baselineUpdates": st.sampled_from(["Follow", "Pin"]),
        "patch": st.sampled_from(PATCHES),
        "containers": st.sampled_from([[{"image": "new:1"}], [{"name": "app", "env": [{"name": "A", "value": "1"}]}]]),
    },
)
specs = st.lists(workloads, min_size=1, max_size=3, unique_by=lambda item: str(item["deployment"]))


def world(spec: list[Object], coordination: str, *, suspended: bool) -> Cluster:
    """Three Deployments, Services of one and of two of them, and a consumer."""
    in_shop = having("spec.template.metadata.labels", {"app": "orders", "part-of": "shop"})
    also = having("spec.template.metadata.labels", {"app": "billing", "part-of": "shop"})
    return Cluster(
        deployment("orders", in_shop),
        deployment("billing", also),
        deployment("fulfilment"),
        service("orders"),
        service("front", selecting({"part-of": "shop"})),
        kafka_cluster(),
        kafka_consumer("fulfilment-orders", having("spec.coordination", coordination)),
        sandbox("alice", having("spec.workloads", spec), having("spec.suspended", suspended)),
    )


async def comes_to_rest(cluster: Cluster) -> None:
    await cluster.settle()
    cluster.api.forget_requests()
    outcome = await cluster.reconcile()
    assert cluster.api.writes == []
    assert not outcome.changed


@settings(deadline=None, max_examples=40)
@given(specs, specs, st.sampled_from(["Polling", "Fenced"]), st.booleans(), st.booleans())
def test_every_spec_comes_to_rest_and_leaves_nothing(
    first: list[Any],
    second: list[Any],
    coordination: str,
    slept: bool,  # noqa: FBT001
    sleeps: bool,  # noqa: FBT001
) -> None:
    async def live() -> None:
        cluster = world(first, coordination, suspended=slept)
        await comes_to_rest(cluster)
        cluster.edit(workloads=second, suspended=sleeps)
        await comes_to_rest(cluster)
        if cluster.conditions()["Accepted"] == "True/Accepted":
            fresh = world(second, coordination, suspended=sleeps)
            await comes_to_rest(fresh)
            assert cluster.made() == fresh.made()
        await cluster.delete()
        await cluster.settle()
        assert cluster.made() == []
        assert cluster.api.live(port.SANDBOXES, "alice") is None

    asyncio.run(live())
