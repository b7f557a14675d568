"""How routes end: with the last tenant, proven gone, and never in the way of anybody's deletion."""

from __future__ import annotations

import pytest

from builders import finalized, having, service
from sidestream.api.conditions import Reason
from sidestream.kube.port import SANDBOXES, SERVICES, VIRTUAL_SERVICES
from sidestream.runtime.reconcile import Outcome
from unit.routing.things import ORDERS_FQDN
from unit.routing.world import OURS, World, fork_host, routed, start_deletion


async def test_the_last_tenant_takes_the_object_along() -> None:
    world = await routed("alice")
    start_deletion(world, "alice")
    outcome = await world.reconcile()
    assert world.ours is None
    assert world.entry() is None
    assert outcome == Outcome(requeue_after=30.0, changed=True)
    assert await world.reconcile() == Outcome()


async def test_of_two_tenants_one_stays() -> None:
    world = await routed("alice", "bob")
    start_deletion(world, "alice")
    await world.reconcile()
    assert world.sends_to() == {ORDERS_FQDN, fork_host("bob")}
    assert world.entry("alice") is None
    assert world.told("bob") == ("Programmed", Reason.PROGRAMMED)


async def test_a_tenant_goes_when_its_fork_service_is_withdrawn() -> None:
    world = await routed("alice")
    world.api.remove(SERVICES, "orders-alice")
    await world.reconcile()
    assert world.ours is None
    assert world.entry() is None


async def test_the_entry_stays_until_no_proxy_has_the_route() -> None:
    world = await routed("alice")
    world.mesh.hold()
    start_deletion(world, "alice")
    outcome = await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Written", Reason.DELETING)
    assert outcome.requeue_after == 0.5
    world.mesh.follow()
    await world.reconcile()
    assert world.entry() is None


async def test_a_deletion_right_after_a_refusal_waits_for_the_route_of_before() -> None:
    world = await routed("alice")
    world.mesh.hold()
    world.add(service("orders", having("spec.clusterIP", "None")))
    await world.reconcile()
    assert world.ours is None
    assert world.told() == ("Refused", Reason.PORT_NOT_HTTP)
    entry = world.entry()
    assert entry is not None
    assert (entry["provider"], entry["object"]) == ("VirtualService", OURS)
    start_deletion(world, "alice")
    await world.reconcile()
    assert world.told() == ("Written", Reason.DELETING)
    world.mesh.follow()
    await world.reconcile()
    assert world.entry() is None


async def test_a_refused_row_names_an_object_no_longer_than_proxies_have_it() -> None:
    world = await routed("alice")
    world.add(service("orders", having("spec.clusterIP", "None")))
    await world.reconcile()
    entry = world.entry()
    assert entry is not None
    assert (entry["state"], entry["provider"], entry.get("object", "")) == ("Refused", "None", "")


async def test_it_does_not_wait_for_ever_for_a_proxy() -> None:
    world = await routed("alice")
    world.mesh.hold()
    start_deletion(world, "alice")
    await world.reconcile()
    await world.clock.advance(60)
    await world.reconcile()
    assert world.entry() is None
    assert ("Warning", "RouteGoneUnconfirmed") in world.events()


@pytest.mark.parametrize("has_prober", [True, False], ids=["prober away", "no prober"])
async def test_nobodys_deletion_waits_for_a_prober(*, has_prober: bool) -> None:
    world = await routed("alice", has_prober=has_prober)
    world.mesh.is_away = True
    start_deletion(world, "alice")
    outcome = await world.reconcile()
    assert world.told() == ("Written", Reason.DELETING)
    assert outcome.requeue_after == 5.0
    await world.clock.advance(5)
    await world.reconcile()
    assert world.entry() is None
    assert (await world.reconcile()).requeue_after is None


async def test_what_an_operator_removed_before_it_was_restarted_is_still_proven_gone() -> None:
    world = await routed("alice")
    start_deletion(world, "alice")
    world.mesh.hold()
    world.api.remove(VIRTUAL_SERVICES, OURS)
    world.restart()
    await world.reconcile()
    assert world.told() == ("Written", Reason.DELETING)
    world.mesh.follow()
    await world.reconcile()
    assert world.entry() is None


async def test_a_sandbox_that_vanished_leaves_no_route() -> None:
    world = await routed("alice")
    world.api.remove(SANDBOXES, "alice")
    await world.reconcile()
    assert world.ours is None
    world.api.forget_requests()
    assert await world.reconcile() == Outcome()


async def test_a_sandbox_that_was_never_routed_goes_at_once() -> None:
    world = World()
    world.fork("alice", finalized("sidestream.dev/cleanup"), ready=0)
    await world.reconcile()
    start_deletion(world, "alice")
    await world.reconcile()
    assert world.entry() is None
    assert world.mesh.questions == 0
