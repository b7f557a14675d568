"""Kopf's part: every event of a watched kind becomes keys on our queues, and nothing else happens here.

Kopf never retries an `on.event` handler and never replays what it missed, so these may only wake; all deciding is in
the reconcilers, which read for themselves, and the resync finds what no event told. Routing is woken by the live copies
that it reads (see `routing.store`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import kopf

from sidestream.api.labels import GROUP, MANAGED_BY, MANAGED_BY_VALUE
from sidestream.kafka.wakeups import KafkaWakeups
from sidestream.kube.port import (
    DEPLOYMENTS,
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    KAFKA_ROUTES,
    PODS,
    ROUTE_GROUPS,
    SANDBOXES,
    SERVICES,
    Resource,
)
from sidestream.runtime.queue import WorkQueue
from sidestream.runtime.reconcile import ObjectKey
from sidestream.sandbox.route_groups.wakeups import RouteGroupWakeups
from sidestream.sandbox.wakeups import SandboxWakeups

Queue = WorkQueue[ObjectKey]


@dataclass(frozen=True)
class Queues:
    """One queue per reconciler."""

    sandboxes: Queue
    route_groups: Queue
    kafka_routes: Queue
    kafka_consumers: Queue
    kafka_clusters: Queue


@dataclass(frozen=True)
class Wakeups:
    """What each domain has seen, to find the keys that an event concerns."""

    sandbox: SandboxWakeups = field(default_factory=SandboxWakeups)
    group: RouteGroupWakeups = field(default_factory=RouteGroupWakeups)
    kafka: KafkaWakeups = field(default_factory=KafkaWakeups)


class Handler(Protocol):
    """What an event of one kind leads to."""

    def __call__(self, obj: dict[str, Any], *, gone: bool) -> None:
        """Wake what depends on `obj`, which is its last known state when it is gone."""


def register(registry: kopf.OperatorRegistry, queues: Queues, wakeups: Wakeups) -> None:
    """Subscribe to every kind that a reconciler depends on."""
    for resource, handler in _handlers(queues, wakeups).items():
        _subscribe(registry, resource, handler)


def resync(queues: Queues, wakeups: Wakeups) -> None:
    """Wake everything that was ever seen and is not gone."""
    _wake(queues.sandboxes, wakeups.sandbox.all_keys())
    _wake(queues.route_groups, wakeups.group.all_keys())
    _wake(queues.kafka_routes, wakeups.kafka.all_routes())
    _wake(queues.kafka_consumers, wakeups.kafka.all_consumers())
    _wake(queues.kafka_clusters, wakeups.kafka.all_clusters())


def settings() -> kopf.OperatorSettings:
    """Kopf's settings; what is not named is Kopf's default."""
    settings = kopf.OperatorSettings()
    # Kopf takes a finalizer of this name off every object that no handler of its own waits for: never let it be ours.
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.watching.chunk_size = 500
    # Pods are many and only those of forks matter; of Deployments and Services the baselines matter too.
    settings.watching.label_selectors["pods"] = f"{MANAGED_BY}={MANAGED_BY_VALUE}"
    settings.networking.connect_timeout = 5.0
    settings.networking.request_timeout = 60.0
    return settings


def _handlers(queues: Queues, wakeups: Wakeups) -> dict[Resource, Handler]:
    sandbox, group, kafka = wakeups.sandbox, wakeups.group, wakeups.kafka

    def on_sandbox(obj: dict[str, Any], *, gone: bool) -> None:
        _wake(queues.sandboxes, sandbox.of_sandbox(obj, gone=gone))
        _wake(queues.route_groups, group.of_sandbox(obj, gone=gone))

    def on_deployment(obj: dict[str, Any], *, gone: bool) -> None:
        _wake(queues.sandboxes, sandbox.of_deployment(obj, gone=gone))
        _wake(queues.kafka_consumers, kafka.consumers_of_deployment(obj, gone=gone))

    def on_service(obj: dict[str, Any], *, gone: bool) -> None:  # noqa: ARG001 - gone or not, it is news
        _wake(queues.sandboxes, sandbox.of_namespace(obj))

    def on_pod(obj: dict[str, Any], *, gone: bool) -> None:  # noqa: ARG001 - gone or not, it is news
        _wake(queues.sandboxes, sandbox.of_owned(obj))
        _wake(queues.kafka_routes, kafka.routes_of_pod(obj))

    def on_kafka_route(obj: dict[str, Any], *, gone: bool) -> None:
        _wake(queues.kafka_routes, kafka.of_route(obj, gone=gone))
        _wake(queues.kafka_consumers, kafka.consumers_of_route(obj))
        _wake(queues.sandboxes, sandbox.of_owned(obj))

    def on_kafka_consumer(obj: dict[str, Any], *, gone: bool) -> None:
        _wake(queues.kafka_consumers, kafka.of_consumer(obj, gone=gone))
        _wake(queues.kafka_routes, kafka.routes_of_consumer(obj))
        _wake(queues.sandboxes, sandbox.of_consumer(obj))

    def on_kafka_cluster(obj: dict[str, Any], *, gone: bool) -> None:
        _wake(queues.kafka_clusters, kafka.of_cluster(obj, gone=gone))
        _wake(queues.kafka_routes, kafka.routes_of_cluster(obj))
        _wake(queues.kafka_consumers, kafka.consumers_of_cluster(obj))
        _wake(queues.sandboxes, sandbox.all_keys())

    return {
        SANDBOXES: on_sandbox,
        ROUTE_GROUPS: _route_group_handler(queues, wakeups),
        DEPLOYMENTS: on_deployment,
        SERVICES: on_service,
        PODS: on_pod,
        KAFKA_ROUTES: on_kafka_route,
        KAFKA_CONSUMERS: on_kafka_consumer,
        KAFKA_CLUSTERS: on_kafka_cluster,
    }


def _route_group_handler(queues: Queues, wakeups: Wakeups) -> Handler:
    def on_route_group(obj: dict[str, Any], *, gone: bool) -> None:
        groups, members = wakeups.group.of_group(obj, gone=gone)
        _wake(queues.route_groups, groups)
        _wake(queues.sandboxes, wakeups.sandbox.with_rivals(members))

    return on_route_group


def _subscribe(registry: kopf.OperatorRegistry, resource: Resource, handler: Handler) -> None:
    def on_event(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf passes it by this name
        handler(dict(body), gone=type == "DELETED")

    kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=registry)(on_event)


def _wake(queue: Queue, keys: Iterable[ObjectKey]) -> None:
    for key in keys:
        queue.add(key)
