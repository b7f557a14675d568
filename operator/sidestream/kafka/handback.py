"""The way back under `Polling`: a deleted KafkaRoute gives its tenant's records to the baseline and its group away.

    Draining -> Drained -> Deleting -> gone

In Draining the mapping gives the tenant to the baseline, but the fork works on until it has passed what was in the
log a poll interval later, when every consumer has read that: in between a record may be handled twice, never by nobody.
In Drained the Sandbox stops the pods. A group is deleted only if we recorded it, it is no KafkaConsumer's own, the fork
has no pod that would make it again, and it is Empty (which the broker checks once more).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.api.labels import FORCE_CLEANUP, FORCE_CLEANUP_DISCARD
from sidestream.kafka import groups
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
    poll_seconds,
    ready,
    seen,
    tenants,
)

DRAIN_SECONDS: Final = 60.0
"""How long a fork may work on what was in the log when its tenant was given back."""


def is_discarded(route: KafkaRoute) -> bool:
    """Whether the user wants the deletion to go on without Kafka."""
    return route.metadata.annotations.get(FORCE_CLEANUP) == FORCE_CLEANUP_DISCARD


def is_free(route: KafkaRoute) -> bool:
    """Whether a deleted route can go without a look at Kafka: no group was ever recorded, or the user gave it up."""
    return route.status.group is None or is_discarded(route)


def release(route: KafkaRoute) -> Step:
    """Let a route go that `is_free`."""
    group = route.status.group
    news: tuple[News, ...] = ()
    if group is not None:
        news = (
            _left_behind(
                route, f"Let go of consumer group {group.name} because {FORCE_CLEANUP} said so: it may be left"
            ),
        )
    return _released(route, news)


def needs_until(route: KafkaRoute, now: datetime) -> bool:
    """Whether it is time to take the end of the log as that up to which the fork works."""
    is_draining = route.status.phase is Phase.DRAINING and not route.status.until
    return is_draining and in_phase_for(route, now) >= poll_seconds(route)


def plan(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """The next step of a deleted route that is not free."""
    match route.status.phase:
        case Phase.PENDING | Phase.CREATING:
            return _undo(route, observed, now)
        case Phase.PREPARING | Phase.ACTIVE:
            return Step(moved(route, Phase.DRAINING, now, until=()), _draining(route), look_after=0)
        case Phase.DRAINING:
            return _drain(route, observed, now)
        case Phase.DRAINED:
            return _await_empty(route, observed, now) or Step(
                moved(route, Phase.DELETING, now), _deleting(route), look_after=0
            )
        case Phase.DELETING:
            return _delete(route, observed, now)


def _undo(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Creating: the mapping never gave a record to the fork; what was made goes, what somebody else made stays."""
    if observed.group.is_absent:
        return _released(route)
    if observed.group.has_members or not groups.agrees(observed.own, groups.from_status(route.status.start)):
        told = f"Left consumer group {group_name(route)} alone: somebody else made it before this route could"
        return _released(route, (_left_behind(route, told),))
    return Step(moved(route, Phase.DELETING, now), _deleting(route), look_after=0)


def _drain(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    waited, interval = in_phase_for(route, now), poll_seconds(route)
    until = groups.from_status(route.status.until)
    if not observed.group.has_members:
        return _drained(
            route, now, News("Normal", NewsReason.DRAINED, f"Consumer group {group_name(route)} has no members")
        )
    if waited >= interval + DRAIN_SECONDS:
        told = f"Fork {route.spec.fork} did not work off its records of {tenants(route)} within a minute"
        return _drained(route, now, News("Warning", NewsReason.DRAIN_TIMED_OUT, told))
    if needs_until(route, now) and observed.latest:
        status = route.status.model_copy(update={"until": groups.to_status(observed.latest)})
        return Step(seen(status, observed.group), _draining(route), look_after=0)
    if waited >= interval and groups.has_passed(observed.own, until):
        told = f"Fork {route.spec.fork} worked off its records of {tenants(route)}"
        return _drained(route, now, News("Normal", NewsReason.DRAINED, told))
    look = pace(waited) if waited >= interval else min(pace(waited), interval - waited)
    return Step(seen(route.status, observed.group), _draining(route), look_after=look)


def _delete(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    name = group_name(route)
    if observed.group.is_absent:
        return _released(route, (News("Normal", NewsReason.GROUP_DELETED, f"Deleted consumer group {name}"),))
    if name in observed.taken:
        message = (
            f"Consumer group {name} is not deleted: it is now the baseline's own group of KafkaConsumer "
            f"{observed.taken[name]}"
        )
        return Step(route.status, ready("False", Reason.GROUP_EXISTS, message), look_after=REFUSED_SECONDS)
    waiting = _await_empty(route, observed, now)
    if waiting is not None:
        return waiting
    return Step(seen(route.status, observed.group), _deleting(route), effect=Delete(name))


def _await_empty(route: KafkaRoute, observed: Observed, now: datetime) -> Step | None:
    """Wait for the pods and for the members, who may outlive them until their session ends; None when all are gone."""
    name, fork = group_name(route), route.spec.fork
    look = pace(in_phase_for(route, now))
    status = seen(route.status, observed.group)
    if observed.pods:
        message = f"Consumer group {name} is deleted when the pods of {fork} are gone"
        return Step(status, ready("False", Reason.DELETING, message), look_after=look)
    if observed.group.has_members:
        message = (
            f"Consumer group {name} still has members although the pods of {fork} are gone; waiting until they leave"
        )
        return Step(status, ready("False", Reason.GROUP_BUSY, message), look_after=look)
    return None


def _drained(route: KafkaRoute, now: datetime, news: News) -> Step:
    return Step(moved(route, Phase.DRAINED, now), _deleting(route), news=(news,), look_after=0)


def _released(route: KafkaRoute, news: tuple[News, ...] = ()) -> Step:
    return Step(route.status, _deleting(route), effect=Release(), news=news)


def _draining(route: KafkaRoute) -> Condition:
    message = f"Fork {route.spec.fork} works off its records of {tenants(route)} in consumer group {group_name(route)}"
    return ready("False", Reason.DRAINING, message)


def _deleting(route: KafkaRoute) -> Condition:
    return ready("False", Reason.DELETING, f"Consumer group {group_name(route)} is being deleted")


def _left_behind(route: KafkaRoute, told: str) -> News:
    return News("Warning", NewsReason.GROUP_LEFT_BEHIND, f"{told} on KafkaCluster {route.spec.cluster}")
