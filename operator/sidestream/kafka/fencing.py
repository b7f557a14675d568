"""A fork's claims under `Fenced` as arithmetic: what was acknowledged, what is owed, who stands in for whom. Pure.

A claim is on each partition in a state of its own (`sidestream_sdk.fences` has the table), and goes on when the group
that is asked has acknowledged in its commit metadata. A group without members has nobody to ask: the operator writes
the acknowledgement in its name, which the broker refuses as soon as somebody joins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sidestream.api.kafka import ClaimStatus, FenceState, FenceStatus, KafkaRoute, Phase
from sidestream.api.times import format_micro_time
from sidestream.kafka.port import Group, Offsets, Position, Positions, TopicPartition
from sidestream_sdk.fences import Due, Fence, FencedChange, State, acknowledged, due, needs_end, settled
from sidestream_sdk.notes import Kind, Notes

Claims = tuple[ClaimStatus, ...]

_ASKED_BASELINE: Final[Mapping[str, Kind]] = {"Ask": Kind.FROM, "Hold": Kind.UNTIL, "Retire": Kind.GONE}
_ASKED_FORK: Final[Mapping[str, Kind]] = {"Aware": Kind.AWARE, "Freeze": Kind.HOLD}

ASKED_BASELINE: Final = frozenset(_ASKED_BASELINE)
"""States in which the baseline is asked."""

ASKED_FORK: Final = frozenset(_ASKED_FORK)
"""States in which the fork is asked."""

_LEAVING: Final = frozenset({"Freeze", "Hold", "Until", "Retire"})


@dataclass(frozen=True)
class Side:
    """One of the two groups as observed: its offsets with metadata, as far as they were read."""

    group: Group
    positions: Positions
    epoch: str
    is_fork: bool = False

    def notes(self, item: TopicPartition) -> Notes:
        """What its members wrote on a partition, without what they promised to another installation."""
        position = self.positions.get(item)
        return Notes.parse("" if position is None else position.metadata).of(self.epoch)


def place_of(fence: FenceStatus) -> TopicPartition:
    """The partition that a fence is on."""
    return TopicPartition(fence.topic, fence.partition)


def fences_of(claims: Claims) -> Iterator[FenceStatus]:
    """Every fence of every claim."""
    for claim in claims:
        yield from claim.fences


def claimed(
    uid: str, key: str, partitions: Collection[TopicPartition], state: FenceState, now: datetime
) -> ClaimStatus:
    """A new claim of a route on a key."""
    name = hashlib.sha256(f"{uid}/{key}/{format_micro_time(now)}".encode()).hexdigest()[:10]
    return ClaimStatus(id=name, key=key, fences=_fences(partitions, state))


def spread(claims: Claims, partitions: Collection[TopicPartition], state: FenceState) -> Claims:
    """The claims on exactly these partitions: new ones begin in `state`, those that are gone are forgotten."""

    def cover(claim: ClaimStatus) -> ClaimStatus:
        kept = [fence for fence in claim.fences if place_of(fence) in partitions]
        new = _fences(set(partitions) - {place_of(fence) for fence in kept}, state)
        return claim.model_copy(update={"fences": tuple(sorted([*kept, *new], key=place_of))})

    return tuple(map(cover, claims))


def without_topics(claims: Claims, topics: Collection[str]) -> Claims:
    """The claims without what they said of topics that were made anew: its offsets are those of other records."""
    return tuple(
        claim.model_copy(update={"fences": tuple(item for item in claim.fences if item.topic not in topics)})
        for claim in claims
    )


def advanced(claims: Claims, baseline: Side, fork: Side) -> Claims:
    """The claims after what both sides have acknowledged by now."""
    return _each_fence(claims, lambda claim, fence: _advanced(claim.id, fence, baseline, fork))


def frozen(claims: Claims) -> Claims:
    """The claims on their way back: what was only announced to the fork is withdrawn, what it has is frozen.

    A partition that the baseline was asked about is finished first: it may have acknowledged already.
    """

    def freeze(_: ClaimStatus, fence: FenceStatus) -> FenceStatus | None:
        if fence.state == "Aware":
            return None
        return fence.model_copy(update={"state": "Freeze"}) if fence.state == "From" else fence

    return _each_fence(claims, freeze)


def is_leaving(claim: ClaimStatus) -> bool:
    """Whether the claim is on its way back, on any partition."""
    return any(fence.state in _LEAVING for fence in claim.fences)


def is_joining(claim: ClaimStatus, claims: Claims) -> bool:
    """Whether the claim has still to get to where another of the route's claims is, on any partition.

    On a partition that was added all claims begin at the same time, which is not meant.
    """
    served = {
        place_of(fence) for other in claims if other.id != claim.id for fence in other.fences if fence.state == "From"
    }
    return any(fence.state in {"Aware", "Ask"} and place_of(fence) in served for fence in claim.fences)


def retiring(claims: Claims) -> Claims:
    """The claims whose fork is through, as the baseline is told them before they go."""
    return _each_fence(claims, lambda _, fence: fence.model_copy(update={"state": "Retire"}))


def unretired(claims: Claims, baseline: Side) -> Claims:
    """The claims that some partition of the baseline has not yet acknowledged to be past."""

    def is_owed(claim: ClaimStatus) -> bool:
        return any(
            fence.state != "Retire" or baseline.notes(place_of(fence)).find(claim.id, Kind.GONE) is None
            for fence in claim.fences
        )

    return tuple(filter(is_owed, claims))


def remaining(claims: Claims, committed: Positions, earliest: Offsets) -> dict[TopicPartition, tuple[int, int]]:
    """Where a group has committed less than `until`: from which offset up to which, by partition.

    What the log no longer holds cannot be read by anybody and is nothing that remains.
    """
    found: dict[TopicPartition, tuple[int, int]] = {}
    for fence in fences_of(claims):
        item = place_of(fence)
        if fence.until is None:
            continue
        position = committed.get(item)
        begin = max(earliest.get(item, 0), 0 if position is None else position.offset)
        if begin < fence.until:
            found[item] = (begin, max(fence.until, found.get(item, (0, 0))[1]))
    return found


def changes_of(routes: Iterable[KafkaRoute]) -> dict[str, tuple[FencedChange, ...]]:
    """The routes' claims by topic, as members see them in the mapping."""
    found: dict[str, list[FencedChange]] = {}
    for route in routes:
        for claim in route.status.claims:
            for topic in sorted({fence.topic for fence in claim.fences}):
                found.setdefault(topic, []).append(_change(route, claim, topic))
    return {topic: tuple(changes) for topic, changes in found.items()}


