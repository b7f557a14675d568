"""Acknowledge what the mapping asks of the partitions' owner, between two records.

An acknowledgement is a commit of the offset that is committed already (never the position, which may be ahead of what
the application has done), with the acknowledgements in its metadata. The loop goes on meanwhile, as a commit that is
waited for can hang for good in librdkafka (docs/decisions/0018); only records that the answer decides are held.

Whatever the answer, the numbers count from then on, as they do when none comes: a commit that seems to have failed may
have reached the broker, and an acknowledged number must never change. Nothing is lost where it did not: every later
commit of the partition carries the same notes. But metadata that the broker refuses for its size was never there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sidestream_sdk.commits import Commits
from sidestream_sdk.committed import is_too_large
from sidestream_sdk.ends import LOOK_SECONDS as LOOK_FOR_ENDS_SECONDS
from sidestream_sdk.ends import Ends
from sidestream_sdk.fences import Due, acknowledged, due, is_ready, needs_end
from sidestream_sdk.notes import Notes, size_of
from sidestream_sdk.partitions import Partition, Partitions, Sent
from sidestream_sdk.plain import Plain, partition_at, place_of
from sidestream_sdk.progress import Place

logger = logging.getLogger("sidestream_sdk")

FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 2.0
"""How often acknowledgements that the mapping does not know yet are looked for in what is committed."""

ANSWER_SECONDS: Final = 2.0
"""How long the broker's answer is waited for before the same is committed once more."""

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
        self._has_failed = False
        self._look_due = 0.0

    def turn(self, now: float) -> bool:
        """Acknowledge whatever is asked for; whether notes changed, or what counts of them, so that decisions do."""
        self.due = math.inf
        changed = self._give_up(now)
        self._look(now)
        if not self._has_failed:
            changed |= self._acknowledge(now)
        if self._has_failed:
            self._has_failed = False
            self._retry = min(self._retry * 2, LONGEST_RETRY_SECONDS)
            self.due = min(self.due, now + self._retry)
        sent = [item.sent.at for item in self._partitions.values() if item.sent is not None]
        self.due = min([self.due, *(at + ANSWER_SECONDS for at in sent)])
        return changed

    def told(self, error: KafkaError | None, partitions: list[TopicPartition]) -> bool:
        """How a commit went; whether it is the answer that decisions wait for."""
        found = False
        for item in partitions:
            partition = self._partitions.get(place_of(item))
            if partition is not None and partition.sent is not None and partition.sent.is_in(item.metadata):
                self._settle(partition, item.error or error)
                found = True
        return found

    def _acknowledge(self, now: float) -> bool:
        asked = list(self._asked())
        in_need = [item.place for item in asked if any(map(needs_end, item.dues))]
        ends = self._ends.of(in_need) if in_need else {}
        if ends is None:
            self.due = min(self.due, now + LOOK_FOR_ENDS_SECONDS)
            asked = [item for item in asked if item.place not in in_need]
        if not asked:
            return False
        try:
            return self._send(asked, ends or {}, now)
        except KafkaException as error:
            logger.debug("Could not acknowledge: %s", error)
            self._has_failed = True
            return False

    def _give_up(self, now: float) -> bool:
        """Answers that do not come are not waited for; whether there were any."""
        late = [item for item in self._partitions.values() if item.sent and now - item.sent.at >= ANSWER_SECONDS]
        for partition in late:
            partition.sent, partition.owes = None, True
        if late:
            logger.debug("No answer to an acknowledgement for %.0f s, sending it again.", ANSWER_SECONDS)
        return bool(late)

    def _settle(self, partition: Partition, error: KafkaError | None) -> None:
        """The broker answered."""
        was_new = partition.sent is not None and bool(partition.sent.changes)
        partition.sent, partition.owes = None, error is not None
        if is_too_large(error) and was_new:
            # what is there instead is read again; numbers that count already are sent again instead, without the
            # application's part
            partition.notes, partition.waits, partition.owes = None, True, False
        if error is None:
            self._retry = FIRST_RETRY_SECONDS
        else:
            self._has_failed = True

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
        self._commits.send(
            [
                partition_at(place, found.offset, metadata=own[place].encode(), leader_epoch=found.leader_epoch)
                for place, found in committed.items()
                if found.offset >= 0
            ]
        )

    def _asked(self) -> Iterator[_Asked]:
        for place, partition in self._partitions.items():
            if partition.waits or partition.notes is None or partition.sent is not None:
                continue
            changes = self._partitions.changes(place[0])
            if not changes and not partition.owes:
                continue
            notes = self._partitions.current(place, partition)
            dues = list(due(changes, place[1], notes, sandbox=self._sandbox))
            if dues or partition.owes:
                yield _Asked(place, partition, notes, dues)

    def _send(self, asked: list[_Asked], ends: dict[Place, int], now: float) -> bool:
        """Whether notes changed; what is left to be done again has failed."""
        committed = self._plain.committed([item.place for item in asked])
        offsets: list[TopicPartition] = []
        for item in asked:
            base = self._base(item, committed.get(item.place))
            if base is None or (item.place not in ends and any(map(needs_end, item.dues))):
                continue
            notes = self._with_acks(item, base, ends.get(item.place))
            if notes.acks == item.notes.acks and not item.partition.owes:
                continue
            metadata = self._partitions.fitting(notes)
            offsets.append(partition_at(item.place, base.offset, metadata=metadata, leader_epoch=base.leader_epoch))
            fresh = frozenset(due.change for due in item.dues if notes.find(due.change, due.kind) is not None)
            item.partition.notes, item.partition.owes = notes, False
            item.partition.sent = Sent(notes, fresh, now)
        self._has_failed = len(offsets) < len(asked)
        error = self._commits.send(offsets) if offsets else None
        if error is not None:
            self.told(error, offsets)
        return bool(offsets)

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
        pending = {
            place: item
            for place, item in self._partitions.items()
            if item.notes and item.notes.acks and item.sent is None
        }
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
        self.due = min(self.due, self._look_due)
