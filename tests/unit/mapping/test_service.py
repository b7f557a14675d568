from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import jsonschema
import pytest

from builders import FakeClock, having, in_phase, kafka_consumer, kafka_route, sandbox, settle
from sidestream.api.kafka import KafkaConsumer
from sidestream.api.sandbox import Sandbox
from sidestream.config import HeaderSettings
from sidestream.mapping.answers import Header, Problem
from sidestream.mapping.claims import Claim
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.gate import RefusedError
from sidestream.mapping.keeping import keep_route, read_claim
from sidestream.mapping.service import create_app
from sidestream.mapping.waiting import WaitingRoom
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.reconcile import ObjectKey
from sidestream_sdk import Identity, MappingClient
from sidestream_sdk.fetch import Answer
from sidestream_sdk.ownership import Mapping

FULFILMENT = "/v1/consumers/shop/fulfilment"


@dataclass
class FakeSource:
    directory: Directory | None
    fault: str | None = None
    version: int = 4711

    def why_not_ready(self) -> str | None:
        return self.fault


def claim(phase: str, version: int = 1) -> Claim:
    route = kafka_route("alice", in_phase(phase), having("metadata.resourceVersion", str(version)))
    return read_claim(keep_route(route))


def full() -> FakeSource:
    directory = Directory(Header.of(HeaderSettings()))
    directory.put_consumer(ObjectKey("shop", "fulfilment-orders"), KafkaConsumer.from_json(kafka_consumer()))
    directory.put_route(ObjectKey("shop", "alice"), claim("Active"))
    for name in ("alice", "bob"):
        directory.put_sandbox(ObjectKey("shop", name), Sandbox.from_json(sandbox(name)))
    return FakeSource(directory)


def room_of(source: FakeSource, clock: FakeClock | None = None, *, limit: int = 10) -> WaitingRoom:
    def etag_of(workload: Workload) -> str | None:
        encoded = source.directory.consumer(workload) if source.directory else None
        return encoded.etag if encoded else None

    return WaitingRoom(clock or FakeClock(), etag_of, limit=limit)


async def get(source: FakeSource, path: str, room: WaitingRoom | None = None, /, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(source, room or room_of(source)))
    async with httpx.AsyncClient(transport=transport, base_url="http://mapping") as client:
        return await client.get(path, headers=headers)


async def test_a_consumer_gets_its_mapping_with_an_etag() -> None:
    response = await get(full(), FULFILMENT)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["etag"].startswith('"')
    assert Mapping.from_json(response.json()).topics["orders.created"].changes[0].sandbox == "alice"


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
async def test_an_unchanged_mapping_is_not_sent_again(form: str) -> None:
    tag = (await get(full(), FULFILMENT)).headers["etag"]

    response = await get(full(), FULFILMENT, **{"if-none-match": form.format(tag=tag)})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == tag


async def test_every_answer_says_up_to_which_version_the_replica_has_seen_everything() -> None:
    source = full()
    first = await get(source, FULFILMENT)
    assert (first.headers["sidestream-version"], first.json()["version"]) == ("4711", 1)

    source.version = 4712
    second = await get(source, FULFILMENT, **{"if-none-match": first.headers["etag"]})
    assert (second.status_code, second.headers["sidestream-version"]) == (304, "4712")


async def test_another_etag_gets_the_mapping() -> None:
    response = await get(full(), FULFILMENT, **{"if-none-match": '"other"'})

    assert response.status_code == 200


async def test_an_unknown_consumer_is_told_what_to_do() -> None:
    response = await get(full(), "/v1/consumers/shop/orders")

    assert response.status_code == 404
    assert response.json() == {
        "reason": "UnknownConsumer",
        "message": "No KafkaConsumer in namespace shop names Deployment orders: write one, or correct "
        "SIDESTREAM_CONSUMER to namespace/deployment of the baseline.",
    }


@dataclass
class Always:
    """Answers an SDK client whatever it asks."""

    answer: Answer

    def get(self, url: str, *, etag: str, timeout: float) -> Answer:
        del url, etag, timeout
        return self.answer

    def break_off(self) -> None:
        """Nothing is ever in flight."""

    def close(self) -> None:
        """Nothing is ever in flight."""


async def test_the_sdk_takes_the_404_for_the_services_own_and_a_missing_page_for_none() -> None:
    unknown = await get(full(), "/v1/consumers/shop/orders")
    missing = await get(full(), "/v2/consumers/shop/orders")
    assert (unknown.status_code, missing.status_code) == (404, 404)

    for response, expected in ((unknown, Mapping("shop/orders")), (missing, None)):
        answer = Answer(response.status_code, body=response.content)
        client = MappingClient(Identity("http://mapping", "shop/orders"), fetch=Always(answer))
        client.poll()
        assert client.mapping == expected


# --- the long poll


async def tag_of(source: FakeSource) -> str:
    etag: str = (await get(source, FULFILMENT)).headers["etag"]
    return etag


