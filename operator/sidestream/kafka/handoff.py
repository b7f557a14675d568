"""The hand-off of a tenant's records from the baseline to its fork under `Polling`, as a pure state machine.

    Pending -> Creating -> Preparing -> Active        and, once it is deleted, `handback`

Each step looks at what is and says what to record and then to do, so that it may be cut off anywhere and run again.
The group is recorded (Creating) before it is made and checked to be nobody else's before it is recorded. From Preparing
on the mapping gives the tenant to the fork; a poll interval later every consumer has read that.

`auto.offset.reset=earliest` in the fork covers what cannot be placed while it runs: partitions that are added later.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, ConditionType, Reason, find_condition
from sidestream.api.kafka import GroupStatus, KafkaRoute, Phase
from sidestream.kafka import groups, handback
from sidestream.kafka.port import GroupState, Position
from sidestream.kafka.steps import (
    BUSY_SECONDS,
    REFUSED_SECONDS,
    News,
    NewsReason,
    Observed,
    Place,
    Step,
    group_name,
    in_phase_for,
    moved,
    not_ready_for,
    pace,
    poll_seconds,
    preparing,
    ready,
    recorded,
    seen,
    tenants,
)
from sidestream.kafka.upkeep import changed_topics, listed, missing_topic, start_positions, strayed, topics_of, upkeep

_JOINED: Final = (GroupState.STABLE, GroupState.UNKNOWN)


def needs_kafka(route: KafkaRoute) -> bool:
    """Whether the next step has to look at Kafka at all; a deletion without a recorded group has not."""
    return not (route.is_deleting and handback.is_free(route))


def plan(route: KafkaRoute, observed: Observed | None, now: datetime) -> Step:
    """The next step; `observed` may be None when `needs_kafka` says so."""
    if observed is None:
        return handback.release(route)
    other = _other_cluster(route, observed)
    if other is not None:
        return other
    match route.status.phase:
        case _ if route.is_deleting:
            step = handback.plan
        case Phase.PENDING:
            step = _begin
        case Phase.CREATING:
            step = _create
        case Phase.PREPARING | Phase.ACTIVE:
            step = _serve
        case Phase.DRAINING | Phase.DRAINED | Phase.DELETING:
            step = _take_back
    return step(route, observed, now)


def _other_cluster(route: KafkaRoute, observed: Observed) -> Step | None:
    """On another cluster our group looks absent: nothing may be concluded from that."""
    group = route.status.group
    if group is None or group.cluster_id == observed.cluster_id:
        return None
    message = (
        f"KafkaCluster {route.spec.cluster} is now cluster {observed.cluster_id}, but consumer group {group.name} was "
        f"made on cluster {group.cluster_id}: let it name that cluster again"
    )
    return Step(route.status, ready("False", Reason.CLUSTER_INVALID, message), look_after=REFUSED_SECONDS)


def _begin(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Pending: check that nothing stands in the way, then record what is about to be made."""
    name = route.spec.fork_group
    missing = missing_topic(route, observed)
    if missing is not None:
        return missing
    if name in observed.taken:
        return _refused(
            route,
            f"Consumer group {name} is the baseline's own group of KafkaConsumer {observed.taken[name]}: change "
            f"spec.groupName of KafkaCluster {route.spec.cluster}",
        )
    if not observed.group.is_absent:
        return _refused(route, _exists(route, name))
    topics = topics_of(observed)
    start = start_positions(topics, observed)
    status = moved(
        route,
        Phase.CREATING,
        now,
        group=recorded(GroupStatus(name=name, cluster_id=observed.cluster_id), observed.group),
        topics=listed(topics),
        start=groups.to_status({item: position.offset for item, position in start.items()}),
    )
    return Step(status, ready("False", Reason.PENDING, f"Consumer group {name} is being created"), look_after=0)


def _create(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Creating: the group is recorded; make it, unless somebody else was faster."""
    status = seen(route.status, observed.group)
    name = group_name(route)
    start = groups.from_status(status.start)
    missing = missing_topic(route, observed)
    if missing is not None:
        return missing
    if not groups.agrees(observed.own, start):
        # somebody made a group of this name after we had looked: it is not ours, so its record goes
        forgotten = moved(route, Phase.PENDING, now, group=None, topics=(), start=())
        return replace(_refused(route, _exists(route, name)), status=forgotten)
    if observed.group.has_members:
        message = f"Consumer group {name} has members although its fork has not started: who else uses this name?"
        return Step(status, ready("False", Reason.GROUP_BUSY, message), look_after=BUSY_SECONDS)
    changed = changed_topics(route, observed)
    if changed is not None:
        return changed
    if observed.own.keys() == start.keys():
        done = f"Created consumer group {name} at the positions of {route.spec.baseline_group}"
        return Step(
            moved(route, Phase.PREPARING, now, group=status.group),
            preparing(route),
            news=(News("Normal", NewsReason.GROUP_CREATED, done),),
            look_after=0,
        )
    positions = {item: _with_epoch(Position(offset), observed.baseline.get(item)) for item, offset in start.items()}
    pending = ready("False", Reason.PENDING, f"Consumer group {name} is being created")
    return Step(status, pending, effect=Place(name, positions))


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
        return Step(
            active, _waiting(route, observed), news=(News("Normal", NewsReason.HANDED_OVER, told),), look_after=0
        )
    if _has_joined(route, observed):
        message = f"Records of {tenants(route)} go to consumer group {group_name(route)}"
        return Step(status.model_copy(update={"barred": None}), ready("True", Reason.ACTIVE, message))
    return Step(status, _waiting(route, observed), look_after=pace(not_ready_for(route, now)))


def _take_back(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """A deletion cannot be taken back, but a status can be edited by hand: hand over again."""
    status = moved(route, Phase.PREPARING, now, until=())
    return Step(seen(status, observed.group), preparing(route), look_after=0)


def _has_joined(route: KafkaRoute, observed: Observed) -> bool:
    """Whether the fork is in its group; the rebalances of a fork that was in it before do not make it unready."""
    last = find_condition(route.status.conditions, ConditionType.READY)
    was_ready = last is not None and last.status == "True"
    return bool(observed.group.members) and (was_ready or observed.group.state in _JOINED)


def _waiting(route: KafkaRoute, observed: Observed) -> Condition:
    fork, name = route.spec.fork, group_name(route)
    if route.status.barred is not None and not observed.pods:
        return strayed(route)
    if observed.pods:
        message = f"No pod of {fork} has joined consumer group {name} yet; see kubectl logs deployment/{fork}"
    else:
        message = f"Deployment {fork} has no pod yet that could join consumer group {name}"
    return ready("False", Reason.WAITING_FOR_CONSUMERS, message)


def _refused(route: KafkaRoute, message: str) -> Step:
    return Step(route.status, ready("False", Reason.GROUP_EXISTS, message), look_after=REFUSED_SECONDS)


def _exists(route: KafkaRoute, name: str) -> str:
    return (
        f"Consumer group {name} exists already on KafkaCluster {route.spec.cluster} and is not this fork's: "
        f"delete it or rename the Sandbox"
    )


def _with_epoch(start: Position, baseline: Position | None) -> Position:
    """The start as the baseline had committed it; its leader epoch is not recorded, but is there while it stands."""
    return baseline if baseline is not None and baseline.offset == start.offset else start
