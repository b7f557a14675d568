from __future__ import annotations

import pytest

from builders import deployment, finalized, having, sandbox
from fakes.kube import FakeKubeApi
from sidestream.api.labels import APPLIED_HASH, FINALIZER, MANAGER_SANDBOX, manager_of_route
from sidestream.errors import ConflictError
from sidestream.kube.apply import ensure, ensure_finalizer, ensure_status, remove_finalizer
from sidestream.kube.port import DEPLOYMENTS, SANDBOXES, Object

FORK: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "orders-alice", "namespace": "shop", "labels": {"team": "shop"}},
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "app", "image": "orders:2"}]}}},
}


def desired(**spec: object) -> Object:
    return {**FORK, "spec": {**FORK["spec"], **spec}}


def live_sandbox(api: FakeKubeApi) -> Object:
    live = api.live(SANDBOXES, "alice")
    assert live is not None
    return live


async def test_an_object_is_written_once() -> None:
    api = FakeKubeApi()
    live, changed = await ensure(api, DEPLOYMENTS, FORK, None, MANAGER_SANDBOX)
    assert changed
    again, changed = await ensure(api, DEPLOYMENTS, FORK, live, MANAGER_SANDBOX)
    assert not changed
    assert again == live
    assert [str(request) for request in api.writes] == ["apply deployments shop/orders-alice as sidestream-sandbox"]


async def test_a_changed_wish_is_written_and_dropped_fields_go() -> None:
    api = FakeKubeApi()
    live, _ = await ensure(api, DEPLOYMENTS, desired(minReadySeconds=5), None, MANAGER_SANDBOX)
    live, changed = await ensure(api, DEPLOYMENTS, FORK, live, MANAGER_SANDBOX)
    assert changed
    assert "minReadySeconds" not in live["spec"]


async def test_drift_is_mended_even_though_the_wish_is_the_same() -> None:
    api = FakeKubeApi()
    live, _ = await ensure(api, DEPLOYMENTS, FORK, None, MANAGER_SANDBOX)
    live["spec"]["replicas"] = 3
    live = api.seed(live)
    live, changed = await ensure(api, DEPLOYMENTS, FORK, live, MANAGER_SANDBOX)
    assert changed
    assert live["spec"]["replicas"] == 1


async def test_fields_of_others_stay_and_cost_no_write() -> None:
    api = FakeKubeApi()
    live, _ = await ensure(api, DEPLOYMENTS, FORK, None, MANAGER_SANDBOX)
    live["metadata"]["labels"]["cost-centre"] = "7"
    live = api.seed(live)
    live, changed = await ensure(api, DEPLOYMENTS, FORK, live, MANAGER_SANDBOX)
    assert not changed
    assert live["metadata"]["labels"] == {"team": "shop", "cost-centre": "7"}


class NormalisingApi(FakeKubeApi):
    """Keeps `1000m` as `1`, as an API server does with quantities."""

    async def apply(self, *args: object, **kwargs: object) -> Object:
        written = await super().apply(*args, **kwargs)  # type: ignore[arg-type]
        written["spec"]["cpu"] = "1"
        return self.seed(written)


async def test_a_value_that_the_server_rewrites_is_not_written_for_ever() -> None:
    api = NormalisingApi()
    wish = desired(cpu="1000m")
    live, _ = await ensure(api, DEPLOYMENTS, wish, None, MANAGER_SANDBOX)
    assert live["spec"]["cpu"] == "1"
    _, changed = await ensure(api, DEPLOYMENTS, wish, live, MANAGER_SANDBOX)
    assert not changed
    live["spec"]["cpu"] = "2"
    _, changed = await ensure(api, DEPLOYMENTS, wish, api.seed(live), MANAGER_SANDBOX)
    assert changed


async def test_an_object_somebody_else_made_is_taken_over() -> None:
    api = FakeKubeApi(deployment("orders-alice"))
    live = api.live(DEPLOYMENTS, "orders-alice")
    written, changed = await ensure(api, DEPLOYMENTS, FORK, live, MANAGER_SANDBOX)
    assert changed
    assert APPLIED_HASH in written["metadata"]["annotations"]


NEW: Object = {"type": "Routes", "status": "True", "reason": "Programmed"}
STATUS: Object = {
    "routingKey": "alice",
    "expiresAt": "2026-01-02T00:00:00Z",
    "conditions": [
        {"type": "Accepted", "status": "True", "reason": "Accepted"},
        {"type": "Ready", "status": "False", "reason": "ForkNotReady"},
    ],
}


