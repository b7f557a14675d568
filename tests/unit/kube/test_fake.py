"""The fake must behave like the API server where reconcilers can tell the difference."""

from __future__ import annotations

import pytest

from builders import deployment, finalized, having, labelled, sandbox
from fakes.kube import FakeKubeApi
from sidestream.errors import ConflictError, NotServedError, TransientError
from sidestream.kube.port import DEPLOYMENTS, LEASES, SANDBOXES, VIRTUAL_SERVICES


async def test_what_is_read_is_a_copy() -> None:
    api = FakeKubeApi(sandbox("alice"))
    found = await api.get(SANDBOXES, "shop", "alice")
    assert found is not None
    found["spec"].clear()
    again = await api.get(SANDBOXES, "shop", "alice")
    assert again is not None
    assert again["spec"]


async def test_lists_are_cut_down_by_namespace_and_labels() -> None:
    api = FakeKubeApi(
        sandbox("alice", labelled({"team": "a"})),
        sandbox("bob", labelled({"team": "b"})),
        sandbox("carol", having("metadata.namespace", "other"), labelled({"team": "a"})),
    )
    assert len(await api.list(SANDBOXES)) == 3
    assert len(await api.list(SANDBOXES, "shop")) == 2
    names = [item["metadata"]["name"] for item in await api.list(SANDBOXES, "shop", labels="team=a")]
    assert names == ["alice"]


async def test_only_a_change_of_the_spec_moves_the_generation() -> None:
    api = FakeKubeApi(sandbox("alice"))
    status = {"apiVersion": "sidestream.dev/v1alpha1", "kind": "Sandbox", "metadata": {"name": "alice"}}
    status["metadata"] = {"name": "alice", "namespace": "shop"}
    live = await api.apply_status(SANDBOXES, {**status, "status": {"routingKey": "alice"}}, manager="m")
    assert live["metadata"]["generation"] == 1
    live = api.seed(sandbox("alice", having("spec.routingKey", "alice")))
    assert live["metadata"]["generation"] == 2


async def test_a_write_that_changes_nothing_keeps_the_version() -> None:
    api = FakeKubeApi()
    desired = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "shop"}}
    first = await api.apply(DEPLOYMENTS, desired, manager="m")
    second = await api.apply(DEPLOYMENTS, desired, manager="m")
    assert first == second


async def test_the_status_is_written_only_through_its_subresource() -> None:
    api = FakeKubeApi(deployment("orders"))
    changed = await api.apply(DEPLOYMENTS, deployment("orders", having("status.readyReplicas", 9)), manager="m")
    assert changed["status"]["readyReplicas"] == 1


async def test_a_finalizer_holds_a_deleted_object() -> None:
    api = FakeKubeApi(sandbox("alice", finalized("hold")))
    await api.delete(SANDBOXES, "shop", "alice")
    live = api.live(SANDBOXES, "alice")
    assert live is not None
    assert live["metadata"]["deletionTimestamp"]
    await api.patch(SANDBOXES, "shop", "alice", [{"op": "remove", "path": "/metadata/finalizers"}])
    assert api.live(SANDBOXES, "alice") is None


async def test_another_uid_is_not_deleted() -> None:
    api = FakeKubeApi(sandbox("alice"))
    await api.delete(SANDBOXES, "shop", "alice", uid="somebody-else")
    assert api.live(SANDBOXES, "alice") is not None
    await api.delete(SANDBOXES, "shop", "alice", uid="uid-sandboxes-alice")
    assert api.live(SANDBOXES, "alice") is None


async def test_a_stale_replace_conflicts() -> None:
    api = FakeKubeApi()
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "shop"}}
    first = await api.create(LEASES, lease)
    with pytest.raises(ConflictError):
        await api.create(LEASES, lease)
    await api.replace(LEASES, {**first, "spec": {"holderIdentity": "a"}})
    with pytest.raises(ConflictError):
        await api.replace(LEASES, {**first, "spec": {"holderIdentity": "b"}})


async def test_failures_and_missing_kinds_are_arranged() -> None:
    api = FakeKubeApi(sandbox("alice"))
    api.fail(TransientError("away"), verb="get")
    with pytest.raises(TransientError):
        await api.get(SANDBOXES, "shop", "alice")
    assert await api.get(SANDBOXES, "shop", "alice")
    api.unserve(VIRTUAL_SERVICES)
    with pytest.raises(NotServedError):
        await api.list(VIRTUAL_SERVICES)
    assert [str(request) for request in api.requests][:1] == ["get sandboxes shop/alice"]
