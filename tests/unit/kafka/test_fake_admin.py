from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from sidestream.kafka.port import TopicPartition
from unit.kafka.admin_contract import AdminContract, MakeArena
from unit.kafka.fake_admin import FakeKafka, FakeKafkaAdmin


class FakeArena:
    def __init__(self) -> None:
        self.kafka = FakeKafka()
        self.admin = FakeKafkaAdmin(self.kafka)
        self._numbers = itertools.count()

    def name(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    async def topic(self, partitions: int = 1, records: int = 0) -> str:
        name = self.name("topic")
        self.kafka.create_topic(name, *[(0, records)] * partitions)
        return name

    async def produce(self, topic: str, *keys: str | None, partition: int = 0) -> None:
        for key in keys:
            self.kafka.produce(topic, partition, key=key)

    @asynccontextmanager
    async def transaction(self, topic: str, *keys: str, is_committed: bool) -> AsyncIterator[None]:
        self.kafka.begin(topic)
        await self.produce(topic, *keys)
        yield
        self.kafka.end(topic, is_committed=is_committed)

    async def trim(self, topic: str, earliest: int) -> None:
        self.kafka.trim(topic, 0, earliest)

    async def delete_topic(self, name: str) -> None:
        self.kafka.delete_topic(name)

    def consumer(self, group: str, topic: str) -> AbstractAsyncContextManager[None]:
        partitions = [TopicPartition(topic, number) for number in range(len(self.kafka.topics[topic].logs))]

        @asynccontextmanager
        async def member() -> AsyncIterator[None]:
            joined = self.kafka.join(group, partitions=partitions)
            yield
            self.kafka.leave(group, joined)

        return member()


@pytest.fixture
def make_arena() -> MakeArena:
    @asynccontextmanager
    async def arena() -> AsyncIterator[FakeArena]:
        yield FakeArena()

    return arena


class TestFakeAdmin(AdminContract):
    """The fake keeps the rules of a real broker."""
