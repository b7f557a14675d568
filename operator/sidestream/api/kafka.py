"""KafkaCluster, KafkaConsumer and KafkaRoute: where brokers are, who consumes what, one tenant's fork of a consumer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from sidestream.api.base import Model, ObjectMeta
from sidestream.api.conditions import Condition
from sidestream.api.sandbox import DURATION, Drain, list_map

DEFAULT_GROUP_NAME = "{group}.sbx.{sandbox}"

MOST_LEFT_BEHIND: Final = 50
"""How many groups that were left behind a status lists."""


Coordination = Literal["Fenced", "Polling"]


class SecretRef(Model):
    """A Secret in the operator's own namespace."""

    secret: Annotated[str, Field(min_length=1)]


class KafkaClusterSpec(Model):
    """How the operator reaches a Kafka cluster."""

    bootstrap_servers: Annotated[
        tuple[str, ...], Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ]
    properties: dict[str, str] = Field(
        default={}, description="Client properties of librdkafka, such as security.protocol."
    )
    properties_from: tuple[SecretRef, ...] = Field(
        default=(),
        json_schema_extra=list_map("secret"),
        description="Secrets in the operator's namespace whose keys are further properties; later ones win.",
    )
    group_name: Annotated[str, Field(min_length=1, max_length=249)] = Field(
        default=DEFAULT_GROUP_NAME,
        description="Name of a fork's group; {group}, {namespace} and {sandbox} are filled in.",
    )


class KafkaClusterStatus(Model):
    """What the operator last saw of the cluster."""

    observed_generation: int = 0
    cluster_id: str | None = None
    brokers: int = 0
    left_behind: Annotated[
        tuple[str, ...], Field(max_length=MOST_LEFT_BEHIND, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default=(),
        description=f"Groups named like those of forks that no KafkaRoute knows; at most {MOST_LEFT_BEHIND} of them.",
    )
    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))


class KafkaCluster(Model):
    """Where a Kafka cluster is and how the operator logs in. Conditions: Reachable."""

    metadata: ObjectMeta
    spec: KafkaClusterSpec
    status: KafkaClusterStatus = KafkaClusterStatus()

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Parse what the API server returned."""
        return cls.model_validate(raw)


class GroupEnv(Model):
    """The environment variable that tells the workload its consumer group."""

    name: Annotated[str, Field(min_length=1)]
    container: str = Field(default="", description="May be left out when the Deployment has one container.")


class UniqueEnv(Model):
    """An environment variable whose value a fork must not share with its baseline."""

    name: Annotated[str, Field(min_length=1)]
    container: str = Field(default="", description="May be left out when the Deployment has one container.")


class KafkaConsumerSpec(Model):
    """Which baseline workload consumes what."""

    cluster: Annotated[str, Field(min_length=1)]
    deployment: Annotated[str, Field(min_length=1)]
    group: Annotated[str, Field(min_length=1, max_length=249, description="The baseline's consumer group.")]
    topics: Annotated[
        tuple[str, ...], Field(min_length=1, max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
    ]
    group_env: GroupEnv
    unique_env: Annotated[tuple[UniqueEnv, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = Field(
        default=(),
        description="Variables with an id that a broker knows a client by: group.instance.id, transactional.id or a "
        "prefix of them. In a fork .sbx.<sandbox> is added to their values, so that neither fences the other out.",
    )
    coordination: Coordination = Field(
        default="Fenced",
        description="Fenced: consumers use Sidestream's SDK and decide by offsets that they acknowledged, so that no "
        "record is lost or handled twice. Polling: consumers poll the mapping service and go by what they last read.",
    )
    poll_interval: Annotated[str, Field(min_length=2, max_length=32, pattern=DURATION)] = Field(
        default="5s",
        description="How often consumers ask the mapping service at least; under Polling the operator waits so long "
        "before and after a change.",
    )


class KafkaConsumerStatus(Model):
    """The baseline's group as last seen."""

    observed_generation: int = 0
    group_state: str | None = None
    members: int = 0
    partitions: int = 0
    tenants: int = Field(default=0, description="KafkaRoutes that take records of this consumer.")
    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))


