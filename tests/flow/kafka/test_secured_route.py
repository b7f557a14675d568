"""A KafkaRoute on a broker where the operator may do nothing yet: it asks for one right after another, and goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from builders import deployment, having, kafka_cluster, kafka_consumer, kafka_route, namespace
from fakes.kube import FakeKubeApi
from flow.kafka.cluster import eventually, real_arena
from flow.kafka.secured import PLAIN_LOGIN, PLAIN_USER, Right, SecuredKafka
from sidestream.config import HeaderSettings
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.port import Position, TopicPartition
from sidestream.kafka.reconcile_route import KafkaRouteReconciler
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import KAFKA_ROUTES, Object
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.reconcile import ObjectKey

ROUTE = ObjectKey("shop", "fulfilment-orders-alice")
MISSING = re.compile(r"needs (\w+) on (group|topic) ([\w.-]+)")
WITH_SDK = having(
    "spec.template.spec.containers",
    [{"name": "app", "image": "app:1", "env": [{"name": "SIDESTREAM_MAPPING_URL", "value": "http://mapping"}]}],
)


@dataclass
class Scene:
    """The route, and an administrator who grants just what its condition asks for."""

    secured: SecuredKafka
    api: FakeKubeApi
    routes: KafkaRouteReconciler
    granted: list[Right] = field(default_factory=list)

    @property
    def live(self) -> Object:
        live = self.api.live(KAFKA_ROUTES, ROUTE.name)
        assert live is not None
        return live

    @property
    def phase(self) -> str:
        return str(self.live.get("status", {}).get("phase"))

    @property
    def condition(self) -> dict[str, Any]:
        (found,) = self.live["status"]["conditions"]
        condition: dict[str, Any] = found
        return condition

    async def reaches(self, phase: str) -> None:
        await self._reconciled(lambda: self.phase == phase, f"the route is in phase {phase}")

    async def is_gone(self) -> None:
        await self._reconciled(lambda: self.api.live(KAFKA_ROUTES, ROUTE.name) is None, "the route is gone")

    def delete(self) -> None:
        """As a user does; the finalizer keeps it."""
        metadata = {**self.live["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.api.seed({**self.live, "metadata": metadata})

    async def _reconciled(self, holds: Callable[[], bool], what: str) -> None:
        async def look() -> bool:
            await self.routes.reconcile(ROUTE)
            if holds():
                return True
            if self.condition["reason"] == "Unauthorized":
                await self._grant()
            return False

        await eventually(look, what)

    async def _grant(self) -> None:
        found = MISSING.search(self.condition["message"])
        assert found is not None, self.condition["message"]
        right = Right(found[1], found[2], found[3])
        if right not in self.granted:
            self.granted.append(right)
            await self.secured.grant(PLAIN_USER, right)


@pytest.mark.parametrize(
    ("coordination", "stands_in"),
    [pytest.param("Polling", False, id="Polling"), pytest.param("Fenced", True, id="Fenced")],
)
async def test_a_route_asks_for_one_right_after_another_until_it_has_what_it_needs(
    secured: SecuredKafka, coordination: str, *, stands_in: bool
) -> None:
    await secured.revoke_all()
    async with real_arena(secured.admin) as arena:
        topic, baseline = await arena.topic(records=1), arena.name("group")
        fork = f"{baseline}.sbx.alice"
        await arena.admin.place(baseline, {TopicPartition(topic, 0): Position(0)})
        shared = having("spec.topics", [topic]), having("spec.coordination", coordination)
        servers = having("spec.bootstrapServers", [secured.plain])
        api = FakeKubeApi(
            namespace("kube-system"),
            deployment("fulfilment", WITH_SDK, having("spec.replicas", 0)),
            kafka_cluster("main", servers, having("spec.properties", dict(PLAIN_LOGIN))),
            kafka_consumer("fulfilment-orders", having("spec.group", baseline), *shared),
            kafka_route(ROUTE.name, having("spec.baselineGroup", baseline), having("spec.forkGroup", fork), *shared),
        )
        clock = SystemClock()
        async with KafkaClusters(api, "sidestream-system") as clusters:
            routes = KafkaRouteReconciler(api, EventRecorder(api, clock), clock, clusters, HeaderSettings())
            it = Scene(secured, api, routes)
            await it.reaches("Active")
            needed = {
                *(Right("Describe", "group", group) for group in (baseline, fork)),
                *(Right("Read", "group", group) for group in ((baseline, fork) if stands_in else (fork,))),
                *(Right(operation, "topic", topic) for operation in ("Describe", "Read")),
            }
            assert (len(it.granted), set(it.granted)) == (len(needed), needed)
            it.delete()
            await it.is_gone()
            assert set(it.granted) - needed == {Right("Delete", "group", fork)}
            assert (await arena.admin.group(fork)).is_absent
