"""RouteGroup: one routing key that the forks of several Sandboxes answer to, besides their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from sidestream.api.base import Model, ObjectMeta
from sidestream.api.conditions import Condition, Status
from sidestream.api.sandbox import DNS_LABEL_40, list_map

MOST_NAMES: Final = 64
"""How many Sandboxes a RouteGroup may name."""

_SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
_ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-list-type": "atomic"}


class LabelRequirement(Model):
    """One of a LabelSelector's `matchExpressions`."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = Field(default=(), max_length=64, json_schema_extra=_ATOMIC)


class LabelSelector(Model):
    """As everywhere in Kubernetes: all of it has to hold, and an empty one picks everything."""

    match_labels: dict[str, str] = Field(default={}, max_length=64)
    match_expressions: tuple[LabelRequirement, ...] = Field(default=(), max_length=64, json_schema_extra=_ATOMIC)


class SandboxesOfGroup(Model):
    """Which Sandboxes of the RouteGroup's namespace are its members: by their labels or by name."""

    selector: LabelSelector | None = Field(
        default=None, description="Labels of the members. An empty selector takes every Sandbox of the namespace."
    )
    names: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...] | None,
        Field(min_length=1, max_length=MOST_NAMES, json_schema_extra=_SET),
    ] = None


class RouteGroupSpec(Model):
    """What the team wants."""

    routing_key: Annotated[
        str,
        Field(
            min_length=1,
            max_length=40,
            pattern=DNS_LABEL_40,
            description="The value in the routing header that all members' forks answer to. Immutable.",
        ),
    ]
    sandboxes: SandboxesOfGroup


class MemberStatus(Model):
    """One member as last seen."""

    sandbox: str
    ready: Status = Field(
        description="Ready of the Sandbox; False, too, as long as the Sandbox does not say that it answers to the key."
    )


class RouteGroupStatus(Model):
    """What is."""

    observed_generation: int = 0
    members: tuple[MemberStatus, ...] = Field(default=(), json_schema_extra=list_map("sandbox"))
    member_count: int = Field(default=0, description="How many members there are.")
    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))


class RouteGroup(Model):
    """One routing key for several Sandboxes of its namespace: the forks of each member answer to it, too.

    Conditions: Accepted, Conflict, Ready.
    """

    metadata: ObjectMeta
    spec: RouteGroupSpec
    status: RouteGroupStatus = RouteGroupStatus()

    @property
    def is_deleting(self) -> bool:
        """Whether somebody asked for its deletion."""
        return self.metadata.deletion_timestamp is not None

    @property
    def names(self) -> Sequence[str]:
        """The Sandboxes that it names; empty where it selects them by their labels."""
        return self.spec.sandboxes.names or ()

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Parse what the API server returned; raises pydantic.ValidationError on an object no CRD of ours let in."""
        return cls.model_validate(raw)
