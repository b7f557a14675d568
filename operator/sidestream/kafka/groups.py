"""Where a fork's group starts and when it is through, as arithmetic on offsets. Pure.

A fork starts at the baseline's committed offset: every record that the baseline has not finished is read by the fork
too, so that between their two readings of the mapping a tenant's record may be handled twice but never by nobody. For
the same reason a partition on which the baseline has committed nothing, or something that the log no longer holds,
starts at the earliest record there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sidestream.api.kafka import PartitionOffset, TopicStatus
from sidestream.kafka.port import Offsets, Position, Positions, Topic, TopicPartition


def partitions_of(topics: Iterable[Topic | TopicStatus]) -> frozenset[TopicPartition]:
    """Every partition of these topics."""
    return frozenset(TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions))


def start_positions(
    partitions: Collection[TopicPartition], committed: Positions, earliest: Offsets, latest: Offsets
) -> dict[TopicPartition, Position]:
    """Where a group starts that is to take over from one that has `committed` this."""
    return {item: _start(committed.get(item), earliest[item], latest[item]) for item in partitions}


def _start(committed: Position | None, earliest: int, latest: int) -> Position:
    if committed is None or not earliest <= committed.offset <= latest:
        return Position(earliest)
    return committed


def has_passed(committed: Positions, until: Offsets) -> bool:
    """Whether a group that has `committed` this is through with everything below `until`."""
    return all(item in committed and committed[item].offset >= offset for item, offset in until.items())


def agrees(committed: Positions, start: Offsets) -> bool:
    """Whether a group holds nothing but offsets that we would have placed: a group of somebody else does not."""
    return all(start.get(item) == position.offset for item, position in committed.items())


def to_status(offsets: Mapping[TopicPartition, int]) -> tuple[PartitionOffset, ...]:
    """Offsets as a status lists them, sorted."""
    return tuple(
        PartitionOffset(topic=item.topic, partition=item.partition, offset=offset)
        for item, offset in sorted(offsets.items())
    )


def from_status(listed: Iterable[PartitionOffset]) -> dict[TopicPartition, int]:
    """Offsets as a status lists them."""
    return {TopicPartition(item.topic, item.partition): item.offset for item in listed}
