"""A real Kafka for these tests: `KAFKA_BOOTSTRAP` names one, `eval "$(hack/lab env)"` sets it for the lab's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from flow.kafka.cluster import groups_are_served, real_arena
from flow.kafka.secured import SecuredKafka, secured_kafka
from flow.kafka.tokens import token_endpoint
from sidestream_lab.paths import Layout
from sidestream_lab.up import tools_of
from unit.kafka.admin_contract import MakeArena


@pytest.fixture(scope="session")
def bootstrap() -> str:
    servers = os.environ.get("KAFKA_BOOTSTRAP", "")
    if not servers:
        pytest.fail('KAFKA_BOOTSTRAP is not set: run `hack/lab up` and `eval "$(hack/lab env)"` first', pytrace=False)
    asyncio.run(groups_are_served(servers))
    return servers


@pytest.fixture
def make_arena(bootstrap: str) -> MakeArena:
    return lambda: real_arena(bootstrap)


@pytest.fixture(scope="module")
def secured(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A broker with logins, TLS and ACLs beside the lab's."""
    layout = Layout.from_environment()
    tools = tools_of(layout)
    if tools is None or bootstrap != layout.kafka_bootstrap:
        pytest.skip(f"starts a broker from the lab's image, and KAFKA_BOOTSTRAP={bootstrap} is not the lab's Kafka")
    with secured_kafka(tools, tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An identity provider's, that both sides may ask."""
    with token_endpoint() as url:
        yield url
