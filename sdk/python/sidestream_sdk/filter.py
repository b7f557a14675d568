"""The record loop's part: take, skip or hold records by the mapping in force. Pure but for its counts and notes.

This is the code that runs for every record of a topic, so it is written for speed: what headers say is looked up by
their bytes, `own` decides a whole batch in one loop, and where nobody claims anything headers are not read at all. Only
a record whose headers do not decide it is looked at further: by its offset, or since its partition has to wait.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from typing import Any, Protocol, TypeVar

from sidestream_sdk.baggage import HeaderRules, reading_steps
from sidestream_sdk.notes import Notes
from sidestream_sdk.ownership import Mapping, rule_of
from sidestream_sdk.progress import Place, SkipProgress
from sidestream_sdk.tally import ConsumerTally
from sidestream_sdk.topics import UNKNOWN, Claim, Record, Steps, Topic, WatchedTopic, steps_of

R = TypeVar("R", bound=Record)


class Watch(Protocol):
    """What the decision has to know of a consumer's partitions."""

    def is_watched(self, topic: str) -> bool:
        """Whether any of the topic's partitions has to wait or holds records."""
        ...

    def has_to_wait(self, place: Place) -> bool:
        """Whether nothing of the partition may be decided now."""
        ...

    def holds(self, place: Place) -> bool:
        """Whether earlier records of the partition are held."""
        ...

    def notes(self, place: Place) -> Notes | None:
        """What counts of the partition's notes; None where they are not known."""
        ...

    def sent(self, place: Place) -> Collection[str]:
        """The changes of which the notes have what is still on its way to the broker."""
        ...

    def hold(self, record: Any) -> None:
        """Keep the record, the next of its partition, until it can be decided."""
        ...


