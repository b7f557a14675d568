"""The hand-off of a tenant's records from the baseline to its fork under `Polling`, as a pure state machine.

    Pending -> Creating -> Preparing -> Active        and, once it is deleted, `handback`

Each step looks at what is and says what to record and then to do, so that it may be cut off anywhere and run again.
The group is recorded (Creating) before it is made and checked to be nobody else's before it is recorded. From Preparing
on the mapping gives the tenant to the fork; a poll interval later every consumer has read that.

`auto.offset.reset=earliest` in the fork covers what cannot be placed while it runs: partitions that are added later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, ConditionType, Reason, find_condition
from sidestream.api.kafka import GroupStatus, KafkaRoute, Phase, TopicStatus
from sidestream.kafka import groups, handback
from sidestream.kafka.port import GroupState, Position, Topic, TopicPartition
from sidestream.kafka.steps import (
    REFUSED_SECONDS,
    News,
    NewsReason,
    Observed,
    Place,
    Step,
    in_phase_for,
    moved,
    not_ready_for,
    pace,
    poll_seconds,
    ready,
    recorded,
    seen,
    tenants,
)

_BUSY_SECONDS: Final = 2.0
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
    missing = _missing_topic(route, observed)
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
    topics = _topics(observed)
    start = _start_positions(topics, observed)
    status = moved(
        route,
        Phase.CREATING,
        now,
        group=recorded(GroupStatus(name=name, cluster_id=observed.cluster_id), observed.group),
        topics=_listed(topics),
        start=groups.to_status({item: position.offset for item, position in start.items()}),
    )
    return Step(status, ready("False", Reason.PENDING, f"Consumer group {name} is being created"), look_after=0)


def _create(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Creating: the group is recorded; make it, unless somebody else was faster."""
    status = seen(route.status, observed.group)
    name = _group_name(route)
    start = groups.from_status(status.start)
    missing = _missing_topic(route, observed)
    if missing is not None:
        return missing
    if not groups.agrees(observed.own, start):
        # somebody made a group of this name after we had looked: it is not ours, so its record goes
        forgotten = moved(route, Phase.PENDING, now, group=None, topics=(), start=())
        return replace(_refused(route, _exists(route, name)), status=forgotten)
    if observed.group.has_members:
        message = f"Consumer group {name} has members although its fork has not started: who else uses this name?"
        return Step(status, ready("False", Reason.GROUP_BUSY, message), look_after=_BUSY_SECONDS)
    changed = _with_changed_topics(route, observed)
    if changed is not None:
        return changed
    if observed.own.keys() == start.keys():
        done = f"Created consumer group {name} at the positions of {route.spec.baseline_group}"
        return Step(
            moved(route, Phase.PREPARING, now, group=status.group),
            _preparing(route),
            news=(News("Normal", NewsReason.GROUP_CREATED, done),),
            look_after=0,
        )
    positions = {item: _with_epoch(Position(offset), observed.baseline.get(item)) for item, offset in start.items()}
    pending = ready("False", Reason.PENDING, f"Consumer group {name} is being created")
    return Step(status, pending, effect=Place(name, positions))


