"""The Kubernetes facade against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from builders import deployment, having, sandbox
from flow.cluster import CONFIG_MAPS, quiet, until
from sidestream.api.labels import FINALIZER, MANAGER_SANDBOX, manager_of_route
from sidestream.errors import ConflictError, KubeError, NotServedError, ObjectRejectedError
from sidestream.kube import client, port
from sidestream.kube.apply import ensure, ensure_finalizer, ensure_status, remove_finalizer
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import DEPLOYMENTS, EVENTS, NAMESPACES, SERVICES, Object, Resource
from sidestream.kube.reflector import Change, Reflector
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.reconcile import ObjectKey

SANDBOXES = quiet(port.SANDBOXES)
NOWHERE = Resource("nowhere.sidestream.dev", "v1", "nothings", "Nothing")


def config_map(name: str, namespace: str, labels: dict[str, str] | None = None, **data: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def fork(namespace: str, **container: Any) -> Object:
    """A Deployment as a reconciler would render it, with values that the API server writes in its own way."""
    template = {
        "metadata": {"labels": {"app": "orders-alice"}},
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": "orders:pr-42",
                    "env": [{"name": "A", "value": "1"}],
                    "ports": [{"containerPort": 8080}],
                    "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                    **container,
                }
            ]
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "orders-alice", "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "orders-alice"}}, "template": template},
    }


def writes() -> float:
    """How many writing requests this process has sent."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "sidestream_kube_requests_total" and sample.labels["verb"] not in ("get", "list", "watch")
    )


async def existing(api: AioKubeApi, resource: Resource, namespace: str, name: str) -> Object:
    found = await api.get(resource, namespace, name)
    assert found is not None
    return found


