"""The way to the fork under `Polling`, where every consumer decides by the mapping that it read last; pure.

    Pending -> Creating -> Preparing -> Active        and, once the route is deleted, `handback`

The group is recorded (Creating) before it is made and checked to be nobody else's before it is recorded. From Preparing
on the mapping gives the tenant to the fork; a poll interval later every consumer has read that.

`auto.offset.reset=earliest` in the fork covers what cannot be placed while it runs: partitions that are added later.
"""

from __future__ import annotations

from datetime import datetime

from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka import groups, handback, placement
from sidestream.kafka.membership import await_fork, waiting
from sidestream.kafka.port import Position
from sidestream.kafka.steps import (
    News,
    NewsReason,
    Observed,
    Step,
    group_name,
    in_phase_for,
    moved,
    poll_seconds,
    preparing,
    seen,
    tenants,
)
from sidestream.kafka.upkeep import changed_topics, listed, start_positions, topics_of, upkeep


def plan(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """The next step."""
    if route.is_deleting:
        return handback.plan(route, observed, now)
    match route.status.phase:
        case Phase.PENDING:
            return _begin(route, observed, now)
        case Phase.CREATING:
            return _create(route, observed, now)
        case Phase.PREPARING | Phase.ACTIVE:
            return _serve(route, observed, now)
        case _:
            return _take_back(route, observed, now)


def _begin(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Pending: check that nothing stands in the way, then record what is about to be made."""
    obstacle = placement.obstacle(route, observed)
    if obstacle is not None:
        return obstacle
    topics = topics_of(observed)
    start = {item: position.offset for item, position in start_positions(topics, observed).items()}
    return placement.record(route, observed, start, now, topics=listed(topics))


def _create(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Creating: the group is recorded; make it, unless somebody else was faster."""
    contested = placement.contested(route, observed)
    if contested is not None:
        if placement.is_foreign(route, observed):
            return placement.forget(route, contested, Phase.PENDING, now, topics=())
        return contested
    changed = changed_topics(route, observed)
    if changed is not None:
        return changed
    if placement.is_placed(route, observed):
        return placement.placed(route, Phase.PREPARING, preparing(route), observed, now)
    start = groups.from_status(route.status.start)
    positions = {item: _with_epoch(Position(offset), observed.baseline.get(item)) for item, offset in start.items()}
    return placement.place(route, observed, positions)


def _serve(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Preparing and Active: keep the group where it belongs, see whether the fork has joined it."""
    amiss = upkeep(route, observed, now)
    if amiss is not None:
        return amiss
    status = seen(route.status, observed.group)
    left = poll_seconds(route) - in_phase_for(route, now)
    if route.status.phase is Phase.PREPARING and left > 0:
        return Step(status, preparing(route), look_after=left)
    if route.status.phase is Phase.PREPARING:
        told = f"Handed the records of {tenants(route)} over to consumer group {group_name(route)}"
        active = moved(route, Phase.ACTIVE, now, group=status.group)
        news = News("Normal", NewsReason.HANDED_OVER, told)
        return Step(active, waiting(route, observed), news=(news,), look_after=0)
    return await_fork(route, observed, status, now)


def _take_back(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """A deletion cannot be taken back, but a status can be edited by hand: hand over again."""
    status = moved(route, Phase.PREPARING, now, until=())
    return Step(seen(status, observed.group), preparing(route), look_after=0)


def _with_epoch(start: Position, baseline: Position | None) -> Position:
    """The start as the baseline had committed it; its leader epoch is not recorded, but is there while it stands."""
    if baseline is None or baseline.offset != start.offset:
        return start
    return Position(start.offset, baseline.leader_epoch)
