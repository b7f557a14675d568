"""What one topic's records are decided by: by their headers, else by the fences of their key. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol, TypeVar

from sidestream_sdk.baggage import Headers, RawTenant, Reading, ReadingSteps, size_of
from sidestream_sdk.fences import FencedChange, Verdict, baseline_verdict, bounds, fork_verdict
from sidestream_sdk.notes import Notes
from sidestream_sdk.ownership import TopicRule
from sidestream_sdk.progress import TopicProgress
from sidestream_sdk.tally import TopicTally

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


T = TypeVar("T")

Steps = tuple[list[int], list[bool | None]]
"""Offsets at which the decision changes, the first one 0, and whether a record is taken from each on (None: held)."""

UNKNOWN: Final[Steps] = ([0], [None])
_TAKEN: Final = {Verdict.TAKE: True, Verdict.SKIP: False, Verdict.HOLD: None}


def steps_of(
    changes: tuple[FencedChange, ...],
    partition: int,
    notes: Notes,
    *,
    sandbox: str | None,
    sent: Collection[str] = (),
) -> Steps:
    """The decisions of one side on a partition's records with a key that these changes claim.

    `sent` names the changes whose acknowledgement is still on its way.
    """
    claims = [bounds(change, partition, notes, is_sent=change.id in sent) for change in changes]
    numbers = {number for item in claims for number in (item.begin, item.hold, item.until) if number is not None}
    begins = sorted({0, *numbers})
    decide = baseline_verdict if sandbox is None else fork_verdict
    return begins, [_TAKEN[decide(claims, offset)] for offset in begins]


class Claim:
    """What decides where headers do not: the changes that claim their key, and the flaws of these headers.

    `known` are the verdicts by partition.
    """

    __slots__ = ("changes", "conflicts", "known", "malformed")

    def __init__(self, changes: tuple[FencedChange, ...], malformed: int = 0, conflicts: int = 0) -> None:
        self.changes = changes
        self.malformed = malformed
        self.conflicts = conflicts
        self.known: dict[int | None, Steps] = {}


class Topic:
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
        self.verdicts: dict[RawTenant, bool | Claim] = {}
        self._read = steps.read
        self._rule = rule
        self._claims = {key: Claim(changes) for key, changes in rule.claims.items()}
        self._flawed: dict[RawTenant, Reading] = {}

    def judge(self, raw: RawTenant) -> bool | Claim:
        """Whose a record is whose headers have no verdict yet, or have flaws, which are counted each time."""
        reading = self._flawed.get(raw) or self._read(raw)
        key, malformed, conflicts = reading
        taken = self._rule.takes(key)
        verdict = self._claims[key or ""] if taken is None else taken
        if not malformed and not conflicts:
            _remember(self.verdicts, raw, verdict)
            return verdict
        _remember(self._flawed, raw, reading)
        if isinstance(verdict, Claim):
            return Claim(verdict.changes, malformed, conflicts)
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


class WatchedTopic:
    """A topic with a partition that waits: headers decide nothing, each record is looked at by `RecordFilter._look`."""

    __slots__ = ("counts", "default", "find", "inner", "looks", "name", "progress", "verdicts")

    def __init__(self, inner: Topic) -> None:
        self.inner = inner
        self.name = inner.name
        self.default = inner.default
        self.looks = True
        self.find = _find_nothing
        self.counts = inner.counts
        self.progress = inner.progress
        self.verdicts: dict[RawTenant, bool | Claim] = {}

    def judge(self, _: RawTenant) -> Claim:
        """That it has to be looked at, whatever its headers say."""
        return _LOOK


_LOOK: Final = Claim(())


def _find_nothing(_: Headers | None) -> RawTenant:
    return None


def _remember(known: dict[RawTenant, T], raw: RawTenant, what: T) -> None:
    if size_of(raw) <= REMEMBERED_BYTES:
        if len(known) >= REMEMBERED:
            known.clear()
        known[raw] = what
