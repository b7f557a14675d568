"""Several kinds as one view, and what a change of any of them tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from builders import FakeClock, having, in_namespace, kafka_route, namespace, service, settle
from fakes.watching import FakeWatchableApi
from sidestream.kube.copies import Copies, Scope, without_managed_fields
from sidestream.kube.port import KAFKA_ROUTES, NAMESPACES, PODS, SERVICES, Object, Resource
from sidestream.kube.reflector import UNSERVED_PAUSE, Change, WatchEvent

SCOPES: Mapping[Resource, Scope] = {
    SERVICES: Scope(labels="a=b", keep=without_managed_fields),
    KAFKA_ROUTES: Scope(is_optional=True),
}


@asynccontextmanager
async def copying(
    api: FakeWatchableApi, clock: FakeClock, scopes: Mapping[Resource, Scope] = SCOPES
) -> AsyncIterator[tuple[Copies, list[str]]]:
    """The copies, and what they told as `ADDED Service orders`."""
    told: list[str] = []

    def take(resource: Resource, change: Change) -> None:
        told.append(f"{change.type} {resource.kind} {change.key.name}")

    copies = Copies(api, clock, scopes, take)
    running = asyncio.create_task(copies.run())
    await settle()
    try:
        yield copies, told
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait({running})


def at(version: str, name: str = "orders", uid: str = "u") -> Object:
    return service(name, having("metadata.resourceVersion", version), having("metadata.uid", uid))


def names(objects: object) -> list[str]:
    assert isinstance(objects, tuple)
    return [item["metadata"]["name"] for item in objects]


async def test_all_of_a_kind_are_by_namespace_and_name() -> None:
    api = FakeWatchableApi({SERVICES: [service("b"), service("z", in_namespace("art")), service("a")]})
    async with copying(api, FakeClock()) as (copies, _):
        assert names(copies.all(SERVICES)) == ["z", "a", "b"]
        assert names(copies.all(SERVICES, "shop")) == ["a", "b"]
        assert names(copies.all(SERVICES, "nowhere")) == []
        assert api.selectors == {SERVICES: "a=b", KAFKA_ROUTES: ""}


async def test_the_same_answer_is_given_until_something_changes() -> None:
    api = FakeWatchableApi({SERVICES: [at("1")]})
    async with copying(api, FakeClock()) as (copies, told):
        everywhere, there = copies.all(SERVICES), copies.all(SERVICES, "shop")
        await api.send(KAFKA_ROUTES, WatchEvent("ADDED", kafka_route("r", having("metadata.resourceVersion", "101"))))
        assert copies.all(SERVICES) is everywhere
        assert copies.all(SERVICES, "shop") is there
        await api.send(SERVICES, WatchEvent("ADDED", at("102", "cart")))
        assert names(copies.all(SERVICES)) == names(copies.all(SERVICES, "shop")) == ["cart", "orders"]
        assert told == ["ADDED Service orders", "ADDED KafkaRoute r", "ADDED Service cart"]


async def test_the_view_has_a_change_by_when_it_is_told() -> None:
    api = FakeWatchableApi()
    seen: list[list[str]] = []
    holder: list[Copies] = []

    def take(resource: Resource, change: Change) -> None:
        del change
        seen.append(names(holder[0].all(resource)))

    holder.append(Copies(api, FakeClock(), {SERVICES: Scope()}, take))
    running = asyncio.create_task(holder[0].run())
    await settle()
    assert names(holder[0].all(SERVICES)) == []
    await api.send(SERVICES, WatchEvent("ADDED", at("101")), WatchEvent("DELETED", at("102")))
    running.cancel()
    assert seen == [["orders"], []]


async def test_one_object_is_found_by_its_name() -> None:
    api = FakeWatchableApi({SERVICES: [at("1")], NAMESPACES: [namespace("web")]})
    async with copying(api, FakeClock(), {**SCOPES, NAMESPACES: Scope()}) as (copies, _):
        found = copies.get(SERVICES, "shop", "orders")
        assert found is not None
        assert found["metadata"]["resourceVersion"] == "1"
        assert copies.get(SERVICES, "web", "orders") is None
        assert copies.get(NAMESPACES, "", "web") is not None


async def test_of_a_kind_without_a_copy_nothing_is_known() -> None:
    async with copying(FakeWatchableApi(), FakeClock()) as (copies, told):
        assert not copies.is_served(PODS)
        assert names(copies.all(PODS)) == []
        assert copies.get(PODS, "shop", "orders") is None
        copies.learn(PODS, at("1"))
        copies.forget(PODS, at("1"))
        assert told == []


async def test_it_is_complete_once_every_kind_is_listed_or_known_to_be_unserved() -> None:
    api, clock = FakeWatchableApi(), FakeClock()
    api.unserved = {SERVICES, KAFKA_ROUTES}
    async with copying(api, clock) as (copies, _):
        complete = asyncio.create_task(copies.wait_until_complete())
        await settle()
        assert not complete.done()
        assert not copies.is_served(KAFKA_ROUTES)
        api.unserved = {KAFKA_ROUTES}
        await clock.advance(UNSERVED_PAUSE)
        assert complete.done()
        assert copies.is_served(SERVICES)


async def test_a_kind_that_is_served_only_later_is_found_then() -> None:
    api, clock = FakeWatchableApi({KAFKA_ROUTES: [kafka_route("r")]}), FakeClock()
    api.unserved = {KAFKA_ROUTES}
    async with copying(api, clock) as (copies, told):
        assert names(copies.all(KAFKA_ROUTES)) == []
        api.unserved.clear()
        await clock.advance(UNSERVED_PAUSE)
        assert copies.is_served(KAFKA_ROUTES)
        assert names(copies.all(KAFKA_ROUTES)) == ["r"]
        assert told == ["ADDED KafkaRoute r"]


async def test_a_kind_that_is_served_no_more_loses_its_objects() -> None:
    api, clock = FakeWatchableApi({KAFKA_ROUTES: [kafka_route("r")]}), FakeClock()
    async with copying(api, clock) as (copies, told):
        await api.unserve(KAFKA_ROUTES)
        assert not copies.is_served(KAFKA_ROUTES)
        assert names(copies.all(KAFKA_ROUTES)) == []
        assert told == ["ADDED KafkaRoute r", "DELETED KafkaRoute r"]


async def test_own_writes_are_seen_at_once_and_their_events_tell_nothing_new() -> None:
    api = FakeWatchableApi({SERVICES: [at("1")]})
    async with copying(api, FakeClock()) as (copies, told):
        copies.learn(SERVICES, at("105"))
        await api.send(SERVICES, WatchEvent("MODIFIED", at("104")), WatchEvent("MODIFIED", at("105")))
        found = copies.get(SERVICES, "shop", "orders")
        assert found is not None
        assert found["metadata"]["resourceVersion"] == "105"
        copies.forget(SERVICES, at("105"))
        await api.send(SERVICES, WatchEvent("DELETED", at("106")))
        assert told == ["ADDED Service orders", "MODIFIED Service orders", "DELETED Service orders"]
        assert names(copies.all(SERVICES)) == []


def test_who_manages_which_field_is_not_kept() -> None:
    obj = service("orders", having("metadata.managedFields", [{"manager": "x"}]))
    assert without_managed_fields(obj) == service("orders")
    assert "managedFields" in obj["metadata"]
