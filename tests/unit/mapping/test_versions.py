"""Versions hold whatever happens: changes, writes that change nothing, ends, bookmarks, gaps in the watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FakeClock, claiming, fence, having, in_phase, kafka_consumer, kafka_route, settle
from sidestream.config import HeaderSettings
from sidestream.kube.errors import ExpiredError
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, Object, Resource
from sidestream.kube.reflector import Keep, WatchEvent, whole
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Workload
from sidestream.mapping.store import MappingStore
from sidestream_sdk.ownership import Mapping

FULFILMENT: Final = Workload("shop", "fulfilment")


class Cluster:
    """KafkaRoutes with a version that every write raises; what is written while nobody may watch is only listed."""

    def __init__(self) -> None:
        self.version = 100
        self.routes: dict[str, Object] = {}
        self.content: dict[str, int] = {}
        """What members see of each route, in short."""
        self.changed_at = 0
        """The version of the write that last changed it, be the route there or not any more."""
        self.is_watched = True
        self._watches: list[asyncio.Queue[WatchEvent | None]] = []

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        del namespace, labels
        found = {KAFKA_ROUTES: list(self.routes.values()), KAFKA_CONSUMERS: [kafka_consumer()]}.get(resource, [])
        return [keep(item) for item in found], str(self.version)

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        del namespace, labels, resource_version
        events: asyncio.Queue[WatchEvent | None] = asyncio.Queue()
        if resource == KAFKA_ROUTES:
            self._watches.append(events)
        while (event := await events.get()) is not None:
            yield event
        raise ExpiredError("too old")

    def write(self, name: str, content: int) -> None:
        self.version += 1
        if self.content.get(name) != content:
            self.changed_at = self.version
        self.content[name] = content
        known = name in self.routes
        self.routes[name] = kafka_route(
            name,
            in_phase("Active"),
            claiming("c1", name, {number: fence("From", number) for number in range(content)}),
            having("metadata.resourceVersion", str(self.version)),
            having("status.refreshedAt", str(self.version)),
        )
        self._tell(WatchEvent("MODIFIED" if known else "ADDED", self.routes[name]))

    def remove(self, name: str) -> None:
        self.version += 1
        self.content.pop(name)
        gone = self.routes.pop(name)
        self._tell(WatchEvent("DELETED", having_version(gone, self.version)))

    def pass_by(self) -> None:
        """Something else is written, and a bookmark says so."""
        self.version += 1
        self._tell(WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}))

    def expire(self) -> None:
        """The watches that were broken off cannot go on where they were."""
        self.is_watched = True
        for events in self._watches:
            events.put_nowait(None)
        self._watches.clear()

    def _tell(self, event: WatchEvent) -> None:
        for events in self._watches if self.is_watched else ():
            events.put_nowait(event)


def having_version(obj: Object, version: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


async def known_epoch() -> str:
    return "2f1c9a07"


class Replica:
    """A running store."""

    def __init__(self, cluster: Cluster) -> None:
        self.store = MappingStore(cluster, FakeClock(), header=Header.of(HeaderSettings()), epoch=known_epoch)
        self.running = asyncio.create_task(self.store.run())

    @property
    def version(self) -> int:
        directory = self.store.directory
        encoded = directory.consumer(FULFILMENT) if directory else None
        assert encoded is not None
        return Mapping.from_json(json.loads(encoded.body)).version

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait({self.running})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("ab"), st.integers(0, 2)),
        st.tuples(st.just("remove"), st.sampled_from("ab"), st.just(0)),
        st.tuples(st.sampled_from(("bookmark", "break off", "list anew")), st.just(""), st.just(0)),
    ),
    max_size=12,
)


def take(cluster: Cluster, step: str, name: str, content: int) -> None:
    match step:
        case "write":
            cluster.write(name, content)
        case "remove" if name in cluster.routes:
            cluster.remove(name)
        case "bookmark":
            cluster.pass_by()
        case "break off":
            cluster.is_watched = False
        case "list anew":
            cluster.expire()
        case _:
            pass


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_a_replica_has_seen_at_least_what_it_answers(steps: list[tuple[str, str, int]]) -> None:
    asyncio.run(follow(steps))


async def follow(steps: list[tuple[str, str, int]]) -> None:
    cluster = Cluster()
    old = Replica(cluster)
    await settle()
    before = (old.store.version, old.version)
    for step in steps:
        take(cluster, *step)
        await settle()
        now = (old.store.version, old.version)
        assert now[0] >= now[1], "seen what is answered"
        assert (now[0] >= before[0], now[1] >= before[1]) == (True, True), "never goes back"
        before = now
        if cluster.is_watched:
            await compare_with_a_new_one(old, cluster)
    await old.stop()


async def compare_with_a_new_one(old: Replica, cluster: Cluster) -> None:
    new = Replica(cluster)
    await settle()
    assert new.store.etag(FULFILMENT) == old.store.etag(FULFILMENT), "one content, one tag"
    assert old.store.version == new.store.version == cluster.version
    there = max((int(route["metadata"]["resourceVersion"]) for route in cluster.routes.values()), default=0)
    assert new.version == there, "each object counts with its own version"
    assert new.version <= new.store.version
    await new.stop()


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_where_no_event_is_missed_the_version_is_that_of_the_last_change(steps: list[tuple[str, str, int]]) -> None:
    asyncio.run(count([step for step in steps if step[0] in {"write", "remove", "bookmark"}]))


async def count(steps: list[tuple[str, str, int]]) -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    await settle()
    for step in steps:
        take(cluster, *step)
        await settle()
        assert replica.version == cluster.changed_at
    await replica.stop()


def test_a_deletion_that_only_a_list_shows_raises_no_version() -> None:
    asyncio.run(miss_a_deletion())


async def miss_a_deletion() -> None:
    cluster = Cluster()
    cluster.write("a", 1)
    cluster.write("b", 1)
    replica = Replica(cluster)
    await settle()
    tag = replica.store.etag(FULFILMENT)
    cluster.is_watched = False
    cluster.remove("b")
    cluster.expire()
    await settle()
    assert (replica.version, replica.store.version) == (102, 103)
    assert replica.store.etag(FULFILMENT) != tag
    await replica.stop()
