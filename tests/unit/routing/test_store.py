"""The live copies of everything that decides routes: what is copied, and whom a change wakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from builders import FakeClock, having, namespace, sandbox, service, settle
from fakes.watching import FakeWatchableApi
from sidestream.config import HeaderSettings
from sidestream.kube.port import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    ROUTE_GROUPS,
    SANDBOXES,
    SERVICES,
    VIRTUAL_SERVICES,
    Object,
)
from sidestream.kube.reflector import UNSERVED_PAUSE, WatchEvent
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.ownership import marked
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.store import RoutingStore
from unit.routing.plain_provider import GATEWAYS, HTTP_ROUTES, MIDDLEWARES, PlainProvider
from unit.routing.things import fork_deployment, fork_service, to, virtual_service

MESH = EntryKey(EntryKind.MESH, "shop", "orders")
WEB = EntryKey(EntryKind.MESH, "shop", "web")
FORKED = {
    NAMESPACES: [namespace()],
    SERVICES: [service("orders"), service("web"), fork_service("alice")],
    DEPLOYMENTS: [fork_deployment("alice")],
    SANDBOXES: [sandbox("alice")],
}
PROVIDERS = (VirtualServiceProvider(HeaderSettings()), PlainProvider(GATEWAYS))
KINDS = {
    *(resource for provider in PROVIDERS for resource in (*provider.reads, *provider.writes)),
    PODS,
    ROUTE_GROUPS,
    *FORKED,
}


@asynccontextmanager
async def running(api: FakeWatchableApi, clock: FakeClock) -> AsyncIterator[tuple[RoutingStore, list[EntryKey]]]:
    woken: list[EntryKey] = []
    store = RoutingStore(api, clock, PROVIDERS, extra=[PODS])
    task = asyncio.create_task(store.run(woken.append))
    await settle()
    try:
        yield store, woken
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


def at(version: str, obj: Object) -> Object:
    having("metadata.resourceVersion", version)(obj)
    return obj


def ours(version: str, timeout: str = "1s") -> Object:
    obj = marked(VIRTUAL_SERVICES, MESH, "shop", "sidestream-orders", {"http": [{"route": [to()], "timeout": timeout}]})
    obj["metadata"] |= {"resourceVersion": version, "uid": "ours"}
    return obj


async def test_everything_is_copied_that_providers_read_or_write_or_findings_look_at() -> None:
    api = FakeWatchableApi(FORKED)
    async with running(api, FakeClock()) as (store, _):
        assert set(api.listed) == KINDS
        assert {VIRTUAL_SERVICES, HTTP_ROUTES, MIDDLEWARES, GATEWAYS} <= KINDS
        assert set(api.selectors.values()) == {""}
        assert [item["metadata"]["name"] for item in store.all(SERVICES, "shop")] == ["orders", "orders-alice", "web"]


async def test_who_manages_which_field_is_kept_only_of_sandboxes() -> None:
    fields = having("metadata.managedFields", [{"manager": "x"}])
    api = FakeWatchableApi({SERVICES: [service("orders", fields)], SANDBOXES: [sandbox("alice", fields)]})
    async with running(api, FakeClock()) as (store, _):
        (kept,), (lean,) = store.all(SANDBOXES), store.all(SERVICES)
        assert "managedFields" in kept["metadata"]
        assert "managedFields" not in lean["metadata"]


async def test_of_deployments_only_labels_and_readiness_are_kept() -> None:
    api = FakeWatchableApi({DEPLOYMENTS: [fork_deployment("alice", ready=2)]})
    async with running(api, FakeClock()) as (store, _):
        (kept,) = store.all(DEPLOYMENTS)
        assert kept["spec"] == {"template": {"metadata": {"labels": {"app": "orders-alice"}}}}
        assert kept["status"] == {"readyReplicas": 2}
        assert kept["metadata"] == fork_deployment("alice")["metadata"]


async def test_the_first_lists_wake_what_is_forked_already() -> None:
    async with running(FakeWatchableApi(FORKED), FakeClock()) as (store, woken):
        await store.wait_until_complete()
        assert MESH in woken
        assert set(woken) == {MESH}
        assert store.index.all_entries() == {MESH}


async def test_a_users_change_wakes_the_entry() -> None:
    api = FakeWatchableApi(FORKED)
    async with running(api, FakeClock()) as (store, woken):
        woken.clear()
        theirs = at("101", virtual_service("theirs", {"route": [to()]}))
        await api.send(VIRTUAL_SERVICES, WatchEvent("ADDED", theirs))
        assert woken == [MESH]
        assert store.get(VIRTUAL_SERVICES, "shop", "theirs") is not None


async def test_own_writes_wake_nobody_and_neither_do_their_events() -> None:
    api = FakeWatchableApi(FORKED)
    async with running(api, FakeClock()) as (store, woken):
        woken.clear()
        store.learn(VIRTUAL_SERVICES, ours("101"))
        store.learn(VIRTUAL_SERVICES, ours("102", "2s"))
        await api.send(VIRTUAL_SERVICES, WatchEvent("ADDED", ours("101")), WatchEvent("MODIFIED", ours("102", "2s")))
        assert store.index.written(MESH) == [(VIRTUAL_SERVICES, ours("102", "2s"))]
        store.forget(VIRTUAL_SERVICES, ours("102"))
        await api.send(VIRTUAL_SERVICES, WatchEvent("DELETED", ours("103")))
        assert store.index.written(MESH) == []
        assert woken == []


async def test_anothers_change_of_an_object_of_ours_wakes_its_entry() -> None:
    api = FakeWatchableApi(FORKED)
    async with running(api, FakeClock()) as (store, woken):
        woken.clear()
        store.learn(VIRTUAL_SERVICES, ours("101"))
        await api.send(VIRTUAL_SERVICES, WatchEvent("MODIFIED", ours("102", "9s")))
        assert woken == [MESH]
        await api.send(VIRTUAL_SERVICES, WatchEvent("DELETED", ours("103")))
        assert woken == [MESH, MESH]


async def test_a_write_that_fails_to_be_taken_over_does_not_silence_what_follows() -> None:
    api = FakeWatchableApi(FORKED)
    async with running(api, FakeClock()) as (store, woken):
        woken.clear()
        broken: Object = {"metadata": {}}
        for take in (store.learn, store.forget):
            with suppress(KeyError):
                take(VIRTUAL_SERVICES, broken)
        await api.send(SERVICES, WatchEvent("MODIFIED", at("101", service("orders"))))
        assert woken == [MESH]


async def test_a_mesh_that_is_installed_later_is_found_and_its_users_objects_wake_entries() -> None:
    api, clock = FakeWatchableApi(FORKED), FakeClock()
    api.unserved = {VIRTUAL_SERVICES, HTTP_ROUTES, MIDDLEWARES, GATEWAYS, ROUTE_GROUPS, PODS}
    async with running(api, clock) as (store, woken):
        complete = asyncio.create_task(store.wait_until_complete())
        await settle()
        assert complete.done()
        assert not store.is_served(VIRTUAL_SERVICES)
        assert store.all(VIRTUAL_SERVICES) == ()
        woken.clear()
        api.unserved.clear()
        api.objects[VIRTUAL_SERVICES] = [virtual_service("theirs", {"route": [to()]})]
        await clock.advance(UNSERVED_PAUSE)
        assert store.is_served(VIRTUAL_SERVICES)
        assert woken == [MESH]


async def test_a_mesh_that_is_removed_wakes_the_entries_of_its_objects() -> None:
    api = FakeWatchableApi({**FORKED, VIRTUAL_SERVICES: [ours("90")]})
    async with running(api, FakeClock()) as (store, woken):
        woken.clear()
        await api.unserve(VIRTUAL_SERVICES)
        assert woken == [MESH]
        assert not store.is_served(VIRTUAL_SERVICES)


async def test_once_complete_users_wildcards_are_known_to_cover_services_that_were_read_after_them() -> None:
    """Kinds are listed at the same time, in any order."""
    wild = virtual_service("all", {"route": [to()]}, hosts=["*.shop.svc.cluster.local"])
    api, clock = FakeWatchableApi({**FORKED, VIRTUAL_SERVICES: [wild]}), FakeClock()
    api.unserved = {SERVICES}
    async with running(api, clock) as (store, _):
        api.unserved.clear()
        await clock.advance(UNSERVED_PAUSE)
        assert store.index.all_entries() == {MESH}
        await store.wait_until_complete()
        assert store.index.all_entries() == {MESH, WEB}
