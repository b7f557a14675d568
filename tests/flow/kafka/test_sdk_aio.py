"""AsyncSandboxConsumer and SandboxProducer on a real Kafka: a tenant's records are split."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but not for its types

from fakes.handover import Handover, eventually
from fakes.mapping_server import MappingServer, mapping_server
from sidestream_sdk import AsyncSandboxConsumer, Identity, SandboxConsumer, SandboxProducer, TenantContext
from sidestream_sdk.notes import Kind

PARTITIONS: Final = 3
EVERYWHERE: Final = range(PARTITIONS)
DEADLINE: Final = 60.0
KEYS: Final = ("alice", None, "bob")


@pytest.fixture
def topic(bootstrap: str) -> Iterator[str]:
    name = f"aio-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


@pytest.fixture
def server() -> Iterator[MappingServer]:
    with mapping_server() as running:
        yield running


@pytest.fixture
def step(server: MappingServer, bootstrap: str, topic: str) -> Iterator[Handover]:
    step = Handover(server, bootstrap, topic, f"{topic}-b", f"{topic}-b.sbx.alice")
    step.publish(is_listed=False)
    yield step
    step.close()


class Numbers:
    """Produces numbered records, by turns for each of `KEYS`, over all partitions."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = SandboxProducer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        self._topic = topic
        self.keys: dict[int, str | None] = {}

    def produce(self, count: int) -> list[int]:
        numbers = list(range(len(self.keys), len(self.keys) + count))
        for number in numbers:
            self.keys[number] = KEYS[number % len(KEYS)]
            with TenantContext(self.keys[number]).use():
                self._producer.produce(self._topic, str(number), partition=number % PARTITIONS)
        assert self._producer.flush(30) == 0
        return numbers

    def of_alice(self, numbers: list[int]) -> set[int]:
        return {number for number in numbers if self.keys[number] == "alice"}


class Side:
    """A member of a side that reads in a task, in an ordinary asyncio application's way, until it is closed."""

    def __init__(self, step: Handover, sandbox: str | None, config: dict[str, Any]) -> None:
        base = {"bootstrap.servers": step.bootstrap, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200}
        group = step.baseline if sandbox is None else step.fork
        identity = Identity(step.server.url, "shop/fulfilment", sandbox)
        self.handled: list[int] = []
        self._consumer = AsyncSandboxConsumer({**base, "group.id": group, **config}, identity=identity)
        self._commits = config.get("enable.auto.commit") is False
        self._topic = step.topic
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async with self._consumer as consumer:
            await consumer.subscribe([self._topic], on_revoke=self._commit_before)
            while True:
                try:
                    message = await asyncio.wait_for(consumer.poll(), 0.05)
                except TimeoutError:
                    continue
                if message is not None and message.error() is None:
                    self.handled.append(int(message.value() or b""))
                    if self._commits:
                        await consumer.commit(message)

    async def _commit_before(self, consumer: AsyncSandboxConsumer, _: list[TopicPartition]) -> None:
        await consumer.position(await consumer.assignment())

    async def has_handled(self, numbers: set[int]) -> None:
        await asyncio.to_thread(eventually, lambda: numbers <= set(self.handled), f"{len(numbers)} records are handled")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        assert self._task.cancelled(), self._task.exception()


def test_the_tenant_travels_from_producer_to_consumer(
    bootstrap: str, step: Handover, topic: str, server: MappingServer
) -> None:
    producer = SandboxProducer({"bootstrap.servers": bootstrap})
    with TenantContext("alice").use():
        producer.produce(topic, b"hers", headers={"baggage": "user=7"}, partition=0)
        producer.produce_batch(topic, [{"value": b"hers as well"}], partition=0)
    producer.produce(topic, b"nobody's", partition=0)
    assert producer.flush(30) == 0

    identity = Identity(server.url, "shop/fulfilment")
    with SandboxConsumer({"bootstrap.servers": bootstrap, "group.id": step.baseline}, identity=identity) as consumer:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        records = [consumer.poll(DEADLINE) for _ in range(3)]

    contexts = [TenantContext.from_message(record) for record in records if record is not None]
    assert [(item.tenant, item.baggage) for item in contexts] == [
        ("alice", "tenant=alice,user=7"),
        ("alice", "tenant=alice"),
        (None, ""),
    ]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({}, id="automatic commits"),
        pytest.param(
            {"enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky"},
            id="own commits, cooperative",
        ),
        pytest.param({"enable.auto.commit": False, "group.protocol": "consumer"}, id="own commits, KIP-848"),
    ],
)
def test_an_asynchronous_baseline_and_fork_split_a_tenants_records(
    bootstrap: str, topic: str, step: Handover, config: dict[str, Any]
) -> None:
    numbers = Numbers(bootstrap, topic)

    async def come_and_go() -> tuple[list[int], list[int], set[int]]:
        off_the_loop, answers = asyncio.to_thread, step.answers
        async with AsyncExitStack() as cleanup:
            baseline = Side(step, None, {**config})
            cleanup.push_async_callback(baseline.close)
            before = numbers.produce(300)
            await baseline.has_handled(set(before))
            step.fences = {}
            step.say("Ask", EVERYWHERE, phase="Preparing")
            begins = await off_the_loop(answers, step.baseline, Kind.FROM, EVERYWHERE)
            for number, begin in begins.items():
                step.say("From", [number], phase="Creating", begin=begin)
            await off_the_loop(step.place, step.fork, begins)
            step.say("From", [], phase="Active")
            fork = Side(step, "alice", {**config})
            cleanup.push_async_callback(fork.close)
            active = numbers.produce(300)
            await fork.has_handled(numbers.of_alice(active))
            await baseline.has_handled(set(active) - numbers.of_alice(active))
            step.say("Freeze", EVERYWHERE, phase="Freezing")
            for number, hold in (await off_the_loop(answers, step.fork, Kind.HOLD, EVERYWHERE)).items():
                step.say("Hold", [number], phase="PreparingOff", hold=hold)
            for number, until in (await off_the_loop(answers, step.baseline, Kind.UNTIL, EVERYWHERE)).items():
                step.say("Until", [number], phase="Draining", until=until)
            after = numbers.produce(300)
            await baseline.has_handled(set(after))
            return baseline.handled, fork.handled, numbers.of_alice(active)

    by_baseline, by_fork, of_fork = asyncio.run(asyncio.wait_for(come_and_go(), 3 * DEADLINE))

    assert set(by_fork) == of_fork
    assert set(by_baseline) == set(numbers.keys) - of_fork
    assert len(by_baseline) + len(by_fork) == len(numbers.keys), "a record was handed out twice"
