"""Wires the operator together and runs it: probes first, then leadership, then Kopf and the reconcilers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import kopf
import structlog

from sidestream import handlers
from sidestream.config import OperatorSettings
from sidestream.handlers import Queue, Queues, Wakeups
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.reconcile_cluster import KafkaClusterReconciler
from sidestream.kafka.reconcile_consumer import KafkaConsumerReconciler
from sidestream.kafka.reconcile_route import KafkaRouteReconciler
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.events import EventRecorder
from sidestream.kube.leases import KubeLeaseStore
from sidestream.routing.carriers import all_providers
from sidestream.routing.checks.findings import READS
from sidestream.routing.entries import EntryKey
from sidestream.routing.proof import HttpProber
from sidestream.routing.reconcile import RoutingReconciler, Sight
from sidestream.routing.store import RoutingStore
from sidestream.runtime.clock import Clock, SystemClock
from sidestream.runtime.leader import Elector, LeadershipLostError
from sidestream.runtime.memory import keep_many_objects
from sidestream.runtime.probes import Check, serve_probes
from sidestream.runtime.queue import WorkQueue
from sidestream.runtime.reconcile import ObjectKey, Reconciler, run_reconciler
from sidestream.sandbox.reconcile import SandboxReconciler
from sidestream.sandbox.route_groups.reconcile import RouteGroupReconciler

LEASE_NAME: Final = "sidestream-operator"

_log = structlog.get_logger(__name__)


async def run_operator(settings: OperatorSettings) -> None:
    """Run until told to stop.

    Leadership that is lost ends the process with exit code 1, since what is under way cannot be known to have stopped
    otherwise; the Deployment starts it anew as a standby.
    """
    keep_many_objects()
    clock = SystemClock()
    async with connect() as api, serve_probes(settings.http_port, live=_liveness(), ready={}):
        elector = Elector(KubeLeaseStore(api, settings.namespace, LEASE_NAME), clock, settings.identity)
        election = asyncio.ensure_future(elector.run(lambda: _lead(api, clock, settings)))
        _cancel_on_signals(election)
        try:
            await election
        except asyncio.CancelledError:
            _log.info("stopped")
        except LeadershipLostError as error:
            _log.error("leadership lost, ending the process", error=str(error))
            logging.shutdown()
            # An orderly end may wait for what is stuck, until after another replica has begun to work.
            os._exit(1)


async def _lead(api: AioKubeApi, clock: Clock, settings: OperatorSettings) -> None:
    """All that only the leader does; ends by cancellation or when Kopf stops on a signal."""
    async with _reconcilers(api, clock, settings) as pairs, asyncio.TaskGroup() as group:
        queues = pairs.queues()
        wakeups = Wakeups()
        registry = kopf.OperatorRegistry()
        handlers.register(registry, queues, wakeups)
        kopf.on.login(registry=registry, id="login")(_log_in)
        work = [
            group.create_task(run_reconciler(queue, reconciler, clock, workers=settings.workers))
            for queue, reconciler in pairs.all()
        ]
        work.append(group.create_task(_resync_forever(clock, settings.resync_seconds, queues, wakeups)))
        work.append(group.create_task(_route(pairs.routing, clock, settings)))
        await kopf.operator(
            registry=registry,
            settings=handlers.settings(),
            # Without one Kopf asks for the user's name, and a container's user has none; its str type is private.
            identity=settings.identity,  # type: ignore[arg-type]
            clusterwide=True,
            standalone=True,
        )
        for task in work:
            task.cancel()


@dataclass(frozen=True)
class _Routing:
    """The reconciler of routes with what it sees and the queue that this feeds."""

    store: RoutingStore
    queue: WorkQueue[EntryKey]
    reconciler: RoutingReconciler


@dataclass(frozen=True)
class _Pairs:
    """Each reconciler with the queue that feeds it."""

    routing: _Routing
    sandboxes: tuple[Queue, Reconciler[ObjectKey]]
    route_groups: tuple[Queue, Reconciler[ObjectKey]]
    kafka_routes: tuple[Queue, Reconciler[ObjectKey]]
    kafka_consumers: tuple[Queue, Reconciler[ObjectKey]]
    kafka_clusters: tuple[Queue, Reconciler[ObjectKey]]

    def all(self) -> tuple[tuple[Queue, Reconciler[ObjectKey]], ...]:
        return (self.sandboxes, self.route_groups, self.kafka_routes, self.kafka_consumers, self.kafka_clusters)

    def queues(self) -> Queues:
        return Queues(*(queue for queue, _ in self.all()))


async def _route(routing: _Routing, clock: Clock, settings: OperatorSettings) -> None:
    """Watch what decides routes, and keep them; nothing is decided before everything has been read once."""
    async with asyncio.TaskGroup() as group:
        group.create_task(routing.store.run(routing.queue.add))
        await routing.store.wait_until_complete()
        group.create_task(run_reconciler(routing.queue, routing.reconciler, clock, workers=settings.workers))
        while True:
            for key in routing.store.index.all_entries():
                routing.queue.add(key)
            await clock.sleep(settings.resync_seconds)


@asynccontextmanager
async def _reconcilers(api: AioKubeApi, clock: Clock, settings: OperatorSettings) -> AsyncIterator[_Pairs]:
    events = EventRecorder(api, clock, instance=settings.identity)
    prober = HttpProber(settings.prober_url) if settings.prober_url else None
    providers = all_providers(settings.header)
    store = RoutingStore(api, clock, providers, extra=READS)
    sight = Sight(store, store.index, store, providers)

    def fed(reconciler: Reconciler[ObjectKey]) -> tuple[Queue, Reconciler[ObjectKey]]:
        return WorkQueue[ObjectKey](reconciler.name, clock), reconciler

    async with KafkaClusters(api, settings.namespace) as clusters:
        yield _Pairs(
            routing=_Routing(store, WorkQueue("routing", clock), RoutingReconciler(api, events, clock, sight, prober)),
            sandboxes=fed(SandboxReconciler(api, events, clock)),
            route_groups=fed(RouteGroupReconciler(api, events, clock)),
            kafka_routes=fed(KafkaRouteReconciler(api, events, clock, clusters, settings.header)),
            kafka_consumers=fed(KafkaConsumerReconciler(api, events, clock, clusters)),
            kafka_clusters=fed(KafkaClusterReconciler(api, events, clock, clusters)),
        )


async def _resync_forever(clock: Clock, seconds: float, queues: Queues, wakeups: Wakeups) -> None:
    """Look at everything again now and then: Kopf makes up no event for what vanished while its watch was broken."""
    while True:
        await clock.sleep(seconds)
        handlers.resync(queues, wakeups)


def _log_in(*, settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
    """Kopf's own connection: the Pod's ServiceAccount, else KUBECONFIG."""
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


def _liveness() -> Mapping[str, Check]:
    """A loop that is blocked does not answer at all, which is the check."""
    return {}


def _cancel_on_signals(task: asyncio.Future[None]) -> None:
    """Stop a standby, too: Kopf takes the signals over only once it runs."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
