"""From the custom resources, as they are now, to every answer of the mapping service. No I/O.

An answer is made when it is first asked for and kept as bytes until one of its own objects changes, so neither a
request nor a change costs more than what it is about. The bytes depend on the objects only: all replicas give the same
ETag for the same state.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sidestream.api.base import Model
from sidestream.api.conditions import ConditionType, find_condition
from sidestream.api.kafka import KafkaConsumer, KafkaRoute, Phase
from sidestream.api.sandbox import Sandbox
from sidestream.api.times import parse_duration
from sidestream.mapping.answers import (
    ChangeAnswer,
    ConsumerAnswer,
    Header,
    TenantAnswer,
    TenantConsumer,
    TenantRoute,
    TenantSandbox,
    TenantsAnswer,
    TenantSummary,
    TenantWorkload,
    TopicAnswer,
)
from sidestream.mapping.index import Index
from sidestream.runtime.reconcile import ObjectKey

SHORTEST_POLL_SECONDS: Final = 0.1
LONGEST_POLL_SECONDS: Final = 3600.0


@dataclass(frozen=True, order=True)
class Workload:
    """A baseline Deployment."""

    namespace: str
    deployment: str

    def __str__(self) -> str:
        """`namespace/deployment`."""
        return f"{self.namespace}/{self.deployment}"


@dataclass(frozen=True)
class Encoded:
    """An answer ready to send."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """What answers need of a KafkaRoute; there is one for each tenant of each consumer, so nothing else is kept."""

    namespace: str
    name: str
    sandbox: str
    deployment: str
    keys: tuple[str, ...]
    topics: tuple[str, ...]
    group: str
    baseline_group: str
    poll_interval: str
    phase: Phase

    @classmethod
    def of(cls, route: KafkaRoute) -> _Claim:
        """The route's."""
        return cls(
            namespace=route.metadata.namespace,
            name=route.metadata.name,
            sandbox=route.spec.sandbox,
            deployment=route.spec.deployment,
            keys=tuple(sorted(route.spec.keys)),
            topics=route.spec.topics,
            group=route.spec.fork_group,
            baseline_group=route.spec.baseline_group,
            poll_interval=route.spec.poll_interval,
            phase=route.status.phase,
        )


