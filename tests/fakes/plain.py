"""A plain consumer for tests of what is built on it: a broker's answers in dicts, and the errors that a test wants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sidestream_sdk.notes import Notes
from sidestream_sdk.plain import partition_at, place_of
from sidestream_sdk.progress import Place

OnCommit = Callable[[KafkaError | None, list[TopicPartition]], None]


@dataclass
class FakePlain:
    """`fails` by method: the error code that its next calls fail with; `loses_answer`: commits fail but arrive.

    How commits went that nobody waits for is told to `on_commit` at once, or by `answer` where `is_slow`.
    """

    offsets: dict[Place, TopicPartition] = field(default_factory=dict)
    position: dict[Place, int] = field(default_factory=dict)
    end: dict[Place, int] = field(default_factory=dict)
    first: dict[Place, int] = field(default_factory=dict)
    fails: dict[str, int] = field(default_factory=dict)
    loses_answer: bool = False
    is_slow: bool = False
    on_commit: OnCommit = lambda *_: None
    unanswered: list[tuple[KafkaError | None, list[TopicPartition]]] = field(default_factory=list)
    limit: int = 4095
    paused: set[Place] = field(default_factory=set)
    commits: list[list[TopicPartition]] = field(default_factory=list)

    def notes(self, place: Place) -> Notes:
        """What stands beside the committed offset."""
        return Notes.parse(self.offsets[place].metadata) if place in self.offsets else Notes()

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool = True) -> list[TopicPartition] | None:
        """See `Plain`."""
        error = self._error_of(offsets)
        if error is None or (self.loses_answer and error.code() == self.fails.get("commit")):
            self.commits.append(offsets)
            self.offsets |= {place_of(item): item for item in offsets}
        if not asynchronous:
            if error is not None:
                raise KafkaException(error)
            return offsets
        self.unanswered.append((error, offsets))
        if not self.is_slow:
            self.answer()
        return None

    def answer(self) -> None:
        """Tell how the oldest commit went that has no answer yet."""
        self.on_commit(*self.unanswered.pop(0))

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

    def _error_of(self, offsets: list[TopicPartition]) -> KafkaError | None:
        if any(len((item.metadata or "").encode()) > self.limit for item in offsets):
            return KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)
        return KafkaError(self.fails["commit"]) if "commit" in self.fails else None

    def _check(self, call: str) -> None:
        if call in self.fails:
            raise KafkaException(KafkaError(self.fails[call]))
