"""Asks members for acknowledgements, and stands in for a group that has none; pure.

Members learn from the mapping what they are asked, so asking is: what they owe is recorded, and we look again soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.api.labels import FORCE_CLEANUP, FORCE_CLEANUP_DISCARD
from sidestream.kafka import fencing
from sidestream.kafka.fencing import Ends, Side
from sidestream.kafka.port import Group, GroupState, Positions, TopicPartition
from sidestream.kafka.steps import Observed, Place, Step, in_phase_for, not_ready_for, ready, seen
from sidestream_sdk.fences import Due

_FASTEST: Final = 0.1
_SLOWEST: Final = 2.0

PATIENCE_SECONDS: Final = 10.0
"""After so long it is told who does not answer."""


def baseline_of(observed: Observed) -> Side:
    """The baseline's side."""
    group = observed.baseline_group or Group("", GroupState.UNKNOWN)
    return Side(group, observed.baseline, observed.epoch)


def fork_of(observed: Observed) -> Side:
    """The fork's side."""
    return Side(observed.group, observed.own, observed.epoch, is_fork=True)


def answered(route: KafkaRoute, observed: Observed) -> fencing.Claims:
    """The route's claims after what was acknowledged by now."""
    return fencing.advanced(route.status.claims, baseline_of(observed), fork_of(observed))


def other_claims(route: KafkaRoute, observed: Observed) -> Mapping[str, str]:
    """The Sandbox of each key that another route on the same baseline group claims, or still may claim.

    A key that goes from one fork of a Deployment to another is for a moment in both specs: whoever comes first must not
    claim it before the other has let go, or both would.
    """
    found: dict[str, str] = {}
    for other in observed.others:
        if other.metadata.uid == route.metadata.uid or other.spec.cluster != route.spec.cluster:
            continue
        may_claim = other.spec.deployment == route.spec.deployment and other.spec.sandbox != route.spec.sandbox
        wanted = other.spec.keys if may_claim and not other.is_deleting else ()
        found |= dict.fromkeys((*wanted, *(claim.key for claim in other.status.claims)), other.spec.sandbox)
    return found


def ask(route: KafkaRoute, observed: Observed, condition: Condition, now: datetime) -> Step | None:
    """Wait for what is owed by either side, or write it for a group without members; None when nothing is owed."""
    waited = in_phase_for(route, now)
    if route.status.phase is Phase.ACTIVE and condition.status != "True":
        # for a key that joined a fork which has been Active for long
        waited = not_ready_for(route, now)
    look = min(max(waited / 20.0, _FASTEST), _SLOWEST)
    step: Step | None = None
    for side in (baseline_of(observed), fork_of(observed)):
        dues = fencing.owed(route, side)
        if not dues:
            continue
        stood_in = _stand_in(route, observed, side, dues)
        if stood_in is not None:
            return Step(seen(route.status, observed.group), condition, effect=stood_in)
        told = condition
        if waited >= PATIENCE_SECONDS and condition.status != "True":
            told = _silent(route, side, dues)
        step = step or Step(seen(route.status, observed.group), told, look_after=look)
    return step


def _stand_in(
    route: KafkaRoute, observed: Observed, side: Side, dues: Mapping[TopicPartition, tuple[Due, ...]]
) -> Place | None:
    if side.group.has_members or not dues.keys() <= observed.latest.keys():
        return None
    changes = fencing.changes_of(_all_routes(route, observed))
    ends = Ends(observed.earliest, observed.latest)
    positions = fencing.stood_in(side, dues, changes, ends, observed.version)
    if not positions:
        return None
    known: Positions = {item: side.positions[item] for item in positions if item in side.positions}
    return Place(side.group.name, positions, over=known)


def _all_routes(route: KafkaRoute, observed: Observed) -> Iterable[KafkaRoute]:
    """This route as it was observed itself, besides the others."""
    return [route, *(other for other in observed.others if other.metadata.uid != route.metadata.uid)]


def _silent(route: KafkaRoute, side: Side, dues: Mapping[TopicPartition, tuple[Due, ...]]) -> Condition:
    """Who has not answered, by the first partition: the same words as long as it is the same member."""
    item = min(dues)
    where = f"partition {item.partition} of topic {item.topic}"
    members = [member for member in side.group.members if item in member.partitions]
    if not side.group.has_members:
        message = (
            f"Consumer group {side.group.name} has no members and has committed nothing on {where}, so nobody knows "
            f"where it would begin: start Deployment {route.spec.deployment} once"
        )
    elif not members:
        message = f"No member of consumer group {side.group.name} has {where}: does the Deployment still consume it?"
    else:
        member = members[0]
        message = (
            f"Consumer {member.client_id} at {member.host} in consumer group {side.group.name} has not acknowledged "
            f"{where}: it may be busy for long between two polls, or use no Sidestream SDK, or an old one"
        )
    if route.is_deleting:
        message += f"; annotate the Sandbox {FORCE_CLEANUP}={FORCE_CLEANUP_DISCARD} to let it go without an answer"
    return ready("False", Reason.WAITING_FOR_CONSUMERS, message)
