"""A KafkaRoute's whole life on a real broker, with real consumers; only the API server is a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from builders import deployment, having, kafka_cluster, kafka_consumer, kafka_route, namespace
from fakes.kube import FakeKubeApi
from flow.kafka.cluster import RealArena, eventually, real_arena
from sidestream.config import HeaderSettings
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.reconcile_cluster import KafkaClusterReconciler
from sidestream.kafka.reconcile_consumer import KafkaConsumerReconciler
from sidestream.kafka.reconcile_route import KafkaRouteReconciler
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import KAFKA_CLUSTERS, KAFKA_CONSUMERS, KAFKA_ROUTES, Object
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.reconcile import ObjectKey
from sidestream_sdk.notes import Notes
from unit.kafka.admin_contract import at
from unit.kafka.fenced_world import SPEAKING

ROUTE = ObjectKey("shop", "fulfilment-orders-alice")
CONSUMER = ObjectKey("shop", "fulfilment-orders")
CLUSTER = ObjectKey("", "main")


class Stage:
    """One route of one consumer on the real cluster, and the reconcilers that look after them."""

    def __init__(self, arena: RealArena, bootstrap: str, topic: str, coordination: str = "Polling") -> None:
        self.arena, self.topic = arena, topic
        self.baseline, self.fork = arena.name("group"), arena.name("group")
        shared = [having("spec.topics", [topic])]
        self.api = FakeKubeApi(
            deployment("fulfilment", SPEAKING),
            namespace("kube-system"),
            kafka_cluster("main", having("spec.bootstrapServers", [bootstrap])),
            kafka_consumer(CONSUMER.name, having("spec.group", self.baseline), *shared),
            kafka_route(
                ROUTE.name,
                having("spec.baselineGroup", self.baseline),
                having("spec.forkGroup", self.fork),
                having("spec.pollInterval", "1s"),
                having("spec.coordination", coordination),
                *shared,
            ),
        )
        clock = SystemClock()
        self.clusters = KafkaClusters(self.api, "sidestream-system")
        events = EventRecorder(self.api, clock)
        self.routes = KafkaRouteReconciler(self.api, events, clock, self.clusters, HeaderSettings())
        self.consumers = KafkaConsumerReconciler(self.api, events, clock, self.clusters)
        self.kafka_clusters = KafkaClusterReconciler(self.api, events, clock, self.clusters)

    async def reconciled(self, holds: Callable[[], bool], what: str) -> None:
        async def look() -> bool:
            await self.routes.reconcile(ROUTE)
            return holds()

        await eventually(look, what)

    @property
    def live(self) -> Object | None:
        return self.api.live(KAFKA_ROUTES, ROUTE.name)

    @property
    def status(self) -> dict[str, Any]:
        assert self.live is not None
        status: dict[str, Any] = self.live.get("status", {})
        return status

    @property
    def phase(self) -> str:
        return str(self.status.get("phase"))

    @property
    def is_ready(self) -> bool:
        return any(item["status"] == "True" for item in self.status.get("conditions", ()))

    def delete(self) -> None:
        assert self.live is not None
        self.api.seed({**self.live, "metadata": {**self.live["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})


@asynccontextmanager
async def stage(bootstrap: str, coordination: str = "Polling") -> AsyncIterator[Stage]:
    async with real_arena(bootstrap) as arena:
        it = Stage(arena, bootstrap, await arena.topic(partitions=2, records=6), coordination)
        async with it.clusters:
            yield it


async def test_a_tenants_records_go_to_its_fork_and_back_and_no_group_is_left(bootstrap: str) -> None:
    async with stage(bootstrap) as it:
        admin = it.arena.admin
        await admin.place(it.baseline, at(4, topic=it.topic))
        await it.reconciled(lambda: it.phase in ("Preparing", "Active"), "the group is made")
        assert await admin.committed(it.fork) == at(4, 0, topic=it.topic), (
            "where the baseline is, else at the beginning"
        )
        async with it.arena.consumer(it.fork, it.topic, **{"auto.commit.interval.ms": 100}) as poll:
            await it.reconciled(lambda: it.is_ready, "the fork has joined")
            it.delete()
            await it.reconciled(lambda: it.phase == "Draining", "the tenant is given back")
            assert (await admin.group(it.fork)).has_members

            async def works_off() -> bool:
                await poll()
                await it.routes.reconcile(ROUTE)
                return it.phase == "Drained"

            await eventually(works_off, "the fork works its records off")
            assert {position.offset for position in (await admin.committed(it.fork)).values()} == {6}
            await it.routes.reconcile(ROUTE)
            assert (await admin.group(it.fork)).has_members, "a group with members is not touched"
        await it.reconciled(lambda: it.live is None, "the route is gone")
        assert (await admin.group(it.fork)).is_absent
        assert await admin.committed(it.baseline) == at(4, topic=it.topic), "nobody touches the baseline's group"


async def test_a_group_that_was_there_before_is_refused_and_survives(bootstrap: str) -> None:
    async with stage(bootstrap) as it:
        await it.arena.admin.place(it.fork, at(1, topic=it.topic))
        await it.reconciled(lambda: bool(it.status), "the route is refused")
        assert it.status["conditions"][0]["reason"] == "GroupExists"
        it.delete()
        await it.reconciled(lambda: it.live is None, "the route is gone")
        assert await it.arena.admin.committed(it.fork) == at(1, topic=it.topic)


async def test_consumer_and_cluster_show_what_the_broker_says(bootstrap: str) -> None:
    async with stage(bootstrap) as it:
        async with it.arena.consumer(it.baseline, it.topic):
            await it.consumers.reconcile(CONSUMER)
        await it.kafka_clusters.reconcile(CLUSTER)
        consumer = it.api.live(KAFKA_CONSUMERS, CONSUMER.name)
        cluster = it.api.live(KAFKA_CLUSTERS, CLUSTER.name)
        assert consumer is not None
        assert cluster is not None
        shown = {name: consumer["status"][name] for name in ("groupState", "members", "partitions", "tenants")}
        assert shown == {"groupState": "Stable", "members": 1, "partitions": 2, "tenants": 0}
        assert cluster["status"]["clusterId"] == (await it.arena.admin.cluster()).id
        assert cluster["status"]["conditions"][0]["status"] == "True"


async def test_groups_without_members_are_stood_in_for_from_the_beginning_to_the_end(bootstrap: str) -> None:
    """Under Fenced, with a baseline at 0 replicas and a fork that never runs."""
    async with stage(bootstrap, "Fenced") as it:
        admin = it.arena.admin
        await admin.place(
            it.baseline, {item: replace(start, metadata="mine") for item, start in at(4, 2, topic=it.topic).items()}
        )
        await it.reconciled(lambda: it.phase == "Active", "the fork's group is made")
        ends = await admin.latest(at(4, 2, topic=it.topic))
        assert {item: found.offset for item, found in (await admin.committed(it.fork)).items()} == ends
        kept = await admin.committed(it.baseline)
        assert sorted(found.offset for found in kept.values()) == [2, 4]
        assert {Notes.parse(found.metadata).app for found in kept.values()} == {"mine"}
        it.delete()
        await it.reconciled(lambda: it.phase == "Retiring", "the fork's group is deleted")
        assert (await admin.group(it.fork)).is_absent
        await admin.place(
            it.baseline,
            {item: replace(found, offset=ends[item]) for item, found in (await admin.committed(it.baseline)).items()},
        )
        await it.reconciled(lambda: it.live is None, "the route is gone")
