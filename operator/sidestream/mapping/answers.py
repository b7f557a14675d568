"""What the mapping service answers, as models: the source of its OpenAPI document.

`sidestream_sdk.ownership.Mapping` reads a `ConsumerAnswer` on the other end; a test holds both together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestream.api.base import Model
from sidestream.config import HeaderSettings


class Header(Model):
    """Where records carry the tenant's routing key."""

    mode: Literal["baggage", "exact", "both"] = Field(description="A member of `baggage`, a plain header, or either.")
    baggage_key: str = Field(description="The first of `baggageKeys`, for SDKs that know but one.")
    baggage_keys: tuple[str, ...] = Field(
        min_length=1, description="The names of members of `baggage`: all are read, the first is written."
    )
    name: str = Field(description="The plain header's name.")

    @classmethod
    def of(cls, settings: HeaderSettings) -> Header:
        """As the program was told."""
        keys = settings.baggage_keys
        return cls(mode=settings.mode.value, baggage_key=keys[0], baggage_keys=keys, name=settings.name)


class ChangeAnswer(Model):
    """One fork's claim on the records of some keys under `Polling`."""

    id: str = Field(description="Name of the KafkaRoute.")
    sandbox: str
    keys: tuple[str, ...] = Field(description="Routing keys of the fork's tenants, sorted.")
    group: str = Field(description="The fork's consumer group.")
    phase: str = Field(
        description="Preparing, Active: only the fork takes these keys. Draining: fork and baseline do. "
        "Anything else: only the baseline does."
    )


class FenceAnswer(Model):
    """Where a fenced change stands on one partition; a number that is not known yet is left out, and never changes."""

    state: str = Field(
        description="Aware, Ask, From, Freeze, Hold, Until, Retire; of any other nobody acknowledges anything."
    )
    begin: int | None = Field(default=None, alias="from", description="The first offset that is the fork's.")
    hold: int | None = Field(default=None, description="The fork takes nothing from here on before it knows `until`.")
    until: int | None = Field(default=None, description="The first offset that is the baseline's again.")


class FencedChangeAnswer(Model):
    """One fork's claim on the records of one key under `Fenced`: offsets decide."""

    id: str = Field(description="The claim's; the KafkaRoute's name while it has none.")
    sandbox: str
    key: str
    group: str = Field(description="The fork's consumer group.")
    phase: str = Field(description="The fork may join its group in Active, Freezing, PreparingOff and Draining.")
    partitions: dict[int, FenceAnswer] = Field(description="Those that the change is on yet, by number.")


class TopicAnswer(Model):
    """One topic of the consumer."""

    group: str = Field(description="The baseline's consumer group.")
    changes: tuple[ChangeAnswer, ...] = Field(description="Those under `Polling`, sorted by id.")
    fenced: tuple[FencedChangeAnswer, ...] = Field(description="Those under `Fenced`, in the order of KafkaRoutes.")


class ConsumerAnswer(Model):
    """What the baseline of one workload and all its forks decide by."""

    consumer: str = Field(description="`namespace/deployment` of the baseline.")
    header: Header
    poll_interval_seconds: Annotated[float, Field(gt=0)] = Field(
        description="Every consumer must have read a change after this time, so it asks more often."
    )
    topics: dict[str, TopicAnswer]
    epoch: str = Field(description="Names the cluster; versions of other epochs say nothing.")
    version: int = Field(
        description="Grows with every change of a KafkaRoute that is to be seen in here. It is no part of the ETag: "
        "replicas that say the same may have learned of it at different times."
    )


class TenantWorkload(Model):
    """One forked Deployment of a tenant."""

    deployment: str
    fork: str
    services: tuple[str, ...]


class TenantRoute(Model):
    """How requests for a tenant reach the fork behind one Service."""

    service: str
    state: str


class TenantConsumer(Model):
    """One consumer of a tenant's fork."""

    consumer: str = Field(description="`namespace/deployment` of the baseline.")
    topics: tuple[str, ...]
    group: str
    phase: str


class TenantSandbox(Model):
    """One Sandbox that answers to the tenant's key."""

    namespace: str
    name: str
    ready: Literal["True", "False", "Unknown"]
    workloads: tuple[TenantWorkload, ...]
    routes: tuple[TenantRoute, ...]
    consumers: tuple[TenantConsumer, ...]


class TenantAnswer(Model):
    """Who serves a tenant."""

    key: str
    sandboxes: tuple[TenantSandbox, ...]


class TenantSummary(Model):
    """A tenant in the list of all."""

    key: str
    sandboxes: tuple[str, ...] = Field(description="As `namespace/name`, sorted.")


class TenantsAnswer(Model):
    """A page of all tenants in the order of their keys."""

    tenants: tuple[TenantSummary, ...]
    next: str | None = Field(default=None, description="Pass it as `after` for the next page; left out on the last.")


class Problem(Model):
    """Why there is no answer."""

    reason: Literal[
        "UnknownConsumer",
        "UnknownTenant",
        "NotReady",
        "TooManyWaiters",
        "InvalidRequest",
        "Unauthorized",
        "Forbidden",
        "AuthorityAway",
    ]
    message: str = Field(description="A sentence for people.")
