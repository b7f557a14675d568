"""A real Kafka for these tests: `KAFKA_BOOTSTRAP` names one, `eval "$(hack/lab env)"` sets it for the lab's."""

from __future__ import annotations

import os

import pytest

from flow.kafka.cluster import real_arena
from unit.kafka.admin_contract import MakeArena


@pytest.fixture(scope="session")
def bootstrap() -> str:
    servers = os.environ.get("KAFKA_BOOTSTRAP", "")
    if not servers:
        pytest.fail('KAFKA_BOOTSTRAP is not set: run `hack/lab up` and `eval "$(hack/lab env)"` first', pytrace=False)
    return servers


@pytest.fixture
def make_arena(bootstrap: str) -> MakeArena:
    return lambda: real_arena(bootstrap)
