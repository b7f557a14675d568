"""From the custom resources of one moment to every answer of the mapping service. Pure.

An answer is made when it is first asked for and kept as bytes, so a request costs no more than a lookup. The bytes
depend on the objects only: all replicas give the same ETag for the same state.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sidestream.api.base import Model
from sidestream.api.conditions import ConditionType, find_condition
from sidestream.api.kafka import KafkaConsumer, KafkaRoute
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

SHORTEST_POLL_SECONDS: Final = 0.1
LONGEST_POLL_SECONDS: Final = 3600.0

_Workload = tuple[str, str]
"""Namespace and Deployment."""


@dataclass(frozen=True)
class Encoded:
    """An answer ready to send."""

    body: bytes
    etag: str


class Snapshot:
    """All answers for one state of the objects."""

    def __init__(
        self,
        *,
        consumers: Iterable[KafkaConsumer] = (),
        routes: Iterable[KafkaRoute] = (),
        sandboxes: Iterable[Sandbox] = (),
        header: Header,
    ) -> None:
        self._header = header
        self._consumers: dict[_Workload, list[KafkaConsumer]] = defaultdict(list)
        for consumer in sorted(consumers, key=lambda item: (item.metadata.creation_timestamp, item.metadata.name)):
            self._consumers[consumer.metadata.namespace, consumer.spec.deployment].append(consumer)
        self._routes: dict[_Workload, list[KafkaRoute]] = defaultdict(list)
        self._routes_of_sandbox: dict[tuple[str, str], list[KafkaRoute]] = defaultdict(list)
        for route in sorted(routes, key=lambda item: item.metadata.name):
            self._routes[route.metadata.namespace, route.spec.deployment].append(route)
            self._routes_of_sandbox[route.metadata.namespace, route.spec.sandbox].append(route)
        self._tenants: dict[str, list[Sandbox]] = defaultdict(list)
        for sandbox in sorted(sandboxes, key=lambda item: item.metadata.key):
            self._tenants[sandbox.routing_key].append(sandbox)
        self._keys = sorted(self._tenants)
        self._encoded: dict[_Workload, Encoded] = {}

    def consumer(self, namespace: str, deployment: str) -> Encoded | None:
        """The mapping of one workload, or None when no KafkaConsumer names it and no KafkaRoute is left of one."""
        workload = (namespace, deployment)
        # .get, because looking up in a defaultdict would keep every name that anybody ever asked for
        consumers, routes = self._consumers.get(workload, []), self._routes.get(workload, [])
        if not consumers and not routes:
            return None
        encoded = self._encoded.get(workload)
        if encoded is None:
            encoded = self._encoded[workload] = _encode(_consumer_answer(workload, consumers, routes, self._header))
        return encoded

    def tenant(self, key: str) -> TenantAnswer | None:
        """Who serves one tenant, or None when no Sandbox answers to the key."""
        sandboxes = self._tenants.get(key)
        if sandboxes is None:
            return None
        return TenantAnswer(key=key, sandboxes=tuple(self._tenant_sandbox(sandbox) for sandbox in sandboxes))

    def tenants(self, *, after: str = "", limit: int) -> TenantsAnswer:
        """A page of at most `limit` tenants whose keys come after `after`."""
        begin = bisect_right(self._keys, after)
        page = self._keys[begin : begin + limit]
        return TenantsAnswer(
            tenants=tuple(
                TenantSummary(key=key, sandboxes=tuple(sandbox.metadata.key for sandbox in self._tenants[key]))
                for key in page
            ),
            next=page[-1] if begin + limit < len(self._keys) else None,
        )

    def _tenant_sandbox(self, sandbox: Sandbox) -> TenantSandbox:
        metadata, status = sandbox.metadata, sandbox.status
        ready = find_condition(status.conditions, ConditionType.READY)
        routes = self._routes_of_sandbox.get((metadata.namespace, metadata.name), [])
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
                    consumer=f"{metadata.namespace}/{route.spec.deployment}",
                    topics=tuple(sorted(route.spec.topics)),
                    group=route.spec.fork_group,
                    phase=route.status.phase,
                )
                for route in routes
            ),
        )


def _consumer_answer(
    workload: _Workload, consumers: list[KafkaConsumer], routes: list[KafkaRoute], header: Header
) -> ConsumerAnswer:
    """A KafkaRoute counts even when its KafkaConsumer is gone: its fork goes on, so the baseline must still skip.

    Where several KafkaConsumers of a Deployment name one topic, the oldest's group is shown with the changes of all.
    """
    groups: dict[str, str] = {}
    for consumer in consumers:
        for topic in consumer.spec.topics:
            groups.setdefault(topic, consumer.spec.group)
    changes: dict[str, list[ChangeAnswer]] = {topic: [] for topic in groups}
    for route in routes:
        for topic in route.spec.topics:
            groups.setdefault(topic, route.spec.baseline_group)
            changes.setdefault(topic, []).append(_change_answer(route))
    intervals = [item.spec.poll_interval for item in consumers] + [item.spec.poll_interval for item in routes]
    return ConsumerAnswer(
        consumer="/".join(workload),
        header=header,
        poll_interval_seconds=min(_poll_seconds(interval) for interval in intervals),
        topics={topic: TopicAnswer(group=groups[topic], changes=tuple(changes[topic])) for topic in sorted(groups)},
    )


def _change_answer(route: KafkaRoute) -> ChangeAnswer:
    return ChangeAnswer(
        id=route.metadata.name,
        sandbox=route.spec.sandbox,
        keys=tuple(sorted(route.spec.keys)),
        group=route.spec.fork_group,
        phase=route.status.phase,
    )


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