def owed(route: KafkaRoute, side: Side) -> dict[TopicPartition, tuple[Due, ...]]:
    """What a side has yet to acknowledge of this route's claims, by partition."""
    changes = changes_of([route])
    sandbox = route.spec.sandbox if side.is_fork else None
    found: dict[TopicPartition, tuple[Due, ...]] = {}
    for item in sorted({place_of(fence) for fence in fences_of(route.status.claims)}):
        dues = tuple(due(changes[item.topic], item.partition, side.notes(item), sandbox=sandbox))
        if dues:
            found[item] = dues
    return found


@dataclass(frozen=True)
class Ends:
    """Both ends of each partition's log."""

    earliest: Offsets
    latest: Offsets


def stood_in(
    side: Side,
    dues: Mapping[TopicPartition, tuple[Due, ...]],
    changes: Mapping[str, tuple[FencedChange, ...]],
    ends: Ends,
    version: int,
) -> dict[TopicPartition, Position]:
    """What to commit in the name of a group without members, so that it acknowledges what it owes.

    `changes` are all that the side's notes may speak of. A partition on which the baseline has committed nothing is
    left out unless it is empty: only the application's settings say where its members will start. Those of a fork
    start at the first record that there is.
    """
    found: dict[TopicPartition, Position] = {}
    for item, asked in dues.items():
        start = side.positions.get(item) or _start(side, ends.earliest[item], ends.latest[item])
        if start is None:
            continue
        notes = settled(side.notes(item), changes.get(item.topic, ()), item.partition)
        for one in asked:
            end = ends.latest[item] if needs_end(one) else None
            notes = notes.with_ack(one.change, one.kind, acknowledged(one, position=start.offset, end=end))
        metadata = notes.at(version, side.epoch).encode()
        found[item] = Position(start.offset, start.leader_epoch, metadata)
    return found


def leaving_phase(claims: Claims) -> Phase:
    """How far claims on their way back are: as far as the last of their partitions."""
    states = {fence.state for fence in fences_of(claims)}
    if states & {"Aware", "Ask", "From", "Freeze"}:
        return Phase.FREEZING
    return Phase.PREPARING_OFF if "Hold" in states else Phase.DRAINING


def _fences(partitions: Iterable[TopicPartition], state: FenceState) -> tuple[FenceStatus, ...]:
    return tuple(FenceStatus(topic=item.topic, partition=item.partition, state=state) for item in sorted(partitions))


def _each_fence(claims: Claims, change: Callable[[ClaimStatus, FenceStatus], FenceStatus | None]) -> Claims:
    def changed(claim: ClaimStatus) -> ClaimStatus:
        fences = tuple(new for fence in claim.fences if (new := change(claim, fence)) is not None)
        return claim if fences == claim.fences else claim.model_copy(update={"fences": fences})

    return tuple(map(changed, claims))


def _advanced(change: str, fence: FenceStatus, baseline: Side, fork: Side) -> FenceStatus:
    side, asked = (fork, _ASKED_FORK) if fence.state in ASKED_FORK else (baseline, _ASKED_BASELINE)
    kind = asked.get(fence.state)
    number = None if kind is None else side.notes(place_of(fence)).find(change, kind)
    match kind:
        case _ if number is None:
            return fence
        case Kind.AWARE:
            return fence.model_copy(update={"state": "Ask"})
        case Kind.FROM:
            return fence.model_copy(update={"state": "From", "begin": number})
        case Kind.HOLD:
            return fence.model_copy(update={"state": "Hold", "hold": number})
        case Kind.UNTIL:
            return fence.model_copy(update={"state": "Until", "until": number})
        case _:
            return fence


def _start(side: Side, earliest: int, latest: int) -> Position | None:
    """Where members begin that have committed nothing."""
    return Position(earliest) if side.is_fork or earliest == latest else None


def _change(route: KafkaRoute, claim: ClaimStatus, topic: str) -> FencedChange:
    fences = {
        fence.partition: Fence(State(fence.state), fence.begin, fence.hold, fence.until)
        for fence in claim.fences
        if fence.topic == topic
    }
    return FencedChange(claim.id, route.spec.sandbox, claim.key, route.spec.fork_group, str(route.status.phase), fences)
