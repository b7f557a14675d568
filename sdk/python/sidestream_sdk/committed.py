"""Offsets as they go into a commit, and what comes back of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from sidestream_sdk.notes import Notes
from sidestream_sdk.plain import partition_at, place_of
from sidestream_sdk.progress import Place


def is_too_large(error: KafkaError | None) -> bool:
    """Whether the broker refuses metadata of this size, so that for certain nothing was committed."""
    return error is not None and error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE


def shown(partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
    """The same with the application's own metadata only; what failed stays as it is, for its error."""
    return [_shown(item) for item in partitions]


def _shown(item: TopicPartition) -> TopicPartition:
    if item.error is not None or not item.metadata:
        return item
    app = Notes.parse(item.metadata).app
    return partition_at(place_of(item), item.offset, metadata=app, leader_epoch=item.leader_epoch)


def what_of(offsets: Iterable[TopicPartition]) -> frozenset[tuple[Place, int, str]]:
    """What tells one commit from another in its answer."""
    return frozenset((place_of(item), item.offset, (item.metadata or "").rstrip("\0")) for item in offsets)


def after(message: Message) -> TopicPartition:
    """What to commit once this record is handled."""
    offset = (message.offset() or 0) + 1
    place = (message.topic() or "", message.partition() or 0)
    return partition_at(place, offset, leader_epoch=message.leader_epoch())


def error_of(error: KafkaException) -> KafkaError:
    """What was raised."""
    reason: KafkaError = error.args[0]
    return reason