class KafkaConsumer(Model):
    """Which baseline Deployment consumes what; written once by the team that owns it. Conditions: Accepted."""

    metadata: ObjectMeta
    spec: KafkaConsumerSpec
    status: KafkaConsumerStatus = KafkaConsumerStatus()

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Parse what the API server returned."""
        return cls.model_validate(raw)


class Phase(StrEnum):
    """Where a hand-off stands.

    Under `Fenced`: Pending (nothing done) -> Preparing (the baseline acknowledges where the fork begins) -> Creating
    (group recorded, being placed) -> Active -> Freezing (the fork acknowledges where it holds) -> PreparingOff (the
    baseline acknowledges where it goes on) -> Draining (the fork works up to there) -> Drained (fork may stop) ->
    Deleting (group being deleted) -> Retiring (group gone; the baseline has yet to pass the fork's records).

    Under `Polling`: Pending -> Creating -> Preparing (the mapping gives the tenant to the fork; waiting until every
    consumer has read it) -> Active -> Draining (the mapping gives the tenant back; the fork works off what it has) ->
    Drained -> Deleting.
    """

    PENDING = "Pending"
    CREATING = "Creating"
    PREPARING = "Preparing"
    ACTIVE = "Active"
    FREEZING = "Freezing"
    PREPARING_OFF = "PreparingOff"
    DRAINING = "Draining"
    DRAINED = "Drained"
    DELETING = "Deleting"
    RETIRING = "Retiring"


class KafkaRouteSpec(Model):
    """One tenant's fork of one consumer, written by the Sandbox reconciler only."""

    sandbox: str
    consumer: str
    cluster: str
    deployment: str = Field(description="The baseline Deployment.")
    fork: str = Field(description="The fork Deployment.")
    baseline_group: str
    fork_group: str
    topics: tuple[str, ...] = Field(json_schema_extra={"x-kubernetes-list-type": "set"})
    keys: tuple[str, ...] = Field(
        json_schema_extra={"x-kubernetes-list-type": "set"}, description="The tenants' routing keys."
    )
    coordination: Coordination = "Polling"
    poll_interval: Annotated[str, Field(pattern=DURATION)] = "5s"
    drain: Drain = Drain()


class TopicStatus(Model):
    """A topic as it was when the fork group was placed; another id means it was re-created since."""

    name: str
    id: str
    partitions: int


class PartitionOffset(Model):
    """Where the fork group starts on one partition."""

    topic: str
    partition: int
    offset: int


FenceState = Literal["Aware", "Ask", "From", "Freeze", "Hold", "Until", "Retire"]
"""As `sidestream_sdk.fences.State` tells them; a test holds both together."""


class FenceStatus(Model):
    """Where a claim stands on one partition; each of the numbers is written once."""

    topic: str
    partition: int
    state: FenceState
    begin: int | None = Field(default=None, alias="from", description="The first offset that is the fork's.")
    hold: int | None = Field(default=None, description="The fork takes nothing from here on before it knows `until`.")
    until: int | None = Field(default=None, description="The first offset that is the baseline's again.")


class ClaimStatus(Model):
    """A fork's claim on one key under `Fenced`; the same key claimed anew later has another id."""

    id: str
    key: str
    fences: tuple[FenceStatus, ...] = Field(default=(), json_schema_extra=list_map("topic", "partition"))


class DiscardedRange(Model):
    """Records of a partition, from `begin` up to before `end`, that the fork had to leave alone."""

    topic: str
    partition: int
    begin: int
    end: int


class GroupStatus(Model):
    """The fork group. Its record is written before the group is created: a crash leaks nothing."""

    name: str
    cluster_id: str = Field(default="", description="The Kafka cluster it was created on.")
    state: str = ""
    members: int = 0


class KafkaRouteStatus(Model):
    """What is."""

    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    phase_since: str | None = Field(default=None, description="When the phase began, RFC 3339 in UTC.")
    group: GroupStatus | None = None
    topics: tuple[TopicStatus, ...] = Field(default=(), json_schema_extra=list_map("name"))
    start: tuple[PartitionOffset, ...] = Field(default=(), json_schema_extra=list_map("topic", "partition"))
    until: tuple[PartitionOffset, ...] = Field(default=(), json_schema_extra=list_map("topic", "partition"))
    claims: tuple[ClaimStatus, ...] = Field(
        default=(), json_schema_extra=list_map("id"), description="Under Fenced: who owns what, by offsets."
    )
    halted: bool = Field(
        default=False, description="The fork does not acknowledge that it holds: its pods have to stop first."
    )
    overdue: bool = Field(default=False, description="The fork has not worked off its records in time.")
    stranded: bool = Field(default=False, description="Records are left that no pod of the fork works off.")
    handback: bool = Field(default=False, description="The baseline's own pods take the fork's place.")
    discarded: tuple[DiscardedRange, ...] = Field(
        default=(),
        json_schema_extra=list_map("topic", "partition"),
        description="Where the tenants' records were left alone.",
    )
    refreshed_at: str | None = Field(
        default=None, description="When the offsets of a group without members were last committed again, RFC 3339."
    )
    barred: str | None = Field(
        default=None,
        description="Hash of the pod template whose pods joined the baseline's group: no pod of it may run.",
    )
    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))


class KafkaRoute(Model):
    """One tenant's fork of one consumer; made by the operator only. Conditions: Ready."""

    metadata: ObjectMeta
    spec: KafkaRouteSpec
    status: KafkaRouteStatus = KafkaRouteStatus()

    @property
    def is_deleting(self) -> bool:
        """Whether its Sandbox asked for its deletion."""
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Parse what the API server returned."""
        return cls.model_validate(raw)
