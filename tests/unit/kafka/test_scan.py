from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from sidestream.kafka import scan
from sidestream.kafka.scan import Search
from sidestream_sdk.baggage import HeaderRules, Headers, tenant_reader

read = tenant_reader(HeaderRules())


def is_wanted(headers: Headers | None) -> bool:
    return read(headers).key == "a"


def record(offset: int, key: str, partition: int = 0) -> Message[bytes, bytes]:
    return Message(topic="t", partition=partition, offset=offset, headers=[("baggage", f"tenant={key}".encode())])


def end(offset: int, partition: int = 0) -> Message[bytes, bytes]:
    return Message(topic="t", partition=partition, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def error(name: str, *, topic: str | None = "t") -> Message[bytes, bytes]:
    return Message(topic=topic, partition=0, error=KafkaError(getattr(KafkaError, name)))


def look_through(messages: Sequence[Message[bytes, bytes]], search: Search) -> int:
    return scan._look_through(messages, {("t", 0): search}, is_wanted)


class Log:
    """A consumer that is given these batches, one a second of a call with ten, and then nothing."""

    def __init__(self, *batches: list[Message[bytes, bytes]]) -> None:
        self.batches = list(batches)
        self.paused: list[TopicPartition] = []
        self.seconds = 10.0

    def consume(self, _most: int, _seconds: float) -> list[Message[bytes, bytes]]:
        self.seconds -= 1.0
        return self.batches.pop(0) if self.batches else []

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused += partitions

    def run(self, *partitions: int) -> list[tuple[int, bool]]:
        searches = {("t", number): Search.of(2, 9, earliest=0, stable=20) for number in partitions}
        scan._run(cast("Consumer", self), dict(searches), is_wanted, lambda: self.seconds)
        return [(search.reached, search.found) for search in searches.values()]


@pytest.mark.parametrize(
    ("begin", "stop", "earliest", "stable", "expected"),
    [
        pytest.param(2, 9, 0, 20, (2, 9), id="all of it is there"),
        pytest.param(2, 9, 5, 20, (5, 9), id="its begin is gone"),
        pytest.param(2, 9, 12, 20, (9, 9), id="all of it is gone"),
        pytest.param(2, 9, 0, 6, (2, 6), id="a transaction is open within"),
        pytest.param(2, 9, 0, 1, (2, 1), id="a transaction is open before"),
    ],
)
def test_a_search_begins_and_stops_within_the_log(
    begin: int, stop: int, earliest: int, stable: int, expected: tuple[int, int]
) -> None:
    search = Search.of(begin, stop, earliest=earliest, stable=stable)
    assert (search.reached, search.stop) == expected
    assert search.is_over == (expected[0] >= expected[1])


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([record(2, "b"), record(3, "a"), record(4, "a")], (3, True), id="the first of its records"),
        pytest.param([record(2, "b"), record(7, "b")], (8, False), id="a gap between records"),
        pytest.param([record(2, "b"), record(12, "a")], (9, False), id="a gap at the end"),
        pytest.param([record(8, "a")], (8, True), id="the last offset of the range"),
        pytest.param([record(9, "a")], (9, False), id="the first behind it"),
        pytest.param([record(0, "a"), record(1, "a"), record(2, "b")], (3, False), id="records before the range"),
        pytest.param([record(2, "b"), end(6)], (6, False), id="the end of what is stable"),
        pytest.param([end(30)], (9, False), id="an end behind the range"),
        pytest.param([record(2, "b"), end(2)], (3, False), id="an end told late"),
        pytest.param([record(2, "a", partition=1), end(5, partition=1)], (2, False), id="another partition"),
        pytest.param([error("GROUP_AUTHORIZATION_FAILED", topic=None)], (2, False), id="a group we may not find"),
    ],
)
def test_a_search_gets_as_far_as(messages: list[Message[bytes, bytes]], expected: tuple[int, bool]) -> None:
    search = Search.of(2, 9, earliest=0, stable=20)
    look_through(messages, search)
    assert (search.reached, search.found) == expected


def test_only_what_is_said_of_a_partition_counts_as_an_answer() -> None:
    search = Search.of(2, 9, earliest=0, stable=20)
    assert look_through([error("GROUP_AUTHORIZATION_FAILED", topic=None), end(5, partition=1)], search) == 0
    assert look_through([record(2, "b"), end(3)], search) == 2


def test_a_partition_that_cannot_be_read_fails_the_call() -> None:
    with pytest.raises(KafkaException) as caught:
        look_through([error("TOPIC_AUTHORIZATION_FAILED")], Search.of(2, 9, earliest=0, stable=20))
    assert caught.value.args[0].name() == "TOPIC_AUTHORIZATION_FAILED"


def test_a_partition_is_read_until_its_search_is_over() -> None:
    log = Log([record(2, "a"), record(2, "b", partition=1)], [record(3, "b"), record(3, "a", partition=1)], [end(9)])
    assert log.run(0, 1) == [(2, True), (3, True)]
    assert log.paused == [TopicPartition("t", 0), TopicPartition("t", 1)]
    assert log.seconds == 8.0


def test_a_call_that_runs_out_of_time_tells_how_far_it_got() -> None:
    log = Log([record(4, "b")])
    assert log.run(0, 1) == [(5, False), (2, False)]
    assert log.seconds <= 0.5


def test_a_call_stops_at_its_limit_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "LIMIT", 2)
    log = Log([record(2, "b"), record(3, "b")], [record(4, "b")])
    assert log.run(0) == [(4, False)]


def test_silence_is_no_answer() -> None:
    with pytest.raises(TimeoutError):
        Log().run(0)
