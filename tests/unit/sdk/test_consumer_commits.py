"""What SandboxConsumer commits: what a plain consumer would have, plus the foreign records after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from fakes.brokers import Broker
from fakes.consuming import DEADLINE, Start, number_of, poll_until, read_numbers
from fakes.mapping_server import MappingServer, change_json, mapping_json
from sidestream_sdk import SandboxConsumer

COMMITTED = 10
KEYS = ["alice", None, None, "alice", None, *["alice"] * 5]
OURS = [1, 2, 4]

Subscribed = Callable[[dict[str, Any]], Consumer]


@pytest.fixture
def subscribed(broker: Broker, server: MappingServer, start: Start, topic: str) -> Subscribed:
    """Make a baseline consumer of `KEYS`."""

    def make(config: dict[str, Any]) -> Consumer:
        broker.produce(topic, KEYS)
        server.publish(mapping_json(change_json("alice"), topic=topic))
        consumer = start({"group.id": topic, **config})
        consumer.subscribe([topic])
        return consumer

    return make


def test_automatic_commits_pass_over_foreign_records(broker: Broker, subscribed: Subscribed, topic: str) -> None:
    consumer = subscribed({})

    assert read_numbers(consumer, 3) == OURS
    poll_until(consumer, lambda: broker.committed(topic, topic) == COMMITTED)


def test_closing_commits_what_was_passed_over(
    broker: Broker, subscribed: Subscribed, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidestream_sdk.member.PROGRESS_SECONDS", 3600.0)
    config = {"auto.commit.interval.ms": 600_000, "enable.auto.offset.store": False}
    consumer = subscribed(config)
    for _ in OURS:
        message = consumer.poll(DEADLINE)
        assert message is not None
        consumer.store_offsets(message)
    assert consumer.poll(0.5) is None

    consumer.close()

    assert broker.committed(topic, topic) == COMMITTED


@pytest.mark.parametrize(
    ("config", "acknowledge"),
    [
        pytest.param(
            {"enable.auto.commit": False},
            lambda consumer, message: consumer.commit(message=message, asynchronous=False),
            id="commit of a message",
        ),
        pytest.param(
            {"enable.auto.commit": False},
            lambda consumer, message: consumer.commit(message, None, 0),
            id="commit of a message, arguments by position",
        ),
        pytest.param(
            {"enable.auto.commit": False},
            lambda consumer, message: consumer.commit(
                offsets=[TopicPartition(message.topic(), message.partition(), message.offset() + 1)],
                asynchronous=False,
            ),
            id="commit of offsets",
        ),
        pytest.param(
            {"enable.auto.commit": False}, lambda consumer, _: consumer.commit(asynchronous=False), id="commit of all"
        ),
        pytest.param(
            {"enable.auto.offset.store": False},
            lambda consumer, message: consumer.store_offsets(message=message),
            id="stored by the application",
        ),
        pytest.param(
            {"enable.auto.offset.store": False, "enable.auto.commit": False},
            lambda consumer, message: (
                consumer.store_offsets(message=message),
                consumer.commit(asynchronous=False),
            ),
            id="stored and committed by the application",
        ),
    ],
)
def test_the_applications_own_commits_are_kept_and_foreign_records_passed_over(
    broker: Broker,
    subscribed: Subscribed,
    topic: str,
    config: dict[str, Any],
    acknowledge: Callable[[Consumer, Message], None],
) -> None:
    consumer = subscribed(config)

    for expected in OURS:
        message = consumer.poll(DEADLINE)
        assert message is not None
        assert number_of(message) == expected
        poll_for_progress(consumer)
        assert broker.committed(topic, topic) <= expected, "a record was committed before it was acknowledged"
        acknowledge(consumer, message)
    poll_until(consumer, lambda: broker.committed(topic, topic) == COMMITTED)


def poll_for_progress(consumer: Consumer) -> None:
    """Make the consumer look for skipped records to commit past, without reading on."""
    assert isinstance(consumer, SandboxConsumer)
    assert consumer._member is not None
    consumer._member.commit_skipped()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({}, id="automatic"),
        pytest.param({"enable.auto.commit": False}, id="the application commits"),
        pytest.param({"enable.auto.offset.store": False}, id="the application stores"),
        pytest.param({"enable.auto.commit": False, "enable.auto.offset.store": False}, id="the application does both"),
    ],
)
def test_a_topic_of_foreign_records_only_is_committed_to_its_end(
    broker: Broker, server: MappingServer, start: Start, topic: str, config: dict[str, Any]
) -> None:
    broker.produce(topic, ["alice"] * 50)
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic, **config})
    consumer.subscribe([topic])

    poll_until(consumer, lambda: broker.committed(topic, topic) == 50)


def test_a_rebalance_reaches_the_application_and_forgets_the_partition(
    broker: Broker, server: MappingServer, start: Start, topic: str
) -> None:
    broker.produce(topic, ["alice", None])
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic, "enable.auto.commit": False})
    events: list[tuple[str, object]] = []
    consumer.subscribe(
        [topic],
        lambda who, _: events.append(("assign", who)),
        lambda who, _: events.append(("revoke", who)),
        on_lost=lambda who, _: events.append(("lost", who)),
    )
    assert read_numbers(consumer, 1) == [1]

    consumer.unsubscribe()
    poll_until(consumer, lambda: len(events) == 2)

    assert events == [("assign", consumer), ("revoke", consumer)]
    assert consumer._member is not None
    assert consumer._member.progress is not None
    assert consumer._member.progress._partitions == {}


def test_seeking_back_gives_the_records_again(broker: Broker, server: MappingServer, start: Start, topic: str) -> None:
    broker.produce(topic, [None, "alice", None])
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert read_numbers(consumer, 2) == [0, 2]

    consumer.seek(TopicPartition(topic, 0, 0))

    assert read_numbers(consumer, 2) == [0, 2]
    assert consumer.position([TopicPartition(topic, 0)])[0].offset == 3
