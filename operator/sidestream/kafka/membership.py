"""Whether a fork's pods have joined its group, and what is told as long as they have not; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, ConditionType, Reason, find_condition
from sidestream.api.kafka import KafkaRoute, KafkaRouteStatus
from sidestream.kafka.port import GroupState
from sidestream.kafka.steps import Observed, Step, group_name, not_ready_for, pace, ready, tenants
from sidestream.kafka.upkeep import strayed

_JOINED: Final = (GroupState.STABLE, GroupState.UNKNOWN)


def await_fork(route: KafkaRoute, observed: Observed, status: KafkaRouteStatus, now: datetime) -> Step:
    """Active, once all else is well: Ready as soon as the fork is in its group."""
    if has_joined(route, observed):
        message = f"Records of {tenants(route)} go to consumer group {group_name(route)}"
        return Step(status.model_copy(update={"barred": None}), ready("True", Reason.ACTIVE, message))
    return Step(status, waiting(route, observed), look_after=pace(not_ready_for(route, now)))


def has_joined(route: KafkaRoute, observed: Observed) -> bool:
    """Whether the fork is in its group; the rebalances of a fork that was in it before do not make it unready."""
    last = find_condition(route.status.conditions, ConditionType.READY)
    was_ready = last is not None and last.status == "True"
    return bool(observed.group.members) and (was_ready or observed.group.state in _JOINED)


def waiting(route: KafkaRoute, observed: Observed) -> Condition:
    """What a fork that has not joined waits for."""
    fork, name = route.spec.fork, group_name(route)
    if route.status.barred is not None and not observed.pods:
        return strayed(route)
    if observed.pods:
        message = f"No pod of {fork} has joined consumer group {name} yet; see kubectl logs deployment/{fork}"
    else:
        message = f"Deployment {fork} has no pod yet that could join consumer group {name}"
    return ready("False", Reason.WAITING_FOR_CONSUMERS, message)
