"""The prober as its clients see it, with the mesh played by a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sidestream.routing.entries import Door
from sidestream.routing.prober_app import ProberSettings, create_app
from sidestream.routing.proof import PROBE_HEADER, HttpProber, probe_answer, probe_host

HASH = "0123456789abcdef0123"
HOST = "orders.shop.svc.cluster.local"
NAME = "sidestream-orders"
DOOR = Door(HOST, 80, HOST)
GATEWAY = "edge.web.svc.cluster.local"

Mesh = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


async def probe(mesh: Mesh, **params: Any) -> httpx.Response:
    app = create_app(ProberSettings(attempts=3), transport=httpx.MockTransport(mesh))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://prober") as client:
        return await client.get("/probe", params={"host": HOST, "port": 80, "name": NAME, **params})


def _raise(error: Exception) -> httpx.Response:
    raise error


def _must_not_be_asked(request: httpx.Request) -> httpx.Response:
    raise AssertionError(request)


async def test_it_asks_three_times_with_a_request_that_changes_nothing() -> None:
    seen: list[httpx.Request] = []

    def mesh(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=probe_answer(HASH))

    answer = await probe(mesh, port=8080)
    assert answer.json() == {"hashes": [HASH] * 3}
    assert {(item.method, str(item.url)) for item in seen} == {("OPTIONS", f"http://{HOST}:8080/sidestream.Probe/Ask")}
    assert {item.headers["x-sidestream-probe"] for item in seen} == {NAME}


NO_PROXY_ANSWERED: dict[str, Mesh] = {
    "a pod answered": lambda _: httpx.Response(404, text="not found"),
    "a pod answered at length": lambda _: httpx.Response(200, text=probe_answer(HASH) + "x" * 10_000),
    "no pod is there": lambda _: httpx.Response(503, text="no healthy upstream"),
    "a pod redirects": lambda _: httpx.Response(302, headers={"location": "https://example.com/login"}),
    "a pod tells what it was asked": lambda asked: httpx.Response(200, headers=asked.headers),
    "something binary": lambda _: httpx.Response(200, content=b"\xff\xfe"),
}


@pytest.mark.parametrize("mesh", NO_PROXY_ANSWERED.values(), ids=NO_PROXY_ANSWERED)
async def test_no_hash_when(mesh: Mesh) -> None:
    assert (await probe(mesh)).json() == {"hashes": [None] * 3}


async def test_a_failure_whose_header_says_so_carries_a_hash() -> None:
    answer = await probe(lambda _: httpx.Response(500, headers={"X-Sidestream-Probe": probe_answer(HASH)}))
    assert answer.json() == {"hashes": [HASH] * 3}


async def test_a_redirect_to_a_name_that_is_nobodys_carries_a_hash_and_is_not_followed() -> None:
    seen: list[str] = []

    def mesh(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": f"http://{probe_host(HASH)}/"})

    assert (await probe(mesh)).json() == {"hashes": [HASH] * 3}
    assert set(seen) == {HOST}


async def test_a_gateway_is_asked_by_its_service_and_the_request_calls_itself_by_the_host() -> None:
    seen: list[httpx.Request] = []

    def gateway(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=probe_answer(HASH))

    found = await probe(gateway, host="shop.example.com", gateway=GATEWAY, port=8080)
    assert found.json() == {"hashes": [HASH] * 3}
    assert {(str(item.url), item.headers["host"]) for item in seen} == {
        (f"http://{GATEWAY}:8080/sidestream.Probe/Ask", "shop.example.com")
    }


async def test_a_gateway_that_takes_tls_is_told_the_host_in_the_handshake_too() -> None:
    seen: list[httpx.Request] = []

    def gateway(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=probe_answer(HASH))

    await probe(gateway, host="shop.example.com", gateway=GATEWAY, port=443, tls="true")
    assert {(item.url.scheme, item.extensions["sni_hostname"]) for item in seen} == {("https", "shop.example.com")}


@pytest.mark.parametrize(
    "params",
    [
        {"gateway": "example.com", "host": "shop.example.com"},
        {"gateway": "169.254.169.254", "host": HOST},
        {"gateway": GATEWAY, "host": "shop.example.com/path"},
        {"gateway": GATEWAY, "host": "shop.example.com\r\nx: y"},
        {"gateway": GATEWAY, "host": "*.example.com"},
    ],
    ids=["gateway elsewhere", "gateway by address", "path in host", "header in host", "wildcard host"],
)
async def test_only_a_service_is_asked_as_a_gateway_and_only_by_a_host_name(params: dict[str, str]) -> None:
    assert (await probe(_must_not_be_asked, **params)).status_code == 422


@pytest.mark.parametrize(
    "name", ["sidestream-orders", "shop/sidestream-orders.gateway", "shop.sidestream-orders.alice.0"]
)
async def test_objects_at_a_gateway_are_asked_for_with_their_namespace(name: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers[PROBE_HEADER])
        return httpx.Response(200)

    assert (await probe(answer, name=name)).status_code == 200
    assert set(asked) == {name}


@pytest.mark.parametrize("name", ["", "Sidestream", "a b", "-a", "a" * 318, "a\r\nx: y"])
async def test_what_is_asked_for_is_an_objects_name(name: str) -> None:
    assert (await probe(_must_not_be_asked, name=name)).status_code == 422


async def test_each_answer_counts() -> None:
    answers = iter([probe_answer(HASH), "", probe_answer("f" * 20)])
    found = (await probe(lambda _: httpx.Response(200, text=next(answers)))).json()["hashes"]
    assert sorted(found, key=str) == sorted([HASH, None, "f" * 20], key=str)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout])
async def test_no_answer_is_told_apart_from_an_answer_without_a_hash(error: type[httpx.TransportError]) -> None:
    answer = await probe(lambda request: _raise(error("none", request=request)))
    assert answer.status_code == 502
    assert answer.json()["detail"] == f"the probe got no answer: {error.__name__}"


@pytest.mark.parametrize("host", ["169.254.169.254", "example.com", "a.svc.cluster.local", f"{HOST}.evil.com", ""])
async def test_only_services_of_the_cluster_are_asked(host: str) -> None:
    answer = await probe(lambda _: httpx.Response(200), host=host)
    assert answer.status_code == 422


@pytest.mark.parametrize("port", [0, 70_000, "http"])
async def test_a_port_is_a_number_of_a_port(port: Any) -> None:
    assert (await probe(lambda _: httpx.Response(200), port=port)).status_code == 422


async def test_client_and_prober_understand_each_other() -> None:
    app = create_app(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=probe_answer(HASH))))
    prober = HttpProber("http://prober", transport=httpx.ASGITransport(app))
    assert await prober.ask(DOOR, NAME) == (HASH, HASH, HASH)
    await prober.close()


async def test_it_starts_and_stops() -> None:
    app = create_app(transport=httpx.MockTransport(lambda _: httpx.Response(200, text=probe_answer(HASH))))
    async with app.router.lifespan_context(app):
        assert await HttpProber("http://prober", transport=httpx.ASGITransport(app)).ask(DOOR, NAME) == (HASH,) * 3


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_it_says_that_it_lives(path: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://prober") as client:
        assert (await client.get(path)).status_code == 200
