"""The in-memory API server of unit tests ends where a real one does, write by write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from builders import having, sandbox
from fakes.kube import FakeKubeApi
from flow.cluster import quiet
from sidestream.api.labels import FINALIZER, MANAGER_SANDBOX, manager_of_route
from sidestream.errors import ConflictError
from sidestream.kube import port
from sidestream.kube.apply import ensure_finalizer, ensure_status, remove_finalizer
from sidestream.kube.client import connect
from sidestream.kube.port import DEPLOYMENTS, SERVICES, KubeApi, Object, Resource

SANDBOXES = quiet(port.SANDBOXES)

pytestmark = pytest.mark.usefixtures("quiet_crds")

VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "managedFields", "namespace")
READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1}
ACCEPTED = {**READY, "type": "Accepted", "reason": "Accepted"}

DEFAULTS = {"drain": {"policy": "Wait", "timeout": "15m"}, "onForkUnavailable": "Error"}
"""What the API server fills in, so that both are told it."""

Step = Callable[[KubeApi, str], Awaitable[Object | None]]


def summary(obj: Object | None) -> Any:
    """What both servers must agree on: all but times and ids, and who owns what by server-side apply."""
    if obj is None:
        return None
    metadata = {key: value for key, value in obj["metadata"].items() if key not in VOLATILE}
    owned = {
        (entry["manager"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
        if entry["operation"] == "Apply" and entry.get("fieldsV1")
    }
    return {**obj, "metadata": metadata, "is_deleting": "deletionTimestamp" in obj["metadata"], "owned": owned}


async def read(api: KubeApi, namespace: str) -> Object | None:
    return await api.get(SANDBOXES, namespace, "alice")


def creating(**spec: Any) -> Step:
    async def step(api: KubeApi, namespace: str) -> Object | None:
        obj = sandbox("alice", having("apiVersion", SANDBOXES.api_version))
        obj["metadata"] = {"name": "alice", "namespace": namespace}
        obj["spec"] = {
            "workloads": [{"deployment": "orders", "replicas": 1, "baselineUpdates": "Follow"}],
            **DEFAULTS,
            **spec,
        }
        return await api.create(SANDBOXES, obj)

    return step


def applying(manager: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Step:
    async def step(api: KubeApi, namespace: str) -> Object | None:
        metadata: Object = {"name": "alice", "namespace": namespace}
        if labels:
            metadata["labels"] = labels
        obj = {
            "apiVersion": SANDBOXES.api_version,
            "kind": "Sandbox",
            "metadata": metadata,
            "spec": {**DEFAULTS, **spec},
        }
        return await api.apply(SANDBOXES, obj, manager=manager)

    return step


def saying(manager: str, **status: Any) -> Step:
    async def step(api: KubeApi, namespace: str) -> Object | None:
        live = await read(api, namespace)
        assert live is not None
        await ensure_status(api, SANDBOXES, live, status, manager)
        return await read(api, namespace)

    return step


def patching(*operations: Object) -> Step:
    async def step(api: KubeApi, namespace: str) -> Object | None:
        return await api.patch(SANDBOXES, namespace, "alice", operations)

    return step


async def finalizing(api: KubeApi, namespace: str) -> Object | None:
    live = await read(api, namespace)
    assert live is not None
    return (await ensure_finalizer(api, SANDBOXES, live, FINALIZER))[0]


async def letting_go(api: KubeApi, namespace: str) -> Object | None:
    live = await read(api, namespace)
    assert live is not None
    await remove_finalizer(api, SANDBOXES, live, FINALIZER)
    return await read(api, namespace)


async def deleting(api: KubeApi, namespace: str) -> Object | None:
    await api.delete(SANDBOXES, namespace, "alice")
    return await read(api, namespace)


def workload(name: str, **fields: Any) -> Object:
    return {"deployment": name, "replicas": 1, "baselineUpdates": "Follow", **fields}


def entry(service: str) -> Object:
    how = {"provider": "VirtualService", "mode": "Owned", "state": "Written", "reason": "Pending"}
    return {"service": service, "entry": "mesh", **how}


def told(name: str, *findings: str) -> Object:
    """A workload's status with findings of these reasons."""
    found = [{"reason": reason, "message": f"{reason} of {name}"} for reason in findings]
    return {"deployment": name, "fork": f"{name}-alice", "services": [], "findings": found}


LIFETIME = {"ttl": "1h", "from": "Creation"}

