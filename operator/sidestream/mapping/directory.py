"""From the custom resources, as they are now, to every answer of the mapping service. No I/O.

An answer is made when it is first asked for and kept as bytes until one of its own objects changes, so neither a
request nor a change costs more than what it is about. Its ETag depends on the objects only: all replicas give the same
for the same state.

The version of an answer is that of the KafkaRoute event that last changed it, so a replica that has seen all events up
to that version, or more, cannot know less. Events that change nothing in it leave it as it is, and so does a KafkaRoute
that goes: at its end nobody depends on it.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sidestream.api.conditions import ConditionType, find_condition
from sidestream.api.kafka import KafkaConsumer, Phase
from sidestream.api.sandbox import Sandbox
from sidestream.api.times import parse_duration
from sidestream.mapping.answers import (
    ChangeAnswer,
    ConsumerAnswer,
    FenceAnswer,
    FencedChangeAnswer,
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
from sidestream.mapping.claims import Claim, Fences
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
    """An answer ready to send but for being compressed: kept for each consumer, fences would be most of the memory."""

    compressed: bytes
    etag: str

    @property
    def body(self) -> bytes:
        """JSON."""
        return zlib.decompress(self.compressed)


class Directory:
    """All answers for the objects that were put in; each `put_` returns the workloads whose answer may have changed."""

    def __init__(self, header: Header) -> None:
        self.epoch = ""
        """The cluster's, which has to be known before the first answer is asked for."""
        self._header = header
        self._consumers: Index[KafkaConsumer, Workload] = Index(
            lambda item: (Workload(item.metadata.namespace, item.spec.deployment),)
        )
        self._claims: Index[Claim, Workload] = Index(lambda item: (Workload(item.namespace, item.deployment),))
        self._claims_of_sandbox: Index[Claim, ObjectKey] = Index(
            lambda item: (ObjectKey(item.namespace, item.sandbox),)
        )
        self._tenants: Index[Sandbox, str] = Index(lambda item: (item.routing_key, *item.status.routing_keys))
        self._versions: dict[Workload, int] = {}
        self._encoded: dict[Workload, Encoded] = {}

    def put_consumer(self, key: ObjectKey, consumer: KafkaConsumer | None) -> set[Workload]:
        """A KafkaConsumer as it is now, None when it is gone."""
        return self._outdated(self._consumers.put(key, consumer))

    def put_route(self, key: ObjectKey, claim: Claim | None) -> set[Workload]:
        """A KafkaRoute as it is now, None when it is gone."""
        known = self._claims.get(key)
        self._claims_of_sandbox.put(key, claim)
        workloads = self._claims.put(key, claim)
        if claim == known:
            return set()
        if claim is not None:
            for workload in workloads:
                self._versions[workload] = max(claim.version, self._versions.get(workload, 0))
        return self._outdated(workloads)

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
            encoded = self._encoded[workload] = _encode(self._consumer_answer(workload, consumers, claims))
        return encoded

    def kafka_consumers(self, workload: Workload) -> set[str]:
        """Names of the KafkaConsumers that name the workload."""
        return {item.metadata.name for item in self._consumers.find(workload)}

    def tenant(self, key: str) -> TenantAnswer | None:
        """Who serves one tenant, or None when no Sandbox answers to the key."""
        sandboxes = self._sandboxes(key)
        if not sandboxes:
            return None
        return TenantAnswer(key=key, sandboxes=tuple(self._tenant_sandbox(sandbox, key) for sandbox in sandboxes))

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
            if not self._consumers.find(workload) and not self._claims.find(workload):
                self._versions.pop(workload, None)
        return workloads

    def _consumer_answer(
        self, workload: Workload, consumers: Collection[KafkaConsumer], claims: Collection[Claim]
    ) -> ConsumerAnswer:
        intervals = [item.spec.poll_interval for item in consumers] + [item.poll_interval for item in claims]
        return ConsumerAnswer(
            consumer=str(workload),
            header=self._header,
            poll_interval_seconds=min(_poll_seconds(interval) for interval in intervals),
            topics=_topic_answers(consumers, _by_name(claims)),
            epoch=self.epoch,
            version=self._versions.get(workload, 0),
        )

    def _sandboxes(self, key: str) -> list[Sandbox]:
        return sorted(self._tenants.find(key), key=lambda item: item.metadata.key)

    def _tenant_sandbox(self, sandbox: Sandbox, key: str) -> TenantSandbox:
        """What of the Sandbox serves the key: of one that is a RouteGroup's it may be a part."""
        metadata, status = sandbox.metadata, sandbox.status
        ready = find_condition(status.conditions, ConditionType.READY)
        claims = self._claims_of_sandbox.find(ObjectKey(metadata.namespace, metadata.name))
        is_own = key == sandbox.routing_key
        return TenantSandbox(
            namespace=metadata.namespace,
            name=metadata.name,
            ready=ready.status if ready is not None else "Unknown",
            workloads=tuple(
                TenantWorkload(deployment=item.deployment, fork=item.fork, services=item.services)
                for item in status.workloads
                if is_own or key in item.keys
            ),
            routes=tuple(
                TenantRoute(service=item.service, state=item.state)
                for item in status.routes
                if is_own or key in item.keys
            ),
            consumers=tuple(
                TenantConsumer(
                    consumer=f"{claim.namespace}/{claim.deployment}",
                    topics=tuple(sorted(claim.topics)),
                    group=claim.group,
                    phase=claim.phase,
                )
                for claim in _by_name(claims)
                if is_own or key in claim.keys
            ),
        )


