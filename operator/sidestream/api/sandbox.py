"""Sandbox: which Deployments a developer changed, and what became of their forks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from sidestream.api.base import Model, ObjectMeta
from sidestream.api.conditions import Condition

DNS_LABEL_40 = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
DURATION = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
HOST_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$"

MESH_ENTRY = "mesh"
"""The `entry` of a route by which callers within the cluster come to a Service."""

Json = Annotated[Any, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
JsonObject = Annotated[
    dict[str, Any], Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]


def list_map(*keys: str) -> dict[str, Any]:
    """Schema extras of a list whose items server-side apply merges by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class EnvVar(Model):
    """One environment variable, as in a Pod."""

    name: Annotated[str, Field(min_length=1)]
    value: str | None = None
    value_from: JsonObject | None = Field(
        default=None, description="As in a Pod: configMapKeyRef, secretKeyRef, fieldRef, ..."
    )


class ContainerOverride(Model):
    """What the fork's container does differently from the baseline's."""

    name: str = Field(default="", description="May be left out when the baseline has one container.")
    image: str | None = Field(default=None, min_length=1)
    env: tuple[EnvVar, ...] = Field(
        default=(), json_schema_extra=list_map("name"), description="Set or replaced by name."
    )
    unset_env: tuple[str, ...] = Field(default=(), json_schema_extra={"x-kubernetes-list-type": "set"})
    command: tuple[str, ...] | None = Field(default=None, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    args: tuple[str, ...] | None = Field(default=None, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    resources: JsonObject | None = Field(default=None, description="Replaces the baseline's resources, as in a Pod.")


class Patch(Model):
    """A patch on the fork's Deployment, applied after everything else."""

    type: Literal["Strategic", "Merge", "JSON"] = "Strategic"
    value: Json = Field(description="An object for Strategic and Merge, a list of operations for JSON.")


class Workload(Model):
    """One Deployment to fork."""

    deployment: Annotated[str, Field(min_length=1, max_length=253, description="The baseline, in the same namespace.")]
    containers: tuple[ContainerOverride, ...] = Field(default=(), max_length=32, json_schema_extra=list_map("name"))
    patch: Patch | None = None
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    baseline_updates: Literal["Follow", "Pin"] = Field(
        default="Follow", description="Follow: render the fork anew when the baseline's template changes. Pin: keep it."
    )


class Lifetime(Model):
    """When the Sandbox deletes itself, in the ordinary order."""

    ttl: Annotated[str, Field(min_length=2, max_length=32, pattern=DURATION, description="Such as 30m, 8h or 3d12h.")]
    from_: Literal["Creation", "LastChange"] = Field(default="Creation", alias="from")


class Drain(Model):
    """What becomes of a fork's Kafka records, under Fenced, when it is not through with them in time at its end."""

    policy: Literal["Wait", "Handback", "Discard"] = Field(
        default="Wait",
        description="Wait: go on waiting, and say so. Handback: run the baseline's own pods in the fork's place until "
        "the records are worked off. Discard: leave the records alone; status and an Event say which.",
    )
    timeout: Annotated[str, Field(min_length=2, max_length=32, pattern=DURATION)] = Field(
        default="15m", description="How long the fork has for it."
    )


class PreviewGateway(Model):
    """Where requests from outside come in."""

    kind: Literal["Gateway", "IstioGateway", "Traefik"] = Field(
        default="Gateway",
        description="Gateway: of the Gateway API. IstioGateway: of networking.istio.io. Traefik: an entry point of "
        "Traefik, which IngressRoutes name.",
    )
    namespace: Annotated[
        str | None,
        Field(min_length=1, max_length=63, description="The Gateway's; the Sandbox's when left out. Traefik has none."),
    ] = None
    name: Annotated[
        str, Field(min_length=1, max_length=253, description="The Gateway's name, or Traefik's entry point.")
    ]


HostName = Annotated[str, Field(min_length=1, max_length=253, pattern=HOST_NAME)]


class Preview(Model):
    """An address of the Sandbox's own: requests to `host` are routed as those to `of`, and made the tenant's.

    For browsers, which set no header by themselves.
    """

    gateway: PreviewGateway
    host: Annotated[HostName, Field(description="What the Sandbox is called, such as alice.preview.example.com.")]
    of: Annotated[
        HostName | None,
        Field(
            description="The host whose rules hold for the preview, too; may be left out where users have rules for "
            "one host only at the gateway."
        ),
    ] = None


class SandboxSpec(Model):
    """What the developer wants."""

    routing_key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=40,
            pattern=DNS_LABEL_40,
            description="The tenant's value in the routing header; the Sandbox's name when left out. Immutable.",
        ),
    ] = None
    workloads: Annotated[
        tuple[Workload, ...], Field(min_length=1, max_length=32, json_schema_extra=list_map("deployment"))
    ]
    lifetime: Lifetime | None = None
    drain: Drain = Drain()
    on_fork_unavailable: Literal["Error", "Baseline"] = Field(
        default="Error",
        description="What the tenant's requests meet while a fork that has served has no ready pod. Error: an error, "
        "so that nobody takes the baseline for the fork. Baseline: the baseline.",
    )
    suspended: bool = Field(
        default=False,
        description="Give everything to the baseline and run no fork, until it is false again; what is in the Sandbox "
        "stays.",
    )
    preview: Preview | None = None


