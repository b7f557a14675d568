from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from builders import FakeClock, having, kafka_route, settle
from sidestream.errors import NotServedError, TransientError
from sidestream.kube.errors import ExpiredError
from sidestream.kube.port import KAFKA_ROUTES, Object, Resource
from sidestream.kube.reflector import UNSERVED_PAUSE, Change, Keep, Reflector, WatchEvent, whole
from sidestream.runtime.reconcile import ObjectKey


class Source:
    """Lists what the test puts into it; a watch yields what the test sends, an exception ends it."""

    def __init__(self, *objects: Object) -> None:
        self.objects = list(objects)
        self.version = "100"
        self.listed = 0
        self.watched_from: list[str] = []
        self.list_errors: list[Exception] = []
        self.events: asyncio.Queue[WatchEvent | Exception | None] = asyncio.Queue()

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        assert (resource, namespace, labels) == (KAFKA_ROUTES, "", "")
        if self.list_errors:
            raise self.list_errors.pop(0)
        self.listed += 1
        return [keep(item) for item in self.objects], self.version

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        assert (resource, namespace, labels) == (KAFKA_ROUTES, "", "")
        self.watched_from.append(resource_version)
        while (item := await self.events.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    async def send(self, *items: WatchEvent | Exception | None) -> None:
        for item in items:
            self.events.put_nowait(item)
        await settle()


def at(version: str, name: str = "alice", uid: str = "u") -> Object:
    return kafka_route(name, having("metadata.resourceVersion", version), having("metadata.uid", uid))


def key(name: str) -> ObjectKey:
    return ObjectKey("shop", name)


@asynccontextmanager
async def reflecting(source: Source, clock: FakeClock) -> AsyncIterator[tuple[Reflector, list[str]]]:
    """A running reflector, and what it told as `ADDED alice`."""
    told: list[str] = []

    def tell(change: Change) -> None:
        told.append(f"{change.type} {change.key.name}")

    reflector = Reflector(source, KAFKA_ROUTES, clock, on_change=tell)
    running = asyncio.create_task(reflector.run())
    await settle()
    try:
        yield reflector, told
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_the_first_list_fills_the_copy() -> None:
    source = Source(at("1", "alice"), at("2", "bob"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        assert reflector.synced.is_set()
        assert set(reflector.objects) == {key("alice"), key("bob")}
        assert told == ["ADDED alice", "ADDED bob"]
        assert source.watched_from == ["100"]


async def test_events_change_the_copy() -> None:
    source = Source(at("1", "alice"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        await source.send(
            WatchEvent("ADDED", at("101", "bob")),
            WatchEvent("MODIFIED", at("102", "alice")),
            WatchEvent("DELETED", at("103", "bob")),
        )
        assert told[1:] == ["ADDED bob", "MODIFIED alice", "DELETED bob"]
        assert reflector.objects[key("alice")]["metadata"]["resourceVersion"] == "102"
        assert key("bob") not in reflector.objects


async def test_a_watch_that_ends_goes_on_where_it_was() -> None:
    source = Source()
    async with reflecting(source, FakeClock()):
        bookmark: Object = {"metadata": {"resourceVersion": "150"}}
        await source.send(WatchEvent("ADDED", at("140")), WatchEvent("BOOKMARK", bookmark), None)
        assert source.watched_from == ["100", "150"]
        assert source.listed == 1


async def test_what_vanished_during_a_gap_is_told_after_a_new_list() -> None:
    source = Source(at("1", "alice"), at("2", "bob"), at("3", "carol"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        source.objects = [at("7", "alice"), at("3", "carol")]
        source.version = "200"
        await source.send(ExpiredError("too old"))
        assert told[3:] == ["DELETED bob", "MODIFIED alice"]
        assert set(reflector.objects) == {key("alice"), key("carol")}
        assert source.watched_from == ["100", "200"]


async def test_an_object_that_was_created_anew_is_told_as_two_changes() -> None:
    source = Source(at("1", uid="old"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        source.objects = [at("9", uid="new")]
        await source.send(ExpiredError("too old"))
        assert told[1:] == ["DELETED alice", "ADDED alice"]
        assert reflector.objects[key("alice")]["metadata"]["uid"] == "new"


async def test_a_lost_connection_is_taken_up_again_after_a_pause() -> None:
    source, clock = Source(at("1")), FakeClock()
    async with reflecting(source, clock) as (reflector, _):
        await source.send(TransientError("away"))
        assert source.watched_from == ["100"]
        await clock.advance(1)
        assert source.watched_from == ["100", "100"]
        assert source.listed == 1
        assert reflector.synced.is_set()


async def test_a_kind_that_is_served_only_later_is_found_then() -> None:
    source, clock = Source(at("1")), FakeClock()
    source.list_errors = [NotServedError("no CRD", status=404), NotServedError("no CRD", status=404)]
    async with reflecting(source, clock) as (reflector, _):
        assert not reflector.synced.is_set()
        await clock.advance(3)
        assert reflector.synced.is_set()


async def test_the_age_of_the_last_event_grows_while_nothing_is_heard() -> None:
    source, clock = Source(), FakeClock()
    silent = Reflector(source, KAFKA_ROUTES, clock)
    assert silent.last_event_age == float("inf")
    async with reflecting(source, clock) as (reflector, _):
        await clock.advance(50)
        assert reflector.last_event_age == 50
        await source.send(WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "150"}}))
        assert reflector.last_event_age == 0


async def test_the_version_is_how_far_everything_was_seen() -> None:
    source = Source(at("1"))
    source.list_errors = [TransientError("away")]
    clock = FakeClock()
    async with reflecting(source, clock) as (reflector, _):
        assert reflector.version == ""
        await clock.advance(1)
        assert reflector.version == "100"
        await source.send(WatchEvent("MODIFIED", at("101")))
        assert reflector.version == "101"
        await source.send(WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "150"}}))
        assert reflector.version == "150"
        await source.send(WatchEvent("DELETED", at("160")))
        assert reflector.version == "160"


async def test_the_version_stays_until_a_new_list_is_in() -> None:
    source, clock = Source(at("1")), FakeClock()
    async with reflecting(source, clock) as (reflector, _):
        source.list_errors = [TransientError("away")]
        source.version = "200"
        await source.send(ExpiredError("too old"))
        assert reflector.version == "100"
        await clock.advance(1)
        assert reflector.version == "200"


async def test_the_copy_cannot_be_written() -> None:
    async with reflecting(Source(at("1")), FakeClock()) as (reflector, _):
        assert not hasattr(reflector.objects, "__setitem__")


async def test_only_what_is_worth_keeping_stays_in_memory_and_is_told() -> None:
    def keep(obj: Object) -> Object:
        return {"metadata": obj["metadata"]}

    source, told = Source(at("1")), list[Object]()
    reflector = Reflector(
        source, KAFKA_ROUTES, FakeClock(), on_change=lambda change: told.append(change.object), keep=keep
    )
    running = asyncio.create_task(reflector.run())
    await settle()
    await source.send(WatchEvent("MODIFIED", at("101")))
    running.cancel()

    kept = [{"metadata": at(version)["metadata"]} for version in ("1", "101")]
    assert told == kept
    assert list(reflector.objects.values()) == kept[1:]


# --- kinds that may be unserved


@asynccontextmanager
async def optional(source: Source, clock: FakeClock) -> AsyncIterator[tuple[Reflector, list[str]]]:
    told: list[str] = []
    reflector = Reflector(
        source, KAFKA_ROUTES, clock, on_change=lambda change: told.append(change.type), may_be_unserved=True
    )
    running = asyncio.create_task(reflector.run())
    await settle()
    try:
        yield reflector, told
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_an_unserved_kind_is_known_to_be_empty_where_that_is_allowed_for() -> None:
    source, clock = Source(at("1")), FakeClock()
    source.list_errors = [NotServedError("no CRD", status=404)] * 2
    async with optional(source, clock) as (reflector, told):
        assert reflector.synced.is_set()
        assert not reflector.is_served
        await clock.advance(UNSERVED_PAUSE)
        assert not reflector.is_served
        await clock.advance(UNSERVED_PAUSE)
        assert reflector.is_served
        assert told == ["ADDED"]


async def test_an_unserved_kind_is_only_waited_for_where_that_is_not_allowed_for() -> None:
    source, clock = Source(at("1")), FakeClock()
    async with reflecting(source, clock) as (reflector, told):
        source.list_errors = [NotServedError("no CRD", status=404)]
        await source.send(NotServedError("no CRD", status=404))
        assert reflector.is_served
        assert told == ["ADDED alice"]
        await clock.advance(60)
        assert source.listed == 2


async def test_a_definition_that_is_taken_away_takes_the_objects_with_it() -> None:
    source, clock = Source(at("1")), FakeClock()
    async with optional(source, clock) as (reflector, told):
        source.list_errors = [NotServedError("no CRD", status=404)]
        await source.send(NotServedError("no CRD", status=404))
        assert not reflector.is_served
        assert told == ["ADDED", "DELETED"]
        await clock.advance(2 * UNSERVED_PAUSE)
        assert reflector.is_served
        assert told == ["ADDED", "DELETED", "ADDED"]


# --- own writes


async def test_what_a_write_returned_is_there_at_once() -> None:
    source = Source(at("1"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        reflector.learn(at("105"))
        reflector.learn(at("106", "bob"))
        assert told == ["ADDED alice", "MODIFIED alice", "ADDED bob"]
        assert reflector.objects[key("alice")]["metadata"]["resourceVersion"] == "105"


async def test_an_older_version_than_that_changes_nothing() -> None:
    source = Source(at("1"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        reflector.learn(at("105"))
        await source.send(WatchEvent("MODIFIED", at("99")), WatchEvent("MODIFIED", at("105")))
        assert told == ["ADDED alice", "MODIFIED alice"]
        reflector.learn(at("104"))
        assert reflector.objects[key("alice")]["metadata"]["resourceVersion"] == "105"
        await source.send(WatchEvent("MODIFIED", at("1000")))
        assert reflector.objects[key("alice")]["metadata"]["resourceVersion"] == "1000"


async def test_versions_that_are_no_numbers_only_differ() -> None:
    source = Source(at("b"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        await source.send(WatchEvent("MODIFIED", at("b")))
        assert told == ["ADDED alice"]
        await source.send(WatchEvent("MODIFIED", at("a")))
        assert reflector.objects[key("alice")]["metadata"]["resourceVersion"] == "a"


async def test_what_was_deleted_is_gone_at_once_and_told_once() -> None:
    source = Source(at("1"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        reflector.forget(at("1"))
        assert key("alice") not in reflector.objects
        await source.send(WatchEvent("DELETED", at("101")))
        reflector.forget(at("1"))
        assert told == ["ADDED alice", "DELETED alice"]


async def test_an_object_that_was_created_anew_meanwhile_is_not_forgotten() -> None:
    async with reflecting(Source(at("1", uid="new")), FakeClock()) as (reflector, told):
        reflector.forget(at("1", uid="old"))
        assert key("alice") in reflector.objects
        assert told == ["ADDED alice"]


async def test_the_end_of_a_former_object_does_not_take_its_successor_along() -> None:
    source = Source(at("1", uid="old"))
    async with reflecting(source, FakeClock()) as (reflector, told):
        reflector.learn(at("105", uid="new"))
        await source.send(WatchEvent("DELETED", at("104", uid="old")), WatchEvent("ADDED", at("105", uid="new")))
        assert reflector.objects[key("alice")]["metadata"]["uid"] == "new"
        assert told == ["ADDED alice", "DELETED alice", "ADDED alice"]
