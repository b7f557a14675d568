"""The ends of logs are read whatever the consumer's own thread does, and nobody else notices."""

from __future__ import annotations

import operator
import threading
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException

from fakes.brokers import Broker
from fakes.consuming import DEADLINE
from sidestream_demo.process import wait_until
from sidestream_sdk.endreader import EndReader


def settings(broker: Broker, topic: str) -> dict[str, object]:
    return {"bootstrap.servers": broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}


def test_they_are_those_of_the_log(broker: Broker, topic: str) -> None:
    broker.produce(topic, [None] * 3, partition=0)
    broker.produce(topic, [None], partition=1)
    reader = EndReader(settings(broker, topic))
    places = [(topic, 0), (topic, 1), (topic, 2)]
    assert reader.read(places) == {(topic, 0): 3, (topic, 1): 1, (topic, 2): 0}
    broker.produce(topic, [None], partition=2)
    assert reader.read(places[2:]) == {(topic, 2): 1}


def test_a_consumer_in_a_long_poll_keeps_nobody_waiting(broker: Broker, topic: str) -> None:
    broker.produce(topic, [None])
    consumer = Consumer(settings(broker, topic))
    consumer.subscribe([topic])
    assert consumer.poll(DEADLINE) is not None
    came: list[object] = []
    polling = threading.Thread(target=lambda: came.append(consumer.poll(6 * DEADLINE)), daemon=True)
    polling.start()

    reading = threading.Thread(target=lambda: came.append(EndReader(settings(broker, topic)).read([(topic, 0)])))
    reading.start()
    reading.join(DEADLINE)

    assert came == [{(topic, 0): 1}]
    broker.produce(topic, [None])
    polling.join(DEADLINE)
    consumer.close()


def test_the_application_is_told_nothing_by_it(broker: Broker, topic: str) -> None:
    told: list[object] = []
    broker.produce(topic, [None])
    config = {
        **settings(broker, topic),
        "stats_cb": told.append,
        "error_cb": told.append,
        "statistics.interval.ms": 1,
        "on_commit": lambda *_: told.append("commit"),
        "group.instance.id": "member-1",
    }
    assert EndReader(config).read([(topic, 0)]) == {(topic, 0): 1}
    assert told == []


def test_a_broker_that_is_away_is_an_error(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidestream_sdk.endreader.ANSWER_SECONDS", 0.2)
    reader = EndReader({"bootstrap.servers": "127.0.0.1:9", "group.id": topic, "log_level": 0})
    with pytest.raises(KafkaException):
        reader.read([(topic, 0)])


def test_its_threads_and_connections_end_with_the_answer(broker: Broker, topic: str) -> None:
    def open_now() -> tuple[int, int]:
        return len(list(Path("/proc/self/task").iterdir())), len(list(Path("/proc/self/fd").iterdir()))

    broker.produce(topic, [None])
    before = open_now()
    for _ in range(3):
        EndReader(settings(broker, topic)).read([(topic, 0)])
    wait_until(lambda: all(map(operator.le, open_now(), before)), DEADLINE, "threads and connections to end")
