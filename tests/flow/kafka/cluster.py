"""A real cluster under test: topics, records and consumers as an application makes them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer
from confluent_kafka import KafkaError as Code
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # not for its types

from sidestream.errors import KafkaUnavailableError
from sidestream.kafka.client import WorkerAdmin
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.port import TopicPartition
from sidestream.kafka.translation import Endpoint

DEADLINE = 60.0

_GROUPS = 20
"""So many are asked for: each partition of the topic of their offsets comes to be by itself."""


async def eventually(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = DEADLINE) -> None:
    """Look until it holds."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - a broker sends no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


def connect(bootstrap: str, **properties: str) -> WorkerAdmin:
    return WorkerAdmin.connect(
        Endpoint("main", bootstrap), ClientConfig({"bootstrap.servers": bootstrap, **properties})
    )


class RealArena:
    """See `admin_contract.Arena`."""

    def __init__(self, bootstrap: str, admin: WorkerAdmin) -> None:
        self.admin = admin
        self._bootstrap = bootstrap
        self._client = AdminClient({"bootstrap.servers": bootstrap})
        self._made: list[str] = []
        self._groups: list[str] = []

    def name(self, kind: str) -> str:
        name = f"test-{kind}-{uuid.uuid4().hex[:12]}"
        if kind == "group":
            self._groups.append(name)
        return name

    async def topic(self, partitions: int = 1, records: int = 0) -> str:
        name = self.name("topic")
        await self._done(self._client.create_topics([NewTopic(name, partitions, 1)])[name])
        self._made.append(name)
        everything = [TopicPartition(name, number) for number in range(partitions)]
        await eventually(lambda: self._has_leaders(everything), f"topic {name} has leaders")
        if records:
            await asyncio.to_thread(self._produce, name, partitions, records)
        return name

    async def produce(self, topic: str, *keys: str | None, partition: int = 0) -> None:
        await asyncio.to_thread(
            self._produce_of, Producer({"bootstrap.servers": self._bootstrap}), topic, keys, partition
        )

    @asynccontextmanager
    async def transaction(self, topic: str, *keys: str, is_committed: bool) -> AsyncIterator[None]:
        """See `Arena.transaction`."""
        producer = Producer({"bootstrap.servers": self._bootstrap, "transactional.id": self.name("transaction")})
        await asyncio.to_thread(producer.init_transactions, DEADLINE)
        producer.begin_transaction()
        await asyncio.to_thread(self._produce_of, producer, topic, keys, 0)
        yield
        await asyncio.to_thread(producer.commit_transaction if is_committed else producer.abort_transaction, DEADLINE)
        # a coordinator says so before its marker is in the log
        await eventually(lambda: self._is_stable(topic), f"nothing is open in {topic}")

    async def trim(self, topic: str, earliest: int) -> None:
        """See `Arena.trim`."""
        await self._done(self._client.delete_records([Place(topic, 0, earliest)])[Place(topic, 0, earliest)])

    async def delete_topic(self, name: str) -> None:
        self._made.remove(name)
        await self._done(self._client.delete_topics([name])[name])
        await eventually(lambda: self._is_missing(name), f"topic {name} is gone")

    @asynccontextmanager
    async def consumer(
        self, group: str, topic: str, **properties: Any
    ) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """See `Arena.consumer`; gives a function that polls once."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": group, **properties})
        try:
            consumer.subscribe([topic])
            await eventually(lambda: _has_assignment(consumer), f"a member joined {group}")
            yield lambda: asyncio.to_thread(consumer.poll, 0.1)
        finally:
            await asyncio.to_thread(consumer.close)
        if "group.instance.id" not in properties:
            await eventually(lambda: self._has_no_member(group), f"the member left {group}")

    async def clear(self) -> None:
        for name in self._made:
            await self._done(self._client.delete_topics([name])[name])
        for group in self._groups:
            await self.admin.delete_group(group)

    @staticmethod
    async def _done(future: Any) -> None:
        try:
            await asyncio.wrap_future(future)
        except KafkaException as error:
            if error.args[0].code() != Code.UNKNOWN_TOPIC_OR_PART:
                raise

    def _produce(self, topic: str, partitions: int, records: int) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap})
        for number in range(partitions):
            for _ in range(records):
                producer.produce(topic, b"x", partition=number)
        assert producer.flush(DEADLINE) == 0

    @staticmethod
    def _produce_of(producer: Producer, topic: str, keys: Sequence[str | None], partition: int) -> None:
        for key in keys:
            headers: dict[str, str | bytes | None] = {} if key is None else {"baggage": f"tenant={key}"}
            producer.produce(topic, b"x", partition=partition, headers=headers)
        assert producer.flush(DEADLINE) == 0

    async def _is_stable(self, topic: str) -> bool:
        place, untyped = Place(topic, 0), cast("Any", OffsetSpec)
        ends = [
            await asyncio.wrap_future(
                self._client.list_offsets({place: untyped.latest()}, isolation_level=isolation)[place]
            )
            for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        ]
        return bool(ends[0].offset == ends[1].offset)

    async def _has_leaders(self, partitions: list[TopicPartition]) -> bool:
        topics = await self.admin.topics({item.topic for item in partitions})
        if None in topics.values():
            return False
        with suppress(KafkaUnavailableError):
            return len(await self.admin.latest(partitions)) == len(partitions)
        return False

    async def _is_missing(self, topic: str) -> bool:
        return (await self.admin.topics([topic]))[topic] is None

    async def _has_no_member(self, group: str) -> bool:
        return not (await self.admin.group(group)).has_members


async def _has_assignment(consumer: Consumer) -> bool:
    await asyncio.to_thread(consumer.poll, 0.1)
    return bool(consumer.assignment())


@asynccontextmanager
async def real_arena(bootstrap: str) -> AsyncIterator[RealArena]:
    admin = connect(bootstrap)
    arena = RealArena(bootstrap, admin)
    try:
        yield arena
        await arena.clear()
    finally:
        await admin.aclose()


async def groups_are_served(bootstrap: str) -> None:
    """Wait until groups have their coordinators: a new broker makes the topic of their offsets when first asked."""
    async with real_arena(bootstrap) as arena:
        for group in [arena.name("group") for _ in range(_GROUPS)]:

            async def is_served(group: str = group) -> bool:
                try:
                    return (await arena.admin.group(group)).is_absent
                except KafkaUnavailableError:
                    return False

            await eventually(is_served, "consumer groups are served")