class Directory:
    """All answers for the objects that were put in; each `put_` returns the workloads whose answer may have changed."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._consumers: Index[KafkaConsumer, Workload] = Index(
            lambda item: Workload(item.metadata.namespace, item.spec.deployment)
        )
        self._claims: Index[_Claim, Workload] = Index(lambda item: Workload(item.namespace, item.deployment))
        self._claims_of_sandbox: Index[_Claim, ObjectKey] = Index(lambda item: ObjectKey(item.namespace, item.sandbox))
        self._tenants: Index[Sandbox, str] = Index(lambda item: item.routing_key)
        self._encoded: dict[Workload, Encoded] = {}

    def put_consumer(self, key: ObjectKey, consumer: KafkaConsumer | None) -> set[Workload]:
        """A KafkaConsumer as it is now, None when it is gone."""
        return self._outdated(self._consumers.put(key, consumer))

    def put_route(self, key: ObjectKey, route: KafkaRoute | None) -> set[Workload]:
        """A KafkaRoute as it is now, None when it is gone."""
        claim = None if route is None else _Claim.of(route)
        self._claims_of_sandbox.put(key, claim)
        return self._outdated(self._claims.put(key, claim))

    def put_sandbox(self, key: ObjectKey, sandbox: Sandbox | None) -> set[Workload]:
        """A Sandbox as it is now, None when it is gone; consumers do not depend on it."""
        self._tenants.put(key, sandbox)
        return set()

    def consumer(self, workload: Workload) -> Encoded | None:
        """The mapping of one workload, or None when no KafkaConsumer names it and no KafkaRoute is left of one."""
        encoded = self._encoded.get(workload)
        if encoded is None:
            consumers, claims = self._consumers.find(workload), self._claims.find(workload)
            if not consumers and not claims:
                return None
            encoded = self._encoded[workload] = _encode(_consumer_answer(workload, consumers, claims, self._header))
        return encoded

    def kafka_consumers(self, workload: Workload) -> set[str]:
        """Names of the KafkaConsumers that name the workload."""
        return {item.metadata.name for item in self._consumers.find(workload)}

    def tenant(self, key: str) -> TenantAnswer | None:
        """Who serves one tenant, or None when no Sandbox answers to the key."""
        sandboxes = self._sandboxes(key)
        if not sandboxes:
            return None
        return TenantAnswer(key=key, sandboxes=tuple(self._tenant_sandbox(sandbox) for sandbox in sandboxes))

    def tenants(self, *, after: str = "", limit: int) -> TenantsAnswer:
        """A page of at most `limit` tenants whose keys come after `after`."""
        keys = sorted(self._tenants.groups)
        begin = bisect_right(keys, after)
        page = keys[begin : begin + limit]
        return TenantsAnswer(
            tenants=tuple(
                TenantSummary(key=key, sandboxes=tuple(sandbox.metadata.key for sandbox in self._sandboxes(key)))
                for key in page
            ),
            next=page[-1] if begin + limit < len(keys) else None,
        )

    def _outdated(self, workloads: set[Workload]) -> set[Workload]:
        for workload in workloads:
            self._encoded.pop(workload, None)
        return workloads

    def _sandboxes(self, key: str) -> list[Sandbox]:
        return sorted(self._tenants.find(key), key=lambda item: item.metadata.key)

    def _tenant_sandbox(self, sandbox: Sandbox) -> TenantSandbox:
        metadata, status = sandbox.metadata, sandbox.status
        ready = find_condition(status.conditions, ConditionType.READY)
        claims = self._claims_of_sandbox.find(ObjectKey(metadata.namespace, metadata.name))
        return TenantSandbox(
            namespace=metadata.namespace,
            name=metadata.name,
            ready=ready.status if ready is not None else "Unknown",
            workloads=tuple(
                TenantWorkload(deployment=item.deployment, fork=item.fork, services=item.services)
                for item in status.workloads
            ),
            routes=tuple(TenantRoute(service=item.service, state=item.state) for item in status.routes),
            consumers=tuple(
                TenantConsumer(
                    consumer=f"{claim.namespace}/{claim.deployment}",
                    topics=tuple(sorted(claim.topics)),
                    group=claim.group,
                    phase=claim.phase,
                )
                for claim in _by_name(claims)
            ),
        )


def _consumer_answer(
    workload: Workload, consumers: Collection[KafkaConsumer], claims: Collection[_Claim], header: Header
) -> ConsumerAnswer:
    """A KafkaRoute counts even when its KafkaConsumer is gone: its fork goes on, so the baseline must still skip.

    Where several KafkaConsumers of a Deployment name one topic, the oldest's group is shown with the changes of all.
    """
    groups: dict[str, str] = {}
    for consumer in sorted(consumers, key=lambda item: (item.metadata.creation_timestamp, item.metadata.name)):
        for topic in consumer.spec.topics:
            groups.setdefault(topic, consumer.spec.group)
    changes: dict[str, list[ChangeAnswer]] = {topic: [] for topic in groups}
    for claim in _by_name(claims):
        for topic in claim.topics:
            groups.setdefault(topic, claim.baseline_group)
            changes.setdefault(topic, []).append(_change_answer(claim))
    intervals = [item.spec.poll_interval for item in consumers] + [item.poll_interval for item in claims]
    return ConsumerAnswer(
        consumer=str(workload),
        header=header,
        poll_interval_seconds=min(_poll_seconds(interval) for interval in intervals),
        topics={topic: TopicAnswer(group=groups[topic], changes=tuple(changes[topic])) for topic in sorted(groups)},
    )


def _by_name(claims: Collection[_Claim]) -> list[_Claim]:
    return sorted(claims, key=lambda item: item.name)


def _change_answer(claim: _Claim) -> ChangeAnswer:
    return ChangeAnswer(id=claim.name, sandbox=claim.sandbox, keys=claim.keys, group=claim.group, phase=claim.phase)


def _poll_seconds(interval: str) -> float:
    """Within what consumers accept; an interval that says nothing is the shortest."""
    try:
        seconds = parse_duration(interval).total_seconds()
    except ValueError:
        seconds = 0.0
    return min(max(seconds, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)


def _encode(answer: Model) -> Encoded:
    body = answer.model_dump_json(by_alias=True, exclude_none=True).encode()
    return Encoded(body, f'"{sha256(body).hexdigest()[:32]}"')
