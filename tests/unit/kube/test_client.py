"""The client against canned answers; what it does to objects is tested against a real API server in tests/flow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from sidestream.errors import ConflictError, KubeError, NotServedError, TransientError
from sidestream.kube import transport
from sidestream.kube.client import AioKubeApi
from sidestream.kube.errors import ExpiredError
from sidestream.kube.port import DEPLOYMENTS, KAFKA_CLUSTERS, SANDBOXES, SERVICES, Object
from sidestream.kube.transport import Call, Transport, open_transport
from sidestream.runtime.metrics import REGISTRY


class Server:
    """Answers each request with the next of its answers and keeps the requests."""

    def __init__(self) -> None:
        self.answers: list[Callable[[], web.StreamResponse]] = []
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.hangs = False

    def will(self, code: int, body: Any, **headers: str) -> None:
        self.answers.append(lambda: web.json_response(body, status=code, headers=headers))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.hangs:
            await asyncio.Event().wait()
        text = await request.text()
        self.bodies.append(json.loads(text) if text else None)
        return self.answers.pop(0)()

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.path_qs}" for request in self.requests]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, AioKubeApi]]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with client.ApiClient(settings) as api_client:
            yield server, AioKubeApi(Transport(api_client))
    finally:
        await runner.cleanup()


def missing(name: str) -> Object:
    return {"kind": "Status", "code": 404, "message": f'"{name}" not found', "details": {"name": name}}


OBJECT: Object = {"metadata": {"name": "orders", "namespace": "shop", "resourceVersion": "7"}}


@pytest.mark.parametrize(
    ("case", "call", "path"),
    [
        ("a core kind", Call("get", "GET", SERVICES, "shop", "orders"), "/api/v1/namespaces/shop/services/orders"),
        ("a kind of a group", Call("list", "GET", DEPLOYMENTS, "shop"), "/apis/apps/v1/namespaces/shop/deployments"),
        ("all namespaces", Call("list", "GET", DEPLOYMENTS), "/apis/apps/v1/deployments"),
        (
            "a cluster-scoped kind",
            Call("get", "GET", KAFKA_CLUSTERS, "", "main"),
            "/apis/sidestream.dev/v1alpha1/kafkaclusters/main",
        ),
        (
            "a subresource",
            Call("apply", "PATCH", SANDBOXES, "shop", "alice", "status"),
            "/apis/sidestream.dev/v1alpha1/namespaces/shop/sandboxes/alice/status",
        ),
    ],
)
def test_paths(case: str, call: Call, path: str) -> None:
    assert call.path == path, case


async def test_a_missing_object_is_none_and_a_missing_kind_an_error() -> None:
    async with serving() as (server, api):
        server.will(404, missing("orders"))
        assert await api.get(SERVICES, "shop", "orders") is None
        server.answers.append(lambda: web.Response(status=404, text="404 page not found\n"))
        with pytest.raises(NotServedError):
            await api.get(SANDBOXES, "shop", "alice")


async def test_items_of_a_list_know_their_kind_and_pages_are_joined() -> None:
    async with serving() as (server, api):
        server.will(
            200, {"metadata": {"continue": "next", "resourceVersion": "1"}, "items": [{"metadata": {"name": "a"}}]}
        )
        server.will(200, {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "b"}}]})
        found = await api.list(DEPLOYMENTS, "shop", labels="a=1,b=2")
        assert [item["metadata"]["name"] for item in found] == ["a", "b"]
        assert {(item["apiVersion"], item["kind"]) for item in found} == {("apps/v1", "Deployment")}
        assert server.asked == [
            "GET /apis/apps/v1/namespaces/shop/deployments?labelSelector=a%3D1,b%3D2&limit=500",
            "GET /apis/apps/v1/namespaces/shop/deployments?labelSelector=a%3D1,b%3D2&limit=500&continue=next",
        ]


async def test_a_list_whose_pages_expire_is_read_in_one() -> None:
    async with serving() as (server, api):
        server.will(
            200, {"metadata": {"continue": "next", "resourceVersion": "1"}, "items": [{"metadata": {"name": "a"}}]}
        )
        server.will(410, {"message": "the provided continue parameter is too old"})
        server.will(200, {"metadata": {"resourceVersion": "2"}, "items": [{"metadata": {"name": "b"}}]})
        items, version = await api.list_versioned(DEPLOYMENTS)
        assert ([item["metadata"]["name"] for item in items], version) == (["b"], "2")
        assert "limit" not in server.asked[-1]


async def test_a_list_holds_only_what_its_caller_keeps() -> None:
    async with serving() as (server, api):
        server.will(200, {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "a"}, "spec": {}}]})
        items, _ = await api.list_versioned(DEPLOYMENTS, keep=lambda item: {"kind": item["kind"]})
        assert items == [{"kind": "Deployment"}]


async def test_server_side_apply_names_its_manager() -> None:
    async with serving() as (server, api):
        server.will(200, OBJECT)
        await api.apply(SERVICES, OBJECT, manager="sidestream-sandbox")
        (request,) = server.requests
        assert request.path_qs == "/api/v1/namespaces/shop/services/orders?fieldManager=sidestream-sandbox&force=true"
        assert request.method == "PATCH"
        assert request.headers["Content-Type"] == "application/apply-patch+yaml"
        assert server.bodies == [OBJECT]


async def test_a_write_to_what_is_gone_is_a_conflict() -> None:
    async with serving() as (server, api):
        server.will(404, missing("alice"))
        with pytest.raises(ConflictError, match="cannot apply Sandbox shop/orders: it is gone"):
            await api.apply_status(SANDBOXES, OBJECT, manager="m")
        server.will(404, missing("alice"))
        with pytest.raises(ConflictError):
            await api.patch(SANDBOXES, "shop", "alice", [])
        server.will(404, missing("alice"))
        with pytest.raises(ConflictError):
            await api.replace(SANDBOXES, OBJECT)


async def test_a_missing_namespace_is_no_conflict() -> None:
    async with serving() as (server, api):
        server.will(404, missing("shop"))
        with pytest.raises(KubeError) as caught:
            await api.apply(SERVICES, OBJECT, manager="m")
        assert caught.value.status == 404


async def test_deleting_what_is_gone_or_another_object_does_nothing() -> None:
    async with serving() as (server, api):
        server.will(404, missing("orders"))
        await api.delete(SERVICES, "shop", "orders")
        server.will(409, {"message": "the UID in the precondition does not match"})
        await api.delete(SERVICES, "shop", "orders", uid="x", propagation="Foreground")
        assert server.bodies[1] == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": "x"},
        }


async def test_every_request_is_counted_by_its_answer() -> None:
    def count(code: str) -> float:
        labels = {"verb": "replace", "resource": "services", "code": code}
        return REGISTRY.get_sample_value("sidestream_kube_requests_total", labels) or 0.0

    async with serving() as (server, api):
        before = [count(code) for code in ("200", "409", "error")]
        server.will(200, OBJECT)
        await api.replace(SERVICES, OBJECT)
        server.will(409, {})
        with pytest.raises(ConflictError):
            await api.replace(SERVICES, OBJECT)
    nowhere = client.Configuration(host="http://127.0.0.1:1")
    async with client.ApiClient(nowhere) as api_client:
        with pytest.raises(TransientError, match="no connection to the API server"):
            await AioKubeApi(Transport(api_client)).replace(SERVICES, OBJECT)
    assert [count(code) for code in ("200", "409", "error")] == [number + 1 for number in before]


async def test_an_api_server_that_does_not_answer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_REQUEST_SECONDS", 0.05)
    async with serving() as (server, api):
        server.hangs = True
        with pytest.raises(TransientError, match="did not answer in time"):
            await api.get(SERVICES, "shop", "orders")


async def test_an_answer_that_is_no_json_is_for_trying_again() -> None:
    async with serving() as (server, api):
        server.answers.append(lambda: web.Response(text="<html>logged out</html>"))
        with pytest.raises(TransientError, match="no JSON"):
            await api.get(SERVICES, "shop", "orders")


def lines(*events: Object) -> Callable[[], web.StreamResponse]:
    text = "".join(json.dumps(event) + "\n" for event in events)
    return lambda: web.Response(text=text, content_type="application/json")


async def test_a_watch_yields_events_until_the_server_ends_it() -> None:
    async with serving() as (server, api):
        bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
        server.answers.append(lines({"type": "ADDED", "object": OBJECT}, bookmark))
        events = [event async for event in api.watch(SERVICES, "shop", resource_version="5")]
        assert [event.type for event in events] == ["ADDED", "BOOKMARK"]
        assert events[0].object["kind"] == "Service"
        assert "resourceVersion=5" in server.asked[0]
        assert "allowWatchBookmarks=true" in server.asked[0]


async def test_a_line_of_a_watch_that_was_cut_short_is_for_trying_again() -> None:
    async with serving() as (server, api):
        server.answers.append(lambda: web.Response(text='{"type": "ADDED", "obj'))
        with pytest.raises(TransientError, match="watch Sandbox is no JSON"):
            [event async for event in api.watch(SANDBOXES, resource_version="1")]


async def test_a_watch_from_too_long_ago_has_expired() -> None:
    async with serving() as (server, api):
        server.answers.append(lines({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}))
        with pytest.raises(ExpiredError):
            [event async for event in api.watch(SERVICES, "shop", resource_version="5")]
        server.will(410, {"kind": "Status", "code": 410, "message": "too old"})
        with pytest.raises(ExpiredError):
            [event async for event in api.watch(SERVICES, "shop", resource_version="5")]


async def test_unusable_credentials_are_told_with_their_place(tmp_path: Any) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("{}")
    with pytest.raises(KubeError, match=f"no usable Kubernetes credentials in {path}"):
        async with open_transport(str(path)):
            pass
