"""Which records SandboxConsumer gives, when it joins, how long it waits: on a mock broker and a real HTTP server."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from fakes.brokers import Broker
from fakes.consuming import DEADLINE, Start, number_of, read_numbers
from fakes.mapping_server import MappingServer, change_json, mapping_json
from sidestream_sdk import Identity, MappingClient, SandboxConsumer

# --- who gets what


def test_baseline_and_fork_share_a_topic_without_a_gap_or_an_overlap(
    broker: Broker, server: MappingServer, start: Start, topic: str
) -> None:
    keys = ["alice", None, "bob", "alice", "carol", None, "alice"]
    broker.produce(topic, keys)
    server.publish(mapping_json(change_json("alice"), topic=topic))
    baseline, fork = start({"group.id": f"{topic}-b"}), start({"group.id": f"{topic}-f"}, sandbox="alice")
    for consumer in (baseline, fork):
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    assert read_numbers(baseline, 4) == [1, 2, 4, 5]
    assert read_numbers(fork, 3) == [0, 3, 6]


def test_consume_gives_only_our_records(broker: Broker, server: MappingServer, start: Start, topic: str) -> None:
    broker.produce(topic, [None, "alice"] * 10)
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    numbers: list[int] = []
    while len(numbers) < 10:
        batch = consumer.consume(num_messages=7, timeout=1)
        assert len(batch) <= 7
        numbers += [number_of(message) for message in batch]

    assert numbers == list(range(0, 20, 2))
    assert consumer.consume(7, 0.1) == []


def test_a_change_of_the_mapping_changes_who_gets_the_next_record(
    broker: Broker, server: MappingServer, start: Start, topic: str
) -> None:
    server.publish(mapping_json(topic=topic))
    consumer = start({"group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    broker.produce(topic, ["alice", None])
    assert read_numbers(consumer, 2) == [0, 1]

    server.publish(mapping_json(change_json("alice", "Preparing"), topic=topic))
    server.wait_for_requests(3)
    broker.produce(topic, ["alice", None])
    assert read_numbers(consumer, 1) == [1]

    server.publish(mapping_json(change_json("alice", "Draining"), topic=topic))
    server.wait_for_requests(3)
    broker.produce(topic, ["alice", None])
    assert read_numbers(consumer, 2) == [0, 1]


def test_events_of_the_broker_reach_the_application(
    broker: Broker, server: MappingServer, start: Start, topic: str
) -> None:
    broker.produce(topic, ["alice"])
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic, "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    message = consumer.poll(DEADLINE)

    assert message is not None
    error = message.error()
    assert error is not None
    assert error.code() == KafkaError._PARTITION_EOF


def test_without_an_identity_it_is_the_plain_consumer(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIDESTREAM_MAPPING_URL", raising=False)
    broker.produce(topic, ["alice", None])
    config = {"bootstrap.servers": broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    with SandboxConsumer(config, logger=logging.getLogger("kafka")) as consumer:
        consumer.subscribe([topic], on_assign=lambda *_: None)
        assert read_numbers(consumer, 2) == [0, 1]
        assert consumer.consume(1, timeout=0.1) == []
        consumer.commit(asynchronous=False)
        consumer.unsubscribe()
    assert broker.committed(topic, topic) == 2


def test_the_environment_names_the_identity(
    broker: Broker, server: MappingServer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDESTREAM_MAPPING_URL", server.url)
    monkeypatch.setenv("SIDESTREAM_CONSUMER", "shop/fulfilment")
    broker.produce(topic, ["alice", None])
    server.publish(mapping_json(change_json("alice"), topic=topic))
    config = {"bootstrap.servers": broker.bootstrap, "group.id": topic}
    with SandboxConsumer(config) as consumer:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        assert read_numbers(consumer, 1) == [1]
    thread = consumer._client._thread
    assert thread is not None
    thread.join(DEADLINE)
    assert not thread.is_alive(), "leaving the with did not close the mapping client"


# --- timeouts


def test_poll_keeps_its_timeout_while_it_skips(broker: Broker, server: MappingServer, start: Start, topic: str) -> None:
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    returned = threading.Event()

    def produce_without_end() -> None:
        while not returned.is_set():
            broker.produce(topic, ["alice"] * 10)

    traffic = threading.Thread(target=produce_without_end)
    traffic.start()
    begin = time.monotonic()
    try:
        assert consumer.poll(1.0) is None
    finally:
        returned.set()
        traffic.join()

    assert 0.9 <= time.monotonic() - begin < DEADLINE


def test_poll_without_a_timeout_passes_over_many_foreign_records_at_once(
    broker: Broker, server: MappingServer, start: Start, topic: str
) -> None:
    server.publish(mapping_json(change_json("alice"), topic=topic))
    consumer = start({"group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    broker.produce(topic, [*["alice"] * 500, None])

    turns, message = 0, None
    end = time.monotonic() + DEADLINE
    while message is None and time.monotonic() < end:
        turns += 1
        message = consumer.poll(0)
        if message is None:
            time.sleep(0.01)

    assert message is not None
    assert number_of(message) == 500
    assert turns < 250, "each call passed over one record only"
    assert consumer.poll(0) is None


def test_poll_waits_for_the_first_mapping_and_keeps_its_timeout(
    broker: Broker, server: MappingServer, start: Start, topic: str
) -> None:
    broker.produce(topic, [None])
    server.answer(503)
    consumer = start({"group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    begin = time.monotonic()
    assert consumer.poll(0.3) is None
    assert consumer.consume(1, 0.3) == []
    assert 0.5 <= time.monotonic() - begin < DEADLINE

    server.publish(mapping_json(topic=topic))
    assert read_numbers(consumer, 1) == [0]


# --- joining


def test_a_member_joins_its_group_only_when_it_can_decide(
    broker: Broker, server: MappingServer, start: Start, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker.produce(topic, [None, "alice"])
    server.publish(mapping_json(change_json("alice", "Creating"), topic=topic))
    fork = start({"group.id": f"{topic}-f"}, sandbox="alice")
    assigned: list[list[TopicPartition]] = []
    fork.subscribe([topic], on_assign=lambda _, partitions: assigned.append(partitions))

    server.wait_for_requests(2)
    assert fork.poll(0.5) is None
    assert assigned == []
    assert "the hand-off to Sandbox alice stands at Creating" in caplog.text

    server.publish(mapping_json(change_json("alice", "Preparing"), topic=topic))
    assert read_numbers(fork, 1) == [1]
    assert len(assigned) == 1


def test_a_fork_in_the_baselines_group_stays_out_of_it(
    broker: Broker, server: MappingServer, start: Start, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker.produce(topic, ["alice"])
    server.publish(mapping_json(change_json("alice"), topic=topic, group=topic))
    fork = start({"group.id": topic}, sandbox="alice")
    fork.subscribe([topic])

    server.wait_for_requests(2)
    assert fork.poll(0.5) is None
    assert not fork.memberid()
    assert "the baseline's group" in caplog.text


def test_unsubscribing_before_the_first_mapping_is_remembered(server: MappingServer, start: Start, topic: str) -> None:
    server.answer(503)
    consumer = start({"group.id": topic})
    consumer.subscribe([topic])
    consumer.unsubscribe()
    server.publish(mapping_json(topic=topic))

    assert consumer.poll(1) is None
    assert not consumer.memberid()


def test_a_fork_says_that_it_starts_new_partitions_at_their_beginning(
    start: Start, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidestream_sdk")

    start({"group.id": topic, "auto.offset.reset": "latest"}, sandbox="alice")

    assert "auto.offset.reset is earliest instead of latest" in caplog.text


# --- sharing and ending


def test_two_consumers_may_share_one_mapping_client(broker: Broker, server: MappingServer, topic: str) -> None:
    broker.produce(topic, ["alice", None])
    server.publish(mapping_json(change_json("alice"), topic=topic))
    client = MappingClient(Identity(server.url, "shop/fulfilment"))
    config = {"bootstrap.servers": broker.bootstrap}
    with SandboxConsumer({**config, "group.id": f"{topic}-1"}, mapping=client) as first:
        first.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        assert read_numbers(first, 1) == [1]
    with SandboxConsumer({**config, "group.id": f"{topic}-2"}, mapping=client) as second:
        second.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        assert read_numbers(second, 1) == [1]
        server.wait_for_requests(1)
    client.close()


def test_a_closed_consumer_stops_asking_for_the_mapping(server: MappingServer, start: Start, topic: str) -> None:
    server.publish(mapping_json(topic=topic))
    consumer = start({"group.id": topic})
    thread = consumer._client._thread
    assert thread is not None
    server.wait_for_waiting(1)

    consumer.close()

    thread.join(DEADLINE)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError):
        consumer.poll(0)
