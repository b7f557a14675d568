"""The partitions that a consumer was given: what their commits say, and what the next one has to say.

Commit metadata is read when a partition is assigned, before any of its records is decided. Until that succeeded, and
while the mapping is older than the one that the partition was last handled by, the partition waits.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from sidestream_sdk.fences import FencedChange, State, settled
from sidestream_sdk.notes import MAX_BYTES, Notes, size_of
from sidestream_sdk.ownership import Mapping
from sidestream_sdk.plain import NO_OFFSET, Plain, place_of
from sidestream_sdk.progress import Place
from sidestream_sdk.settings import Reset
from sidestream_sdk.tally import ConsumerTally

logger = logging.getLogger("sidestream_sdk")

LEAST_BYTES: Final = 64
"""A broker that takes less metadata than this gets none where there is no acknowledgement in it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Notes on their way to the broker since `at`; `changes` are those that they acknowledge for the first time."""

    notes: Notes
    changes: frozenset[str]
    at: float

    def is_in(self, metadata: str | None) -> bool:
        """Whether a commit with this metadata had everything that these notes acknowledge."""
        there = Notes.parse(metadata)
        return all(
            there.find(change, kind) == value
            for change, kinds in self.notes.acks.items()
            for kind, value in kinds.items()
        )


@dataclass(slots=True)
class Partition:
    """One partition; offsets are next ones, as committed ones are."""

    notes: Notes | None = None
    """As last read or written; None until they were read."""
    start: int | None = None
    """Where reading began, where nothing had been committed."""
    stored: TopicPartition | None = None
    """How far the application is, as far as it cannot be told from the position."""
    committed: int = NO_OFFSET
    """What this consumer committed last."""
    waits: bool = True
    """Whether nothing of it may be decided now."""
    is_new: bool = False
    """Whether nothing had been committed on it when it was assigned."""
    owes: bool = False
    """Whether its notes have to be committed once more: the last attempt may have failed."""
    sent: Sent | None = None
    """What of its notes the broker has not answered yet."""


class Partitions:
    """All partitions of one consumer. `mapping` is the one that records are decided by."""

    def __init__(self, plain: Plain, tally: ConsumerTally, reset: Reset) -> None:
        self.mapping: Mapping | None = None
        self.limit = MAX_BYTES
        """The most bytes of metadata that the broker takes."""
        self._plain = plain
        self._tally = tally
        self._reset = reset
        self._known: dict[Place, Partition] = {}
        self._prepared: dict[Place, Partition] = {}
        self._told_dropped = False

    def items(self) -> list[tuple[Place, Partition]]:
        """All partitions by their places."""
        return list(self._known.items())

    def values(self) -> list[Partition]:
        """All partitions."""
        return list(self._known.values())

    def places(self) -> list[Place]:
        """Where all partitions are."""
        return list(self._known)

    def get(self, place: Place) -> Partition | None:
        """The partition, None where it is not assigned."""
        return self._known.get(place)

    # --- coming and going

    def prepare(self, partitions: Iterable[TopicPartition]) -> None:
        """These are about to be assigned: read what their commits say, and find out where they begin without one."""
        self._prepared = {place_of(item): Partition() for item in partitions}
        try:
            self._read(self._prepared)
            self._find_starts()
        except KafkaException as error:
            logger.warning("Commits of newly assigned partitions cannot be read yet: %s", error)

    def add(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """These are assigned now: as they are to be given to the base class."""
        return [self._add(item) for item in partitions]

    def settle_in(self) -> None:
        """The assignment is done: what was prepared for it and not assigned is forgotten."""
        self._prepared = {}

    def expect(self, place: Place) -> None:
        """A record came from a partition that nobody knew to be assigned."""
        self._known.setdefault(place, Partition())

    def drop(self, places: Iterable[Place]) -> None:
        """These are assigned no more."""
        for place in places:
            self._known.pop(place, None)

    def read_missing(self) -> bool:
        """Read the notes of partitions that have none yet; whether none is missing then."""
        missing = {place: item for place, item in self._known.items() if item.notes is None}
        if missing:
            self._read(missing)
        return all(item.notes is not None for item in missing.values())

    def _add(self, item: TopicPartition) -> TopicPartition:
        place = place_of(item)
        partition = self._known[place] = self._prepared.get(place, Partition())
        if item.offset >= 0:
            partition.start = item.offset
        elif item.offset == NO_OFFSET and partition.start is not None:
            return TopicPartition(item.topic, item.partition, partition.start)
        return item

    def _read(self, partitions: dict[Place, Partition]) -> None:
        for place, found in self._plain.committed(partitions).items():
            partitions[place].notes = Notes.parse(found.metadata)
            partitions[place].is_new = found.offset < 0

    def _find_starts(self) -> None:
        """Where nothing was committed, an acknowledgement has to be committed with the offset that reading began at."""
        new = [place for place, item in self._prepared.items() if item.is_new]
        match self._reset:
            case "earliest":
                starts = self._plain.beginnings(new)
            case "latest":
                starts = self._plain.ends(new)
            case "error":
                starts = {}
        for place, start in starts.items():
            self._prepared[place].start = start

    # --- notes

    def changes(self, topic: str) -> tuple[FencedChange, ...]:
        """The fenced changes of a topic."""
        found = self.mapping.topics.get(topic) if self.mapping is not None else None
        return found.fenced if found is not None else ()

    def endings(self, sandbox: str | None) -> dict[Place, int]:
        """Where a hand-off ends that this side has not committed past yet: `until` by partition."""
        found: dict[Place, int] = {}
        for place, partition in self._known.items():
            for change in self.changes(place[0]):
                fence = change.partitions.get(place[1])
                if sandbox in {None, change.sandbox} and fence is not None and fence.state is State.UNTIL:
                    until = fence.until or 0
                    if until > partition.committed:
                        found[place] = min(until, found.get(place, until))
        return found

    def counting(self, place: Place) -> Notes | None:
        """What counts of a partition's notes here; None where they are not known."""
        partition = self._known.get(place)
        if partition is None or partition.notes is None:
            return None
        return self._of_here(partition.notes)

    def sent(self, place: Place) -> Collection[str]:
        """The changes of which the notes have what is still on its way to the broker."""
        partition = self._known.get(place)
        return () if partition is None or partition.sent is None else partition.sent.changes

    def current(self, place: Place, partition: Partition) -> Notes:
        """A partition's notes as they are to be written now: without what the mapping says, and with its version."""
        notes = partition.notes or Notes()
        mapping = self.mapping
        if mapping is None or not mapping.epoch or partition.waits:
            return notes
        return settled(notes.of(mapping.epoch), self.changes(place[0]), place[1]).at(mapping.version, mapping.epoch)

    def forget_settled(self) -> bool:
        """Forget acknowledgements that the mapping knows by now; whether there were any."""
        changed = False
        for place, item in self.items():
            if item.notes is not None and item.notes.acks and not item.waits:
                current = self.current(place, item)
                changed |= current.acks != item.notes.acks
                item.notes = current
        return changed

    def write(self, place: Place, app: str = "") -> str:
        """The metadata of the next commit on a partition, with the application's own text."""
        partition = self._known.get(place)
        if partition is None:
            return app
        partition.notes = replace(self.current(place, partition), app=app)
        return self.fitting(partition.notes)

    def fitting(self, notes: Notes) -> str:
        """The notes as a text that the broker takes; the application's part goes first."""
        text = notes.encode()
        if size_of(text) <= self.limit:
            return text
        self._tally.dropped_metadata += bool(notes.app)
        if notes.app and not self._told_dropped:
            self._told_dropped = True
            logger.warning("Commit metadata of the application is left out: with Sidestream's it is too long.")
        text = replace(notes, app="").encode()
        return "" if size_of(text) > self.limit < LEAST_BYTES and not notes.acks else text

    def shrink(self) -> None:
        """The broker refused metadata of this size: take half of it for its limit."""
        self.limit //= 2
        logger.warning("The broker refused commit metadata as too large; from now on it is at most %d B.", self.limit)

    def _of_here(self, notes: Notes) -> Notes:
        epoch = self.mapping.epoch if self.mapping is not None else ""
        return notes.of(epoch) if epoch else notes
