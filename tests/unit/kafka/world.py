"""Alice's fork of `fulfilment` with a fake API server, a fake Kafka and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable

from builders import (
    FakeClock,
    Modifier,
    annotated,
    deployment,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    labelled,
    namespace,
    pod,
)
from fakes.kube import FakeKubeApi
from sidestream.api.kafka import KafkaRoute
from sidestream.api.labels import BASELINE, SANDBOX, TEMPLATE
from sidestream.config import HeaderSettings
from sidestream.kafka.clusters import Connection, KafkaClusters
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.reconcile_route import KafkaRouteReconciler
from sidestream.kafka.translation import Endpoint
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import EVENTS, KAFKA_ROUTES, PODS, Object
from sidestream.runtime.reconcile import ObjectKey, Outcome
from unit.kafka.crashes import Crashes
from unit.kafka.fake_admin import FakeKafka, FakeKafkaAdmin
from unit.kafka.scenes import BASELINE as BASELINE_GROUP
from unit.kafka.scenes import GROUP, TOPIC

NAME = "fulfilment-orders-alice"
KEY = ObjectKey("shop", NAME)
POD = "fulfilment-alice-1"
MARK = "mark-1"
"""Which version of the fork's template the pod is of."""
OPERATOR_NAMESPACE = "sidestream-system"


class World:
    """One KafkaRoute, one consumer, one cluster with the baseline at 5 and 7 of two logs of ten records."""

    def __init__(self, *modifiers: Modifier) -> None:
        self.clock = FakeClock()
        self.kafka = FakeKafka()
        self.kafka.create_topic(TOPIC, (0, 10), (0, 10))
        self.kafka.join(BASELINE_GROUP, "10.0.0.5")
        self.kafka.commit(BASELINE_GROUP, TOPIC, 0, 5)
        self.kafka.commit(BASELINE_GROUP, TOPIC, 1, 7)
        self.api = FakeKubeApi(
            kafka_cluster(),
            kafka_consumer(),
            deployment("fulfilment"),
            kafka_route(NAME, *modifiers),
            namespace("kube-system"),
        )
        self.connections: list[FakeKafkaAdmin] = []
        self.restart()

    def restart(self, crashes: Crashes | None = None) -> None:
        """The operator's process begins anew: it remembers nothing, and dies where `crashes` says."""
        self.crashes = crashes or Crashes()
        api = self.crashes.proxy(self.api)
        clusters = KafkaClusters(api, OPERATOR_NAMESPACE, self.connect)
        self.reconciler = KafkaRouteReconciler(
            api, EventRecorder(api, self.clock), self.clock, clusters, HeaderSettings()
        )

    def connect(self, endpoint: Endpoint, config: ClientConfig) -> Connection:
        connection = FakeKafkaAdmin(self.kafka, endpoint, config)
        self.connections.append(connection)
        proxied: Connection = self.crashes.proxy(connection)
        return proxied

    # --- what others do

    def delete(self) -> None:
        """The Sandbox asks the route to go."""
        obj = self.live
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.api.seed(obj)

    def annotate(self, key: str, value: str) -> None:
        obj = self.live
        obj["metadata"].setdefault("annotations", {})[key] = value
        self.api.seed(obj)

    def start_fork(self, *, joins: bool = True, host: str = "10.0.0.9", host_network: bool = False) -> None:
        started = pod(POD, labelled({SANDBOX: "alice", BASELINE: "fulfilment"}), annotated({TEMPLATE: MARK}))
        started["spec"]["hostNetwork"] = host_network
        started["status"]["podIP"] = host
        self.api.seed(started)
        if joins:
            self.kafka.join(GROUP, host)

    def stop_fork(self) -> None:
        if self.has_pod:
            self.api.remove(PODS, POD)
        if GROUP in self.kafka.groups:
            self.kafka.leave(GROUP)

    # --- what is

    @property
    def has_pod(self) -> bool:
        return self.api.live(PODS, POD) is not None

    @property
    def is_gone(self) -> bool:
        return self.api.live(KAFKA_ROUTES, NAME) is None

    @property
    def live(self) -> Object:
        obj = self.api.live(KAFKA_ROUTES, NAME)
        assert obj is not None
        return obj

    @property
    def route(self) -> KafkaRoute:
        return KafkaRoute.from_json(self.live)

    @property
    def phase(self) -> str:
        return "gone" if self.is_gone else str(self.route.status.phase)

    @property
    def ready(self) -> tuple[str, str]:
        condition = self.route.status.conditions[0]
        return condition.status, condition.reason

    @property
    def message(self) -> str:
        return self.route.status.conditions[0].message

    @property
    def effects(self) -> list[str]:
        """What was changed in Kafka, over all connections."""
        return [effect for connection in self.connections for effect in connection.effects]

    @property
    def told(self) -> list[str]:
        """Reasons of Events."""
        return sorted(event["reason"] for event in self.api.stored(EVENTS).values())

    # --- what the operator does

    async def reconcile(self) -> Outcome:
        return await self.reconciler.reconcile(KEY)

    async def until(self, holds: Callable[[], bool], *, looks: int = 60) -> None:
        """Reconcile, each time when the last reconcile asked for it, until it holds."""
        for _ in range(looks):
            outcome = await self.reconcile()
            if holds():
                return
            self.clock.move(outcome.requeue_after or 0.0)
        raise AssertionError(f"never came; phase {self.phase}: {self.live.get('status')}")

    async def until_phase(self, phase: str) -> None:
        await self.until(lambda: self.phase == phase)

    async def until_ready(self) -> None:
        """Hand over to a fork whose pod starts as soon as it may."""
        await self.until_phase("Preparing")
        self.start_fork()
        await self.until(lambda: self.ready[0] == "True")