STORIES: list[tuple[str, list[Step]]] = [
    ("a spec changes and moves the generation", [
        applying("user", workloads=[workload("orders")]),
        applying("user", workloads=[workload("orders", replicas=2)]),
        applying("user", workloads=[workload("orders", replicas=2)]),
    ]),
    ("keyed items come and go", [
        applying("user", workloads=[workload("orders"), workload("stock")]),
        applying("user", workloads=[workload("stock")]),
        applying("user", workloads=[workload("stock"), workload("payment")]),
    ]),
    ("fields and labels are given up", [
        applying("user", labels={"a": "1", "b": "2"}, workloads=[workload("orders")], lifetime=LIFETIME),
        applying("user", labels={"a": "1"}, workloads=[workload("orders")]),
        applying("user", workloads=[workload("orders")]),
    ]),
    ("two managers share an object", [
        applying("one", labels={"a": "1"}, workloads=[workload("orders")]),
        applying("two", labels={"b": "1"}, workloads=[workload("orders", replicas=3)]),
        applying("one", workloads=[workload("orders", replicas=3)]),
        applying("two", workloads=[workload("orders", replicas=3)]),
    ]),
    ("an object somebody created is taken over", [
        creating(workloads=[workload("orders", containers=[{"name": "app", "image": "a:1"}])]),
        applying("one", workloads=[workload("orders", containers=[{"name": "app", "image": "a:2"}])]),
        applying("one", workloads=[workload("orders")]),
    ]),
    ("a status grows and shrinks", [
        creating(),
        saying(MANAGER_SANDBOX, routingKey="alice", expiresAt="2026-12-01T00:00:00Z", conditions=[ACCEPTED, READY]),
        saying(MANAGER_SANDBOX, routingKey="alice", conditions=[READY]),
        saying(MANAGER_SANDBOX),
    ]),
    ("an empty list is filled and emptied", [
        creating(),
        saying(MANAGER_SANDBOX, routingKey="alice", conditions=[]),
        saying(MANAGER_SANDBOX, routingKey="alice", conditions=[READY]),
    ]),
    ("findings of a workload come and go", [
        creating(),
        saying(MANAGER_SANDBOX, workloads=[told("orders"), told("stock", "A")]),
        saying(MANAGER_SANDBOX, workloads=[told("orders", "B", "A"), told("stock", "A")]),
        saying(MANAGER_SANDBOX, workloads=[told("orders", "A"), told("stock")]),
    ]),
    ("each route has its own manager", [
        creating(),
        saying(manager_of_route("orders"), routes=[entry("orders")]),
        saying(MANAGER_SANDBOX, routingKey="alice", conditions=[READY]),
        saying(manager_of_route("stock"), routes=[entry("stock")]),
        saying(manager_of_route("orders")),
        saying(manager_of_route("stock")),
    ]),
    ("a finalizer holds a deleted object", [
        creating(),
        finalizing,
        deleting,
        saying(MANAGER_SANDBOX, routingKey="alice"),
        deleting,
        letting_go,
    ]),
    ("an object without a finalizer goes at once", [creating(), deleting, deleting]),
    ("a patch changes labels but not the status", [
        creating(),
        patching({"op": "add", "path": "/metadata/labels", "value": {"a": "1"}}),
        patching({"op": "add", "path": "/status", "value": {"routingKey": "x"}}),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("steps", [pytest.param(steps, id=case) for case, steps in STORIES])
async def test_both_end_at_the_same(steps: list[Step], kubeconfig: str, namespace: str) -> None:
    fake = FakeKubeApi()
    async with connect(kubeconfig) as real:
        for number, step in enumerate(steps):
            ours, theirs = summary(await step(fake, namespace)), summary(await step(real, namespace))
            assert ours == theirs, f"step {number}"


async def test_both_refuse_what_is_stale(kubeconfig: str, namespace: str) -> None:
    async def refusals(api: KubeApi) -> list[str]:
        first = await creating()(api, namespace)
        assert first is not None
        await api.replace(SANDBOXES, {**first, "metadata": {**first["metadata"], "labels": {"a": "1"}}})
        refused = []
        attempts: list[tuple[str, Awaitable[Any]]] = [
            ("create", creating()(api, namespace)),
            ("replace", api.replace(SANDBOXES, first)),
            ("finalizer", ensure_finalizer(api, SANDBOXES, first, FINALIZER)),
            ("status", ensure_status(api, SANDBOXES, first, {"routingKey": "a"}, MANAGER_SANDBOX, guarded=True)),
            ("open status", ensure_status(api, SANDBOXES, first, {"routingKey": "a"}, MANAGER_SANDBOX)),
            ("missing", api.patch(SANDBOXES, namespace, "bob", [])),
        ]
        for name, attempt in attempts:
            try:
                await attempt
            except ConflictError:
                refused.append(name)
        return refused

    async with connect(kubeconfig) as real:
        assert await refusals(FakeKubeApi()) == await refusals(real)
        assert await refusals(FakeKubeApi()) == ["create", "replace", "finalizer", "status", "missing"]


FORK: Object = {
    "replicas": 1,
    "selector": {"matchLabels": {"app": "a"}},
    "template": {
        "metadata": {"labels": {"app": "a"}},
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": "a:1",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                }
            ]
        },
    },
}
PORTS = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("resource", "spec"),
    [(DEPLOYMENTS, FORK), (SERVICES, {"selector": {"app": "a"}, "ports": PORTS})],
    ids=lambda value: value.kind if isinstance(value, Resource) else "",
)
async def test_both_note_the_same_owners_of_forks(
    resource: Resource, spec: Object, kubeconfig: str, namespace: str
) -> None:
    async def owners(api: KubeApi) -> Any:
        metadata = {"name": "a", "namespace": namespace, "labels": {"app": "a"}, "annotations": {"x/y": "1"}}
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        return summary(await api.apply(resource, obj, manager=MANAGER_SANDBOX))["owned"]

    async with connect(kubeconfig) as real:
        assert await owners(FakeKubeApi()) == await owners(real)
