from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from builders import (
    FakeClock,
    claiming,
    fence,
    having,
    in_phase,
    kafka_consumer,
    kafka_route,
    sandbox,
    settle,
    without,
)
from sidestream.config import HeaderSettings
from sidestream.errors import KubeError, SidestreamError, TransientError
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, SANDBOXES, Object, Resource
from sidestream.kube.reflector import Keep, WatchEvent, whole
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Workload
from sidestream.mapping.store import STALE_SECONDS, MappingStore
from sidestream_sdk.fences import Fence, State
from sidestream_sdk.ownership import Mapping

FULFILMENT = Workload("shop", "fulfilment")
KINDS = (KAFKA_CONSUMERS, KAFKA_ROUTES, SANDBOXES)


class Source:
    """An API server whose lists wait until the test lets them through, and whose watches tell what it sends."""

    def __init__(self, *objects: Object) -> None:
        self.objects = objects
        self.version = "100"
        self.listing = {resource: asyncio.Event() for resource in KINDS}
        self.events: dict[Resource, asyncio.Queue[WatchEvent]] = {resource: asyncio.Queue() for resource in KINDS}

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        assert (namespace, labels) == ("", "")
        await self.listing[resource].wait()
        return [keep(item) for item in self.objects if item["kind"] == resource.kind], self.version

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        assert (namespace, labels, resource_version) == ("", "", self.version)
        while True:
            yield await self.events[resource].get()

    async def let(self, *resources: Resource) -> None:
        for resource in resources:
            self.listing[resource].set()
        await settle()

    async def send(self, resource: Resource, event: WatchEvent) -> None:
        self.events[resource].put_nowait(event)
        await settle()


async def known_epoch() -> str:
    return "2f1c9a07"


@asynccontextmanager
async def storing(
    source: Source,
    clock: FakeClock,
    on_change: Callable[[Workload], None] | None = None,
    epoch: Callable[[], Awaitable[str]] = known_epoch,
) -> AsyncIterator[MappingStore]:
    store = MappingStore(source, clock, header=Header.of(HeaderSettings()), epoch=epoch)
    running = asyncio.create_task(store.run(on_change) if on_change else store.run())
    await settle()
    try:
        yield store
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait({running})


def phase_in(store: MappingStore) -> str | None:
    """The phase of the only change of the only topic; None without one."""
    taken = store.directory
    assert taken is not None
    encoded = taken.consumer(FULFILMENT)
    assert encoded is not None
    _, found, rest = encoded.body.decode().partition('"phase":"')
    return rest.partition('"')[0] if found else None


def mapping_in(store: MappingStore) -> Mapping:
    taken = store.directory
    assert taken is not None
    encoded = taken.consumer(FULFILMENT)
    assert encoded is not None
    return Mapping.from_json(json.loads(encoded.body))


def at(version: int, phase: str) -> Object:
    return kafka_route("alice", in_phase(phase), having("metadata.resourceVersion", str(version)))


async def test_there_is_no_answer_before_every_kind_was_listed() -> None:
    source = Source(kafka_consumer(), at(1, "Active"))
    async with storing(source, FakeClock()) as store:
        await source.let(KAFKA_CONSUMERS, KAFKA_ROUTES)
        assert store.directory is None
        assert store.why_not_ready() == "sandboxes have not been listed yet"

        await source.let(SANDBOXES)
        assert phase_in(store) == "Active"
        assert store.why_not_ready() is None


async def test_a_change_is_told_with_its_workload_and_nothing_else_is() -> None:
    source = Source(kafka_consumer(), at(1, "Preparing"))
    changed: list[Workload] = []
    async with storing(source, FakeClock(), changed.append) as store:
        await source.let(*KINDS)
        before = store.etag(FULFILMENT)
        assert phase_in(store) == "Preparing"
        changed.clear()
        await source.send(KAFKA_ROUTES, WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "100"}}))
        await source.send(SANDBOXES, WatchEvent("ADDED", sandbox()))
        assert (changed, store.etag(FULFILMENT)) == ([], before)

        await source.send(KAFKA_ROUTES, WatchEvent("MODIFIED", at(2, "Active")))
        assert (changed, phase_in(store)) == ([FULFILMENT], "Active")
        assert store.etag(FULFILMENT) != before
        await source.send(KAFKA_ROUTES, WatchEvent("DELETED", at(3, "Active")))
        assert (changed, phase_in(store)) == ([FULFILMENT, FULFILMENT], None)
        assert store.etag(Workload("shop", "orders")) is None


