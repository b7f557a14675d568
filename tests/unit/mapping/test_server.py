"""The service on a real port: what only a real server and a real connection can show."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from builders import kafka_consumer
from sidestream.api.kafka import KafkaConsumer
from sidestream.config import HeaderSettings
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.service import Server, create_app
from sidestream.mapping.waiting import WaitingRoom
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.reconcile import ObjectKey

LONG_POLL = "/v1/consumers/shop/fulfilment?wait=60"
KNOWN = {"if-none-match": "*"}
PATIENCE = 20.0


class Running:
    """A server whose mapping never changes."""

    version = 4711

    def __init__(self) -> None:
        self.directory = Directory(Header.of(HeaderSettings()))
        self.directory.put_consumer(ObjectKey("shop", "orders"), KafkaConsumer.from_json(kafka_consumer()))
        room = WaitingRoom(SystemClock(), self._etag_of)
        config = uvicorn.Config(create_app(self, room), log_config=None, timeout_graceful_shutdown=int(PATIENCE))
        self.server = Server(config, room)
        self.url = ""

    def why_not_ready(self) -> str | None:
        return None

    def _etag_of(self, workload: Workload) -> str | None:
        encoded = self.directory.consumer(workload)
        return encoded.etag if encoded else None


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    world = Running()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        world.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(world.server.serve([listener]))
        try:
            yield world
        finally:
            world.server.should_exit = True
            await serving


async def waiters_are(count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while REGISTRY.get_sample_value("sidestream_mapping_waiters") != count:  # noqa: ASYNC110 - another connection's
            await asyncio.sleep(0.01)


async def test_a_server_that_stops_lets_those_go_that_wait() -> None:
    async with running() as world, httpx.AsyncClient(base_url=world.url, timeout=PATIENCE) as client:
        waiting = [asyncio.create_task(client.get(LONG_POLL, headers=KNOWN)) for _ in range(3)]
        await waiters_are(3)
        begin = time.monotonic()

        world.server.should_exit = True

        assert {response.status_code for response in await asyncio.gather(*waiting)} == {304}
        assert time.monotonic() - begin < PATIENCE / 2


async def test_a_connection_that_is_cut_makes_room() -> None:
    async with running() as world:
        async with httpx.AsyncClient(base_url=world.url, timeout=PATIENCE) as client:
            waiting = asyncio.create_task(client.get(LONG_POLL, headers=KNOWN))
            await waiters_are(1)
            waiting.cancel()
            await asyncio.wait({waiting})
        await waiters_are(0)
