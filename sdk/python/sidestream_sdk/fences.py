"""Whose record is it under `Fenced`, and what members acknowledge: by offsets that were each written down once.

For a key, its fork and one partition there are three numbers: `from`, `hold` and `until`.

    owner(offset) = the fork      if from <= offset and (until is open or offset < until)
                    the baseline  otherwise

So the answer depends on the record and not on the moment. The numbers come into being one after another; until the
mapping says one, whoever reads the partition keeps to what its commit metadata says (`Notes`), or does not know yet.

| state  | who acknowledges what, between two records                                    |
|--------|-------------------------------------------------------------------------------|
| Aware  | the fork: from now on it holds back at the first record of the key            |
| Ask    | the baseline: `from`, the end of the log; from there on it skips the key      |
| From   | nobody                                                                        |
| Freeze | the fork: `hold`, its position; it takes nothing from there on                |
| Hold   | the baseline: `until`, the end of the log or `hold`, if that is more          |
| Until  | nobody; the fork goes on up to `until`                                        |
| Retire | the baseline, once it has committed up to `until`: that it is past it         |

A fence is the end of the log and not the position: after a crash old records come again, and must stay with whoever had
them. Pure; the same cases as data: tests/conformance/fences.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import Any, Final

from sidestream_sdk.notes import Kind, Notes


class State(StrEnum):
    """Where a change stands on one partition; see the table above."""

    AWARE = "Aware"
    ASK = "Ask"
    FROM = "From"
    FREEZE = "Freeze"
    HOLD = "Hold"
    UNTIL = "Until"
    RETIRE = "Retire"


@dataclass(frozen=True)
class Fence:
    """A change on one partition; `state` is None where it is of a later version of ours: then nobody acknowledges."""

    state: State | None
    begin: int | None = None
    """`from` in the mapping."""
    hold: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class FencedChange:
    """One fork's claim on one key, which it reads as consumer group `group`; `partitions` are those it is on yet."""

    id: str
    sandbox: str
    key: str
    group: str
    phase: str
    partitions: Mapping[int, Fence] = field(default_factory=dict)


class Verdict(Enum):
    """What becomes of a record; HOLD: nothing can be said yet, so neither it nor what follows it may be passed."""

    TAKE = auto()
    SKIP = auto()
    HOLD = auto()


@dataclass(frozen=True)
class Bounds:
    """A change on one partition as its reader knows it, from the mapping and from the partition's own notes."""

    begin: int | None
    hold: int | None
    until: int | None
    is_aware: bool = False
    """Whether the fork has to wait for `from`, as it may lie anywhere ahead."""
    unsure: int | None = None
    """From where on the baseline's own acknowledgement would decide, which is still on its way to the broker."""


WORKING: Final = frozenset({"Active", "Freezing", "PreparingOff", "Draining"})
"""Phases in which the fork's group stands, so that its members may join."""

_NUMBERS: Final = (Kind.FROM, Kind.HOLD, Kind.UNTIL)


def bounds(change: FencedChange, partition: int, notes: Notes, *, is_sent: bool = False) -> Bounds:
    """What is known of a change on a partition; what the mapping says comes first.

    `is_sent`: numbers that only the notes have are on their way to the broker, which may yet refuse them.
    """
    fence = change.partitions.get(partition)
    known = _said(fence)
    begin, hold, until = (known[kind] if kind in known else notes.find(change.id, kind) for kind in _NUMBERS)
    is_aware = fence is not None or notes.find(change.id, Kind.AWARE) is not None
    sent = [notes.find(change.id, kind) for kind in (Kind.FROM, Kind.UNTIL) if is_sent and kind not in known]
    return Bounds(begin, hold, until, is_aware, min((number for number in sent if number is not None), default=None))


def baseline_verdict(claims: Iterable[Bounds], offset: int) -> Verdict:
    """The baseline's, on a record with a key that these changes claim."""
    found = list(claims)
    if any(item.unsure is not None and offset >= item.unsure for item in found):
        return Verdict.HOLD
    return Verdict.SKIP if any(_is_within(item, offset) for item in found) else Verdict.TAKE


def fork_verdict(claims: Iterable[Bounds], offset: int) -> Verdict:
    """The fork's, on a record with a key that these changes of its own claim."""
    verdicts = {_fork_verdict(item, offset) for item in claims}
    return next((verdict for verdict in (Verdict.HOLD, Verdict.TAKE) if verdict in verdicts), Verdict.SKIP)


def _is_within(item: Bounds, offset: int) -> bool:
    if item.begin is None or offset < item.begin:
        return False
    return item.until is None or offset < item.until


def _fork_verdict(item: Bounds, offset: int) -> Verdict:
    if item.begin is None:
        return Verdict.HOLD if item.is_aware else Verdict.SKIP
    if not _is_within(item, offset):
        return Verdict.SKIP
    if item.until is None and item.hold is not None and offset >= item.hold:
        return Verdict.HOLD
    return Verdict.TAKE


