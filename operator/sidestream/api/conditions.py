"""Condition types, their reasons, and how a list of conditions changes.

Messages are one plain sentence for users, the same from run to run: no times, no counters, sorted names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from sidestream.api.base import Model

Status = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """Types over all kinds; each kind's model says which it has."""

    ACCEPTED = "Accepted"
    WORKLOADS_READY = "WorkloadsReady"
    ROUTES_READY = "RoutesReady"
    KAFKA_READY = "KafkaReady"
    CONFLICT = "Conflict"
    READY = "Ready"
    REACHABLE = "Reachable"


class Reason(StrEnum):
    """Why a condition is as it is; docs/reference/conditions.md has a row for each."""

    # all is well
    ACCEPTED = "Accepted"
    READY = "Ready"
    PROGRAMMED = "Programmed"
    ACTIVE = "Active"
    REACHABLE = "Reachable"
    NO_CONFLICT = "NoConflict"
    NOT_APPLICABLE = "NotApplicable"
    # under way
    PENDING = "Pending"
    RECONCILING = "Reconciling"
    FORK_NOT_READY = "ForkNotReady"
    MEMBER_NOT_READY = "MemberNotReady"
    WAITING_FOR_KAFKA = "WaitingForKafka"
    WAITING_FOR_CONSUMERS = "WaitingForConsumers"
    NOT_VERIFIED = "NotVerified"
    DRAINING = "Draining"
    DELETING = "Deleting"
    EXPIRED = "Expired"
    SUSPENDED = "Suspended"
    # only a user can mend it
    BASELINE_NOT_FOUND = "BaselineNotFound"
    BASELINE_WITHOUT_SDK = "BaselineWithoutSdk"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    PATCH_FAILED = "PatchFailed"
    FORK_REJECTED = "ForkRejected"
    WORKLOAD_TAKEN = "WorkloadTaken"
    FORK_MATCHES_BASELINE_SERVICE = "ForkMatchesBaselineService"
    NAME_TAKEN = "NameTaken"
    ROUTE_CONFLICT = "RouteConflict"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    PORT_NOT_HTTP = "PortNotHttp"
    MESH_NOT_FOUND = "MeshNotFound"
    NO_MEMBERS = "NoMembers"
    SANDBOX_NOT_FOUND = "SandboxNotFound"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    CLUSTER_NOT_FOUND = "ClusterNotFound"
    CLUSTER_UNREACHABLE = "ClusterUnreachable"
    CLUSTER_INVALID = "ClusterInvalid"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, no secret
    TOPIC_NOT_FOUND = "TopicNotFound"
    FORK_IN_BASELINE_GROUP = "ForkInBaselineGroup"
    GROUP_EXISTS = "GroupExists"
    GROUP_NAME_INVALID = "GroupNameInvalid"
    GROUP_BUSY = "GroupBusy"
    UNAUTHORIZED = "Unauthorized"


class Condition(Model):
    """One condition of a status, after the Kubernetes API conventions."""

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = Field(default="", description="When `status` last changed, RFC 3339 in UTC.")


def condition(type_: ConditionType, status: Status, reason: Reason, message: str = "") -> Condition:
    """A condition that does not yet know its generation and time; `merge_conditions` fills them."""
    return Condition(type=type_, status=status, reason=reason, message=message)


def merge_conditions(
    old: Sequence[Condition], new: Iterable[Condition], *, generation: int, now: str
) -> tuple[Condition, ...]:
    """`new` in its order, each with `generation`, and with `now` only where its status differs from `old`."""
    before = {item.type: item for item in old}
    merged = []
    for item in new:
        last = before.get(item.type)
        since = last.last_transition_time if last is not None and last.status == item.status else now
        merged.append(item.model_copy(update={"observed_generation": generation, "last_transition_time": since}))
    return tuple(merged)


def find_condition(conditions: Iterable[Condition], type_: ConditionType) -> Condition | None:
    """The condition of this type, or None."""
    return next((item for item in conditions if item.type == type_), None)
