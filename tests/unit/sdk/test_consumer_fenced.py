"""SandboxConsumer under Fenced, on a mock broker and a real HTTP server, with the operator's part played by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from fakes.brokers import Broker
from fakes.consuming import DEADLINE, Start, number_of, poll_until, read_numbers
from fakes.handover import Handover
from fakes.mapping_server import EPOCH, MappingServer
from sidestream_sdk.notes import Kind, Notes

OWN_COMMITS = {"enable.auto.commit": False}


@pytest.fixture
def step(broker: Broker, server: MappingServer, topic: str) -> Iterator[Handover]:
    step = Handover(server, broker.bootstrap, topic, f"{topic}-b", f"{topic}-f")
    step.publish()
    yield step
    step.close()


def subscribed(start: Start, group: str, topic: str, config: dict[str, Any], *, sandbox: str | None = None) -> Consumer:
    consumer = start({"group.id": group, **config}, sandbox=sandbox)
    consumer.subscribe([topic])
    return consumer


def test_the_tenant_moves_at_the_end_of_the_log_and_not_before(broker: Broker, start: Start, step: Handover) -> None:
    broker.produce(step.topic, ["alice", None, "alice"])
    consumer = subscribed(start, step.baseline, step.topic, OWN_COMMITS)
    assert read_numbers(consumer, 1) == [0]

    step.say("Ask")
    assert read_numbers(consumer, 2) == [1, 2]
    poll_until(consumer, lambda: step.answer(step.baseline, Kind.FROM) is not None)

    assert step.answer(step.baseline, Kind.FROM) == 3
    assert step.committed(step.baseline, [0])[0].offset == 0, "records that were not committed were acknowledged"
    broker.produce(step.topic, ["alice", None, "alice"])
    assert read_numbers(consumer, 1) == [1]
    assert consumer.poll(0.3) is None


def commit_of_message(consumer: Consumer, message: Message) -> object:
    return consumer.commit(message=message, asynchronous=False)


def commit_of_offsets(consumer: Consumer, message: Message) -> object:
    place = TopicPartition(message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1)
    return consumer.commit(offsets=[place], asynchronous=False)


def commit_of_position(consumer: Consumer, message: Message) -> object:
    place = TopicPartition(message.topic() or "", message.partition() or 0)
    return consumer.commit(offsets=consumer.position([place]), asynchronous=False)


def commit_of_all(consumer: Consumer, _: Message) -> object:
    return consumer.commit(asynchronous=False)


def commit_of_all_in_time(consumer: Consumer, _: Message) -> object:
    return consumer.commit()


def storing(consumer: Consumer, message: Message) -> object:
    consumer.store_offsets(message)
    return None


def storing_and_committing(consumer: Consumer, message: Message) -> object:
    consumer.store_offsets(message)
    return consumer.commit(asynchronous=False)


@pytest.mark.parametrize(
    ("config", "acknowledge"),
    [
        pytest.param({}, lambda *_: None, id="automatic"),
        pytest.param(OWN_COMMITS, commit_of_message, id="of a message"),
        pytest.param(OWN_COMMITS, commit_of_offsets, id="of offsets"),
        pytest.param(OWN_COMMITS, commit_of_position, id="of the position"),
        pytest.param(OWN_COMMITS, commit_of_all, id="of everything"),
        pytest.param(OWN_COMMITS, commit_of_all_in_time, id="of everything, without waiting"),
        pytest.param({"enable.auto.offset.store": False}, storing, id="of what is stored"),
        pytest.param(
            OWN_COMMITS | {"enable.auto.offset.store": False}, storing_and_committing, id="of what is stored, by hand"
        ),
    ],
)
def test_every_commit_repeats_what_was_acknowledged(
    broker: Broker,
    start: Start,
    step: Handover,
    config: dict[str, Any],
    acknowledge: Callable[[Consumer, Message], object],
) -> None:
    broker.produce(step.topic, [None, None])
    consumer = subscribed(start, step.baseline, step.topic, config)
    message = consumer.poll(DEADLINE)
    assert message is not None
    if "enable.auto.offset.store" in config:
        consumer.store_offsets(message)  # with the notes of this moment, which are not those of the commit
    step.say("Ask")
    assert read_numbers(consumer, 1) == [1]
    poll_until(consumer, lambda: step.answer(step.baseline, Kind.FROM) is not None)
    broker.produce(step.topic, [None, "alice"])

    message = consumer.poll(DEADLINE)
    assert message is not None
    acknowledge(consumer, message)
    poll_until(consumer, lambda: step.committed(step.baseline, [0])[0].offset >= 3)

    assert step.notes(step.baseline) == Notes(step.version, EPOCH, {"alice-1": {Kind.FROM: 2}})
    consumer.close()
    assert step.answer(step.baseline, Kind.FROM) == 2


def test_the_application_sees_its_own_metadata_only(broker: Broker, start: Start, step: Handover) -> None:
    told: list[list[TopicPartition]] = []
    broker.produce(step.topic, [None])
    config = {**OWN_COMMITS, "on_commit": lambda _, partitions: told.append(partitions)}
    consumer = subscribed(start, step.baseline, step.topic, config)
    step.say("Ask")
    assert read_numbers(consumer, 1) == [0]
    poll_until(consumer, lambda: step.answer(step.baseline, Kind.FROM) is not None)
    place = TopicPartition(step.topic, 0, 1, "checkpoint 7")

    returned = consumer.commit(offsets=[place], asynchronous=False)
    assert returned is not None
    consumer.commit(offsets=[place], asynchronous=True)
    poll_until(consumer, lambda: bool(told))

    seen = [returned[0], told[0][0], consumer.committed([place], 10)[0]]
    assert [item.metadata for item in seen] == ["checkpoint 7"] * 3
    assert step.notes(step.baseline) == Notes(step.version, EPOCH, {"alice-1": {Kind.FROM: 1}}, "checkpoint 7")


def test_the_next_owner_of_a_partition_keeps_what_its_first_one_acknowledged(
    broker: Broker, start: Start, step: Handover
) -> None:
    broker.produce(step.topic, [None])
    first = subscribed(start, step.baseline, step.topic, OWN_COMMITS)
    assert read_numbers(first, 1) == [0]
    step.say("Ask")
    poll_until(first, lambda: step.answer(step.baseline, Kind.FROM) is not None)
    first.close()
    broker.produce(step.topic, ["alice", None])

    second = start({"group.id": step.baseline, **OWN_COMMITS})
    second.assign([TopicPartition(step.topic, 0)])

    assert read_numbers(second, 2) == [0, 1]
    assert step.answer(step.baseline, Kind.FROM) == 1


def test_a_fork_holds_its_partition_until_it_knows_where_it_begins(
    broker: Broker, start: Start, step: Handover
) -> None:
    step.say("Ask", phase="Active")
    broker.produce(step.topic, [None, "alice", None, "alice"])
    fork = subscribed(start, step.fork, step.topic, {}, sandbox="alice")
    poll_until(fork, lambda: step.committed(step.fork, [0])[0].offset == 1)
    broker.produce(step.topic, [None], partition=1)
    poll_until(fork, lambda: step.committed(step.fork, [1])[1].offset == 1)
    assert [item.offset for item in fork.position([TopicPartition(step.topic, 0)])] == [1]
    assert step.committed(step.fork, [0])[0].offset == 1

    step.say("From", begin=0)

    assert read_numbers(fork, 2) == [1, 3]
    poll_until(fork, lambda: step.committed(step.fork, [0])[0].offset == 4)
    broker.produce(step.topic, ["alice"])
    assert read_numbers(fork, 1) == [0]


def test_a_batch_holds_too_and_is_handed_out_in_order(broker: Broker, start: Start, step: Handover) -> None:
    step.say("Ask", phase="Active")
    broker.produce(step.topic, ["alice"] * 5)
    fork = subscribed(start, step.fork, step.topic, {}, sandbox="alice")
    for _ in range(20):
        assert fork.consume(3, 0.1) == []
    step.say("From", begin=0)

    numbers: list[int] = []
    while len(numbers) < 5:
        batch = fork.consume(3, 0.5)
        assert len(batch) <= 3
        numbers += map(number_of, batch)

    assert numbers == [0, 1, 2, 3, 4]


def test_a_partition_that_the_application_paused_gives_nothing_that_was_held(
    broker: Broker, start: Start, step: Handover
) -> None:
    place = TopicPartition(step.topic, 0)
    step.say("Ask", phase="Active")
    broker.produce(step.topic, [None, "alice", "alice"])
    fork = subscribed(start, step.fork, step.topic, {}, sandbox="alice")
    poll_until(fork, lambda: step.committed(step.fork, [0])[0].offset == 1)
    fork.pause([place])
    step.say("From", begin=0)
    for _ in range(5):
        assert fork.poll(0.1) is None

    fork.resume([place])

    assert read_numbers(fork, 2) == [1, 2]
    broker.produce(step.topic, ["alice"])
    assert read_numbers(fork, 1) == [0]


def test_seeking_forgets_what_was_held(broker: Broker, start: Start, step: Handover) -> None:
    step.say("Ask", phase="Active")
    broker.produce(step.topic, [None, "alice", "alice"])
    fork = subscribed(start, step.fork, step.topic, {}, sandbox="alice")
    poll_until(fork, lambda: step.committed(step.fork, [0])[0].offset == 1)

    fork.seek(TopicPartition(step.topic, 0, 2))
    step.say("From", begin=0)

    assert read_numbers(fork, 1) == [2]


def test_a_partition_waits_until_the_mapping_is_as_new_as_its_notes(
    broker: Broker, server: MappingServer, start: Start, step: Handover
) -> None:
    broker.produce(step.topic, ["alice", None])
    step.place(step.baseline, {0: 0}, Notes(step.version + 5, EPOCH, {"alice-1": {Kind.FROM: 0}}))
    consumer = subscribed(start, step.baseline, step.topic, {})
    for _ in range(20):
        assert consumer.poll(0.1) is None
    assert ("/v1/consumers/shop/fulfilment", "", 200) in server.requests[1:], "it was not asked for without waiting"

    step.version += 4
    step.say("From", begin=0)

    assert read_numbers(consumer, 1) == [1]


def test_a_handler_that_takes_long_has_not_committed_its_record(broker: Broker, start: Start, step: Handover) -> None:
    broker.produce(step.topic, [None, None])
    consumer = subscribed(start, step.baseline, step.topic, {"auto.commit.interval.ms": 1})

    for number in range(2):
        assert read_numbers(consumer, 1) == [number]
        assert step.committed(step.baseline, [0])[0].offset <= number, "a record was committed while it was handled"

    poll_until(consumer, lambda: step.committed(step.baseline, [0])[0].offset == 2)


def test_an_idle_consumer_that_waits_for_ever_still_answers(broker: Broker, start: Start, step: Handover) -> None:
    broker.produce(step.topic, [None])
    consumer = subscribed(start, step.baseline, step.topic, {})
    assert read_numbers(consumer, 1) == [0]
    step.say("Ask")

    assert consumer.poll(2.0) is None

    assert step.answer(step.baseline, Kind.FROM) == 1
    step.say("Ask", [1])
    assert consumer.consume(10, 2.0) == []
    assert step.answer(step.baseline, Kind.FROM, 1) == 0
    broker.produce(step.topic, [None])
    assert read_numbers(consumer, 1) == [0]
