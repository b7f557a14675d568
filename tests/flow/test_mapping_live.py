"""`sidestream mapping` as a process, between a real API server and the SDK."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

import httpx
import pytest

from builders import claiming, fence, in_namespace, in_phase, kafka_consumer, kafka_route
from flow.cluster import until
from sidestream.api.labels import MANAGER_KAFKA
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.epoch import read_epoch
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, Object
from sidestream_demo.environment import program
from sidestream_sdk import Identity, MappingClient
from sidestream_sdk.fences import Fence, State
from sidestream_sdk.ownership import Mapping

pytestmark = pytest.mark.usefixtures("crds")

PATIENCE = 60.0
APPLIED = ("name", "namespace")


def applied(obj: Object, *parts: str) -> Object:
    """What of a built object is sent: its identity and these parts."""
    metadata = {name: obj["metadata"][name] for name in APPLIED}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata} | {
        part: obj[part] for part in parts
    }


@contextmanager
def mapping_service(**variables: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The program on a free port; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sidestream", "mapping", "--http-port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "SIDESTREAM_LOG_LEVEL": "warning", **variables})
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def reading(url: str, namespace: str, sandbox: str | None) -> AsyncIterator[MappingClient]:
    client = MappingClient(Identity(url, f"{namespace}/fulfilment", sandbox))
    client.start()
    try:
        yield client
    finally:
        client.close()


def phase_of(client: MappingClient) -> str | None:
    topic = client.mapping.topics.get("orders.created") if client.mapping else None
    return topic.changes[0].phase if topic and topic.changes else None


async def set_phase(api: AioKubeApi, route: Object, phase: str) -> None:
    in_phase(phase)(route)
    await api.apply_status(KAFKA_ROUTES, applied(route, "status"), manager=MANAGER_KAFKA)


async def test_consumers_learn_of_a_hand_off_from_beginning_to_end(kubeconfig: str, namespace: str) -> None:
    consumer = kafka_consumer("fulfilment-orders", in_namespace(namespace))
    # so long that polling would not do: each change has to come by itself
    consumer["spec"]["pollInterval"] = "10m"
    route = kafka_route("fulfilment-orders-alice", in_namespace(namespace))
    route["spec"]["pollInterval"] = "10m"
    with mapping_service() as (url, process):
        async with (
            connect(kubeconfig) as api,
            reading(url, namespace, None) as baseline,
            reading(url, namespace, "alice") as fork,
        ):

            async def baseline_has_read(phase: str | None) -> None:
                async def holds() -> bool:
                    return baseline.mapping is not None and phase_of(baseline) == phase

                await until(holds, f"the baseline read {phase}", PATIENCE)

            await baseline_has_read(None)
            assert baseline.mapping is not None
            assert baseline.mapping.topics == {}, "an unknown consumer has no topics"

            await api.apply(KAFKA_CONSUMERS, applied(consumer, "spec"), manager="test")
            await api.apply(KAFKA_ROUTES, applied(route, "spec"), manager="test")
            for phase in ("Creating", "Preparing", "Active", "Draining", "Drained"):
                await set_phase(api, route, phase)
                await baseline_has_read(phase)
            assert fork.wait_until_loaded(PATIENCE)

            await api.delete(KAFKA_ROUTES, namespace, "fulfilment-orders-alice")
            await baseline_has_read(None)
            assert phase_of(fork) is not None, "the fork keeps its last mapping"

        async with httpx.AsyncClient() as http:
            ready = await http.get(f"{url}/readyz")
        assert (ready.status_code, ready.text) == (200, "ok\n")
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


async def test_a_mapping_has_the_version_of_the_write_that_it_tells_of(kubeconfig: str, namespace: str) -> None:
    consumer = kafka_consumer("fulfilment-orders", in_namespace(namespace))
    route = kafka_route(
        "fulfilment-orders-alice",
        in_namespace(namespace),
        in_phase("Preparing"),
        claiming("c1", "alice", {0: fence("From", 10), 1: fence("Ask")}),
    )
    with mapping_service() as (url, _):
        async with connect(kubeconfig) as api, httpx.AsyncClient(base_url=url) as http:

            async def answer(tag: str = "") -> httpx.Response:
                path = f"/v1/consumers/{namespace}/fulfilment"
                return await http.get(path, headers={"If-None-Match": tag})

            async def says(response: Callable[[httpx.Response], bool]) -> bool:
                try:
                    return response(await answer())
                except httpx.TransportError:
                    return False

            await api.apply(KAFKA_CONSUMERS, applied(consumer, "spec"), manager="test")
            await api.apply(KAFKA_ROUTES, applied(route, "spec"), manager="test")
            written = await api.apply_status(KAFKA_ROUTES, applied(route, "status"), manager=MANAGER_KAFKA)
            version = int(written["metadata"]["resourceVersion"])

            await until(lambda: says(lambda it: tells_version(it) == version), f"it tells of {version}", PATIENCE)
            told = await answer()
            mapping = Mapping.from_json(told.json())
            (change,) = mapping.topics["orders.created"].fenced
            assert change.partitions == {0: Fence(State.FROM, 10), 1: Fence(State.ASK)}
            assert mapping.epoch == await read_epoch(api)
            assert seen_by(told) >= version

            in_phase("Preparing", "2026-01-02T00:00:00Z")(route)
            rewritten = await api.apply_status(KAFKA_ROUTES, applied(route, "status"), manager=MANAGER_KAFKA)
            newer = int(rewritten["metadata"]["resourceVersion"])
            assert newer > version

            await until(lambda: says(lambda it: seen_by(it) >= newer), f"it has seen {newer}", PATIENCE)
            unchanged = await answer(told.headers["etag"])
            assert (unchanged.status_code, tells_version(await answer())) == (HTTPStatus.NOT_MODIFIED, version)


def tells_version(response: httpx.Response) -> int:
    """The version of an answer, 0 of what is none."""
    return Mapping.from_json(response.json()).version if response.is_success else 0


def seen_by(response: httpx.Response) -> int:
    return int(response.headers.get("sidestream-version", 0))


def token_of(kubeconfig: str, namespace: str, audience: str) -> str:
    """A token of the namespace's default ServiceAccount."""
    command = [program("kubectl"), f"--kubeconfig={kubeconfig}", "--namespace", namespace]
    command += ["create", "token", "default", "--audience", audience]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def test_the_api_server_says_whose_a_token_is_and_what_its_holder_may_read(
    kubeconfig: str, namespace: str
) -> None:
    path = f"/v1/consumers/{namespace}/fulfilment"
    tokens = {
        "inside": await asyncio.to_thread(token_of, kubeconfig, namespace, "sidestream"),
        "outside": await asyncio.to_thread(token_of, kubeconfig, "default", "sidestream"),
        "for another audience": await asyncio.to_thread(token_of, kubeconfig, namespace, "somebody-else"),
        "made up": "no.such.token",
    }
    with mapping_service(SIDESTREAM_AUTH="true") as (url, _):
        async with connect(kubeconfig) as api, httpx.AsyncClient(base_url=url) as http:
            await api.apply(
                KAFKA_CONSUMERS, applied(kafka_consumer("c", in_namespace(namespace)), "spec"), manager="test"
            )

            async def status(token: str) -> int:
                return (await http.get(path, headers={"Authorization": f"Bearer {token}"})).status_code

            async def is_known() -> bool:
                try:
                    return await status(tokens["inside"]) == HTTPStatus.OK
                except httpx.TransportError:
                    return False

            await until(is_known, "the mapping service answers the consumer's own namespace", PATIENCE)
            assert {name: await status(token) for name, token in tokens.items()} == {
                "inside": 200,
                "outside": 403,
                "for another audience": 401,
                "made up": 401,
            }
            assert (await http.get(path)).status_code == HTTPStatus.UNAUTHORIZED