async def test_a_status_is_written_once() -> None:
    api = FakeKubeApi(sandbox("alice"))
    assert await ensure_status(api, SANDBOXES, live_sandbox(api), STATUS, MANAGER_SANDBOX)
    assert not await ensure_status(api, SANDBOXES, live_sandbox(api), STATUS, MANAGER_SANDBOX)
    assert len(api.writes) == 1


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("a value changes", {**STATUS, "routingKey": "bob"}),
        ("a field is dropped", {key: value for key, value in STATUS.items() if key != "expiresAt"}),
        ("a field is new", {**STATUS, "lastChangedAt": "2026-01-02T00:00:00Z"}),
        ("an item is new", {**STATUS, "conditions": [*STATUS["conditions"], NEW]}),
        ("an item is dropped", {**STATUS, "conditions": STATUS["conditions"][:1]}),
        ("an item changes", {**STATUS, "conditions": [{**STATUS["conditions"][0], "status": "False"}]}),
        ("nothing is left", {}),
    ],
)
async def test_a_status_is_written_when(case: str, status: Object) -> None:
    api = FakeKubeApi(sandbox("alice"))
    await ensure_status(api, SANDBOXES, live_sandbox(api), STATUS, MANAGER_SANDBOX)
    assert await ensure_status(api, SANDBOXES, live_sandbox(api), status, MANAGER_SANDBOX), case
    assert live_sandbox(api).get("status", {}) == status
    assert not await ensure_status(api, SANDBOXES, live_sandbox(api), status, MANAGER_SANDBOX), case


async def test_each_manager_drops_only_its_own_entry() -> None:
    api = FakeKubeApi(sandbox("alice"))
    for name in ("orders", "stock"):
        entry = {"service": name, "state": "Programmed"}
        await ensure_status(api, SANDBOXES, live_sandbox(api), {"routes": [entry]}, manager_of_route(name))
    await ensure_status(api, SANDBOXES, live_sandbox(api), STATUS, MANAGER_SANDBOX)
    assert await ensure_status(api, SANDBOXES, live_sandbox(api), {}, manager_of_route("orders"))
    assert live_sandbox(api)["status"] == {**STATUS, "routes": [{"service": "stock", "state": "Programmed"}]}
    assert not await ensure_status(api, SANDBOXES, live_sandbox(api), {}, manager_of_route("orders"))
    assert not await ensure_status(api, SANDBOXES, live_sandbox(api), STATUS, MANAGER_SANDBOX)


async def test_an_empty_status_of_a_newcomer_is_no_write() -> None:
    api = FakeKubeApi(sandbox("alice"))
    assert not await ensure_status(api, SANDBOXES, live_sandbox(api), {}, MANAGER_SANDBOX)
    assert not api.writes


async def test_a_finalizer_is_put_on_and_taken_off_once() -> None:
    api = FakeKubeApi(sandbox("alice", finalized("another.dev/hold")))
    live, changed = await ensure_finalizer(api, SANDBOXES, live_sandbox(api), FINALIZER)
    assert changed
    assert live["metadata"]["finalizers"] == ["another.dev/hold", FINALIZER]
    assert await ensure_finalizer(api, SANDBOXES, live, FINALIZER) == (live, False)
    live, changed = await remove_finalizer(api, SANDBOXES, live, FINALIZER)
    assert changed
    assert live["metadata"]["finalizers"] == ["another.dev/hold"]
    assert await remove_finalizer(api, SANDBOXES, live, FINALIZER) == (live, False)


async def test_a_finalizer_never_overwrites_what_changed_meanwhile() -> None:
    api = FakeKubeApi(sandbox("alice"))
    stale = live_sandbox(api)
    api.seed(sandbox("alice", having("spec.routingKey", "bob")))
    with pytest.raises(ConflictError):
        await ensure_finalizer(api, SANDBOXES, stale, FINALIZER)


async def test_a_status_that_somebody_else_wrote_is_taken_over() -> None:
    api = FakeKubeApi(sandbox("alice", having("status", {"routingKey": "alice"})))
    assert await ensure_status(api, SANDBOXES, live_sandbox(api), {"routingKey": "alice"}, MANAGER_SANDBOX)
    assert not await ensure_status(api, SANDBOXES, live_sandbox(api), {"routingKey": "alice"}, MANAGER_SANDBOX)


async def test_a_guarded_status_never_overwrites_what_was_not_read() -> None:
    api = FakeKubeApi(sandbox("alice"))
    stale = live_sandbox(api)
    await ensure_status(api, SANDBOXES, stale, {"routingKey": "new"}, MANAGER_SANDBOX)
    with pytest.raises(ConflictError):
        await ensure_status(api, SANDBOXES, stale, {"routingKey": "old"}, MANAGER_SANDBOX, guarded=True)
    assert await ensure_status(api, SANDBOXES, live_sandbox(api), STATUS, MANAGER_SANDBOX, guarded=True)
