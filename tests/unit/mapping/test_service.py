from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema
import pytest

from builders import in_phase, kafka_consumer, kafka_route, sandbox
from sidestream.api.kafka import KafkaConsumer, KafkaRoute
from sidestream.api.sandbox import Sandbox
from sidestream.config import HeaderSettings
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Directory
from sidestream.mapping.service import create_app
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.reconcile import ObjectKey
from sidestream_sdk import Identity, MappingClient
from sidestream_sdk.mapping import Answer
from sidestream_sdk.ownership import Mapping


@dataclass
class FakeSource:
    directory: Directory | None
    fault: str | None = None

    def why_not_ready(self) -> str | None:
        return self.fault


def full() -> FakeSource:
    directory = Directory(Header.of(HeaderSettings()))
    directory.put_consumer(ObjectKey("shop", "fulfilment-orders"), KafkaConsumer.from_json(kafka_consumer()))
    route = KafkaRoute.from_json(kafka_route("alice", in_phase("Active")))
    directory.put_route(ObjectKey("shop", "alice"), route)
    for name in ("alice", "bob"):
        directory.put_sandbox(ObjectKey("shop", name), Sandbox.from_json(sandbox(name)))
    return FakeSource(directory)


async def get(source: FakeSource, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(source))
    async with httpx.AsyncClient(transport=transport, base_url="http://mapping") as client:
        return await client.get(path, headers=headers)


async def test_a_consumer_gets_its_mapping_with_an_etag() -> None:
    response = await get(full(), "/v1/consumers/shop/fulfilment")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["etag"].startswith('"')
    assert Mapping.from_json(response.json()).topics["orders.created"].changes[0].sandbox == "alice"


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
async def test_an_unchanged_mapping_is_not_sent_again(form: str) -> None:
    tag = (await get(full(), "/v1/consumers/shop/fulfilment")).headers["etag"]

    response = await get(full(), "/v1/consumers/shop/fulfilment", **{"if-none-match": form.format(tag=tag)})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == tag


async def test_another_etag_gets_the_mapping() -> None:
    response = await get(full(), "/v1/consumers/shop/fulfilment", **{"if-none-match": '"other"'})

    assert response.status_code == 200


async def test_an_unknown_consumer_is_told_what_to_do() -> None:
    response = await get(full(), "/v1/consumers/shop/orders")

    assert response.status_code == 404
    assert response.json() == {
        "reason": "UnknownConsumer",
        "message": "No KafkaConsumer in namespace shop names Deployment orders: write one, or correct "
        "SIDESTREAM_CONSUMER to namespace/deployment of the baseline.",
    }


async def test_the_sdk_takes_the_404_for_the_services_own_and_a_missing_page_for_none() -> None:
    unknown = await get(full(), "/v1/consumers/shop/orders")
    missing = await get(full(), "/v2/consumers/shop/orders")
    assert (unknown.status_code, missing.status_code) == (404, 404)

    for response, expected in ((unknown, Mapping("shop/orders")), (missing, None)):
        answer = Answer(response.status_code, body=response.content)
        client = MappingClient(Identity("http://mapping", "shop/orders"), fetch=lambda *_, a=answer, **__: a)
        client.poll()
        assert client.mapping == expected


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


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many"])
async def test_a_page_of_no_sensible_size_is_refused(limit: str) -> None:
    assert (await get(full(), f"/v1/tenants?limit={limit}")).status_code == 422


@pytest.mark.parametrize("path", ["/v1/consumers/shop/fulfilment", "/v1/tenants", "/v1/tenants/alice"])
async def test_before_the_first_listing_there_is_no_answer(path: str) -> None:
    response = await get(FakeSource(None, "sandboxes have not been listed yet"), path)

    assert response.status_code == 503
    assert response.json() == {
        "reason": "NotReady",
        "message": "The mapping service has just started: sandboxes have not been listed yet.",
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
        ("/v1/consumers/shop/fulfilment", "/v1/consumers/{namespace}/{deployment}"),
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
