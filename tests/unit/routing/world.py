"""A cluster with Service `orders`, a scripted mesh, and the routing reconciler in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from builders import (
    FakeClock,
    Modifier,
    deleting,
    finalized,
    sandbox,
    service,
)
from fakes.kube import KINDS, FakeKubeApi
from sidestream.config import HeaderSettings
from sidestream.errors import TransientError
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import EVENTS, LEASES, SANDBOXES, VIRTUAL_SERVICES, Object, Resource
from sidestream.kube.reflector import Change
from sidestream.routing.carriers import all_providers
from sidestream.routing.entries import Door, EntryKey, EntryKind
from sidestream.routing.hosts import DEFAULT_DOMAIN
from sidestream.routing.index import RoutingIndex
from sidestream.routing.proof import hash_in
from sidestream.routing.providers.provider import Provider
from sidestream.routing.reconcile import RoutingReconciler, Sight
from sidestream.runtime.reconcile import ObjectKey, Outcome
from unit.routing.plain_provider import HTTP_ROUTES, MIDDLEWARES
from unit.routing.things import ORDERS_FQDN, fork_deployment, fork_service

KEY = EntryKey(EntryKind.MESH, "shop", "orders")
OURS = "sidestream-orders"
DOOR = Door(ORDERS_FQDN, 80, ORDERS_FQDN)


class Mirror:
    """The live copies as they would be if they never lagged: a `Cluster` and a `Copy` over the fake API server."""

    domain = DEFAULT_DOMAIN

    def __init__(self, api: FakeKubeApi, providers: tuple[Provider, ...]) -> None:
        self._api = api
        self._seen: dict[tuple[Resource, ObjectKey], Object] = {}
        self.providers = providers
        self.index = RoutingIndex(self, self.providers)
        self.woken: set[EntryKey] = set()

    def follow(self) -> None:
        """Take note of all that has changed."""
        now = {
            (resource, ObjectKey(item["metadata"].get("namespace", ""), item["metadata"]["name"])): item
            for resource in KINDS.values()
            if resource not in (EVENTS, LEASES)
            for item in self.all(resource)
        }
        for ident in self._seen.keys() - now.keys():
            self._tell("DELETED", ident, self._seen.pop(ident))
        for ident, obj in now.items():
            before = self._seen.get(ident)
            if before is None or before["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._seen[ident] = obj
                self._tell("ADDED" if before is None else "MODIFIED", ident, obj)

    def is_served(self, resource: Resource) -> bool:
        return self._api.is_served(resource)

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        if not self.is_served(resource):
            return []
        found = [item for _, item in sorted(self._api.stored(resource).items())]
        return [item for item in found if namespace in ("", item["metadata"].get("namespace"))]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._api.live(resource, name, namespace) if self.is_served(resource) else None

    def learn(self, resource: Resource, obj: Object) -> None:
        del resource, obj
        self.follow()

    def forget(self, resource: Resource, obj: Object) -> None:
        del resource, obj
        self.follow()

    def _tell(self, type_: Any, ident: tuple[Resource, ObjectKey], obj: Object) -> None:
        resource, key = ident
        self.woken |= self.index.take(resource, Change(type_, key, obj))


class Mesh:
    """Proxies that follow the API server at once, unless a test holds them back; also their prober."""

    def __init__(self, api: FakeKubeApi) -> None:
        self._api = api
        self._held: dict[str, str] = {}
        self.is_held = False
        self.is_away = False
        self.asked: list[tuple[Door, str]] = []

    def hold(self) -> None:
        """Keep what the proxies have now, whatever is written."""
        self._held = self._current()
        self.is_held = True

    def follow(self) -> None:
        self.is_held = False

    def lose(self) -> None:
        """Forget all rules, whatever is written, such as a proxy that is told nothing any more."""
        self._held = {}
        self.is_held = True

    @property
    def questions(self) -> int:
        return len(self.asked)

    async def ask(self, door: Door, name: str) -> tuple[str | None, ...]:
        self.asked.append((door, name))
        if self.is_away:
            raise TransientError("the prober is away")
        return ((self._held if self.is_held else self._current()).get(name),) * 3

    def _current(self) -> dict[str, str]:
        """What proxies would answer, by the name that is asked for."""
        found: dict[str, str] = {
            live["metadata"]["name"]: live["spec"]["answer"]
            for resource in (HTTP_ROUTES, MIDDLEWARES)
            for live in self._api.stored(resource).values()
            if "answer" in live["spec"]
        }
        for live in self._api.stored(VIRTUAL_SERVICES).values():
            for rule in live["spec"].get("http") or ():
                answer = hash_in((rule.get("directResponse") or {}).get("body", {}).get("string", ""))
                if answer is not None:
                    found[live["metadata"]["name"]] = answer
        return found


class World:
    """A cluster with Service `orders`, a mesh, and the reconciler under test."""

    def __init__(
        self, *objects: Object, has_prober: bool = True, providers: tuple[Provider, ...] | None = None
    ) -> None:
        self.api = FakeKubeApi(service("orders"), *objects)
        self.clock = FakeClock()
        self.mesh = Mesh(self.api)
        self.mirror = Mirror(self.api, all_providers(HeaderSettings()) if providers is None else providers)
        self.has_prober = has_prober
        self.restart()

    def restart(self) -> None:
        """A new process of the operator, which remembers nothing."""
        events = EventRecorder(self.api, self.clock)
        prober = self.mesh if self.has_prober else None
        sight = Sight(self.mirror, self.mirror.index, self.mirror, self.mirror.providers)
        self.reconciler = RoutingReconciler(self.api, events, self.clock, sight, prober)

    async def reconcile(self, key: EntryKey = KEY) -> Outcome:
        """One reconcile; time passes only where it waits for it."""
        self.mirror.follow()
        task = asyncio.create_task(self.reconciler.reconcile(key))
        await self.clock.advance(0)
        if not task.done():
            await self.clock.advance(3.0)
        return await task

    def add(self, *objects: Object) -> None:
        for obj in objects:
            self.api.seed(obj)

    def fork(self, name: str, *modifiers: Modifier, ready: int = 1) -> None:
        self.add(sandbox(name, *modifiers), fork_service(name), fork_deployment(name, ready=ready))

    def rows(self, name: str = "alice") -> list[dict[str, Any]]:
        live = self.api.live(SANDBOXES, name)
        assert live is not None
        return list(live.get("status", {}).get("routes", []))

    def entry(self, name: str = "alice") -> dict[str, Any] | None:
        entries = self.rows(name)
        assert len(entries) <= 1
        return entries[0] if entries else None

    def told(self, name: str = "alice") -> tuple[str, str]:
        entry = self.entry(name)
        assert entry is not None
        return entry["state"], entry["reason"]

    def message(self, name: str = "alice") -> str:
        entry = self.entry(name)
        assert entry is not None
        return str(entry["message"])

    @property
    def ours(self) -> Object | None:
        return self.api.live(VIRTUAL_SERVICES, OURS)

    def sends_to(self) -> set[str]:
        assert self.ours is not None
        return {route["destination"]["host"] for rule in self.ours["spec"]["http"] for route in rule.get("route", [])}

    def events(self) -> list[tuple[str, str]]:
        return [(item["type"], item["reason"]) for item in self.api.stored(EVENTS).values()]


def fork_host(name: str) -> str:
    return f"orders-{name}.shop.svc.cluster.local"


async def routed(*names: str, has_prober: bool = True) -> World:
    world = World(has_prober=has_prober)
    for name in names:
        world.fork(name, finalized("sidestream.dev/cleanup"))
    await world.reconcile()
    return world


def start_deletion(world: World, name: str) -> None:
    live = world.api.live(SANDBOXES, name)
    assert live is not None
    deleting()(live)
    world.add(live)