class RecordFilter:
    """Decides for the baseline (`sandbox` None) or for one fork; give it each new mapping with `update`.

    `progress` is told what became of every record, where there is one. `watch` knows the partitions, and is given the
    records that have to wait; without one nothing ever has to.
    """

    def __init__(
        self,
        *,
        sandbox: str | None,
        tally: ConsumerTally,
        progress: SkipProgress | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._tally = tally
        self._progress = progress
        self._watch = watch or _Unwatched()
        self._header = HeaderRules()
        self._steps = reading_steps(self._header)
        self._topics: dict[str | None, Topic | WatchedTopic] = {}
        self.mapping: Mapping | None = None

    def update(self, mapping: Mapping) -> None:
        """Decide by this mapping from now on."""
        if mapping.header != self._header:
            self._header = mapping.header
            self._steps = reading_steps(mapping.header)
        self.refresh()
        self.mapping = mapping

    def refresh(self) -> None:
        """Look again at partitions and their notes: some changed."""
        self._topics.clear()

    def takes(self, record: Record) -> bool | None:
        """Whether the application gets this record, the next of its partition; None where it is held."""
        name = record.topic()
        topic = self._topics.get(name) or self._learn(name)
        taken = topic.default
        if topic.looks:
            raw = topic.find(record.headers())
            verdict = topic.verdicts.get(raw)
            if verdict is None:
                verdict = topic.judge(raw)
            if verdict is not True and verdict is not False:
                return self._look(topic, verdict, record)
            taken = verdict
        if taken:
            topic.counts.processed += 1
        else:
            topic.counts.skipped += 1
        if topic.progress is not None:
            topic.progress.note(record, taken=taken)
        return taken

    def own(self, batch: list[R]) -> list[R]:  # noqa: C901 - calls would cost more than they do
        """What of a batch the application gets: the records that `takes` says, and all events and errors.

        It empties the batch on the way: what is skipped is freed at once, and is no work for the garbage collector.
        """
        ours: list[R] = []
        topic: Topic | WatchedTopic | None = None
        batch.reverse()
        while batch:
            record = batch.pop()
            if record.error() is not None:
                ours.append(record)
                continue
            name = record.topic()
            if topic is None or name != topic.name:
                topic = self._topics.get(name) or self._learn(name)
                default, looks, find, verdict_on = topic.default, topic.looks, topic.find, topic.verdicts.get
                counts, progress = topic.counts, topic.progress
            taken = default
            if looks:
                raw = find(record.headers())
                verdict = verdict_on(raw)
                if verdict is None:
                    verdict = topic.judge(raw)
                if verdict is not True and verdict is not False:
                    decided = self._look(topic, verdict, record)
                    if decided:
                        ours.append(record)
                    elif decided is None:
                        topic = None  # it is a watched one from now on
                    continue
                taken = verdict
            if taken:
                counts.processed += 1
                ours.append(record)
            else:
                counts.skipped += 1
            if progress is not None:
                progress.note(record, taken=taken)
        return ours

    def settle(self, record: Record) -> bool | None:
        """As `takes`, for the first of a partition's held records; None: it stays where it is."""
        topic = self._topics.get(record.topic()) or self._learn(record.topic())
        inner = topic.inner if isinstance(topic, WatchedTopic) else topic
        return self._decide(inner, record)

    def _look(self, topic: Topic | WatchedTopic, verdict: Claim, record: Record) -> bool | None:
        """What becomes of a record that its headers alone do not decide."""
        known = verdict.known.get(record.partition())
        if known is not None:
            taken = known[1][bisect_right(known[0], record.offset() or 0) - 1]
            if taken is not None:
                if taken:
                    topic.counts.processed += 1
                else:
                    topic.counts.skipped += 1
                if topic.progress is not None:
                    topic.progress.note(record, taken=taken)
                return taken
        return self._look_closely(topic, verdict, record)

    def _look_closely(self, topic: Topic | WatchedTopic, verdict: Claim, record: Record) -> bool | None:
        if isinstance(topic, Topic):
            decided = self._by_offset(topic, verdict, record)
        elif self._watch.holds((topic.name or "", record.partition() or 0)):
            decided = None
        else:
            decided = self._decide(topic.inner, record)
        if decided is None:
            self._watch.hold(record)
            topic.counts.held += 1
            self._topics.pop(topic.name, None)
        return decided

    def _decide(self, topic: Topic, record: Record) -> bool | None:
        if self._watch.has_to_wait((topic.name or "", record.partition() or 0)):
            return None
        verdict: bool | Claim = topic.default
        if topic.looks:
            raw = topic.find(record.headers())
            known = topic.verdicts.get(raw)
            verdict = topic.judge(raw) if known is None else known
        if isinstance(verdict, Claim):
            return self._by_offset(topic, verdict, record)
        topic.count(record, taken=verdict)
        return verdict

    def _by_offset(self, topic: Topic, claim: Claim, record: Record) -> bool | None:
        partition = record.partition() or 0
        begins, verdicts = claim.known.get(partition) or self._learn_claim(topic, claim, partition)
        taken = verdicts[bisect_right(begins, record.offset() or 0) - 1]
        if taken is not None:
            topic.counts.malformed += claim.malformed
            topic.counts.conflicts += claim.conflicts
            topic.count(record, taken=taken)
        return taken

    def _learn(self, name: str | None) -> Topic | WatchedTopic:
        topics = self.mapping.topics if self.mapping is not None else {}
        rule = rule_of(topics.get(name or ""), sandbox=self._sandbox)
        progress = self._progress.of(name or "") if self._progress is not None else None
        topic = Topic(name, rule, self._steps, self._tally.of(name or ""), progress)
        known = WatchedTopic(topic) if self._watch.is_watched(name or "") else topic
        self._topics[name] = known
        return known

    def _learn_claim(self, topic: Topic, claim: Claim, partition: int) -> Steps:
        place = (topic.name or "", partition)
        notes, sent = self._watch.notes(place), self._watch.sent(place)
        steps = (
            UNKNOWN if notes is None else steps_of(claim.changes, partition, notes, sandbox=self._sandbox, sent=sent)
        )
        if not claim.malformed and not claim.conflicts:
            claim.known[partition] = steps
        return steps


class _Unwatched:
    """`Watch` of who knows of no partitions."""

    def is_watched(self, _: str) -> bool:
        return False

    def has_to_wait(self, _: Place) -> bool:
        return False

    def holds(self, _: Place) -> bool:
        return False

    def notes(self, _: Place) -> Notes | None:
        return Notes()

    def sent(self, _: Place) -> Collection[str]:
        return ()

    def hold(self, record: Any) -> None:
        raise AssertionError(f"nobody holds {record}")
