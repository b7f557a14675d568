"""AsyncSandboxConsumer on a mock broker: the loop goes on, one thread makes all calls, a cancelled read loses nothing.

That it is a consumer like any other: see test_drop_in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from fakes.brokers import Broker
from fakes.consuming import DEADLINE, number_of
from fakes.mapping_server import MappingServer, change_json, mapping_json
from sidestream_sdk import AsyncSandboxConsumer, Identity, SandboxConsumer

SELDOM = {"auto.commit.interval.ms": 600_000}
OWN_COMMITS = {"enable.auto.commit": False}
Start = Callable[..., AsyncSandboxConsumer]


@pytest.fixture(params=["without a mapping service", "with a mapping"])
def start(
    request: pytest.FixtureRequest,
    broker: Broker,
    server: MappingServer,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Start:
    """Makes consumers of group `topic`."""
    monkeypatch.delenv("SIDESTREAM_MAPPING_URL", raising=False)
    server.publish(mapping_json(change_json("alice"), topic=topic))
    identity = Identity(server.url, "shop/fulfilment") if request.param == "with a mapping" else None
    base = {"bootstrap.servers": broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    return lambda config=SELDOM: AsyncSandboxConsumer({**base, **config}, identity=identity)


async def read_numbers(consumer: AsyncSandboxConsumer, count: int) -> list[int]:
    numbers: list[int] = []
    async with asyncio.timeout(DEADLINE):
        while len(numbers) < count:
            message = await consumer.poll(0.2)
            if message is not None:
                numbers.append(number_of(message))
    return numbers


@dataclass
class Gate:
    """Holds up a read that has brought a record until it is opened."""

    consumer: AsyncSandboxConsumer
    brought: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        inner = self.consumer._consumer
        for name in ("poll", "consume"):
            setattr(inner, name, self.through(getattr(inner, name)))

    def through(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any) -> Any:
            brought = read(*args)
            if brought:
                self.brought.set()
                assert self.opened.wait(DEADLINE)
            return brought

        return slow

    async def cancel_once_brought(self, read: Awaitable[Any]) -> None:
        """The record was read, and does not reach who waited for it."""
        task = asyncio.ensure_future(read)
        assert await asyncio.to_thread(self.brought.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        self.opened.set()


# --- reading


@pytest.mark.parametrize("batch", [False, True], ids=["poll", "consume"])
def test_the_application_gets_its_own_records(
    broker: Broker, server: MappingServer, topic: str, *, batch: bool
) -> None:
    server.publish(mapping_json(change_json("alice"), topic=topic))
    broker.produce(topic, ["alice", None, "alice", "bob", None])
    config = {"bootstrap.servers": broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}

    async def read() -> list[int]:
        async with AsyncSandboxConsumer(config, identity=Identity(server.url, "shop/fulfilment")) as consumer:
            await consumer.subscribe([topic])
            if not batch:
                return await read_numbers(consumer, 3)
            numbers: list[int] = []
            while len(numbers) < 3:
                numbers += map(number_of, await consumer.consume(10, 0.5))
            return numbers

    assert asyncio.run(read()) == [1, 3, 4]
    assert broker.committed(topic, topic) == 5


def test_the_loop_goes_on_while_a_poll_waits(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])

    async def count_turns() -> int:
        async with start() as consumer:
            await consumer.subscribe([topic])
            await read_numbers(consumer, 1)
            waiting = asyncio.ensure_future(consumer.poll(0.5))
            turns = 0
            while not waiting.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert waiting.result() is None
            return turns

    assert asyncio.run(count_turns()) > 10


def test_one_thread_makes_all_calls(start: Start, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()

    def noting(name: str) -> Callable[..., Any]:
        original = getattr(SandboxConsumer, name)

        def call(*args: Any, **keywords: Any) -> Any:
            threads.add(threading.current_thread().name)
            return original(*args, **keywords)

        return call

    for name in ("poll", "consume", "subscribe", "commit", "position", "assignment", "store_offsets", "close"):
        monkeypatch.setattr(SandboxConsumer, name, noting(name))
    broker.produce(topic, [None] * 20)

    async def use() -> None:
        async with start() as consumer:
            await consumer.subscribe([topic])
            await asyncio.gather(*(consumer.poll(0) for _ in range(5)), consumer.assignment())
            await read_numbers(consumer, 1)
            await consumer.commit(asynchronous=False)
            await consumer.position(await consumer.assignment())
            await consumer.consume(1, 0)

    asyncio.run(use())
    assert threads == {f"sidestream-consumer-{topic}"}


def test_polls_at_the_same_time_share_the_records_in_order(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None] * 20)

    async def read() -> list[int]:
        async with start() as consumer:
            await consumer.subscribe([topic])
            messages = await asyncio.gather(*(consumer.poll(DEADLINE) for _ in range(20)))
            return [number_of(message) for message in messages if message is not None]

    assert asyncio.run(read()) == list(range(20))


# --- cancelled reads


@pytest.mark.parametrize("batch", [False, True], ids=["poll", "consume"])
def test_what_a_cancelled_read_brought_is_handed_out_by_the_next(
    start: Start, broker: Broker, topic: str, *, batch: bool
) -> None:
    broker.produce(topic, [None] * 5)

    async def read() -> list[int]:
        async with start() as consumer:
            await consumer.subscribe([topic])
            await Gate(consumer).cancel_once_brought(consumer.consume(4, 10) if batch else consumer.poll())
            return await read_numbers(consumer, 5)

    assert asyncio.run(read()) == list(range(5))


def test_what_was_read_in_the_very_moment_of_the_cancellation_is_handed_out_by_the_next(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 3)

    async def read() -> list[int]:
        async with start() as consumer:
            await consumer.subscribe([topic])
            task = asyncio.ensure_future(consumer.poll())
            await asyncio.sleep(0)
            while consumer._read is None or not consumer._read.result.done():  # noqa: ASYNC110 - the next turn it is late
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await read_numbers(consumer, 3)

    assert asyncio.run(read()) == list(range(3))


def test_no_record_is_lost_or_out_of_order_when_every_second_poll_is_cancelled(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 200)

    async def read() -> list[int]:
        numbers: list[int] = []
        async with start() as consumer:
            await consumer.subscribe([topic])
            while len(numbers) < 200:
                task = asyncio.ensure_future(consumer.poll(5))
                for _ in range(len(numbers) % 7):
                    await asyncio.sleep(0.0002)
                if len(numbers) % 2 or task.done():
                    message = await task
                    assert message is not None
                    numbers.append(number_of(message))
                    continue
                task.cancel()
                await asyncio.wait([task])
                numbers += await read_numbers(consumer, 1)
        return numbers

    assert asyncio.run(read()) == list(range(200))


def test_a_cancelled_read_does_not_go_on_waiting(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])

    async def read() -> None:
        async with start() as consumer:
            await consumer.subscribe([topic])
            await read_numbers(consumer, 1)
            for wait_for_ever in (consumer.poll, consumer.consume):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(wait_for_ever(), 0.1)
                assert await asyncio.wait_for(consumer.poll(0.1), DEADLINE) is None

    asyncio.run(read())


def test_what_a_cancelled_read_brought_is_forgotten_with_its_partitions(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 3)

    async def read() -> None:
        async with start(OWN_COMMITS) as consumer:
            give_up: list[Callable[[], Awaitable[None]]] = [
                consumer.unassign,
                lambda: consumer.assign([TopicPartition(topic, 1, OFFSET_BEGINNING)]),
                lambda: consumer.incremental_unassign([TopicPartition(topic, 0)]),
            ]
            for leave in give_up:
                await consumer.unassign()
                await consumer.incremental_assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
                await Gate(consumer).cancel_once_brought(consumer.poll())
                await leave()
                assert await consumer.poll(0.2) is None

    asyncio.run(read())


def test_what_a_cancelled_read_brought_comes_again_where_partitions_stay(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 3)

    async def read() -> list[int]:
        async with start() as consumer:
            await consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            await Gate(consumer).cancel_once_brought(consumer.poll())
            await consumer.unsubscribe()
            return await read_numbers(consumer, 3)

    assert asyncio.run(read()) == [0, 1, 2]


def test_an_error_that_a_cancelled_read_met_is_raised_by_the_next(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])

    async def read() -> None:
        async with start() as consumer:
            entered = asyncio.Event()

            async def fail(*_: object) -> None:
                entered.set()
                await asyncio.sleep(0.1)
                raise ValueError("the application's own")

            await consumer.subscribe([topic], on_assign=fail)
            task = asyncio.ensure_future(consumer.poll())
            await asyncio.wait_for(entered.wait(), DEADLINE)
            task.cancel()
            await asyncio.wait([task])
            assert consumer._read is not None
            await asyncio.wait([consumer._read.result])
            await consumer.position([TopicPartition(topic, 0)])
            with pytest.raises(ValueError, match="own"):
                await consumer.poll(DEADLINE)
            assert await read_numbers(consumer, 1) == [0]

    asyncio.run(read())


async def closed(_: AsyncSandboxConsumer) -> None:
    """What is left to do is the end of the `with`."""


async def commit_everything(consumer: AsyncSandboxConsumer) -> None:
    await consumer.commit(asynchronous=False)


async def commit_the_position(consumer: AsyncSandboxConsumer) -> None:
    await consumer.commit(offsets=await consumer.position(await consumer.assignment()), asynchronous=False)


async def unsubscribe(consumer: AsyncSandboxConsumer) -> None:
    await consumer.unsubscribe()
    await consumer.poll(0.5)


@pytest.mark.parametrize(
    ("act", "config"),
    [
        pytest.param(closed, SELDOM, id="close"),
        pytest.param(unsubscribe, SELDOM, id="unsubscribe"),
        pytest.param(commit_everything, OWN_COMMITS, id="commit"),
        pytest.param(commit_the_position, OWN_COMMITS, id="commit of the position"),
    ],
)
def test_what_was_not_handed_out_is_not_committed(
    start: Start, broker: Broker, topic: str, act: Callable[[AsyncSandboxConsumer], Awaitable[None]], config: Any
) -> None:
    broker.produce(topic, [None])

    async def read() -> None:
        async with start(config) as consumer:
            await consumer.subscribe([topic])
            assert await read_numbers(consumer, 1) == [0]
            gate = Gate(consumer)
            broker.produce(topic, [None, None])
            await gate.cancel_once_brought(consumer.poll())
            await act(consumer)

    asyncio.run(read())
    committed = [broker.committed(topic, topic, partition=number) for number in range(4)]
    assert max(committed) == 1, committed


def test_of_a_batch_that_a_cancelled_read_brought_is_committed_what_polls_handed_out(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 5)

    async def read() -> None:
        async with start() as consumer:
            await consumer.subscribe([topic])
            assert await read_numbers(consumer, 1) == [0]
            await Gate(consumer).cancel_once_brought(consumer.consume(4, 10))
            assert consumer._read is not None
            assert len(await consumer._read.result) > 1
            assert await read_numbers(consumer, 1) == [1]

    asyncio.run(read())
    assert broker.committed(topic, topic) == 2


def test_a_record_that_was_not_handed_out_is_forgotten_by_seek_and_put_off_by_pause(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 6)

    async def read() -> None:
        async with start(OWN_COMMITS) as consumer:
            await consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            await Gate(consumer).cancel_once_brought(consumer.poll())
            await consumer.seek(TopicPartition(topic, 0, 3))
            assert await read_numbers(consumer, 1) == [3]
            await Gate(consumer).cancel_once_brought(consumer.poll())
            await consumer.pause([TopicPartition(topic, 0)])
            assert await consumer.poll(0.5) is None
            await consumer.resume([TopicPartition(topic, 0)])
            assert await read_numbers(consumer, 2) == [4, 5]

    asyncio.run(read())


# --- commits


def test_what_was_handed_out_is_committed_with_the_next_poll_and_not_before(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 3)

    async def read() -> None:
        async with start({"auto.commit.interval.ms": 50}) as consumer:
            await consumer.subscribe([topic])
            await read_numbers(consumer, 2)
            await asyncio.sleep(0.3)
            assert broker.committed(topic, topic) < 2
            async with asyncio.timeout(DEADLINE):
                while broker.committed(topic, topic) < 2:
                    await consumer.pause(await consumer.assignment())
                    await consumer.poll(0.1)

    asyncio.run(read())


def test_storing_is_refused_where_the_client_does_it(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])

    async def store() -> None:
        async with start() as consumer:
            await consumer.subscribe([topic])
            message = await consumer.poll(DEADLINE)
            with pytest.raises(KafkaException) as refused:
                await consumer.store_offsets(message)
            assert refused.value.args[0].code() == KafkaError._INVALID_ARG

    asyncio.run(store())


# --- callbacks


def test_coroutine_functions_run_on_the_loop_and_may_use_the_consumer(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None] * 3)
    seen: list[str] = []

    async def use() -> None:
        loop = asyncio.get_running_loop()

        async def on_assign(who: AsyncSandboxConsumer, partitions: list[TopicPartition]) -> None:
            assert who is consumer
            assert asyncio.get_running_loop() is loop
            await who.assign([TopicPartition(topic, item.partition, 1) for item in partitions[:1]])
            seen.append("assign")

        async def on_revoke(who: AsyncSandboxConsumer, _: list[TopicPartition]) -> None:
            await who.commit(offsets=await who.position(await who.assignment()), asynchronous=False)
            seen.append("revoke")

        async def on_commit(error: KafkaError | None, _: list[TopicPartition]) -> None:
            assert asyncio.get_running_loop() is loop
            assert error is None
            seen.append("commit")

        async with start({**OWN_COMMITS, "on_commit": on_commit}) as consumer:
            await consumer.subscribe([topic], on_assign, on_revoke=on_revoke)
            assert await read_numbers(consumer, 1) == [1]
            await consumer.commit()
            async with asyncio.timeout(DEADLINE):
                await consumer.pause(await consumer.assignment())
                while "commit" not in seen:
                    await consumer.poll(0.1)

    asyncio.run(use())
    assert seen[0] == "assign"
    assert "revoke" in seen
    assert broker.committed(topic, topic) == 2


def test_plain_functions_run_on_the_thread_and_are_given_the_plain_consumer(
    start: Start, broker: Broker, topic: str
) -> None:
    broker.produce(topic, [None] * 3)
    threads: list[str] = []

    def on_assign(who: Consumer, partitions: list[TopicPartition]) -> None:
        threads.append(threading.current_thread().name)
        who.assign([TopicPartition(topic, item.partition, 2) for item in partitions[:1]])

    async def use() -> None:
        async with start() as consumer:
            await consumer.subscribe([topic], on_assign=on_assign)
            assert await read_numbers(consumer, 1) == [2]

    asyncio.run(use())
    assert threads == [f"sidestream-consumer-{topic}"]


def test_a_callback_may_wait_for_tasks_that_commit(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None] * 2)

    async def use() -> None:
        finish = asyncio.Event()

        async def handle(message: Message) -> None:
            await finish.wait()
            await consumer.commit(message, asynchronous=False)

        async def on_revoke(*_: object) -> None:
            finish.set()
            await asyncio.wait(tasks)

        async with start(OWN_COMMITS) as consumer:
            await consumer.subscribe([topic], on_revoke=on_revoke)
            message = await consumer.poll(DEADLINE)
            assert message is not None
            tasks = [asyncio.ensure_future(handle(message))]
        assert tasks[0].exception() is None

    asyncio.run(asyncio.wait_for(use(), DEADLINE))
    assert broker.committed(topic, topic) == 1


def test_a_callback_that_would_wait_for_itself_is_told(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])
    refused: list[str] = []

    async def use() -> None:
        async def on_assign(who: AsyncSandboxConsumer, _: list[TopicPartition]) -> None:
            calls: list[Callable[[], Awaitable[object]]] = [
                who.poll,
                who.consume,
                who.unsubscribe,
                lambda: who.subscribe([topic]),
                who.close,
                lambda: asyncio.wait_for(who.poll(), DEADLINE),
            ]
            for call in calls:
                with pytest.raises(RuntimeError) as error:
                    await call()
                refused.append(str(error.value))

        async with start() as consumer:
            await consumer.subscribe([topic], on_assign=on_assign)
            assert await read_numbers(consumer, 1) == [0]

    asyncio.run(asyncio.wait_for(use(), DEADLINE))
    assert refused == ["a callback must not read, subscribe, unsubscribe or close"] * 6


def test_a_task_that_a_callback_started_may_read_later(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None, None])

    async def use() -> int:
        begin = asyncio.Event()
        tasks: list[asyncio.Task[list[int]]] = []

        async def read_on(who: AsyncSandboxConsumer) -> list[int]:
            await begin.wait()
            return await read_numbers(who, 1)

        async def on_assign(who: AsyncSandboxConsumer, _: list[TopicPartition]) -> None:
            tasks.append(asyncio.ensure_future(read_on(who)))

        async with start() as consumer:
            await consumer.subscribe([topic], on_assign=on_assign)
            assert await read_numbers(consumer, 1) == [0]
            begin.set()
            return (await tasks[0])[0]

    assert asyncio.run(use()) == 1


# --- the end


def test_close_ends_a_poll_in_progress_and_later_ones_are_refused(start: Start, broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])

    async def use() -> None:
        consumer = start()
        await consumer.subscribe([topic])
        await read_numbers(consumer, 1)
        waiting = asyncio.ensure_future(consumer.poll())
        await asyncio.sleep(0.1)
        await asyncio.wait_for(consumer.close(), DEADLINE)
        await consumer.close()
        assert await waiting is None
        with pytest.raises(RuntimeError, match="Consumer closed"):
            await consumer.poll(0)

    asyncio.run(use())
    assert f"sidestream-consumer-{topic}" not in {thread.name for thread in threading.enumerate()}


def test_a_wrong_configuration_is_refused_at_once(start: Start) -> None:
    async def make() -> None:
        with pytest.raises(KafkaException, match="No such configuration property"):
            start({"no.such.property": 1})

    asyncio.run(make())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if "consumer" in thread.name]
    assert left == []