def touch(source: FakeSource, room: WaitingRoom, phase: str) -> None:
    assert source.directory is not None
    for workload in source.directory.put_route(ObjectKey("shop", "alice"), claim(phase)):
        room.touch(workload)


async def test_a_long_poll_is_answered_when_the_mapping_changes() -> None:
    source, clock = full(), FakeClock()
    room = room_of(source, clock)
    tag = await tag_of(source)
    waiting = asyncio.create_task(get(source, f"{FULFILMENT}?wait=25", room, **{"if-none-match": tag}))
    await clock.advance(10)
    assert not waiting.done()

    touch(source, room, "Draining")

    response = await waiting
    assert response.status_code == 200
    assert response.headers["etag"] != tag
    assert response.json()["topics"]["orders.created"]["changes"][0]["phase"] == "Draining"


async def test_a_write_that_changes_nothing_does_not_end_a_long_poll_and_the_version_is_that_of_its_end() -> None:
    source, clock = full(), FakeClock()
    room = room_of(source, clock)
    tag = await tag_of(source)
    waiting = asyncio.create_task(get(source, f"{FULFILMENT}?wait=25", room, **{"if-none-match": tag}))
    await clock.advance(10)

    assert source.directory is not None
    assert source.directory.put_route(ObjectKey("shop", "alice"), claim("Active", version=4720)) == set()
    source.version = 4720
    room.touch(Workload("shop", "fulfilment"))
    await settle()
    assert not waiting.done()

    await clock.advance(16)
    response = await waiting
    assert (response.status_code, response.headers["sidestream-version"]) == (304, "4720")


async def test_a_long_poll_without_a_change_says_so_in_the_end() -> None:
    source, clock = full(), FakeClock()
    tag = await tag_of(source)
    waiting = asyncio.create_task(
        get(source, f"{FULFILMENT}?wait=25", room_of(source, clock), **{"if-none-match": tag})
    )
    await clock.advance(24.9)
    assert not waiting.done()

    await clock.advance(0.2)

    response = await waiting
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize(
    ("query", "tag"),
    [
        pytest.param("wait=25", '"other"', id="another mapping is known"),
        pytest.param("wait=25", "", id="none is known"),
        pytest.param("wait=0", "*", id="no wait"),
        pytest.param("", "*", id="not a word of waiting"),
    ],
)
async def test_nobody_waits_for_what_can_be_said_at_once(query: str, tag: str) -> None:
    source = full()
    full_room = room_of(source, limit=0)

    assert (await get(source, f"{FULFILMENT}?{query}", full_room, **{"if-none-match": tag})).status_code in {200, 304}


async def test_a_consumer_that_goes_away_while_it_is_waited_for_is_unknown() -> None:
    source = full()
    room = room_of(source)
    waiting = asyncio.create_task(get(source, f"{FULFILMENT}?wait=25", room, **{"if-none-match": "*"}))
    await settle()
    assert source.directory is not None
    source.directory.put_consumer(ObjectKey("shop", "fulfilment-orders"), None)
    source.directory.put_route(ObjectKey("shop", "alice"), None)
    room.touch(Workload("shop", "fulfilment"))

    assert (await waiting).json()["reason"] == "UnknownConsumer"


async def test_one_too_many_is_told_when_to_come_back() -> None:
    source = full()

    response = await get(source, f"{FULFILMENT}?wait=25", room_of(source, limit=0), **{"if-none-match": "*"})

    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json() == {
        "reason": "TooManyWaiters",
        "message": "0 requests wait here already, the most that this replica takes: ask without `wait`, or give the "
        "mapping service more replicas or a higher SIDESTREAM_MAX_WAITERS.",
    }


async def test_a_client_that_hangs_up_is_not_waited_for() -> None:
    source, clock = full(), FakeClock()
    events = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    connected = asyncio.Event()

    async def receive() -> Any:
        if len(events) == 1:
            await connected.wait()
        return events.pop(0)

    async def send(_: Any) -> None:
        """Nobody listens."""

    scope = {
        "type": "http",
        "method": "GET",
        "path": FULFILMENT,
        "query_string": b"wait=25",
        "headers": [(b"if-none-match", b"*")],
    }
    answering = asyncio.create_task(create_app(source, room_of(source, clock))(scope, receive, send))
    await settle()
    assert (answering.done(), clock.sleeping) == (False, 1)

    connected.set()
    await answering

    assert clock.sleeping == 0


# --- who may ask


