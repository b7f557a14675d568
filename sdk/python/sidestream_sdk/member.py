"""One consumer as a member of its group: what has to be done between two records, and around rebalances.

A turn takes in the mapping, reads commits of new partitions, decides which partitions have to wait, acknowledges what
the mapping asks for, commits, and lets go of held records. It runs at the start of `poll` and `consume`, when there is
something to do.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from sidestream_sdk.acknowledge import Acknowledger
from sidestream_sdk.commits import CommitCallback, Commits
from sidestream_sdk.cutoff import CutOff
from sidestream_sdk.ends import Ends
from sidestream_sdk.filter import RecordFilter
from sidestream_sdk.holding import Holding
from sidestream_sdk.mapping import MappingClient, is_current
from sidestream_sdk.notes import Notes
from sidestream_sdk.partitions import Partitions
from sidestream_sdk.plain import Plain, place_of
from sidestream_sdk.progress import Place, SkipProgress
from sidestream_sdk.settings import CommitSettings
from sidestream_sdk.tally import ConsumerTally

logger = logging.getLogger("sidestream_sdk")

PROGRESS_SECONDS: Final = 1.0
"""How often skipped records are committed past where the application commits or stores."""

WAITING_SECONDS: Final = 0.1
"""How often partitions that have to wait are looked at."""

READ_AGAIN_SECONDS: Final = 0.5


class Member:
    """Keeps a consumer's partitions; it is the `Watch` of the consumer's record filter."""

    def __init__(
        self,
        plain: Plain,
        client: MappingClient,
        settings: CommitSettings,
        tally: ConsumerTally,
        *,
        sandbox: str | None,
        callback: CommitCallback | None,
        ends: Ends,
    ) -> None:
        self.due = 0.0
        """When the next turn has to be."""
        self.is_assigned_by_hand = False
        self.progress = SkipProgress() if settings.needs_help else None
        self.holding: Holding[Message] = Holding()
        self.partitions = Partitions(plain, tally, settings.reset)
        self.commits = Commits(plain, self.partitions, self.holding, settings, callback)
        self.records = RecordFilter(sandbox=sandbox, tally=tally, progress=self.progress, watch=self)
        self._ends = ends
        self._acknowledger = Acknowledger(plain, self.partitions, self.commits, ends, sandbox=sandbox)
        self._sandbox = sandbox
        self._plain = plain
        self._client = client
        self._settings = settings
        self._tally = tally
        self._seen = 0
        self._stored: dict[Place, int] = {}
        self._cut_off = CutOff(self.commits, client.age, self._acknowledger.prove, settings.session)
        self._is_cut_off = False
        self._read_due = 0.0
        self._progress_due = 0.0 if self.progress is not None else math.inf
        self._told_by_hand = False

    # --- turns

    def told(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The base class's `on_commit`: how a commit that nobody waited for went."""
        self.commits.told(error, partitions)
        if self._acknowledger.told(error, partitions):
            self._look_again()
            self.due = 0.0

    def turn(self, now: float) -> None:
        """Do what is to be done between two records; everything handed out before counts as processed."""
        self.adopt()
        if now >= self._read_due:
            self._read_missing(now)
        self._judge(now)
        if self.partitions.forget_settled():
            self._look_again()
        if self._acknowledger.turn(now):
            self._judge(now)
            self._look_again()
        ends = self.partitions.endings(self._sandbox)
        if ends:
            self.commits.hurry(ends, now)
        if now >= self.commits.due:
            self.commits.commit_due(now)
        if now >= self._progress_due:
            self._progress_due = now + PROGRESS_SECONDS
            self.commit_skipped()
        self._tally.pending = self._acknowledger.pending()
        self._tell_by_hand()
        waits = bool(ends) or any(item.waits for item in self.partitions.values())
        looks = now + WAITING_SECONDS if waits else math.inf
        self.due = min(looks, self.commits.due, self._progress_due, self._acknowledger.due)

    def adopt(self) -> None:
        """Decide by the newest mapping from now on."""
        known = self._client.known
        if known is None:
            return
        mapping, self._seen = known
        if mapping is not self.records.mapping:
            self.partitions.mapping = mapping
            self.records.update(mapping)
            self._judge_versions()
            self._look_again()
            self.due = 0.0

    def _read_missing(self, now: float) -> None:
        try:
            is_complete = self.partitions.read_missing()
        except KafkaException as error:
            logger.debug("Commits cannot be read yet: %s", error)
            is_complete = False
        self._read_due = 0.0 if is_complete else now + READ_AGAIN_SECONDS

    def _judge(self, now: float) -> None:
        self._is_cut_off = self._cut_off.look(now)
        self._judge_versions()

    def _judge_versions(self) -> None:
        """Which partitions have to wait; the mapping is asked for again where it is too old."""
        changed, waiting = False, 0
        for item in self.partitions.values():
            waits = self._is_cut_off or item.notes is None or self._is_behind(item.notes)
            changed |= waits != item.waits
            item.waits = waits
            waiting += waits
        self._tally.waiting = waiting
        if changed:
            self._look_again()

    def _is_behind(self, notes: Notes) -> bool:
        mapping = self.partitions.mapping
        if mapping is None or is_current(mapping, self._seen, version=notes.version, epoch=notes.epoch):
            return False
        self._client.catch_up(notes.version, notes.epoch)
        return True

    def _tell_by_hand(self) -> None:
        mapping = self.partitions.mapping
        if self.is_assigned_by_hand and not self._told_by_hand and mapping is not None:
            self._told_by_hand = any(topic.fenced for topic in mapping.topics.values())
            if self._told_by_hand:
                logger.warning("Partitions were assigned by hand: the broker cannot keep two members from one of them.")

    # --- held records

    def pause_held(self) -> None:
        """Read no further where records are held since a moment ago."""
        fresh = [place for place in self.holding.places() if place not in self.holding.stopped]
        if fresh:
            self._plain.pause(fresh)
            self.holding.stopped.update(fresh)

    def next_held(self) -> Message | None:
        """The next held record of ours that can be handed out by now."""
        ready = self.holding.ready
        while ready:
            place = ready[0]
            record = self.holding.first(place)
            if record is None or self.holding.is_paused(place):
                ready.popleft()
                continue
            taken = self.records.settle(record)
            if taken is None:
                ready.popleft()
            elif self.holding.pop(place):
                ready.popleft()
                self.records.refresh()
                self._read_on([place])
            if taken:
                return record
        return None

    def _look_again(self) -> None:
        """Notes or the mapping changed: decisions may, and held records may come free."""
        self.records.refresh()
        self.holding.ready.clear()
        self.holding.ready.extend(self.holding.places())

    def _read_on(self, places: Iterable[Place]) -> None:
        """Read on what was stopped here, unless the application wants it stopped."""
        stopped = self.holding.stopped.intersection(places)
        self.holding.stopped -= stopped
        ours = [place for place in stopped if not self.holding.is_paused(place)]
        if ours:
            self._plain.resume(ours)

    # --- what the record filter asks

    def is_watched(self, topic: str) -> bool:
        """See `filter.Watch`."""
        waits = any(place[0] == topic and item.waits for place, item in self.partitions.items())
        return waits or any(place[0] == topic for place in self.holding.places())

    def has_to_wait(self, place: Place) -> bool:
        """See `filter.Watch`."""
        partition = self.partitions.get(place)
        return partition is None or partition.waits

    def holds(self, place: Place) -> bool:
        """See `filter.Watch`."""
        return place in self.holding

    def notes(self, place: Place) -> Notes | None:
        """See `filter.Watch`."""
        return self.partitions.counting(place)

    def sent(self, place: Place) -> Collection[str]:
        """See `filter.Watch`."""
        return self.partitions.sent(place)

    def hold(self, record: Any) -> None:
        """See `filter.Watch`."""
        self.partitions.expect((record.topic() or "", record.partition() or 0))
        self.holding.add(record)
        self.due = 0.0

    # --- partitions come and go

    def added(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """These are about to be assigned: as they are to be given to the base class."""
        given = self.partitions.add(partitions)
        places = [place_of(item) for item in given]
        self.holding.drop(places)
        self._read_on(places)
        if self.progress is not None:
            self.progress.forget(places)
        self._ends.forget()
        self._judge_versions()
        self._look_again()
        self.due = 0.0
        return given

    def removed(self, places: Collection[Place]) -> None:
        """These are ours no more."""
        self._ends.forget()
        self.partitions.drop(places)
        self.holding.drop(places)
        if self.progress is not None:
            self.progress.forget(places)
        self.records.refresh()
        self.due = 0.0

    def places(self) -> list[Place]:
        """All partitions that are assigned."""
        return self.partitions.places()

    def leave(self, places: Collection[Place]) -> None:
        """Commit what is to be committed before these go."""
        self.commit_skipped()
        self.commits.commit_last(self.commits.how_far(places))

    # --- what the application does

    def paused(self, partitions: Iterable[TopicPartition]) -> None:
        """It paused these."""
        self.holding.pause(map(place_of, partitions))

    def resumed(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """It resumes these: those that can be read on at once."""
        asked = list(partitions)
        self.holding.resume(map(place_of, asked))
        self._look_again()
        return [item for item in asked if place_of(item) not in self.holding]

    def sought(self, place: Place) -> None:
        """It reads this partition from elsewhere."""
        if self.progress is not None:
            self.progress.forget([place])
        self.holding.drop([place])
        self._read_on([place])
        self.records.refresh()

    def committed(self, offsets: Mapping[Place, int] | None) -> None:
        """It committed these; None: everything."""
        if self.progress is None:
            return
        if offsets is None and self._settings.auto_store:
            self.progress.acknowledged_all()
            return
        self._acknowledge(self._stored if offsets is None else offsets)
        if offsets is None:
            self._stored.clear()

    def stored(self, offsets: Mapping[Place, int]) -> None:
        """It stored these."""
        if self._settings.auto_commit:
            self._acknowledge(offsets)
        else:
            self._stored.update(offsets)

    def _acknowledge(self, offsets: Mapping[Place, int]) -> None:
        if self.progress is not None:
            for place, offset in offsets.items():
                self.progress.acknowledged(place, offset)

    # --- committing past skipped records

    def commit_skipped(self) -> None:
        """Commit past records that were skipped, or have it done with the next commit of all."""
        due = self.progress.take_due() if self.progress is not None else []
        if due:
            self.commits.skipped([TopicPartition(topic, partition, offset) for (topic, partition), offset in due])
