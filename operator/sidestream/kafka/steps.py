"""The vocabulary of the hand-off: what was observed, and what one step of it says is to be recorded and done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from sidestream.api.conditions import Condition, ConditionType, Reason, Status, condition, find_condition
from sidestream.api.kafka import GroupStatus, KafkaRoute, KafkaRouteStatus, Phase
from sidestream.api.times import format_micro_time, parse_duration, parse_time
from sidestream.kafka.port import Group, Offsets, Positions, Scanned, Topic, TopicPartition

RECHECK_SECONDS: Final = 30.0
"""How often a route that is well is looked at without an event: offsets expire and topics are made anew in silence."""

REFUSED_SECONDS: Final = 5.0
"""How soon we look again for what only a user can mend outside of Kubernetes, such as a missing topic."""

BUSY_SECONDS: Final = 2.0
"""How soon we look again for members that ought not to be there, or for what will be over soon without an event."""

_FASTEST: Final = 0.3
_SLOWEST: Final = 5.0


@dataclass(frozen=True)
class Observed:
    """What a step decides on, besides the KafkaRoute itself. `observe` says which fields it fills in which phase.

    `own` and `baseline` are committed offsets of the fork's and of the baseline's group. `taken` names the
    KafkaConsumer of each baseline group, `pods` the fork's pods that are not over, `strays` those of them that joined
    the baseline's group, each with the mark of its template, `unfinished` the KafkaRoutes that the fork still works for
    although all of them go.

    Under `Fenced` also: `version` and `epoch` of the mapping that members may have of this route, `baseline_group`,
    `others` (KafkaRoutes on the same baseline group), whether the `deployment` of the baseline is there and `speaks`
    (may use the SDK, as far as its environment tells), and what was found of the tenants in what the fork has yet to
    read (`scanned`).
    """

    cluster_id: str
    group: Group
    topics: Mapping[str, Topic | None] = field(default_factory=dict)
    own: Positions = field(default_factory=dict)
    baseline: Positions = field(default_factory=dict)
    earliest: Offsets = field(default_factory=dict)
    latest: Offsets = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    pods: tuple[str, ...] = ()
    strays: Mapping[str, str] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    version: int = 0
    epoch: str = ""
    baseline_group: Group | None = None
    others: tuple[KafkaRoute, ...] = ()
    has_deployment: bool = True
    speaks: bool = True
    scanned: Mapping[TopicPartition, Scanned] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Commit these offsets for a group, making it when it is missing; `over` as in `KafkaAdmin.place`."""

    group: str
    positions: Positions
    over: Positions | None = None


@dataclass(frozen=True)
class Delete:
    """Delete a group."""

    group: str


@dataclass(frozen=True)
class Release:
    """Take our finalizer off the KafkaRoute: nothing of it is left outside."""


Effect = Place | Delete | Release


class NewsReason(StrEnum):
    """Reasons of Events about hand-offs and their groups."""

    GROUP_CREATED = "GroupCreated"
    GROUP_RECREATED = "GroupRecreated"
    GROUP_DELETED = "GroupDeleted"
    GROUP_LEFT_BEHIND = "GroupLeftBehind"
    GROUPS_LEFT_BEHIND = "GroupsLeftBehind"
    TOPIC_RECREATED = "TopicRecreated"
    HANDED_OVER = "HandedOver"
    DRAINED = "Drained"
    DRAIN_TIMED_OUT = "DrainTimedOut"
    RECORDS_DISCARDED = "RecordsDiscarded"


@dataclass(frozen=True)
class News:
    """An Event for users, in the past tense."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Step:
    """One step: first `status` and `ready` are recorded, then `effect` is done, then `news` are told.

    `look_after`: seconds until the next look; 0 goes on at once. Once an effect is done the next look is at once too.
    """

    status: KafkaRouteStatus
    ready: Condition
    effect: Effect | None = None
    news: tuple[News, ...] = ()
    look_after: float = RECHECK_SECONDS


def ready(status: Status, reason: Reason, message: str) -> Condition:
    """The one condition of a KafkaRoute."""
    return condition(ConditionType.READY, status, reason, message)


def moved(route: KafkaRoute, phase: Phase, now: datetime, **changes: Any) -> KafkaRouteStatus:
    """The status in another phase, which begins now."""
    return route.status.model_copy(update={"phase": phase, "phase_since": format_micro_time(now), **changes})


def seen(status: KafkaRouteStatus, group: Group) -> KafkaRouteStatus:
    """The status with the recorded group as it is now."""
    if status.group is None:
        return status
    return status.model_copy(update={"group": recorded(status.group, group)})


def recorded(old: GroupStatus, group: Group) -> GroupStatus:
    """A group's record with its state and members as they are now."""
    return old.model_copy(update={"state": str(group.state), "members": len(group.members)})


def in_phase_for(route: KafkaRoute, now: datetime) -> float:
    """Seconds since the phase began."""
    since = route.status.phase_since
    return (now - parse_time(since)).total_seconds() if since else 0.0


def not_ready_for(route: KafkaRoute, now: datetime) -> float:
    """Seconds since Ready was last True, or the phase began if that is later."""
    last = find_condition(route.status.conditions, ConditionType.READY)
    if last is None or last.status == "True" or not last.last_transition_time:
        return 0.0
    return min(in_phase_for(route, now), (now - parse_time(last.last_transition_time)).total_seconds())


def poll_seconds(route: KafkaRoute) -> float:
    """How long every consumer may take to read a new mapping."""
    return parse_duration(route.spec.poll_interval).total_seconds()


def pace(waited: float) -> float:
    """Seconds until the next look at something that we have waited for so long: quick at first, then slower."""
    return min(max(waited / 20.0, _FASTEST), _SLOWEST)


def tenants(route: KafkaRoute) -> str:
    """The route's tenants for messages: `tenant alice`. Under `Fenced` those that it claims already, if any."""
    claimed = {claim.key for claim in route.status.claims if route.is_deleting or claim.key in route.spec.keys}
    keys = sorted(claimed or route.spec.keys)
    return f"tenant {keys[0]}" if len(keys) == 1 else f"tenants {', '.join(keys)}"


def group_name(route: KafkaRoute) -> str:
    """The recorded group's name, else the one that it is going to have."""
    return route.status.group.name if route.status.group is not None else route.spec.fork_group


def preparing(route: KafkaRoute) -> Condition:
    """The condition between the hand-over in the mapping and the moment when everybody has read it."""
    message = f"Waiting until every consumer has read that consumer group {group_name(route)} takes {tenants(route)}"
    return ready("False", Reason.RECONCILING, message)


def last_ready(route: KafkaRoute) -> Condition:
    """The condition as it stands, for steps in between that users need not see."""
    return find_condition(route.status.conditions, ConditionType.READY) or preparing(route)