def _topic_answers(consumers: Collection[KafkaConsumer], claims: Sequence[Claim]) -> dict[str, TopicAnswer]:
    """A KafkaRoute counts even when its KafkaConsumer is gone: its fork goes on, so the baseline must still skip.

    Where several KafkaConsumers of a Deployment name one topic, the oldest's group is shown with the changes of all.
    """
    groups: dict[str, str] = {}
    for consumer in sorted(consumers, key=lambda item: (item.metadata.creation_timestamp, item.metadata.name)):
        for topic in consumer.spec.topics:
            groups.setdefault(topic, consumer.spec.group)
    claims_on: dict[str, list[Claim]] = {topic: [] for topic in groups}
    for claim in claims:
        for topic in claim.all_topics:
            groups.setdefault(topic, claim.baseline_group)
            claims_on.setdefault(topic, []).append(claim)
    return {topic: _topic_answer(topic, groups[topic], claims_on[topic]) for topic in sorted(groups)}


def _topic_answer(topic: str, group: str, claims: Sequence[Claim]) -> TopicAnswer:
    return TopicAnswer(
        group=group,
        changes=tuple(_change_answer(claim) for claim in claims if not claim.is_fenced),
        fenced=tuple(answer for claim in claims if claim.is_fenced for answer in _fenced_answers(claim, topic)),
    )


def _by_name(claims: Collection[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda item: item.name)


def _change_answer(claim: Claim) -> ChangeAnswer:
    return ChangeAnswer(id=claim.name, sandbox=claim.sandbox, keys=claim.keys, group=claim.group, phase=claim.phase)


def _fenced_answers(claim: Claim, topic: str) -> Iterator[FencedChangeAnswer]:
    """One for each claim on a key. Before there are any, one that says nothing lets the fork know that it is known."""
    claimed = [(item.id, item.key, item.fences.get(topic)) for item in claim.key_claims]
    is_begun = claim.phase is not Phase.PENDING
    for id_, key, fences in claimed or [(claim.name, key, None) for key in claim.keys]:
        yield FencedChangeAnswer(
            id=id_,
            sandbox=claim.sandbox,
            key=key,
            group=claim.group,
            phase=claim.phase,
            partitions=_fence_answers(fences) if fences is not None and is_begun else {},
        )


def _fence_answers(fences: Fences) -> dict[int, FenceAnswer]:
    return {
        fence.partition: FenceAnswer(state=fence.state, begin=fence.begin, hold=fence.hold, until=fence.until)
        for fence in fences
    }


def _poll_seconds(interval: str) -> float:
    """Within what consumers accept; an interval that says nothing is the shortest."""
    try:
        seconds = parse_duration(interval).total_seconds()
    except ValueError:
        seconds = 0.0
    return min(max(seconds, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)


def _encode(answer: ConsumerAnswer) -> Encoded:
    content = answer.model_dump_json(by_alias=True, exclude_none=True, exclude={"version"}).encode()
    # put in by hand, as encoding a large answer twice would be most of the work
    body = b'%s,"version":%d}' % (content[:-1], answer.version)
    return Encoded(zlib.compress(body, level=1), f'"{sha256(content).hexdigest()[:32]}"')