def _serve(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Preparing and Active: keep the group where it belongs, see whether the fork has joined it."""
    for check in (_with_strays, _missing_topic, _with_changed_topics, _with_lost_offsets):
        step = check(route, observed)
        if step is not None:
            return step
    status = seen(route.status, observed.group)
    left = poll_seconds(route) - in_phase_for(route, now)
    if route.status.phase is Phase.PREPARING and left > 0:
        return Step(status, _preparing(route), look_after=left)
    if route.status.phase is Phase.PREPARING:
        told = f"Handed the records of {tenants(route)} over to consumer group {_group_name(route)}"
        active = moved(route, Phase.ACTIVE, now, group=status.group)
        return Step(
            active, _waiting(route, observed), news=(News("Normal", NewsReason.HANDED_OVER, told),), look_after=0
        )
    if _has_joined(route, observed):
        message = f"Records of {tenants(route)} go to consumer group {_group_name(route)}"
        return Step(status.model_copy(update={"barred": None}), ready("True", Reason.ACTIVE, message))
    return Step(status, _waiting(route, observed), look_after=pace(not_ready_for(route, now)))


def _take_back(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """A deletion cannot be taken back, but a status can be edited by hand: hand over again."""
    status = moved(route, Phase.PREPARING, now, until=())
    return Step(seen(status, observed.group), _preparing(route), look_after=0)


def _with_strays(route: KafkaRoute, observed: Observed) -> Step | None:
    """Record which pods must not run: those that take records from the baseline, in its own group.

    The Sandbox stops the fork as long as its template is that of such pods.
    """
    if not observed.strays:
        return None
    mark = next(iter(observed.strays.values()))
    status = seen(route.status, observed.group).model_copy(update={"barred": mark or None})
    return Step(status, _strayed(route), look_after=_BUSY_SECONDS)


def _with_changed_topics(route: KafkaRoute, observed: Observed) -> Step | None:
    """Record topics that are new to the consumer, were made anew or have grown, and where their partitions start.

    On a topic that the route had already, the baseline has left the tenant's records alone from the first one on.
    """
    topics = _topics(observed)
    listed = _listed(topics)
    if listed == route.status.topics:
        return None
    known = {topic.name: topic.id for topic in route.status.topics}
    anew = [topic.name for topic in topics if known.get(topic.name, topic.id) != topic.id]
    start = {item: offset for item, offset in groups.from_status(route.status.start).items() if item.topic not in anew}
    current = groups.partitions_of(topics)
    first = {item: Position(observed.earliest[item]) for item in current if item.topic in known}
    fresh = first | _start_positions([topic for topic in topics if topic.name not in known], observed)
    start = {item: start.get(item, fresh[item].offset) for item in current}
    status = route.status.model_copy(update={"topics": listed, "start": groups.to_status(start)})
    return Step(status, _last_ready(route), news=tuple(_told_anew(route, name) for name in anew), look_after=0)


def _with_lost_offsets(route: KafkaRoute, observed: Observed) -> Step | None:
    """Place again what expired or was deleted while nobody was in the group, where the fork had started.

    It reads again what it had read before: nobody else has read what came since.
    """
    if observed.group.has_members:
        return None
    start = {item: Position(offset) for item, offset in groups.from_status(route.status.start).items()}
    lost = start.keys() - observed.own.keys()
    if not lost:
        return None
    name = _group_name(route)
    told = f"Consumer group {name} was gone; created it again where it had started, so records may be handled again"
    return Step(
        seen(route.status, observed.group),
        _last_ready(route),
        effect=Place(name, groups.start_positions(lost, start, observed.earliest, observed.latest)),
        news=(News("Warning", NewsReason.GROUP_RECREATED, told),) if observed.group.is_absent else (),
    )


def _has_joined(route: KafkaRoute, observed: Observed) -> bool:
    """Whether the fork is in its group; the rebalances of a fork that was in it before do not make it unready."""
    last = find_condition(route.status.conditions, ConditionType.READY)
    was_ready = last is not None and last.status == "True"
    return bool(observed.group.members) and (was_ready or observed.group.state in _JOINED)


def _waiting(route: KafkaRoute, observed: Observed) -> Condition:
    fork, name = route.spec.fork, _group_name(route)
    if route.status.barred is not None and not observed.pods:
        return _strayed(route)
    if observed.pods:
        message = f"No pod of {fork} has joined consumer group {name} yet; see kubectl logs deployment/{fork}"
    else:
        message = f"Deployment {fork} has no pod yet that could join consumer group {name}"
    return ready("False", Reason.WAITING_FOR_CONSUMERS, message)


def _strayed(route: KafkaRoute) -> Condition:
    message = (
        f"Pods of {route.spec.fork} joined the baseline's consumer group {route.spec.baseline_group} instead of "
        f"{_group_name(route)}, so none may run until they change: the program must take its group from groupEnv of "
        f"KafkaConsumer {route.spec.consumer}"
    )
    return ready("False", Reason.FORK_IN_BASELINE_GROUP, message)


def _preparing(route: KafkaRoute) -> Condition:
    message = f"Waiting until every consumer has read that consumer group {_group_name(route)} takes {tenants(route)}"
    return ready("False", Reason.RECONCILING, message)


def _last_ready(route: KafkaRoute) -> Condition:
    """The condition as it stands, for steps in between that users need not see."""
    return find_condition(route.status.conditions, ConditionType.READY) or _preparing(route)


def _missing_topic(route: KafkaRoute, observed: Observed) -> Step | None:
    missing = sorted(name for name in route.spec.topics if observed.topics.get(name) is None)
    if not missing:
        return None
    message = f"Topic {missing[0]} does not exist on KafkaCluster {route.spec.cluster}"
    condition = ready("False", Reason.TOPIC_NOT_FOUND, message)
    return Step(seen(route.status, observed.group), condition, look_after=REFUSED_SECONDS)


def _refused(route: KafkaRoute, message: str) -> Step:
    return Step(route.status, ready("False", Reason.GROUP_EXISTS, message), look_after=REFUSED_SECONDS)


def _exists(route: KafkaRoute, name: str) -> str:
    return (
        f"Consumer group {name} exists already on KafkaCluster {route.spec.cluster} and is not this fork's: "
        f"delete it or rename the Sandbox"
    )


def _told_anew(route: KafkaRoute, topic: str) -> News:
    told = f"Topic {topic} was deleted and created again: consumer group {_group_name(route)} starts over on it"
    return News("Warning", NewsReason.TOPIC_RECREATED, told)


def _group_name(route: KafkaRoute) -> str:
    return route.status.group.name if route.status.group is not None else route.spec.fork_group


def _topics(observed: Observed) -> list[Topic]:
    return sorted((topic for topic in observed.topics.values() if topic is not None), key=lambda topic: topic.name)


def _listed(topics: Iterable[Topic]) -> tuple[TopicStatus, ...]:
    return tuple(TopicStatus(name=topic.name, id=topic.id, partitions=topic.partitions) for topic in topics)


def _start_positions(topics: Iterable[Topic], observed: Observed) -> dict[TopicPartition, Position]:
    return groups.start_positions(groups.partitions_of(topics), observed.baseline, observed.earliest, observed.latest)


def _with_epoch(start: Position, baseline: Position | None) -> Position:
    """The start as the baseline had committed it; its leader epoch is not recorded, but is there while it stands."""
    return baseline if baseline is not None and baseline.offset == start.offset else start