class Suspicious:
    """A gate that lets nobody in."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def admit_consumer(self, authorization: str, workload: Workload, kafka_consumers: Iterable[str]) -> None:
        self._refuse(authorization, str(workload), *kafka_consumers)

    async def admit_tenants(self, authorization: str) -> None:
        self._refuse(authorization)

    def _refuse(self, *what: str) -> None:
        self.asked.append(what)
        raise RefusedError(HTTPStatus.UNAUTHORIZED, Problem(reason="Unauthorized", message="Go away."))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (FULFILMENT, ("Bearer t", "shop/fulfilment", "fulfilment-orders")),
        ("/v1/consumers/shop/nobody", ("Bearer t", "shop/nobody")),
        ("/v1/tenants", ("Bearer t",)),
        ("/v1/tenants/alice", ("Bearer t",)),
        ("/v1/tenants/mallory", ("Bearer t",)),
    ],
)
async def test_whom_the_gate_refuses_learns_nothing(path: str, asked: tuple[str, ...]) -> None:
    source, gate = full(), Suspicious()
    transport = httpx.ASGITransport(create_app(source, room_of(source), gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://mapping") as http:
        response = await http.get(path, headers={"Authorization": "Bearer t"})

    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json() == {"reason": "Unauthorized", "message": "Go away."}
    assert gate.asked == [asked]


# --- tenants and probes


async def test_a_tenant_is_told_who_serves_it() -> None:
    response = await get(full(), "/v1/tenants/alice")

    assert response.status_code == 200
    assert response.json()["sandboxes"][0]["consumers"][0]["phase"] == "Active"


async def test_an_unknown_tenant_is_a_sentence() -> None:
    response = await get(full(), "/v1/tenants/mallory")

    assert response.status_code == 404
    assert response.json()["reason"] == "UnknownTenant"
    assert "mallory" in response.json()["message"]


async def test_tenants_come_in_pages() -> None:
    first = (await get(full(), "/v1/tenants?limit=1")).json()
    second = (await get(full(), f"/v1/tenants?limit=1&after={first['next']}")).json()

    assert [tenant["key"] for tenant in (*first["tenants"], *second["tenants"])] == ["alice", "bob"]
    assert "next" not in second


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("/v1/tenants?limit=0", "The query parameter limit is '0': input should be greater than or equal to 1."),
        ("/v1/tenants?limit=1001", "The query parameter limit is '1001': input should be less than or equal to 1000."),
        (f"{FULFILMENT}?wait=-1", "The query parameter wait is '-1': input should be greater than or equal to 0."),
        (f"{FULFILMENT}?wait=60.1", "The query parameter wait is '60.1': input should be less than or equal to 60."),
        (f"{FULFILMENT}?wait=nan", "The query parameter wait is 'nan': input should be a finite number."),
        (
            f"{FULFILMENT}?wait=long",
            "The query parameter wait is 'long': input should be a valid number, unable to parse string as a number.",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_sentence(query: str, sentence: str) -> None:
    response = await get(full(), query)

    assert response.status_code == 422
    assert response.json() == {"reason": "InvalidRequest", "message": sentence}


@pytest.mark.parametrize("path", [FULFILMENT, "/v1/tenants", "/v1/tenants/alice"])
async def test_before_the_first_listing_there_is_no_answer(path: str) -> None:
    response = await get(FakeSource(None, "sandboxes have not been listed yet"), path)

    assert response.status_code == 503
    assert response.json() == {
        "reason": "NotReady",
        "message": "The mapping service cannot answer yet: sandboxes have not been listed yet.",
    }


async def test_ready_as_long_as_nothing_is_missing() -> None:
    source = full()
    assert (await get(source, "/readyz")).status_code == 200

    source.fault = "the watch of sandboxes has been silent"
    response = await get(source, "/readyz")
    assert (response.status_code, response.text) == (503, "the watch of sandboxes has been silent\n")
    assert (await get(source, "/healthz")).status_code == 200
    assert (await get(source, "/v1/tenants/alice")).status_code == 200


async def test_answers_are_counted() -> None:
    labels = {"call": "consumer", "code": "404"}
    before = REGISTRY.get_sample_value("sidestream_mapping_requests_total", labels) or 0

    await get(full(), "/v1/consumers/shop/nobody")

    assert f'sidestream_mapping_requests_total{{call="consumer",code="404"}} {before + 1}' in (
        (await get(full(), "/metrics")).text
    )


@pytest.mark.parametrize(
    ("path", "template"),
    [
        (FULFILMENT, "/v1/consumers/{namespace}/{deployment}"),
        ("/v1/consumers/shop/nobody", "/v1/consumers/{namespace}/{deployment}"),
        ("/v1/tenants", "/v1/tenants"),
        ("/v1/tenants/alice", "/v1/tenants/{key}"),
        ("/v1/tenants/mallory", "/v1/tenants/{key}"),
    ],
)
async def test_answers_are_as_the_openapi_document_says(path: str, template: str) -> None:
    document: dict[str, Any] = (await get(full(), "/openapi.json")).json()
    response = await get(full(), path)
    content = document["paths"][template]["get"]["responses"][str(response.status_code)]["content"]

    schema = {**content["application/json"]["schema"], "components": document["components"]}
    jsonschema.validate(response.json(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)