async def test_there_is_no_answer_before_the_cluster_is_known() -> None:
    answers: list[SidestreamError | str] = [KubeError("forbidden", status=403), TransientError("away"), "2f1c9a07"]

    async def epoch() -> str:
        answer = answers.pop(0)
        if isinstance(answer, SidestreamError):
            raise answer
        return answer

    source, clock = Source(kafka_consumer(), at(1, "Active")), FakeClock()
    async with storing(source, clock, epoch=epoch) as store:
        await source.let(*KINDS)
        assert store.why_not_ready() == "the namespace that tells this cluster from others cannot be read: forbidden"
        await clock.advance(1)
        assert store.why_not_ready() == "the namespace that tells this cluster from others cannot be read: away"
        assert store.directory is None

        await clock.advance(2)
        assert store.why_not_ready() is None
        assert store.directory is not None
        assert mapping_in(store).epoch == "2f1c9a07"


async def test_versions_that_are_no_numbers_are_said_to_be_and_nothing_is_answered() -> None:
    source = Source(kafka_consumer(), at(1, "Active"))
    source.version = "v-100"
    async with storing(source, FakeClock()) as store:
        await source.let(*KINDS)

        assert store.why_not_ready() == (
            "the API server counts versions of kafkaroutes as 'v-100', which is no number, so which of two mappings is "
            "the newer one cannot be told"
        )
        assert (store.directory, store.version) == (None, 0)


async def test_the_claims_of_the_status_reach_the_answer() -> None:
    route = kafka_route("alice", in_phase("Active"), claiming("c1", "alice", {3: fence("From", 10)}))
    source = Source(kafka_consumer(), route)
    async with storing(source, FakeClock()) as store:
        await source.let(*KINDS)

        (change,) = mapping_in(store).topics["orders.created"].fenced
        assert (change.id, change.phase, change.partitions) == ("c1", "Active", {3: Fence(State.FROM, 10)})


async def test_a_route_whose_claims_cannot_be_read_is_left_out_until_they_can() -> None:
    fences = claiming("c1", "alice", {3: fence("From", 10)})
    route = kafka_route("alice", fences, having("metadata.resourceVersion", "2"))
    broken = kafka_route("alice", fences, having("status.claims", [{"id": "c1"}]))
    source = Source(kafka_consumer(), broken)
    async with storing(source, FakeClock()) as store:
        await source.let(*KINDS)
        assert mapping_in(store).topics["orders.created"].fenced == ()

        await source.send(KAFKA_ROUTES, WatchEvent("MODIFIED", route))
        assert len(mapping_in(store).topics["orders.created"].fenced) == 1


async def test_an_object_that_cannot_be_read_is_left_out_until_it_can() -> None:
    broken = kafka_route("alice", without("spec.keys"), having("metadata.resourceVersion", "2"))
    source = Source(kafka_consumer(), at(1, "Active"))
    async with storing(source, FakeClock()) as store:
        await source.let(*KINDS)
        await source.send(KAFKA_ROUTES, WatchEvent("MODIFIED", broken))
        assert phase_in(store) is None

        await source.send(KAFKA_ROUTES, WatchEvent("MODIFIED", at(3, "Active")))
        assert phase_in(store) == "Active"


@pytest.mark.parametrize("silent", KINDS, ids=lambda resource: resource.plural)
async def test_a_silent_watch_is_not_trusted_but_still_answers(silent: Resource) -> None:
    source = Source(kafka_consumer(), sandbox())
    clock = FakeClock()
    async with storing(source, clock) as store:
        await source.let(*KINDS)
        clock.move(STALE_SECONDS)
        assert store.why_not_ready() is None

        clock.move(1)
        for resource in KINDS:
            if resource != silent:
                await source.send(resource, WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "100"}}))
        assert store.why_not_ready() == f"the watch of {silent.plural} has been silent for more than 120 s"
        assert store.directory is not None

        await source.send(silent, WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "100"}}))
        assert store.why_not_ready() is None


async def test_offsets_and_whatever_else_no_answer_needs_are_not_kept() -> None:
    offsets = [{"topic": "orders.created", "partition": number, "offset": 7} for number in range(100)]
    route = at(1, "Active")
    route["status"]["start"] = offsets
    route["metadata"]["managedFields"] = [{"manager": "sidestream-kafka"}]
    source = Source(kafka_consumer(), route)
    async with storing(source, FakeClock()) as store:
        await source.let(*KINDS)

        (kept,) = (
            kept for reflector in store._reflectors for key, kept in reflector.objects.items() if key.name == "alice"
        )
        assert kept["status"] == {"phase": "Active"}
        assert "managedFields" not in kept["metadata"]
        assert phase_in(store) == "Active"