@dataclass(frozen=True)
class Due:
    """An acknowledgement that a member owes on a partition, as soon as its notes are no newer than its mapping."""

    change: str
    kind: Kind
    at_least: int = 0
    """Least number for `until`: the fork's `hold`. For `gone`: the offset that has to be committed before, `until`."""


def due(changes: Iterable[FencedChange], partition: int, notes: Notes, *, sandbox: str | None) -> Iterator[Due]:
    """What a member of the baseline (`sandbox` None) or of a fork has yet to acknowledge on a partition.

    Only what the mapping asks for: a partition that it does not list is nobody's business yet.
    """
    for change in changes:
        fence = change.partitions.get(partition)
        if fence is None or (sandbox is not None and sandbox != change.sandbox):
            continue
        kind = _asked(fence.state, is_fork=sandbox is not None)
        if kind is not None and notes.find(change.id, kind) is None:
            at_least = fence.until if kind is Kind.GONE else fence.hold
            yield Due(change.id, kind, at_least or 0)


def is_ready(asked: Due, *, committed: int) -> bool:
    """Whether it may be acknowledged by who has committed so far.

    Dropping an interval before the baseline has committed past it would give it the fork's records after a crash.
    """
    return asked.kind is not Kind.GONE or committed >= asked.at_least


def settled(notes: Notes, changes: Iterable[FencedChange], partition: int) -> Notes:
    """The notes without what the mapping says by now; the caller's mapping must be as new as the notes."""
    known = {change.id: change for change in changes}
    kept = {name: _unsettled(kinds, known[name], partition) for name, kinds in notes.acks.items() if name in known}
    return replace(notes, acks={name: kinds for name, kinds in kept.items() if kinds})


def acknowledged(asked: Due, *, position: int, end: int | None) -> int:
    """The number to acknowledge. `position` is the next offset to decide, `end` the end of the log just now."""
    match asked.kind:
        case Kind.AWARE | Kind.GONE:
            return 1
        case Kind.HOLD:
            return position
        case Kind.FROM | Kind.UNTIL:
            if end is None:
                raise ValueError("the end of the log has to be known")
            return max(position, end, asked.at_least)


def needs_end(asked: Due) -> bool:
    """Whether `acknowledged` has to know the end of the log."""
    return asked.kind in {Kind.FROM, Kind.UNTIL}


def parse_changes(raw: Any, topic: str) -> tuple[FencedChange, ...]:
    """The `fenced` changes of a topic in a mapping.

    Raises:
        ValueError: they are not shaped like changes; the text says where.
    """
    if not isinstance(raw, list):
        raise ValueError(f"fenced of topic {topic} must be a list")  # noqa: TRY004 - all flaws are ValueErrors
    return tuple(_change(item, topic) for item in raw)


def _asked(state: State | None, *, is_fork: bool) -> Kind | None:
    match state:
        case State.AWARE:
            return Kind.AWARE if is_fork else None
        case State.ASK:
            return None if is_fork else Kind.FROM
        case State.FREEZE:
            return Kind.HOLD if is_fork else None
        case State.HOLD:
            return None if is_fork else Kind.UNTIL
        case State.RETIRE:
            return None if is_fork else Kind.GONE
        case State.FROM | State.UNTIL | None:
            return None


def _said(fence: Fence | None) -> dict[Kind, int]:
    if fence is None:
        return {}
    numbers = zip(_NUMBERS, (fence.begin, fence.hold, fence.until), strict=True)
    return {kind: number for kind, number in numbers if number is not None}


def _unsettled(kinds: Mapping[Kind, int], change: FencedChange, partition: int) -> dict[Kind, int]:
    fence = change.partitions.get(partition)
    said = _said(fence)
    is_aware = fence is not None and fence.begin is None
    return {kind: value for kind, value in kinds.items() if kind not in said and (kind is not Kind.AWARE or is_aware)}


def _change(raw: Any, topic: str) -> FencedChange:
    match raw:
        case {
            "id": str(name),
            "sandbox": str(sandbox),
            "key": str(key),
            "group": str(group),
            "phase": str(phase),
            "partitions": dict(partitions),
        }:
            fences = {int(number): _fence(fence, topic) for number, fence in partitions.items()}
        case _:
            raise ValueError(
                f"a fenced change of topic {topic} must have id, sandbox, key, group, phase and partitions"
            )
    return FencedChange(name, sandbox, key, group, phase, fences)


def _fence(raw: Any, topic: str) -> Fence:
    match raw:
        case {"state": str(state)}:
            numbers = [raw.get(name) for name in ("from", "hold", "until")]
        case _:
            raise ValueError(f"a partition of a fenced change of topic {topic} must have a state")
    if not all(number is None or isinstance(number, int) for number in numbers):
        raise ValueError(f"from, hold and until of a fenced change of topic {topic} must be numbers")
    return Fence(State(state) if state in set(State) else None, *numbers)