class FindingStatus(Model):
    """Something that users should know of although it stops nothing; docs/reference/findings.md has a row for each."""

    reason: str
    message: str


class WorkloadStatus(Model):
    """One fork as last seen."""

    deployment: str
    fork: str
    services: tuple[str, ...] = Field(default=(), json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ready_replicas: int = 0
    baseline_generation: int = 0
    keys: tuple[str, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="What this fork answers to: the Sandbox's own key, then those of its RouteGroups.",
    )
    findings: tuple[FindingStatus, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="What else speaks of the baseline and not of the fork, such as an autoscaler.",
    )


class RouteStatus(Model):
    """One way to a forked Service as the reconciler of the way's entry last saw it; that reconciler alone writes it."""

    service: str
    entry: str = Field(
        default=MESH_ENTRY,
        max_length=400,
        description="Where the way begins: `mesh` for callers that name the Service, else the user's object that leads "
        "to it, such as `HTTPRoute shop/storefront`.",
    )
    provider: str = Field(description="The kind of the written objects, or None when nothing is written.")
    mode: str = Field(description="How they stand to users' own: Owned, Overlay, Delegate, Patch, Beside or None.")
    object: str = Field(default="", description="The names of the written objects, separated by commas.")
    source: str = Field(default="", description="The user's object whose rules hold for the tenant, too.")
    choice: str = Field(default="", description="Why it is this provider and mode.")
    state: Literal["Pending", "Written", "Programmed", "Refused", "Unrouted"]
    reason: str
    message: str = ""
    gateways: tuple[str, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Only of the mesh's entry: the other entries from which requests come to the Service.",
    )
    findings: tuple[FindingStatus, ...] = Field(default=(), json_schema_extra={"x-kubernetes-list-type": "atomic"})
    observed_generation: int = Field(default=0, description="Generation of the Sandbox that this entry answers.")
    keys: tuple[str, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="The keys whose requests are meant; the Sandbox's own when empty.",
    )


class PreviewStatus(Model):
    """The preview as the reconciler of its route last saw it; that reconciler alone writes it."""

    address: str = Field(
        default="", description="Such as https://alice.preview.example.com; empty while it may not show the Sandbox."
    )
    object: str = Field(default="", description="The names of the written objects, separated by commas.")
    state: Literal["Pending", "Written", "Programmed", "Refused"]
    reason: str
    message: str = ""
    services: tuple[str, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="The Services in whose place a proxy may send the preview's requests to the Sandbox's forks.",
    )
    observed_generation: int = Field(default=0, description="Generation of the Sandbox that this answers.")


class KafkaStatus(Model):
    """One consumer's hand-off as its KafkaRoute says."""

    consumer: str
    group: str
    phase: str
    partitions: int = Field(default=0, description="Of the consumer's topics.")
    pending: int = Field(
        default=0,
        description="Under Fenced, partitions of which the baseline or the fork has yet to acknowledge from where on "
        "records are whose.",
    )


class SandboxStatus(Model):
    """What is."""

    observed_generation: int = 0
    routing_key: str = ""
    routing_keys: tuple[str, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="What the forks answer to: the Sandbox's own key, then those of its RouteGroups that one of its "
        "forks at least serves.",
    )
    workloads: tuple[WorkloadStatus, ...] = Field(default=(), json_schema_extra=list_map("deployment"))
    routes: tuple[RouteStatus, ...] = Field(default=(), json_schema_extra=list_map("service", "entry"))
    preview: PreviewStatus | None = None
    kafka: tuple[KafkaStatus, ...] = Field(default=(), json_schema_extra=list_map("consumer"))
    last_changed_at: str | None = Field(
        default=None, description="When the spec was last seen to change, RFC 3339 in UTC."
    )
    expires_at: str | None = None
    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=list_map("type"))


class Sandbox(Model):
    """Which Deployments of its namespace a developer changed, and what became of their forks.

    Conditions: Accepted, WorkloadsReady, RoutesReady, KafkaReady, Ready.
    """

    metadata: ObjectMeta
    spec: SandboxSpec
    status: SandboxStatus = SandboxStatus()

    @property
    def routing_key(self) -> str:
        """The tenant's value: `spec.routingKey`, else the Sandbox's name."""
        return self.spec.routing_key or self.metadata.name

    @property
    def is_deleting(self) -> bool:
        """Whether somebody asked for its deletion."""
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Parse what the API server returned; raises pydantic.ValidationError on an object no CRD of ours let in."""
        return cls.model_validate(raw)
