"""Acknowledge what the mapping asks of the partitions' owner, between two records.

An acknowledgement is a commit that is waited for: of the offset that is committed already (never the position, which
may be ahead of what the application has done), with the acknowledgements in its metadata. They count from then on, be
the commit confirmed or not: one that seems to have failed may have reached the broker, and an acknowledged number must
never change. Nothing is lost where it did not: every later commit of the partition carries the same notes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sidestream_sdk.commits import Commits
from sidestream_sdk.ends import LOOK_SECONDS as LOOK_FOR_ENDS_SECONDS
from sidestream_sdk.ends import Ends
from sidestream_sdk.fences import Due, acknowledged, due, is_ready, needs_end
from sidestream_sdk.notes import Notes, size_of
from sidestream_sdk.partitions import Partition, Partitions
from sidestream_sdk.plain import Plain, partition_at
from sidestream_sdk.progress import Place

logger = logging.getLogger("sidestream_sdk")

FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 2.0
"""How often acknowledgements that the mapping does not know yet are looked for in what is committed."""

_ROOM: Final = 40
"""Bytes of metadata that are left free: later versions have more digits."""


@dataclass(frozen=True)
class _Asked:
    """What a partition owes; `notes` are its own without what the mapping says by now."""

    place: Place
    partition: Partition
    notes: Notes
    dues: list[Due]


class Acknowledger:
    """One consumer's; `sandbox` is None in the baseline."""

    def __init__(
        self, plain: Plain, partitions: Partitions, commits: Commits, ends: Ends, *, sandbox: str | None
    ) -> None:
        self.due = math.inf
        """When to look again, where something could not be done yet."""
        self._plain = plain
        self._partitions = partitions
        self._commits = commits
        self._ends = ends
        self._sandbox = sandbox
        self._retry = FIRST_RETRY_SECONDS
        self._look_due = 0.0

    def turn(self, now: float) -> bool:
        """Acknowledge whatever is asked for; whether notes changed, so that decisions do."""
        self.due = math.inf
        self._look(now)
        asked = list(self._asked())
        if not asked:
            return False
        in_need = [item.place for item in asked if any(map(needs_end, item.dues))]
        ends = self._ends.of(in_need) if in_need else {}
        if ends is None:
            self.due = now + LOOK_FOR_ENDS_SECONDS
            asked = [item for item in asked if item.place not in in_need]
            if not asked:
                return False
        try:
            changed, is_done = self._answer(asked, ends or {})
        except KafkaException as error:
            logger.debug("Could not acknowledge: %s", error)
            changed, is_done = False, False
        self._retry = FIRST_RETRY_SECONDS if is_done else min(self._retry * 2, LONGEST_RETRY_SECONDS)
        if not is_done:
            self.due = min(self.due, now + self._retry)
        return changed

    def pending(self) -> int:
        """How many acknowledgements the mapping does not know yet."""
        known = (item.notes for item in self._partitions.values())
        return sum(len(kinds) for notes in known if notes is not None for kinds in notes.acks.values())

    def prove(self) -> None:
        """Commit once more what is committed, to find out whether this member still may."""
        own = {place: item.notes for place, item in self._partitions.items() if item.notes is not None}
        try:
            committed = self._plain.committed(own)
        except KafkaException as error:
            logger.debug("Still without a word from the broker: %s", error)
            return
        self._commits.repeat(
            [
                partition_at(place, found.offset, metadata=own[place].encode(), leader_epoch=found.leader_epoch)
                for place, found in committed.items()
                if found.offset >= 0
            ]
        )

    def _asked(self) -> Iterator[_Asked]:
        for place, partition in self._partitions.items():
            if partition.waits or partition.notes is None:
                continue
            changes = self._partitions.changes(place[0])
            if not changes and not partition.owes:
                continue
            notes = self._partitions.current(place, partition)
            dues = list(due(changes, place[1], notes, sandbox=self._sandbox))
            if dues or partition.owes:
                yield _Asked(place, partition, notes, dues)

    def _answer(self, asked: list[_Asked], ends: dict[Place, int]) -> tuple[bool, bool]:
        """Whether notes changed, and whether nothing is left to do again."""
        committed = self._plain.committed([item.place for item in asked])
        offsets: list[TopicPartition] = []
        written: list[tuple[Partition, Notes]] = []
        for item in asked:
            base = self._base(item, committed.get(item.place))
            if base is None or (item.place not in ends and any(map(needs_end, item.dues))):
                continue
            notes = self._with_acks(item, base, ends.get(item.place))
            if notes.acks == item.notes.acks and not item.partition.owes:
                continue
            offsets.append(
                partition_at(item.place, base.offset, metadata=notes.encode(), leader_epoch=base.leader_epoch)
            )
            written.append((item.partition, notes))
        if not offsets:
            return False, False
        error = self._commits.repeat(offsets)
        for partition, notes in written:
            if error is not None and error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
                partition.notes, partition.waits = None, True
            else:
                partition.notes, partition.owes = notes, error is not None
        return True, error is None and len(offsets) == len(asked)

    def _base(self, item: _Asked, committed: TopicPartition | None) -> TopicPartition | None:
        """What the acknowledgement is committed with; None where that is not known."""
        if committed is None or committed.offset >= 0:
            return committed
        start = item.partition.start
        return None if start is None else partition_at(item.place, start)

    def _with_acks(self, item: _Asked, base: TopicPartition, end: int | None) -> Notes:
        notes = item.notes
        position = self._position(item, base)
        for asked in item.dues:
            if not is_ready(asked, committed=base.offset):
                continue
            more = notes.with_ack(asked.change, asked.kind, acknowledged(asked, position=position, end=end))
            if size_of(more.encode()) > self._partitions.limit - _ROOM:
                more = replace(more, app="")
            if size_of(more.encode()) > self._partitions.limit - _ROOM:
                break
            notes = more
        return notes

    def _position(self, item: _Asked, base: TopicPartition) -> int:
        """The next undecided offset: at least that after every record that this member was ever to decide."""
        reached, stored = self._commits.reached(item.place), item.partition.stored
        return max(base.offset, *(known.offset for known in (reached, stored) if known is not None), 0)

    def _look(self, now: float) -> None:
        """Whoever commits past the SDK, as in a transaction without our metadata, wipes out what was acknowledged."""
        pending = {place: item for place, item in self._partitions.items() if item.notes and item.notes.acks}
        if not pending:
            return
        if now >= self._look_due:
            self._look_due = now + LOOK_SECONDS
            try:
                committed = self._plain.committed(pending)
            except KafkaException:
                committed = {}
            for place, found in committed.items():
                there = Notes.parse(found.metadata)
                own = pending[place].notes or Notes()
                pending[place].owes |= any(
                    there.find(change, kind) is None for change, kinds in own.acks.items() for kind in kinds
                )
        self.due = self._look_due