class TestReading:
    async def test_what_is_missing_is_none(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            assert await api.get(CONFIG_MAPS, namespace, "nothing") is None

    async def test_a_cluster_scoped_object_is_read_without_a_namespace(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            found = await existing(api, NAMESPACES, "", namespace)
        assert found["kind"] == "Namespace"

    async def test_a_kind_that_is_not_served_is_told_apart(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            for attempt in (
                api.get(NOWHERE, namespace, "a"),
                api.list(NOWHERE, namespace),
                api.apply(NOWHERE, config_map("a", namespace), manager="m"),
                api.create(NOWHERE, config_map("a", namespace)),
                api.delete(NOWHERE, namespace, "a"),
            ):
                with pytest.raises(NotServedError):
                    await attempt

    async def test_lists_are_joined_from_pages_and_cut_down_by_labels(
        self, kubeconfig: str, namespace: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "_PAGE", "2")
        async with connect(kubeconfig) as api:
            for number in range(5):
                await api.create(CONFIG_MAPS, config_map(f"c{number}", namespace, {"half": str(number % 2), "t": "1"}))
            every = await api.list(CONFIG_MAPS, namespace, labels="t=1")
            even = await api.list(CONFIG_MAPS, namespace, labels="t=1,half=0")
            anywhere = await api.list(CONFIG_MAPS, labels="t=1,half=1")
        assert [item["metadata"]["name"] for item in every] == ["c0", "c1", "c2", "c3", "c4"]
        assert [item["metadata"]["name"] for item in even] == ["c0", "c2", "c4"]
        assert {"c1", "c3"} <= {item["metadata"]["name"] for item in anywhere}
        assert {(item["apiVersion"], item["kind"]) for item in every} == {("v1", "ConfigMap")}


class TestWriting:
    async def test_apply_creates_and_takes_back_only_its_own(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            await api.apply(CONFIG_MAPS, config_map("c", namespace, a="1", b="1"), manager="one")
            await api.apply(CONFIG_MAPS, config_map("c", namespace, c="2"), manager="two")
            found = await api.apply(CONFIG_MAPS, config_map("c", namespace, a="3"), manager="one")
        assert found["data"] == {"a": "3", "c": "2"}

    async def test_apply_without_force_meets_others_as_a_conflict(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            await api.apply(CONFIG_MAPS, config_map("c", namespace, a="1"), manager="one")
            with pytest.raises(ConflictError):
                await api.apply(CONFIG_MAPS, config_map("c", namespace, a="2"), manager="two", force=False)

    async def test_create_and_replace_never_overwrite(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            first = await api.create(CONFIG_MAPS, config_map("c", namespace, a="1"))
            with pytest.raises(ConflictError):
                await api.create(CONFIG_MAPS, config_map("c", namespace, a="2"))
            await api.replace(CONFIG_MAPS, {**first, "data": {"a": "2"}})
            with pytest.raises(ConflictError):
                await api.replace(CONFIG_MAPS, {**first, "data": {"a": "3"}})
            await api.delete(CONFIG_MAPS, namespace, "c")
            with pytest.raises(ConflictError):
                await api.replace(CONFIG_MAPS, {**first, "data": {"a": "4"}})

    async def test_a_patch_whose_test_fails_changes_nothing(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            await api.create(CONFIG_MAPS, config_map("c", namespace, a="1"))
            change = {"op": "replace", "path": "/data/a", "value": "2"}
            for failing in ({"path": "/data/a", "value": "9"}, {"path": "/metadata/resourceVersion", "value": "1"}):
                with pytest.raises(ConflictError):
                    await api.patch(CONFIG_MAPS, namespace, "c", [{"op": "test", **failing}, change])
            found = await api.patch(
                CONFIG_MAPS, namespace, "c", [{"op": "test", "path": "/data/a", "value": "1"}, change]
            )
            with pytest.raises(ConflictError):
                await api.patch(CONFIG_MAPS, namespace, "missing", [change])
        assert found["data"] == {"a": "2"}

    async def test_only_the_object_that_is_meant_is_deleted(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            created = await api.create(CONFIG_MAPS, config_map("c", namespace))
            await api.delete(CONFIG_MAPS, namespace, "c", uid="00000000-0000-0000-0000-000000000000")
            assert await api.get(CONFIG_MAPS, namespace, "c") is not None
            await api.delete(CONFIG_MAPS, namespace, "c", uid=created["metadata"]["uid"])
            assert await api.get(CONFIG_MAPS, namespace, "c") is None
            await api.delete(CONFIG_MAPS, namespace, "c")

    async def test_an_invalid_object_is_refused_with_its_field(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            with pytest.raises(ObjectRejectedError, match=r"spec\.template\.spec\.containers\[0\]\.image") as caught:
                await api.apply(DEPLOYMENTS, fork(namespace, image=""), manager="m")
        assert caught.value.status == 422

    async def test_a_missing_namespace_is_told(self, kubeconfig: str) -> None:
        async with connect(kubeconfig) as api:
            with pytest.raises(KubeError, match='namespaces "nowhere-at-all" not found'):
                await api.apply(CONFIG_MAPS, config_map("c", "nowhere-at-all"), manager="m")


class TestEnsure:
    async def test_an_object_is_written_once_even_if_the_server_rewrites_values(
        self, kubeconfig: str, namespace: str
    ) -> None:
        async with connect(kubeconfig) as api:
            live, changed = await ensure(api, DEPLOYMENTS, fork(namespace), None, MANAGER_SANDBOX)
            assert changed
            assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"
            before = writes()
            for _ in range(3):
                live = await existing(api, DEPLOYMENTS, namespace, "orders-alice")
                again, changed = await ensure(api, DEPLOYMENTS, fork(namespace), live, MANAGER_SANDBOX)
                assert not changed
            assert again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
            assert writes() == before

    async def test_what_is_no_longer_wanted_goes_and_drift_is_mended(self, kubeconfig: str, namespace: str) -> None:
        async with connect(kubeconfig) as api:
            wide = fork(namespace, env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
            live, _ = await ensure(api, DEPLOYMENTS, wide, None, MANAGER_SANDBOX)
            live, changed = await ensure(api, DEPLOYMENTS, fork(namespace), live, MANAGER_SANDBOX)
            assert changed
            assert container_of(live)["env"] == [{"name": "A", "value": "1"}]
            path = "/spec/template/spec/containers/0/image"
            drifted = await api.patch(
                DEPLOYMENTS, namespace, "orders-alice", [{"op": "replace", "path": path, "value": "x"}]
            )
            live, changed = await ensure(api, DEPLOYMENTS, fork(namespace), drifted, MANAGER_SANDBOX)
            assert changed
            assert container_of(live)["image"] == "orders:pr-42"

    async def test_the_same_holds_for_a_service(self, kubeconfig: str, namespace: str) -> None:
        wish: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "orders-alice", "namespace": namespace},
            "spec": {"selector": {"app": "orders-alice"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }
        async with connect(kubeconfig) as api:
            await ensure(api, SERVICES, wish, None, MANAGER_SANDBOX)
            live = await existing(api, SERVICES, namespace, "orders-alice")
            before = writes()
            _, changed = await ensure(api, SERVICES, wish, live, MANAGER_SANDBOX)
            assert not changed
            assert writes() == before


def container_of(obj: Object) -> Object:
    (container,) = obj["spec"]["template"]["spec"]["containers"]
    return dict(container)


READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 1}
ACCEPTED = {**READY, "type": "Accepted", "reason": "Accepted"}


@asynccontextmanager
async def with_sandbox(kubeconfig: str, namespace: str) -> AsyncIterator[tuple[AioKubeApi, Object]]:
    obj = sandbox("alice", having("apiVersion", SANDBOXES.api_version))
    obj["metadata"] = {"name": "alice", "namespace": namespace}
    async with connect(kubeconfig) as api:
        yield api, await api.create(SANDBOXES, obj)


async def is_gone(api: AioKubeApi, namespace: str) -> bool:
    return await api.get(SANDBOXES, namespace, "alice") is None


def entry(service: str) -> Object:
    how = {"provider": "VirtualService", "mode": "Owned", "state": "Written", "reason": "Pending"}
    return {"service": service, "entry": "mesh", **how}


@pytest.mark.usefixtures("quiet_crds")
class TestStatus:
    async def test_it_is_written_once_and_its_fields_come_and_go(self, kubeconfig: str, namespace: str) -> None:
        full = {"routingKey": "alice", "expiresAt": "2026-12-01T00:00:00Z", "conditions": [ACCEPTED, READY]}
        less = {"routingKey": "alice", "conditions": [READY]}
        async with with_sandbox(kubeconfig, namespace) as (api, _):
            for status, changes in ((full, True), (full, False), (less, True), (less, False), ({}, True), ({}, False)):
                live = await existing(api, SANDBOXES, namespace, "alice")
                before = writes()
                assert await ensure_status(api, SANDBOXES, live, status, MANAGER_SANDBOX) is changes
                assert writes() - before == (1 if changes else 0)
                live = await existing(api, SANDBOXES, namespace, "alice")
                assert (live.get("status") or {}) == status

    async def test_each_service_has_its_entry_and_drops_only_that(self, kubeconfig: str, namespace: str) -> None:
        async with with_sandbox(kubeconfig, namespace) as (api, new):
            for name in ("orders", "stock"):
                assert await ensure_status(api, SANDBOXES, new, {"routes": [entry(name)]}, manager_of_route(name))
            await ensure_status(api, SANDBOXES, new, {"conditions": [READY]}, MANAGER_SANDBOX)
            live = await existing(api, SANDBOXES, namespace, "alice")
            assert live["status"] == {"conditions": [READY], "routes": [entry("orders"), entry("stock")]}
            for name in ("orders", "stock"):
                assert not await ensure_status(api, SANDBOXES, live, {"routes": [entry(name)]}, manager_of_route(name))
            assert await ensure_status(api, SANDBOXES, live, {}, manager_of_route("orders"))
            live = await existing(api, SANDBOXES, namespace, "alice")
            assert live["status"]["routes"] == [entry("stock")]
            assert await ensure_status(api, SANDBOXES, live, {}, manager_of_route("stock"))
            live = await existing(api, SANDBOXES, namespace, "alice")
            assert not live["status"].get("routes")
            assert not await ensure_status(api, SANDBOXES, live, {}, manager_of_route("stock"))

    async def test_a_sandbox_that_is_gone_gets_no_status(self, kubeconfig: str, namespace: str) -> None:
        async with with_sandbox(kubeconfig, namespace) as (api, old):
            await api.delete(SANDBOXES, namespace, "alice")
            await until(lambda: is_gone(api, namespace), "the Sandbox was gone")
            with pytest.raises(ConflictError):
                await ensure_status(api, SANDBOXES, old, {"routingKey": "alice"}, MANAGER_SANDBOX)

    async def test_a_guarded_status_never_overwrites_what_was_not_read(self, kubeconfig: str, namespace: str) -> None:
        async with with_sandbox(kubeconfig, namespace) as (api, stale):
            await ensure_status(api, SANDBOXES, stale, {"routingKey": "new"}, MANAGER_SANDBOX, guarded=True)
            with pytest.raises(ConflictError):
                await ensure_status(api, SANDBOXES, stale, {"routingKey": "old"}, MANAGER_SANDBOX, guarded=True)
            live = await existing(api, SANDBOXES, namespace, "alice")
            assert live["status"] == {"routingKey": "new"}
            assert await ensure_status(api, SANDBOXES, live, {"routingKey": "old"}, MANAGER_SANDBOX, guarded=True)

    async def test_a_finalizer_holds_until_it_is_taken_off(self, kubeconfig: str, namespace: str) -> None:
        async with with_sandbox(kubeconfig, namespace) as (api, stale):
            live, changed = await ensure_finalizer(api, SANDBOXES, stale, FINALIZER)
            assert changed
            with pytest.raises(ConflictError):
                await ensure_finalizer(api, SANDBOXES, stale, FINALIZER)
            await api.delete(SANDBOXES, namespace, "alice")
            live = await existing(api, SANDBOXES, namespace, "alice")
            assert live["metadata"]["deletionTimestamp"]
            _, changed = await remove_finalizer(api, SANDBOXES, live, FINALIZER)
            assert changed
            assert await api.get(SANDBOXES, namespace, "alice") is None


async def test_events_are_taken_as_we_write_them(kubeconfig: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        created = await api.create(DEPLOYMENTS, fork(namespace))
        recorder = EventRecorder(api, SystemClock(), instance="sidestream-operator-0")
        await recorder.record(DEPLOYMENTS, created, "Warning", "GroupLeft", "Left the group fulfilment.sbx.alice")
        events = [item for item in await api.list(EVENTS, namespace) if item["reason"] == "GroupLeft"]
    assert [(item["type"], item["note"]) for item in events] == [("Warning", "Left the group fulfilment.sbx.alice")]
    assert events[0]["regarding"]["uid"] == created["metadata"]["uid"]


async def test_a_reflector_follows_what_happens(kubeconfig: str, namespace: str) -> None:
    told: list[str] = []

    def tell(change: Change) -> None:
        told.append(f"{change.type} {change.key.name}")

    async with connect(kubeconfig) as api:
        await api.create(CONFIG_MAPS, config_map("before", namespace, {"t": "1"}))
        reflector = Reflector(api, CONFIG_MAPS, SystemClock(), namespace=namespace, labels="t=1", on_change=tell)
        running = asyncio.create_task(reflector.run())
        await asyncio.wait_for(reflector.synced.wait(), 30)
        await api.create(CONFIG_MAPS, config_map("after", namespace, {"t": "1"}))
        await api.create(CONFIG_MAPS, config_map("other", namespace, {"t": "2"}))
        await api.apply(CONFIG_MAPS, config_map("before", namespace, {"t": "1"}, a="1"), manager="m")
        await api.delete(CONFIG_MAPS, namespace, "after")

        async def heard() -> bool:
            return told[-1] == "DELETED after"

        await until(heard, "the deletion was told")
        running.cancel()
        await asyncio.wait({running})
    assert told == ["ADDED before", "ADDED after", "MODIFIED before", "DELETED after"]
    assert reflector.objects[ObjectKey(namespace, "before")]["data"] == {"a": "1"}


async def test_a_deployment_keeps_fields_that_this_program_does_not_know(kubeconfig: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        body = deployment("orders")
        body["metadata"] = {"name": "orders", "namespace": namespace}
        created = await api.create(DEPLOYMENTS, body)
        found = await existing(api, DEPLOYMENTS, namespace, "orders")
    assert found == created
