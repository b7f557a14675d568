"""The routes of a Service from its first fork to the last, against a fake API server and a scripted mesh."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from builders import (
    FakeClock,
    Modifier,
    created,
    deleting,
    finalized,
    having,
    labelled,
    namespace,
    routing_key,
    sandbox,
    service,
)
from fakes.kube import FakeKubeApi
from sidestream.api.conditions import Reason
from sidestream.errors import ObjectRejectedError, TransientError
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import DEPLOYMENTS, EVENTS, SANDBOXES, SERVICES, VIRTUAL_SERVICES, Object
from sidestream.routing.proof import hash_in
from sidestream.routing.reconcile import RoutingConfig, RoutingReconciler
from sidestream.runtime.reconcile import ObjectKey, Outcome
from unit.routing.things import ORDERS_FQDN, fork_deployment, fork_service, to, virtual_service

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
        config = RoutingConfig(prober_namespace="sidestream-system")
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


# --- the ordinary way


async def test_a_service_that_nobody_forks_is_left_alone() -> None:
    world = World()
    assert await world.reconcile() == Outcome()
    assert world.api.writes == []


async def test_a_ready_fork_is_routed_and_proven() -> None:
    world = World()
    world.fork("alice")
    outcome = await world.reconcile()
    assert world.sends_to() == {ORDERS_FQDN, fork_host("alice")}
    assert world.entry() == {
        "service": "orders",
        "provider": "VirtualService",
        "mode": "Owned",
        "object": OURS,
        "state": "Programmed",
        "reason": "Programmed",
        "message": "",
        "observedGeneration": 1,
    }
    assert outcome == Outcome(requeue_after=None, changed=True)
    assert world.events() == [("Normal", "Programmed")]


async def test_reconciling_the_unchanged_writes_nothing() -> None:
    world = World()
    world.fork("alice")
    world.fork("bob")
    await world.reconcile()
    world.api.forget_requests()
    outcome = await world.reconcile()
    assert world.api.writes == []
    assert outcome == Outcome(requeue_after=None, changed=False)


async def test_a_restarted_operator_writes_nothing_either() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.restart()
    world.api.forget_requests()
    await world.reconcile()
    assert world.api.writes == []


async def test_a_deletion_that_comes_at_once_finds_the_entry_before_the_route() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    first = [str(request) for request in world.api.writes][:2]
    assert first == [
        "apply_status sandboxes shop/alice as sidestream-route-orders",
        "apply virtualservices shop/sidestream-orders as sidestream-routing",
    ]


async def test_a_fork_that_was_never_ready_is_not_routed() -> None:
    world = World()
    world.fork("alice", ready=0)
    await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Pending", Reason.FORK_NOT_READY)
    assert world.message() == "Deployment orders-alice has not had a ready pod yet"
    assert world.mesh.questions == 0


async def test_a_fork_that_loses_its_pods_stays_routed() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.add(fork_deployment("alice", ready=0))
    world.api.forget_requests()
    await world.reconcile()
    assert fork_host("alice") in world.sends_to()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_so_it_is_when_the_route_was_written_but_the_status_was_not() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.add(sandbox("alice"), fork_deployment("alice", ready=0))
    assert world.entry() is None
    await world.reconcile()
    assert fork_host("alice") in world.sends_to()


async def test_the_entry_follows_the_generation_of_the_sandbox() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    live = world.api.live(SANDBOXES, "alice")
    assert live is not None
    live["spec"]["workloads"][0]["replicas"] = 2
    world.add(live)
    await world.reconcile()
    entry = world.entry()
    assert entry is not None
    assert entry["observedGeneration"] == 2


async def test_the_routing_key_of_the_spec_is_what_requests_carry() -> None:
    world = World()
    world.fork("alice", routing_key("team-red"))
    await world.reconcile()
    assert world.ours is not None
    assert world.ours["spec"]["http"][1]["name"] == "tenant-team-red"


# --- until it is proven


async def test_it_waits_for_proxies_that_are_slow() -> None:
    world = World()
    world.fork("alice")
    world.mesh.hold()
    outcome = await world.reconcile()
    assert world.told() == ("Written", Reason.PENDING)
    assert outcome.requeue_after == 0.5
    world.mesh.follow()
    outcome = await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)
    assert outcome.requeue_after is None


async def test_proxies_that_follow_within_two_seconds_cost_no_second_look() -> None:
    world = World()
    world.fork("alice")
    world.mesh.hold()
    task = asyncio.create_task(world.reconciler.reconcile(KEY))
    await world.clock.advance(0.5)
    world.mesh.follow()
    await world.clock.advance(0.5)
    assert (await task).requeue_after is None
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_a_neighbour_who_comes_takes_nobodys_ready_away() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.mesh.hold()
    world.fork("bob")
    await world.reconcile()
    assert world.told("alice") == ("Programmed", Reason.PROGRAMMED)
    assert world.told("bob") == ("Written", Reason.PENDING)


async def test_a_change_that_never_arrives_is_admitted() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.mesh.hold()
    world.fork("bob")
    await world.reconcile()
    await world.clock.advance(10)
    await world.reconcile()
    assert world.told("alice") == ("Written", Reason.PENDING)


async def test_without_a_prober_a_route_is_only_written() -> None:
    world = World(has_prober=False)
    world.fork("alice")
    outcome = await world.reconcile()
    assert world.told() == ("Written", Reason.NOT_VERIFIED)
    assert world.message() == (
        "VirtualService sidestream-orders is written, but whether the proxies use it is not known: "
        "no prober is configured"
    )
    assert outcome.requeue_after is None


async def test_a_prober_that_comes_back_proves_it() -> None:
    world = World()
    world.fork("alice")
    world.mesh.is_away = True
    assert (await world.reconcile()).requeue_after == 5.0
    assert world.told() == ("Written", Reason.NOT_VERIFIED)
    world.mesh.is_away = False
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_a_prober_that_goes_takes_nothing_away_that_was_proven() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.mesh.is_away = True
    world.api.forget_requests()
    await world.reconcile()
    assert world.api.writes == []


# --- the end


async def _routed(*names: str, has_prober: bool = True) -> World:
    world = World(has_prober=has_prober)
    for name in names:
        world.fork(name, finalized("sidestream.dev/cleanup"))
    await world.reconcile()
    return world


def _delete(world: World, name: str) -> None:
    live = world.api.live(SANDBOXES, name)
    assert live is not None
    deleting()(live)
    world.add(live)


async def test_the_last_tenant_takes_the_object_along() -> None:
    world = await _routed("alice")
    _delete(world, "alice")
    outcome = await world.reconcile()
    assert world.ours is None
    assert world.entry() is None
    assert outcome == Outcome(requeue_after=None, changed=True)


async def test_of_two_tenants_one_stays() -> None:
    world = await _routed("alice", "bob")
    _delete(world, "alice")
    await world.reconcile()
    assert world.sends_to() == {ORDERS_FQDN, fork_host("bob")}
    assert world.entry("alice") is None
    assert world.told("bob") == ("Programmed", Reason.PROGRAMMED)


async def test_a_tenant_goes_when_its_fork_service_is_withdrawn() -> None:
    world = await _routed("alice")
    world.api.remove(SERVICES, "orders-alice")
    await world.reconcile()
    assert world.ours is None
    assert world.entry() is None


async def test_the_entry_stays_until_no_proxy_has_the_route() -> None:
    world = await _routed("alice")
    world.mesh.hold()
    _delete(world, "alice")
    outcome = await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Written", Reason.DELETING)
    assert outcome.requeue_after == 0.5
    world.mesh.follow()
    await world.reconcile()
    assert world.entry() is None


async def test_it_does_not_wait_for_ever_for_a_proxy() -> None:
    world = await _routed("alice")
    world.mesh.hold()
    _delete(world, "alice")
    await world.reconcile()
    await world.clock.advance(60)
    await world.reconcile()
    assert world.entry() is None
    assert ("Warning", "RouteGoneUnconfirmed") in world.events()


@pytest.mark.parametrize("has_prober", [True, False], ids=["prober away", "no prober"])
async def test_nobodys_deletion_waits_for_a_prober(*, has_prober: bool) -> None:
    world = await _routed("alice", has_prober=has_prober)
    world.mesh.is_away = True
    _delete(world, "alice")
    outcome = await world.reconcile()
    assert world.told() == ("Written", Reason.DELETING)
    assert outcome.requeue_after == 5.0
    await world.clock.advance(5)
    outcome = await world.reconcile()
    assert world.entry() is None
    assert outcome.requeue_after is None


async def test_what_an_operator_removed_before_it_was_restarted_is_still_proven_gone() -> None:
    world = await _routed("alice")
    _delete(world, "alice")
    world.mesh.hold()
    world.api.remove(VIRTUAL_SERVICES, OURS)
    world.restart()
    await world.reconcile()
    assert world.told() == ("Written", Reason.DELETING)
    world.mesh.follow()
    await world.reconcile()
    assert world.entry() is None


async def test_a_sandbox_that_vanished_leaves_no_route() -> None:
    world = await _routed("alice")
    world.api.remove(SANDBOXES, "alice")
    await world.reconcile()
    assert world.ours is None
    world.api.forget_requests()
    assert await world.reconcile() == Outcome()


async def test_a_sandbox_that_was_never_routed_goes_at_once() -> None:
    world = World()
    world.fork("alice", finalized("sidestream.dev/cleanup"), ready=0)
    await world.reconcile()
    _delete(world, "alice")
    await world.reconcile()
    assert world.entry() is None
    assert world.mesh.questions == 0


# --- users' rules


async def test_a_users_rules_are_overlaid_and_their_object_is_not_touched() -> None:
    theirs = virtual_service("orders", {"name": "api", "route": [to()], "timeout": "3s"})
    world = World(theirs, namespace("web", labelled({"istio-injection": "enabled"})), namespace("plain"))
    world.fork("alice")
    outcome = await world.reconcile()
    assert world.ours is not None
    assert world.ours["spec"]["exportTo"] == ["shop", "sidestream-system", "web"]
    assert [rule.get("timeout") for rule in world.ours["spec"]["http"]] == [None, "3s", "3s"]
    entry = world.entry()
    assert entry is not None
    assert (entry["mode"], entry["state"]) == ("Overlay", "Programmed")
    assert {request.name for request in world.api.writes if request.resource == VIRTUAL_SERVICES} == {OURS}
    assert outcome.requeue_after == 30.0


@pytest.mark.parametrize(
    ("labels", "is_injected"),
    [
        ({"istio-injection": "enabled"}, True),
        ({"istio.io/rev": "canary"}, True),
        ({"istio-injection": "disabled", "istio.io/rev": "canary"}, False),
        ({"istio-injection": "disabled"}, False),
        ({}, False),
    ],
)
async def test_an_overlay_reaches_the_namespaces_with_sidecars(labels: dict[str, str], *, is_injected: bool) -> None:
    world = World(virtual_service("orders", {"route": [to()]}), namespace("web", labelled(labels)))
    world.fork("alice")
    await world.reconcile()
    assert world.ours is not None
    assert ("web" in world.ours["spec"]["exportTo"]) is is_injected


async def test_a_users_edit_shows_in_the_overlay() -> None:
    world = World(virtual_service("orders", {"route": [to()]}))
    world.fork("alice")
    await world.reconcile()
    world.add(virtual_service("orders", {"route": [to()], "timeout": "9s"}))
    await world.reconcile()
    assert world.ours is not None
    assert [rule.get("timeout") for rule in world.ours["spec"]["http"]] == [None, "9s", "9s"]


async def test_a_users_object_that_comes_later_turns_ours_into_an_overlay() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.add(virtual_service("orders", {"route": [to()], "timeout": "3s"}))
    await world.reconcile()
    assert world.ours is not None
    assert world.ours["spec"]["exportTo"] == ["shop", "sidestream-system"]


async def test_a_conflict_that_appears_withdraws_our_object_and_says_so() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.add(virtual_service("orders", {"route": [to()]}, tcp=[{"route": [to()]}]))
    await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Refused", Reason.ROUTE_CONFLICT)
    assert world.message().startswith("VirtualService shop/orders has tcp rules")
    assert ("Warning", "RouteConflict") in world.events()
    world.add(virtual_service("orders", {"route": [to()]}))
    live = world.api.live(VIRTUAL_SERVICES, "orders")
    assert live is not None
    assert "tcp" not in live["spec"]
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_rules_that_lead_elsewhere_leave_nothing_to_fork() -> None:
    world = World(virtual_service("orders", {"route": [to("orders-v2")]}))
    world.fork("alice")
    await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Refused", Reason.ROUTE_CONFLICT)
    assert world.message() == (
        "No rule of VirtualService shop/orders leads to service orders, so no request can reach a fork of it"
    )


async def test_an_object_of_our_name_that_is_a_users_is_not_overwritten() -> None:
    world = World(virtual_service(OURS, {"route": [to()]}, hosts=["other"]))
    world.fork("alice")
    await world.reconcile()
    assert world.told() == ("Refused", Reason.NAME_TAKEN)
    assert [request for request in world.api.writes if request.resource == VIRTUAL_SERVICES] == []


async def test_two_sandboxes_with_one_key_are_served_by_age() -> None:
    world = World()
    world.fork("newer", routing_key("red"), created("2026-01-02T00:00:00Z"))
    world.fork("older", routing_key("red"))
    await world.reconcile()
    assert world.told("older") == ("Programmed", Reason.PROGRAMMED)
    assert world.told("newer") == ("Refused", Reason.ROUTE_CONFLICT)
    assert world.message("newer") == "Requests of tenant red to service orders already go to the fork of Sandbox older"


# --- what cannot be routed


CANNOT: dict[str, tuple[Object, Reason]] = {
    "headless": (service("orders", having("spec.clusterIP", "None")), Reason.PORT_NOT_HTTP),
    "ExternalName": (service("orders", having("spec.type", "ExternalName")), Reason.PORT_NOT_HTTP),
    "no HTTP port": (
        service("orders", having("spec.ports", [{"name": "tcp-db", "port": 5432}])),
        Reason.PORT_NOT_HTTP,
    ),
}


@pytest.mark.parametrize(("changed", "reason"), CANNOT.values(), ids=CANNOT)
async def test_a_service_is_refused_and_served_once_it_can_be(changed: Object, reason: Reason) -> None:
    world = World()
    world.add(changed)
    world.fork("alice")
    await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Refused", reason)
    world.add(service("orders"))
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_a_baseline_service_that_is_gone_is_said_to_be() -> None:
    world = World()
    world.fork("alice")
    await world.reconcile()
    world.api.remove(SERVICES, "orders")
    await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Refused", Reason.BASELINE_NOT_FOUND)


async def test_ports_that_stay_on_the_baseline_are_named() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "tcp-db", "port": 5432}]
    world = World()
    world.add(service("orders", having("spec.ports", ports)))
    world.fork("alice")
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)
    assert world.message() == (
        "These ports of service orders carry no HTTP and stay on the baseline for everybody: 5432 (tcp-db)"
    )


async def test_without_a_mesh_it_says_so_looks_again_and_lets_go() -> None:
    world = World()
    world.api.unserve(VIRTUAL_SERVICES)
    world.fork("alice", finalized("sidestream.dev/cleanup"))
    outcome = await world.reconcile()
    assert world.told() == ("Refused", Reason.MESH_NOT_FOUND)
    assert outcome.requeue_after == 30.0
    _delete(world, "alice")
    await world.reconcile()
    assert world.entry() is None


async def test_a_mesh_that_gets_installed_is_used() -> None:
    world = World()
    world.api.unserve(VIRTUAL_SERVICES)
    world.fork("alice")
    await world.reconcile()
    world.api._not_served.clear()
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_what_the_api_server_refuses_is_passed_on() -> None:
    world = World()
    world.fork("alice")
    refusal = ObjectRejectedError("the webhook denied VirtualService: regex too long", status=400)
    world.api.fail(refusal, verb="apply", resource=VIRTUAL_SERVICES)
    await world.reconcile()
    assert world.told() == ("Refused", Reason.ROUTE_CONFLICT)
    assert world.message() == "the webhook denied VirtualService: regex too long"


async def test_an_api_server_that_is_away_is_no_verdict() -> None:
    world = World()
    world.fork("alice")
    world.api.fail(TransientError("away"), verb="apply", resource=VIRTUAL_SERVICES)
    with pytest.raises(TransientError):
        await world.reconcile()
    assert world.told() == ("Pending", Reason.PENDING)


async def test_a_hand_that_changes_our_object_is_undone() -> None:
    world = await _routed("alice")
    ours = world.ours
    assert ours is not None
    ours["spec"]["http"] = ours["spec"]["http"][:1]
    world.add(ours)
    await world.reconcile()
    assert fork_host("alice") in world.sends_to()


async def test_a_fork_without_a_deployment_is_not_ready() -> None:
    world = World()
    world.fork("alice")
    world.api.remove(DEPLOYMENTS, "orders-alice")
    await world.reconcile()
    assert world.told() == ("Pending", Reason.FORK_NOT_READY)
