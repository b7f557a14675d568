"""How a fork's group comes into being, under either coordination: recorded before it is made, nobody else's; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import GroupStatus, KafkaRoute, Phase
from sidestream.kafka import groups
from sidestream.kafka.port import Position, TopicPartition
from sidestream.kafka.steps import (
    BUSY_SECONDS,
    REFUSED_SECONDS,
    News,
    NewsReason,
    Observed,
    Place,
    Step,
    group_name,
    moved,
    ready,
    recorded,
    seen,
)
from sidestream.kafka.upkeep import missing_topic


def obstacle(route: KafkaRoute, observed: Observed) -> Step | None:
    """Why the group must not even be recorded, None when nothing stands in the way."""
    name = route.spec.fork_group
    missing = missing_topic(route, observed)
    if missing is not None:
        return missing
    if name in observed.taken:
        return refused(
            route,
            f"Consumer group {name} is the baseline's own group of KafkaConsumer {observed.taken[name]}: change "
            f"spec.groupName of KafkaCluster {route.spec.cluster}",
        )
    if not observed.group.is_absent:
        return refused(route, _exists(route, name))
    return None


def record(
    route: KafkaRoute, observed: Observed, start: Mapping[TopicPartition, int], now: datetime, **changes: Any
) -> Step:
    """Go to Creating: record the group that is about to be made, with where it will start."""
    status = moved(
        route,
        Phase.CREATING,
        now,
        group=recorded(GroupStatus(name=route.spec.fork_group, cluster_id=observed.cluster_id), observed.group),
        start=groups.to_status(start),
        **changes,
    )
    return Step(status, being_created(route), look_after=0)


def contested(route: KafkaRoute, observed: Observed) -> Step | None:
    """Creating: why the recorded group cannot be made, None when nothing stands in the way.

    Where somebody made a group of this name after we had looked, the caller has to take the record back: the status of
    the step is still that of the route.
    """
    name = group_name(route)
    status = seen(route.status, observed.group)
    missing = missing_topic(route, observed)
    if missing is not None:
        return missing
    if is_foreign(route, observed):
        return refused(route, _exists(route, name))
    if observed.group.has_members:
        message = f"Consumer group {name} has members although its fork has not started: who else uses this name?"
        return Step(status, ready("False", Reason.GROUP_BUSY, message), look_after=BUSY_SECONDS)
    return None


def is_foreign(route: KafkaRoute, observed: Observed) -> bool:
    """Whether the group holds what we would not have placed there."""
    return not groups.agrees(observed.own, groups.from_status(route.status.start))


def is_placed(route: KafkaRoute, observed: Observed) -> bool:
    """Whether the group stands where it was recorded to start."""
    return observed.own.keys() == groups.from_status(route.status.start).keys()


def place(route: KafkaRoute, observed: Observed, positions: Mapping[TopicPartition, Position]) -> Step:
    """Make the recorded group."""
    return Step(seen(route.status, observed.group), being_created(route), effect=Place(group_name(route), positions))


def placed(route: KafkaRoute, phase: Phase, condition: Condition, observed: Observed, now: datetime) -> Step:
    """The group stands: go on to `phase`."""
    told = f"Created consumer group {group_name(route)} at the positions of {route.spec.baseline_group}"
    return Step(
        moved(route, phase, now, group=seen(route.status, observed.group).group),
        condition,
        news=(News("Normal", NewsReason.GROUP_CREATED, told),),
        look_after=0,
    )


def forget(route: KafkaRoute, step: Step, phase: Phase, now: datetime, **changes: Any) -> Step:
    """The step with the record of a group taken back that turned out to be somebody else's."""
    return replace(step, status=moved(route, phase, now, group=None, start=(), **changes))


def being_created(route: KafkaRoute) -> Condition:
    """The condition while the group is made."""
    return ready("False", Reason.PENDING, f"Consumer group {group_name(route)} is being created")


def refused(route: KafkaRoute, message: str) -> Step:
    """Wait for somebody to clear the group's name."""
    return Step(route.status, ready("False", Reason.GROUP_EXISTS, message), look_after=REFUSED_SECONDS)


def _exists(route: KafkaRoute, name: str) -> str:
    return (
        f"Consumer group {name} exists already on KafkaCluster {route.spec.cluster} and is not this fork's: "
        f"delete it or rename the Sandbox"
    )
