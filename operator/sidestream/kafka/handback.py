"""The way back under `Polling`: a deleted KafkaRoute gives its tenant's records to the baseline.

    Draining -> Drained -> Deleting -> gone

In Draining the mapping gives the tenant to the baseline, but the fork works on until it has passed what was in the
log a poll interval later, when every consumer has read that: in between a record may be handled twice, never by nobody.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka import departure, groups
from sidestream.kafka.steps import (
    News,
    NewsReason,
    Observed,
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


def needs_until(route: KafkaRoute, now: datetime) -> bool:
    """Whether it is time to take the end of the log as that up to which the fork works."""
    is_draining = route.status.phase is Phase.DRAINING and not route.status.until
    return is_draining and in_phase_for(route, now) >= poll_seconds(route)


def plan(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """The next step of a deleted route that is not free."""
    match route.status.phase:
        case Phase.PENDING | Phase.CREATING:
            return _undo(route, observed, now)
        case Phase.DRAINING:
            return _drain(route, observed, now)
        case Phase.DRAINED:
            return departure.begin_deleting(route, observed, now)
        case Phase.DELETING | Phase.RETIRING:
            return departure.delete(route, observed, now) or departure.released(route, departure.gone(route))
        case Phase.PREPARING | Phase.ACTIVE | Phase.FREEZING | Phase.PREPARING_OFF:
            return Step(moved(route, Phase.DRAINING, now, until=()), _draining(route), look_after=0)


def _undo(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Creating: the mapping never gave a record to the fork; what was made goes, what somebody else made stays."""
    if observed.group.is_absent:
        return departure.released(route)
    if observed.group.has_members or not groups.agrees(observed.own, groups.from_status(route.status.start)):
        told = f"Left consumer group {group_name(route)} alone: somebody else made it before this route could"
        return departure.released(route, departure.left_behind(route, told))
    return Step(moved(route, Phase.DELETING, now), departure.deleting(route), look_after=0)


def _drain(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    waited, interval = in_phase_for(route, now), poll_seconds(route)
    until = groups.from_status(route.status.until)
    if not observed.group.has_members:
        told = f"Consumer group {group_name(route)} has no members"
        return departure.drained(route, now, News("Normal", NewsReason.DRAINED, told))
    if waited >= interval + DRAIN_SECONDS:
        told = f"Fork {route.spec.fork} did not work off its records of {tenants(route)} within a minute"
        return departure.drained(route, now, News("Warning", NewsReason.DRAIN_TIMED_OUT, told))
    if needs_until(route, now) and observed.latest:
        status = route.status.model_copy(update={"until": groups.to_status(observed.latest)})
        return Step(seen(status, observed.group), _draining(route), look_after=0)
    if waited >= interval and groups.has_passed(observed.own, until):
        told = f"Fork {route.spec.fork} worked off its records of {tenants(route)}"
        return departure.drained(route, now, News("Normal", NewsReason.DRAINED, told))
    look = pace(waited) if waited >= interval else min(pace(waited), interval - waited)
    return Step(seen(route.status, observed.group), _draining(route), look_after=look)


def _draining(route: KafkaRoute) -> Condition:
    message = f"Fork {route.spec.fork} works off its records of {tenants(route)} in consumer group {group_name(route)}"
    return ready("False", Reason.DRAINING, message)
