"""A broker, a mapping service and consumers for the SDK's tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from fakes.brokers import Broker, mock_broker
from fakes.consuming import Start
from fakes.mapping_server import MappingServer, mapping_server
from sidestream_sdk import Identity, SandboxConsumer

_topics = itertools.count()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with mock_broker() as running:
        yield running


@pytest.fixture
def server() -> Iterator[MappingServer]:
    with mapping_server() as running:
        yield running


@pytest.fixture
def topic() -> str:
    return f"orders-{next(_topics)}"


@pytest.fixture
def start(broker: Broker, server: MappingServer) -> Iterator[Start]:
    consumers: list[SandboxConsumer] = []

    def make(config: dict[str, Any], *, sandbox: str | None = None) -> SandboxConsumer:
        base = {"bootstrap.servers": broker.bootstrap, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 100}
        identity = Identity(server.url, "shop/fulfilment", sandbox)
        consumers.append(SandboxConsumer({**base, **config}, identity=identity))
        return consumers[-1]

    yield make
    for consumer in consumers:
        consumer.close()
