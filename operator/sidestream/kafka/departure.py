"""How a fork's group goes, under either coordination, once the fork is through with its records; pure.

    Drained -> Deleting -> gone

In Drained the Sandbox stops the pods. A group is deleted only if we recorded it, it is no KafkaConsumer's own, the fork
has no pod that would make it again and needs none, and it is Empty (which the broker checks once more).
"""

from __future__ import annotations

from datetime import datetime

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.api.labels import FORCE_CLEANUP, FORCE_CLEANUP_DISCARD
from sidestream.kafka.steps import (
    REFUSED_SECONDS,
    Delete,
    News,
    NewsReason,
    Observed,
    Release,
    Step,
    group_name,
    in_phase_for,
    moved,
    pace,
    ready,
    seen,
)


def is_discarded(route: KafkaRoute) -> bool:
    """Whether the user wants the deletion to go on without Kafka."""
    return route.metadata.annotations.get(FORCE_CLEANUP) == FORCE_CLEANUP_DISCARD


def is_free(route: KafkaRoute) -> bool:
    """Whether a deleted route can go without a look at Kafka: nothing was ever recorded, or the user gave it up."""
    return is_discarded(route) or (route.status.group is None and not route.status.claims)


def release_freely(route: KafkaRoute) -> Step:
    """Let a route go that `is_free`."""
    group = route.status.group
    if group is None or route.status.phase is Phase.RETIRING:
        return released(route)
    told = f"Let go of consumer group {group.name} because {FORCE_CLEANUP} said so: it may be left"
    return released(route, left_behind(route, told))


def drained(route: KafkaRoute, now: datetime, news: News) -> Step:
    """The fork is through, or as good as that: its pods may stop."""
    return Step(moved(route, Phase.DRAINED, now), deleting(route), news=(news,), look_after=0)


def begin_deleting(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Drained: go on once the pods and members are gone."""
    return await_empty(route, observed, now) or Step(moved(route, Phase.DELETING, now), deleting(route), look_after=0)


def delete(route: KafkaRoute, observed: Observed, now: datetime) -> Step | None:
    """Deleting: the next step, None once the group is gone."""
    name = group_name(route)
    if observed.group.is_absent:
        return None
    if name in observed.taken:
        message = (
            f"Consumer group {name} is not deleted: it is now the baseline's own group of KafkaConsumer "
            f"{observed.taken[name]}"
        )
        return Step(route.status, ready("False", Reason.GROUP_EXISTS, message), look_after=REFUSED_SECONDS)
    waiting = await_empty(route, observed, now)
    if waiting is not None:
        return waiting
    return Step(seen(route.status, observed.group), deleting(route), effect=Delete(name))


def gone(route: KafkaRoute) -> News:
    """That the group is deleted."""
    return News("Normal", NewsReason.GROUP_DELETED, f"Deleted consumer group {group_name(route)}")


def await_empty(route: KafkaRoute, observed: Observed, now: datetime) -> Step | None:
    """Wait for the pods and for the members, who may outlive them until their session ends; None when all are gone."""
    name, fork = group_name(route), route.spec.fork
    look = pace(in_phase_for(route, now))
    status = seen(route.status, observed.group)
    if observed.unfinished:
        # its pods would make the group anew, and read what they have read before
        message = (
            f"Consumer group {name} is deleted when {fork} is through with KafkaRoute {observed.unfinished[0]} too"
        )
        return Step(status, ready("False", Reason.DELETING, message), look_after=look)
    if observed.pods:
        message = f"Consumer group {name} is deleted when the pods of {fork} are gone"
        return Step(status, ready("False", Reason.DELETING, message), look_after=look)
    if observed.group.has_members:
        message = (
            f"Consumer group {name} still has members although the pods of {fork} are gone; waiting until they leave"
        )
        return Step(status, ready("False", Reason.GROUP_BUSY, message), look_after=look)
    return None


def released(route: KafkaRoute, *news: News) -> Step:
    """Let the route go."""
    return Step(route.status, deleting(route), effect=Release(), news=news)


def deleting(route: KafkaRoute) -> Condition:
    """The condition while the group goes."""
    return ready("False", Reason.DELETING, f"Consumer group {group_name(route)} is being deleted")


def left_behind(route: KafkaRoute, told: str) -> News:
    """That a group may be left on the cluster."""
    return News("Warning", NewsReason.GROUP_LEFT_BEHIND, f"{told} on KafkaCluster {route.spec.cluster}")
