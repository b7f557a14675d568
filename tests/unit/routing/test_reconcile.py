"""The routes of a Service from its first fork to their proof, against a fake API server and a scripted mesh."""

from __future__ import annotations

import asyncio

from builders import (
    routing_key,
    sandbox,
)
from sidestream.api.conditions import Reason
from sidestream.kube.port import SANDBOXES
from sidestream.runtime.reconcile import Outcome
from unit.routing.things import ORDERS_FQDN, fork_deployment
from unit.routing.world import KEY, OURS, World, fork_host


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
        "entry": "mesh",
        "provider": "VirtualService",
        "mode": "Owned",
        "object": OURS,
        "source": "",
        "choice": "nobody else routes the Service, and the cluster serves VirtualService",
        "state": "Programmed",
        "reason": "Programmed",
        "message": "",
        "gateways": [],
        "findings": [],
        "keys": ["alice"],
        "observedGeneration": 1,
    }
    assert outcome == Outcome(requeue_after=30.0, changed=True)
    assert world.events() == [("Normal", "Programmed")]


async def test_reconciling_the_unchanged_writes_nothing() -> None:
    world = World()
    world.fork("alice")
    world.fork("bob")
    await world.reconcile()
    world.api.forget_requests()
    outcome = await world.reconcile()
    assert world.api.writes == []
    assert outcome == Outcome(requeue_after=30.0, changed=False)


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
    assert outcome.requeue_after == 30.0


async def test_proxies_that_follow_within_two_seconds_cost_no_second_look() -> None:
    world = World()
    world.fork("alice")
    world.mesh.hold()
    world.mirror.follow()
    task = asyncio.create_task(world.reconciler.reconcile(KEY))
    await world.clock.advance(0.5)
    world.mesh.follow()
    await world.clock.advance(0.5)
    assert (await task).requeue_after == 30.0
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
    assert outcome.requeue_after == 5.0
    await world.clock.advance(5)
    assert (await world.reconcile()).requeue_after == 30.0


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
