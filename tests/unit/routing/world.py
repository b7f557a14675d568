"""A cluster with Service `orders`, a scripted mesh, and the routing reconciler in it."""

from __future__ import annotations

import asyncio
from typing import Any

from builders import (
    FakeClock,
    Modifier,
    deleting,
    finalized,
    sandbox,
    service,
)
from fakes.kube import FakeKubeApi
from sidestream.errors import TransientError
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import EVENTS, SANDBOXES, VIRTUAL_SERVICES, Object
from sidestream.routing.proof import hash_in
from sidestream.routing.reconcile import RoutingConfig, RoutingReconciler
from sidestream.runtime.reconcile import ObjectKey, Outcome
from unit.routing.things import ORDERS_FQDN, fork_deployment, fork_service

KEY = ObjectKey("shop", "orders")
OURS = "sidestream-orders"


class Mesh:
    """Proxies that follow the API server at once, unless a test holds them back; also their prober."""

    def __init__(self, api: FakeKubeApi) -> None:
        self._api = api
        self._held: str | None = None
        self.is_held = False
        self.is_away = False
        self.questions = 0

    def hold(self) -> None:
        """Keep what the proxies have now, whatever is written."""
        self._held = self._current()
        self.is_held = True

    def follow(self) -> None:
        self.is_held = False

    async def ask(self, host: str, port: int) -> tuple[str | None, ...]:
        assert (host, port) == (ORDERS_FQDN, 80)
        self.questions += 1
        if self.is_away:
            raise TransientError("the prober is away")
        return (self._held if self.is_held else self._current(),) * 3

    def _current(self) -> str | None:
        live = self._api.live(VIRTUAL_SERVICES, OURS)
        return None if live is None else hash_in(live["spec"]["http"][0]["directResponse"]["body"]["string"])


class World:
    """A cluster with Service `orders`, a mesh, and the reconciler under test."""

    def __init__(self, *objects: Object, has_prober: bool = True) -> None:
        self.api = FakeKubeApi(service("orders"), *objects)
        self.clock = FakeClock()
        self.mesh = Mesh(self.api)
        self.has_prober = has_prober
        self.restart()

    def restart(self) -> None:
        """A new process of the operator, which remembers nothing."""
        events = EventRecorder(self.api, self.clock)
        config = RoutingConfig()
        prober = self.mesh if self.has_prober else None
        self.reconciler = RoutingReconciler(self.api, events, self.clock, config, prober)

    async def reconcile(self) -> Outcome:
        """One reconcile; time passes only where it waits for it."""
        task = asyncio.create_task(self.reconciler.reconcile(KEY))
        await self.clock.advance(0)
        if not task.done():
            await self.clock.advance(3.0)
        return await task

    def add(self, *objects: Object) -> None:
        for obj in objects:
            self.api.seed(obj)

    def fork(self, name: str, *modifiers: Modifier, ready: int = 1) -> None:
        self.add(sandbox(name, *modifiers), fork_service(name), fork_deployment(name, ready=ready))

    def entry(self, name: str = "alice") -> dict[str, Any] | None:
        live = self.api.live(SANDBOXES, name)
        assert live is not None
        entries = live.get("status", {}).get("routes", [])
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
