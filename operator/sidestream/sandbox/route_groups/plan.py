"""From what is observed of a RouteGroup to its status; pure. Its members' own reconciler makes them answer to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sidestream.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    condition,
    find_condition,
    merge_conditions,
)
from sidestream.api.route_group import MemberStatus, RouteGroup, RouteGroupStatus
from sidestream.api.sandbox import Sandbox
from sidestream.api.tenancy import Conflict, Tenancy
from sidestream.api.times import format_time
from sidestream.sandbox.news import EventReason, News

_MOST_CONFLICTS_TOLD: Final = 5


@dataclass(frozen=True)
class Observed:
    """What is: the RouteGroup, and all Sandboxes and RouteGroups of its namespace."""

    group: RouteGroup
    sandboxes: tuple[Sandbox, ...]
    groups: tuple[RouteGroup, ...]


@dataclass(frozen=True)
class Plan:
    """What to write and to tell."""

    status: RouteGroupStatus
    news: tuple[News, ...] = ()


def plan(observed: Observed, now: datetime) -> Plan:
    """The RouteGroup's status at `now` (UTC)."""
    group = observed.group
    tenancy = Tenancy(observed.sandboxes, observed.groups)
    members = tenancy.members(group)
    accepted = _accepted(group, members)
    conflict = _conflict(group, tenancy.conflicts(group))
    said = [_ready_of(member, group.spec.routing_key) for member in members]
    ready = _ready(group, [accepted, *_missing(group, observed.sandboxes), _negated(conflict), *said])
    generation = group.metadata.generation
    status = RouteGroupStatus(
        observed_generation=generation,
        members=tuple(
            MemberStatus(sandbox=member.metadata.name, ready=one.status)
            for member, one in zip(members, said, strict=True)
        ),
        member_count=len(members),
        conditions=merge_conditions(
            group.status.conditions, [accepted, conflict, ready], generation=generation, now=format_time(now)
        ),
    )
    return Plan(status, (*_news_of_conflict(group, conflict), *_news_of_ready(group, ready)))


def _accepted(group: RouteGroup, members: Sequence[Sandbox]) -> Condition:
    if members:
        return condition(ConditionType.ACCEPTED, "True", Reason.ACCEPTED, "The RouteGroup has members")
    where = f"in namespace {group.metadata.namespace}"
    names = ", ".join(sorted(group.names))
    text = f"There is no Sandbox {where} with these labels"
    if len(group.names) == 1:
        text = f"There is no Sandbox {names} {where}"
    elif names:
        text = f"There is none of the Sandboxes {names} {where}"
    return condition(ConditionType.ACCEPTED, "False", Reason.NO_MEMBERS, text)


def _missing(group: RouteGroup, sandboxes: Iterable[Sandbox]) -> list[Condition]:
    """What stands in the way of Ready where Sandboxes that are named are not there, or are going."""
    left = {sandbox.metadata.name for sandbox in sandboxes if not sandbox.is_deleting}
    missing = sorted(set(group.names) - left)
    if not missing:
        return []
    where = f"in namespace {group.metadata.namespace}"
    text = f"The RouteGroup names Sandbox {missing[0]}, which does not exist {where} or is being deleted"
    if len(missing) > 1:
        names = ", ".join(missing)
        text = f"The RouteGroup names Sandboxes {names}, which do not exist {where} or are being deleted"
    return [condition(ConditionType.READY, "False", Reason.SANDBOX_NOT_FOUND, text)]


def _conflict(group: RouteGroup, conflicts: Sequence[Conflict]) -> Condition:
    key = group.spec.routing_key
    if not conflicts:
        text = f"No Deployment has two forks that could answer to {key}"
        return condition(ConditionType.CONFLICT, "False", Reason.NO_CONFLICT, text)
    told = "; ".join(_told(conflict, key) for conflict in conflicts[:_MOST_CONFLICTS_TOLD])
    more = " and others" if len(conflicts) > _MOST_CONFLICTS_TOLD else ""
    text = f"{told}{more}: take the Deployment out of one of the two Sandboxes, or one of them out of the RouteGroup"
    return condition(ConditionType.CONFLICT, "True", Reason.WORKLOAD_TAKEN, text)


def _told(conflict: Conflict, key: str) -> str:
    why = "whose own key it is" if conflict.is_own else "which is older"
    return (
        f"Sandboxes {conflict.holder} and {conflict.loser} both fork Deployment {conflict.deployment}, and {key} goes "
        f"to the fork of {conflict.holder}, {why}"
    )


def _ready_of(member: Sandbox, key: str) -> Condition:
    """Whether the member is ready and says that it answers to the key, as one condition."""
    name, said = member.metadata.name, find_condition(member.status.conditions, ConditionType.READY)
    if said is None or said.observed_generation < member.metadata.generation:
        return _not_ready(Reason.PENDING, f"Sandbox {name} has not been looked at yet")
    if said.status != "True":
        text = f"Sandbox {name} is not ready: {said.message}"
        return condition(ConditionType.READY, said.status, Reason.MEMBER_NOT_READY, text)
    if key not in member.status.routing_keys:
        return _not_ready(Reason.MEMBER_NOT_READY, f"Sandbox {name} does not answer to {key}")
    return condition(ConditionType.READY, "True", Reason.READY)


def _ready(group: RouteGroup, parts: Sequence[Condition]) -> Condition:
    """The sum of the others: the first that is false says why, else the first that is not known."""
    for status in ("False", "Unknown"):
        for part in parts:
            if part.status == status:
                return part.model_copy(update={"type": ConditionType.READY})
    text = f"The forks of all members answer to {group.spec.routing_key}"
    return condition(ConditionType.READY, "True", Reason.READY, text)


def _negated(conflict: Condition) -> Condition:
    return conflict.model_copy(update={"status": "False" if conflict.status == "True" else "True"})


def _not_ready(reason: Reason, message: str) -> Condition:
    return condition(ConditionType.READY, "False", reason, message)


def _news_of_conflict(group: RouteGroup, conflict: Condition) -> tuple[News, ...]:
    """Tells of a conflict once, and again when it is about others."""
    before = find_condition(group.status.conditions, ConditionType.CONFLICT)
    if conflict.status != "True" or (before is not None and before.message == conflict.message):
        return ()
    return (News(conflict.reason, conflict.message, "Warning"),)


def _news_of_ready(group: RouteGroup, ready: Condition) -> tuple[News, ...]:
    """Tells when Ready turns true or stops being so; of a conflict its own Event tells."""
    before = find_condition(group.status.conditions, ConditionType.READY)
    was_ready, is_ready = before is not None and before.status == "True", ready.status == "True"
    if was_ready == is_ready or ready.reason == Reason.WORKLOAD_TAKEN:
        return ()
    return (News(EventReason.READY, ready.message),) if is_ready else (News(ready.reason, ready.message, "Warning"),)
