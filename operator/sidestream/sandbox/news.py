"""What of a Sandbox's life is worth an Event: transitions only; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sidestream.api.conditions import Condition, ConditionType, find_condition
from sidestream.api.sandbox import Sandbox, SandboxStatus
from sidestream.kube.port import DEPLOYMENTS, Object, Resource
from sidestream.sandbox.ownership import baseline_of, name_of


class EventReason(StrEnum):
    """Reasons of Events on a Sandbox; a Warning has that of the condition or the finding that it tells of."""

    FORK_CREATED = "ForkCreated"
    FORK_REMOVED = "ForkRemoved"
    READY = "Ready"
    EXPIRED = "Expired"
    DELETING = "Deleting"
    DELETED = "Deleted"


@dataclass(frozen=True)
class News:
    """An Event to record once what it tells has happened."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


def news_of_creation(resource: Resource, obj: Object) -> News | None:
    """Tells of a new fork; its other objects are details."""
    if resource is not DEPLOYMENTS:
        return None
    return News(EventReason.FORK_CREATED, f"Deployment {name_of(obj)} was made from {baseline_of(obj)}")


def news_of_removal(resource: Resource, obj: Object) -> News | None:
    """Tells of a fork that was deleted."""
    if resource is not DEPLOYMENTS:
        return None
    return News(EventReason.FORK_REMOVED, f"Deployment {name_of(obj)} was deleted")


def news_of_conditions(sandbox: Sandbox, status: SandboxStatus) -> tuple[News, ...]:
    """Tells when Ready turns true or stops being so, and when the Sandbox is refused; one Event at most."""
    before, after = sandbox.status.conditions, status.conditions
    ready, accepted = find_condition(after, ConditionType.READY), find_condition(after, ConditionType.ACCEPTED)
    if _is_true(ready):
        return () if _is_true(find_condition(before, ConditionType.READY)) else _told(EventReason.READY, ready)
    if accepted is not None and accepted.status == "False":
        was = find_condition(before, ConditionType.ACCEPTED)
        is_known = was is not None and (was.status, was.reason) == (accepted.status, accepted.reason)
        return () if is_known else _told(accepted.reason, accepted, "Warning")
    if ready is not None and _is_true(find_condition(before, ConditionType.READY)):
        return _told(ready.reason, ready, "Warning")
    return ()


def news_of_findings(sandbox: Sandbox, status: SandboxStatus) -> tuple[News, ...]:
    """Tells of each finding about a fork when it is new; what is told of several forks alike is told once."""
    known = {finding for workload in sandbox.status.workloads for finding in workload.findings}
    found = dict.fromkeys(finding for workload in status.workloads for finding in workload.findings)
    return tuple(News(item.reason, item.message, "Warning") for item in found if item not in known)


def news_of_deletion(sandbox: Sandbox) -> tuple[News, ...]:
    """Tells that a deletion begins: it has made a new generation, which no status has answered yet."""
    if sandbox.status.observed_generation == sandbox.metadata.generation:
        return ()
    return (News(EventReason.DELETING, "Routes, consumer groups and forks are being removed"),)


def _is_true(found: Condition | None) -> bool:
    return found is not None and found.status == "True"


def _told(reason: str, found: Condition | None, type_: Literal["Normal", "Warning"] = "Normal") -> tuple[News, ...]:
    return () if found is None else (News(reason, found.message, type_),)
