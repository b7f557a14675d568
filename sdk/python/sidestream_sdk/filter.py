"""The record loop's part: take or skip records by the mapping in force. Pure but for its counts and notes.

This is the code that runs for every record of a topic, so it is written for speed: what headers say is looked up by
their bytes, `own` decides a whole batch in one loop, and where nobody claims anything headers are not read at all.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from sidestream_sdk.baggage import HeaderRules, Headers, RawTenant, Reading, ReadingSteps, reading_steps, size_of
from sidestream_sdk.ownership import Mapping, TopicRule, rule_of
from sidestream_sdk.progress import SkipProgress, TopicProgress
from sidestream_sdk.tally import ConsumerTally, TopicTally

REMEMBERED: Final = 1024
REMEMBERED_BYTES: Final = 1024
"""How many different headers of a topic are remembered, and of which length at most: together 1 MiB, with flaws 2."""


class Record(Protocol):
    """What of a Kafka message the decision needs."""

    def error(self) -> object | None:
        """Set for what is no record: an event or an error."""
        ...

    def topic(self) -> str | None:
        """The record's topic."""
        ...

    def headers(self) -> Headers | None:
        """The record's headers."""
        ...

    def partition(self) -> int | None:
        """The record's partition."""
        ...

    def offset(self) -> int | None:
        """The record's offset."""
        ...


R = TypeVar("R", bound=Record)
T = TypeVar("T")


class RecordFilter:
    """Decides for the baseline (`sandbox` None) or for one fork; give it each new mapping with `update`.

    `progress` is told what became of every record, where there is one.
    """

    def __init__(self, *, sandbox: str | None, tally: ConsumerTally, progress: SkipProgress | None = None) -> None:
        self._sandbox = sandbox
        self._tally = tally
        self._progress = progress
        self._header = HeaderRules()
        self._steps = reading_steps(self._header)
        self._topics: dict[str | None, _Topic] = {}
        self.mapping: Mapping | None = None

    def update(self, mapping: Mapping) -> None:
        """Decide by this mapping from now on."""
        if mapping.header != self._header:
            self._header = mapping.header
            self._steps = reading_steps(mapping.header)
        self._topics.clear()
        self.mapping = mapping

    def takes(self, record: Record) -> bool:
        """Whether the application gets this record."""
        name = record.topic()
        topic = self._topics.get(name) or self._learn(name)
        taken = topic.default
        if topic.exceptions:
            raw = topic.find(record.headers())
            verdict = topic.verdicts.get(raw)
            taken = verdict if verdict is not None else topic.judge(raw)
        if taken:
            topic.counts.processed += 1
        else:
            topic.counts.skipped += 1
        if topic.progress is not None:
            topic.progress.note(record, taken=taken)
        return taken

    def own(self, batch: list[R]) -> list[R]:
        """What of a batch the application gets: the records that `takes` says, and all events and errors.

        It empties the batch on the way: what is skipped is freed at once, and is no work for the garbage collector.
        """
        ours: list[R] = []
        topic: _Topic | None = None
        batch.reverse()
        while batch:
            record = batch.pop()
            if record.error() is not None:
                ours.append(record)
                continue
            name = record.topic()
            if topic is None or name != topic.name:
                topic = self._topics.get(name) or self._learn(name)
                default, exceptions, find, verdict_on = topic.default, topic.exceptions, topic.find, topic.verdicts.get
                counts, progress = topic.counts, topic.progress
            taken = default
            if exceptions:
                raw = find(record.headers())
                verdict = verdict_on(raw)
                taken = verdict if verdict is not None else topic.judge(raw)
            if taken:
                counts.processed += 1
                ours.append(record)
            else:
                counts.skipped += 1
            if progress is not None:
                progress.note(record, taken=taken)
        return ours

    def _learn(self, name: str | None) -> _Topic:
        topics = self.mapping.topics if self.mapping is not None else {}
        rule = rule_of(topics.get(name or ""), sandbox=self._sandbox)
        progress = self._progress.of(name or "") if self._progress is not None else None
        topic = _Topic(name, rule, self._steps, self._tally.of(name or ""), progress)
        self._topics[name] = topic
        return topic


class _Topic:
    """What one topic's records are decided by, and what was decided: `verdicts` are those on flawless headers."""

    __slots__ = ("_flawed", "_read", "counts", "default", "exceptions", "find", "name", "progress", "verdicts")

    def __init__(
        self, name: str | None, rule: TopicRule, steps: ReadingSteps, counts: TopicTally, progress: TopicProgress | None
    ) -> None:
        self.name = name
        self.default = rule.default
        self.exceptions = rule.exceptions
        self.find = steps.find
        self._read = steps.read
        self.counts = counts
        self.progress = progress
        self.verdicts: dict[RawTenant, bool] = {}
        self._flawed: dict[RawTenant, Reading] = {}

    def judge(self, raw: RawTenant) -> bool:
        """Whether a record is taken whose headers have no verdict yet, or have flaws, which are counted each time."""
        reading = self._flawed.get(raw) or self._read(raw)
        key, malformed, conflicts = reading
        taken = (key in self.exceptions) != self.default
        if malformed or conflicts:
            self.counts.malformed += malformed
            self.counts.conflicts += conflicts
            _remember(self._flawed, raw, reading)
        else:
            _remember(self.verdicts, raw, taken)
        return taken


def _remember(known: dict[RawTenant, T], raw: RawTenant, what: T) -> None:
    if size_of(raw) <= REMEMBERED_BYTES:
        if len(known) >= REMEMBERED:
            known.clear()
        known[raw] = what
