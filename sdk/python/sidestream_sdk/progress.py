"""How far past skipped records a consumer may commit when librdkafka does not do it by itself. Pure.

The application acknowledges (stores or commits) only what it was given, so a run of skipped records would never be
committed: the group would seem to lag for ever, and a fork's drain would never end. They may be committed as soon as
everything given out before them is acknowledged, and not before: committing past a record says that it was processed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

Place = tuple[str, int]
"""A topic and a partition."""

_NONE: Final = -1


@dataclass(slots=True)
class _Partition:
    """Offsets here are *next* offsets, as committed ones are: of the record after."""

    given: int = _NONE
    pending: bool = False
    skipped: int = _NONE
    due: bool = False


class Positioned(Protocol):
    """What of a Kafka message is noted here."""

    def partition(self) -> int | None:
        """The record's partition."""
        ...

    def offset(self) -> int | None:
        """The record's offset."""
        ...


class TopicProgress:
    """Notes of the record loop on one topic: each partition's last record given and its last one skipped.

    Writing them down is all that is done for each record; `SkipProgress` reckons with them when it is asked. Which of
    the two came first does not matter: skipped before the one given, it is nothing to commit past any more.
    """

    __slots__ = ("_given", "_skipped")

    def __init__(self) -> None:
        self._given: dict[int | None, Positioned] = {}
        self._skipped: dict[int | None, Positioned] = {}

    def note(self, record: Positioned, *, taken: bool) -> None:
        """Note that this record, the next of its partition, goes to the application (`taken`) or is skipped."""
        (self._given if taken else self._skipped)[record.partition()] = record

    def take(self) -> tuple[list[Positioned], list[Positioned]]:
        """The records given and skipped since last asked."""
        noted = list(self._given.values()), list(self._skipped.values())
        self._given.clear()
        self._skipped.clear()
        return noted


class SkipProgress:
    """The state of every partition that a record came from."""

    def __init__(self) -> None:
        self._partitions: dict[Place, _Partition] = {}
        self._topics: dict[str, TopicProgress] = {}

    def of(self, topic: str) -> TopicProgress:
        """Where the record loop notes what became of a topic's records."""
        return self._topics.setdefault(topic, TopicProgress())

    def skipped(self, place: Place, offset: int) -> None:
        """The record at `offset` was skipped."""
        partition = self._partition(place)
        partition.skipped = offset + 1
        partition.due = not partition.pending

    def given(self, place: Place, offset: int) -> None:
        """The record at `offset` goes to the application."""
        partition = self._partition(place)
        partition.given = offset + 1
        partition.pending = True
        partition.skipped = _NONE
        partition.due = False

    def acknowledged(self, place: Place, next_offset: int) -> None:
        """The application stored or committed `next_offset`.

        Less than what it was given and had acknowledged before means that it turns back; it is left alone then.
        """
        self._read_notes()
        partition = self._partition(place)
        if next_offset >= partition.given:
            partition.pending = False
            partition.due = partition.skipped > next_offset
        elif not partition.pending:
            partition.skipped = _NONE
            partition.due = False

    def acknowledged_all(self) -> None:
        """Everything that came from the broker, given or skipped, was committed."""
        self._read_notes()
        for partition in self._partitions.values():
            partition.pending = partition.due = False

    def forget(self, places: Iterable[Place]) -> None:
        """These partitions were taken away, or are read from another offset."""
        self._read_notes()
        for place in places:
            self._partitions.pop(place, None)

    def take_due(self) -> list[tuple[Place, int]]:
        """The next offsets that may be committed now and were not named before."""
        self._read_notes()
        due = [(place, partition.skipped) for place, partition in self._partitions.items() if partition.due]
        for place, _ in due:
            self._partitions[place].due = False
        return due

    def _read_notes(self) -> None:
        for topic, notes in self._topics.items():
            given, skipped = notes.take()
            for record in given:
                self.given((topic, record.partition() or 0), record.offset() or 0)
            for record in skipped:
                self.skipped((topic, record.partition() or 0), record.offset() or 0)

    def _partition(self, place: Place) -> _Partition:
        partition = self._partitions.get(place)
        if partition is None:
            partition = self._partitions[place] = _Partition()
        return partition


def next_offsets(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[Place, int] | None:
    """What `commit` or `store_offsets` was called with, as next offsets; None when it was called with neither."""
    given = dict(zip(("message", "offsets"), args, strict=False)) | dict(keywords)
    message, offsets = given.get("message"), given.get("offsets")
    if message is not None:
        return {(message.topic(), message.partition()): message.offset() + 1}
    if offsets is not None:
        return {(item.topic, item.partition): item.offset for item in offsets if item.offset >= 0}
    return None
