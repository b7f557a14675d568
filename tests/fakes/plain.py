"""A plain consumer for tests of what is built on it: a broker's answers in dicts, and the errors that a test wants."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sidestream_sdk.notes import Notes
from sidestream_sdk.plain import partition_at, place_of
from sidestream_sdk.progress import Place


@dataclass
class FakePlain:
    """`fails` by method: the error code that its next calls fail with; `loses_answer`: commits fail but arrive."""

    offsets: dict[Place, TopicPartition] = field(default_factory=dict)
    position: dict[Place, int] = field(default_factory=dict)
    end: dict[Place, int] = field(default_factory=dict)
    first: dict[Place, int] = field(default_factory=dict)
    fails: dict[str, int] = field(default_factory=dict)
    loses_answer: bool = False
    limit: int = 4095
    paused: set[Place] = field(default_factory=set)
    commits: list[list[TopicPartition]] = field(default_factory=list)

    def notes(self, place: Place) -> Notes:
        """What stands beside the committed offset."""
        return Notes.parse(self.offsets[place].metadata) if place in self.offsets else Notes()

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool = True) -> list[TopicPartition] | None:
        """See `Plain`."""
        if not self.loses_answer:
            self._check("commit")
        if any(len((item.metadata or "").encode()) > self.limit for item in offsets):
            raise KafkaException(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE))
        self.commits.append(offsets)
        self.offsets |= {place_of(item): item for item in offsets}
        self._check("commit")
        return None if asynchronous else offsets

    def store_offsets(self, *args: Any, **keywords: Any) -> None:
        """See `Plain`."""

    def committed(self, places: Collection[Place]) -> dict[Place, TopicPartition]:
        """See `Plain`."""
        self._check("committed")
        return {place: self.offsets.get(place, partition_at(place, -1001)) for place in places}

    def positions(self, places: Collection[Place]) -> dict[Place, TopicPartition]:
        """See `Plain`."""
        return {place: partition_at(place, self.position[place]) for place in places if place in self.position}

    def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """See `Plain`."""
        self._check("ends")
        return {place: self.end.get(place, 0) for place in places}

    def beginnings(self, places: Collection[Place]) -> dict[Place, int]:
        """See `Plain`."""
        return {place: self.first.get(place, 0) for place in places}

    def pause(self, places: Iterable[Place]) -> None:
        """See `Plain`."""
        self.paused.update(places)

    def resume(self, places: Iterable[Place]) -> None:
        """See `Plain`."""
        self.paused.difference_update(places)

    def _check(self, call: str) -> None:
        if call in self.fails:
            raise KafkaException(KafkaError(self.fails[call]))
