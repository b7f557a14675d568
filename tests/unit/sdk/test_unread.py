from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from sidestream_sdk.unread import HandedOut, Unread


def record(partition: int, offset: int) -> Message:
    return Message(topic="orders", partition=partition, offset=offset)


def shown(partitions: list[TopicPartition]) -> list[tuple[int, int]]:
    return [(item.partition, item.offset) for item in partitions]


EVENT = Message(topic="orders", partition=0, error=KafkaError(KafkaError._PARTITION_EOF))
RECORDS = [record(0, 7), record(1, 3), record(0, 8), EVENT]


@pytest.fixture
def unread() -> Unread:
    unread = Unread()
    unread.add(RECORDS)
    return unread


def test_records_are_handed_out_in_the_order_that_they_were_read_in(unread: Unread) -> None:
    unread.add([record(2, 1)])

    assert unread.take(2) == RECORDS[:2]
    assert [item.offset() for item in unread.take(9)] == [8, None, 1]
    assert unread.take(1) == []


def test_none_are_handed_out_where_a_wrong_number_is_asked_for(unread: Unread) -> None:
    assert unread.take(-1) == []


def test_records_of_partitions_are_forgotten_and_tell_where_they_were(unread: Unread) -> None:
    assert shown(unread.drop([("orders", 0), ("orders", 5)])) == [(0, 7)]
    assert unread.take(9) == [RECORDS[1], EVENT]


def test_all_records_are_forgotten_and_events_are_not(unread: Unread) -> None:
    assert shown(unread.drop()) == [(0, 7), (1, 3)]
    assert unread.take(9) == [EVENT]


def test_a_position_is_before_what_was_not_handed_out_and_keeps_its_metadata(unread: Unread) -> None:
    reading = [
        TopicPartition("orders", 0, 9, "notes"),
        TopicPartition("orders", 1, 2),
        TopicPartition("orders", 2, 5),
        TopicPartition("others", 0, 9),
    ]

    found = unread.before(reading)

    assert shown(found) == [(0, 7), (1, 2), (2, 5), (0, 9)]
    assert [item.metadata for item in found] == ["notes", None, None, None]


def test_what_was_handed_out_is_told_once() -> None:
    handed_out = HandedOut()
    handed_out.add(RECORDS)

    assert shown(handed_out.take()) == [(0, 9), (1, 4)]
    assert handed_out.take() == []
