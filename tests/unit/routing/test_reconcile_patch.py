"""Rules within a user's own VirtualService, where its annotation allows them."""

from __future__ import annotations

import pytest

from builders import annotated, finalized
from sidestream.errors import ConflictError
from sidestream.kube.port import SANDBOXES, VIRTUAL_SERVICES, Object
from unit.routing.things import to, virtual_service
from unit.routing.world import World, fork_host, start_deletion

THEIRS = {"route": [to()], "timeout": "3s"}


def users(*rules: Object) -> Object:
    """The team's VirtualService, which may be patched."""
    found = virtual_service("orders", *(rules or (THEIRS,)))
    annotated({"sidestream.dev/routing": "Patch"})(found)
    return found


async def patched() -> World:
    """Alice is routed by rules in the user's object."""
    world = World(users())
    world.fork("alice", finalized("sidestream.dev/cleanup"))
    await world.reconcile()
    return world


def rules(world: World) -> list[Object]:
    live = world.api.live(VIRTUAL_SERVICES, "orders")
    assert live is not None
    return list(live["spec"]["http"])


async def test_tenants_rules_stand_before_the_users_own() -> None:
    world = await patched()
    assert fork_host("alice") in str(rules(world)[:-1])
    assert rules(world)[-1] == THEIRS
    assert world.ours is None
    entry = world.entry()
    assert entry is not None
    assert (entry["mode"], entry["state"], entry["object"]) == ("Patch", "Programmed", "orders")


async def test_nothing_is_written_twice_and_nothing_by_server_side_apply() -> None:
    world = await patched()
    assert {request.verb for request in world.api.writes if request.resource == VIRTUAL_SERVICES} == {"patch"}
    world.api.forget_requests()
    await world.reconcile()
    assert world.api.writes == []


async def test_an_edit_of_the_user_is_kept_and_tenants_follow_it() -> None:
    world = await patched()
    live = world.api.live(VIRTUAL_SERVICES, "orders")
    assert live is not None
    live["spec"]["http"][-1] = {**THEIRS, "timeout": "9s"}
    world.add(live)
    await world.reconcile()
    assert [rule.get("timeout") for rule in rules(world)[1:]] == ["9s", "9s"]


async def test_the_users_rules_alone_are_left_in_the_end() -> None:
    world = await patched()
    start_deletion(world, "alice")
    await world.reconcile()
    await world.reconcile()
    assert rules(world) == [THEIRS]
    assert world.entry() is None


async def test_so_it_is_when_the_sandbox_has_vanished_while_no_operator_ran() -> None:
    world = await patched()
    world.api.remove(SANDBOXES, "alice")
    for name in ("services", "deployments"):
        for resource, _, found in list(world.api._objects):
            if resource.plural == name and found == "orders-alice":
                world.api.remove(resource, found)
    world.restart()
    await world.reconcile()
    assert rules(world) == [THEIRS]


async def test_an_object_that_has_changed_meanwhile_is_not_overwritten() -> None:
    world = World(users())
    world.fork("alice")
    world.api.fail(ConflictError("changed"), verb="patch", resource=VIRTUAL_SERVICES)
    with pytest.raises(ConflictError):
        await world.reconcile()
    assert rules(world) == [THEIRS]
