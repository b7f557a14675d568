"""The record loop's part: take, skip or hold records by the mapping in force. Pure but for its counts and notes.

This is the code that runs for every record of a topic, so it is written for speed: what headers say is looked up by
their bytes, `own` decides a whole batch in one loop, and where nobody claims anything headers are not read at all. Only
a record whose headers do not decide it is looked at further: by its offset, or since its partition has to wait.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final, Protocol, TypeVar

from sidestream_sdk.baggage import HeaderRules, Headers, RawTenant, Reading, ReadingSteps, reading_steps, size_of
from sidestream_sdk.fences import FencedChange, Verdict, baseline_verdict, bounds, fork_verdict
from sidestream_sdk.notes import Notes
from sidestream_sdk.ownership import Mapping, TopicRule, rule_of
from sidestream_sdk.progress import Place, SkipProgress, TopicProgress
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
        self._topics: dict[str | None, _Topic | _WatchedTopic] = {}
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
        topic: _Topic | _WatchedTopic | None = None
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
        inner = topic.inner if isinstance(topic, _WatchedTopic) else topic
        return self._decide(inner, record)

    def _look(self, topic: _Topic | _WatchedTopic, verdict: _Claim, record: Record) -> bool | None:
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

    def _look_closely(self, topic: _Topic | _WatchedTopic, verdict: _Claim, record: Record) -> bool | None:
        if isinstance(topic, _Topic):
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

    def _decide(self, topic: _Topic, record: Record) -> bool | None:
        if self._watch.has_to_wait((topic.name or "", record.partition() or 0)):
            return None
        verdict: bool | _Claim = topic.default
        if topic.looks:
            raw = topic.find(record.headers())
            known = topic.verdicts.get(raw)
            verdict = topic.judge(raw) if known is None else known
        if isinstance(verdict, _Claim):
            return self._by_offset(topic, verdict, record)
        topic.count(record, taken=verdict)
        return verdict

    def _by_offset(self, topic: _Topic, claim: _Claim, record: Record) -> bool | None:
        partition = record.partition() or 0
        begins, verdicts = claim.known.get(partition) or self._learn_claim(topic, claim, partition)
        taken = verdicts[bisect_right(begins, record.offset() or 0) - 1]
        if taken is not None:
            topic.counts.malformed += claim.malformed
            topic.counts.conflicts += claim.conflicts
            topic.count(record, taken=taken)
        return taken

    def _learn(self, name: str | None) -> _Topic | _WatchedTopic:
        topics = self.mapping.topics if self.mapping is not None else {}
        rule = rule_of(topics.get(name or ""), sandbox=self._sandbox)
        progress = self._progress.of(name or "") if self._progress is not None else None
        topic = _Topic(name, rule, self._steps, self._tally.of(name or ""), progress)
        known = _WatchedTopic(topic) if self._watch.is_watched(name or "") else topic
        self._topics[name] = known
        return known

    def _learn_claim(self, topic: _Topic, claim: _Claim, partition: int) -> Steps:
        notes = self._watch.notes((topic.name or "", partition))
        steps = _UNKNOWN if notes is None else steps_of(claim.changes, partition, notes, sandbox=self._sandbox)
        if not claim.malformed and not claim.conflicts:
            claim.known[partition] = steps
        return steps


Steps = tuple[list[int], list[bool | None]]
"""Offsets at which the decision changes, the first one 0, and whether a record is taken from each on (None: held)."""

_UNKNOWN: Final[Steps] = ([0], [None])
_TAKEN: Final = {Verdict.TAKE: True, Verdict.SKIP: False, Verdict.HOLD: None}


def steps_of(changes: tuple[FencedChange, ...], partition: int, notes: Notes, *, sandbox: str | None) -> Steps:
    """The decisions of one side on a partition's records with a key that these changes claim."""
    claims = [bounds(change, partition, notes) for change in changes]
    numbers = {number for item in claims for number in (item.begin, item.hold, item.until) if number is not None}
    begins = sorted({0, *numbers})
    decide = baseline_verdict if sandbox is None else fork_verdict
    return begins, [_TAKEN[decide(claims, offset)] for offset in begins]


class _Claim:
    """What decides where headers do not: the changes that claim their key, and the flaws of these headers.

    `known` are the verdicts by partition.
    """

    __slots__ = ("changes", "conflicts", "known", "malformed")

    def __init__(self, changes: tuple[FencedChange, ...], malformed: int = 0, conflicts: int = 0) -> None:
        self.changes = changes
        self.malformed = malformed
        self.conflicts = conflicts
        self.known: dict[int | None, Steps] = {}


class _Topic:
    """What one topic's records are decided by, and what was decided: `verdicts` are those on flawless headers."""

    __slots__ = (
        "_claims",
        "_flawed",
        "_read",
        "_rule",
        "counts",
        "default",
        "find",
        "looks",
        "name",
        "progress",
        "verdicts",
    )

    def __init__(
        self, name: str | None, rule: TopicRule, steps: ReadingSteps, counts: TopicTally, progress: TopicProgress | None
    ) -> None:
        self.name = name
        self.default = rule.default
        self.looks = bool(rule.exceptions or rule.claims)
        self.find = steps.find
        self.counts = counts
        self.progress = progress
        self.verdicts: dict[RawTenant, bool | _Claim] = {}
        self._read = steps.read
        self._rule = rule
        self._claims = {key: _Claim(changes) for key, changes in rule.claims.items()}
        self._flawed: dict[RawTenant, Reading] = {}

    def judge(self, raw: RawTenant) -> bool | _Claim:
        """Whose a record is whose headers have no verdict yet, or have flaws, which are counted each time."""
        reading = self._flawed.get(raw) or self._read(raw)
        key, malformed, conflicts = reading
        taken = self._rule.takes(key)
        verdict = self._claims[key or ""] if taken is None else taken
        if not malformed and not conflicts:
            _remember(self.verdicts, raw, verdict)
            return verdict
        _remember(self._flawed, raw, reading)
        if isinstance(verdict, _Claim):
            return _Claim(verdict.changes, malformed, conflicts)
        self.counts.malformed += malformed
        self.counts.conflicts += conflicts
        return verdict

    def count(self, record: Record, *, taken: bool) -> None:
        """Note what became of a record."""
        if taken:
            self.counts.processed += 1
        else:
            self.counts.skipped += 1
        if self.progress is not None:
            self.progress.note(record, taken=taken)


class _WatchedTopic:
    """A topic with a partition that waits: headers decide nothing, each record is looked at by `RecordFilter._look`."""

    __slots__ = ("counts", "default", "find", "inner", "looks", "name", "progress", "verdicts")

    def __init__(self, inner: _Topic) -> None:
        self.inner = inner
        self.name = inner.name
        self.default = inner.default
        self.looks = True
        self.find = _find_nothing
        self.counts = inner.counts
        self.progress = inner.progress
        self.verdicts: dict[RawTenant, bool | _Claim] = {}

    def judge(self, _: RawTenant) -> _Claim:
        return _LOOK


_LOOK: Final = _Claim(())


def _find_nothing(_: Headers | None) -> RawTenant:
    return None


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

    def hold(self, record: Any) -> None:
        raise AssertionError(f"nobody holds {record}")


def _remember(known: dict[RawTenant, T], raw: RawTenant, what: T) -> None:
    if size_of(raw) <= REMEMBERED_BYTES:
        if len(known) >= REMEMBERED:
            known.clear()
        known[raw] = what
