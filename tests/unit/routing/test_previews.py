"""Previews through the whole core: when one is written, what its Sandbox's status says, and how it goes."""

from __future__ import annotations

from typing import Any

from builders import conditioned, created, finalized, generation, having, routing_key, sandbox, without
from sidestream.api.conditions import Reason
from sidestream.kube.port import SANDBOXES, SERVICES, VIRTUAL_SERVICES, Object
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.results import GRACE_SECONDS
from unit.routing.preview_things import HOST, KEY, PREVIEW, previewing
from unit.routing.test_virtualservice_edge import bound, front, gateway
from unit.routing.things import fork_deployment, fork_service
from unit.routing.world import KEY as ORDERS
from unit.routing.world import World, fork_host, start_deletion

AT = {"kind": "IstioGateway", "name": "main", "namespace": "istio-system"}
OURS = "sidestream-shop.alice.preview"
BOB = EntryKey(EntryKind.PREVIEW, "shop", "bob")
AVAILABLE = conditioned("WorkloadsReady", "True", "Ready")


def world(*objects: Object, has_prober: bool = True) -> World:
    return World(bound("edge"), gateway(), front(), *objects, has_prober=has_prober)


def add(made: World, name: str = "alice", *modifiers: Any, ready: int = 1) -> None:
    wish = () if modifiers else (previewing(**AT),)
    made.fork(name, AVAILABLE, finalized("sidestream.dev/cleanup"), *wish, *modifiers, ready=ready)


def said(made: World, name: str = "alice") -> dict[str, Any] | None:
    live = made.api.live(SANDBOXES, name)
    assert live is not None
    found: dict[str, Any] | None = live.get("status", {}).get("preview")
    return found


def state(made: World, name: str = "alice") -> tuple[str, str]:
    found = said(made, name)
    assert found is not None
    return found["state"], found["reason"]


def ours(made: World, name: str = OURS) -> Object | None:
    return made.api.live(VIRTUAL_SERVICES, name)


def sends_to(made: World) -> set[str]:
    obj = ours(made)
    assert obj is not None
    return {route["destination"]["host"] for rule in obj["spec"]["http"] for route in rule.get("route", [])}


async def previewed(*, has_prober: bool = True) -> World:
    made = world(has_prober=has_prober)
    add(made)
    await made.reconcile(KEY)
    return made


# --- what is said


async def test_a_proven_preview_has_an_address() -> None:
    made = await previewed()
    assert said(made) == {
        "address": f"http://{PREVIEW}",
        "object": OURS,
        "state": "Programmed",
        "reason": "Programmed",
        "message": "",
        "services": ["orders"],
        "observedGeneration": 1,
    }
    assert sends_to(made) == {fork_host("alice")}
    assert made.events() == [("Normal", "Programmed")]


async def test_nothing_is_written_twice() -> None:
    made = await previewed()
    made.api.forget_requests()
    outcome = await made.reconcile(KEY)
    assert made.api.writes == []
    assert outcome.requeue_after == 30.0


async def test_until_proxies_have_it_there_is_no_address() -> None:
    made = world()
    add(made)
    made.mesh.hold()
    await made.reconcile(KEY)
    found = said(made)
    assert found is not None
    assert (found["state"], found["address"], found["services"]) == ("Written", "", ["orders"])


async def test_where_nobody_can_be_asked_the_address_is_there_and_the_state_says_so() -> None:
    made = await previewed(has_prober=False)
    found = said(made)
    assert found is not None
    assert (found["state"], found["reason"], found["address"]) == ("Written", "NotVerified", f"http://{PREVIEW}")


async def test_the_row_stands_before_the_object_so_that_deletion_waits_for_it() -> None:
    made = world()
    add(made)
    await made.reconcile(KEY)
    first = [str(item) for item in made.api.writes if item.resource.plural != "events"][:2]
    assert first == [
        "apply_status sandboxes shop/alice as sidestream-route-preview.shop.alice",
        f"apply virtualservices shop/{OURS} as sidestream-routing",
    ]


async def test_a_preview_and_routes_of_one_sandbox_do_not_touch_each_others_rows() -> None:
    made = await previewed()
    await made.reconcile(ORDERS)
    await made.reconcile(KEY)
    assert state(made) == ("Programmed", "Programmed")
    assert [row["service"] for row in made.rows()] == ["orders"]


# --- when it is written


async def test_it_is_not_written_before_the_forks_are_available() -> None:
    made = world()
    made.fork("alice", previewing(**AT))
    await made.reconcile(KEY)
    assert ours(made) is None
    assert state(made) == ("Pending", Reason.FORK_NOT_READY)
    live = made.api.live(SANDBOXES, "alice")
    assert live is not None
    AVAILABLE(live)
    made.add(live)
    made.mirror.woken.clear()
    made.mirror.follow()
    assert KEY in made.mirror.woken
    await made.reconcile(KEY)
    assert state(made) == ("Programmed", "Programmed")


async def test_what_was_said_of_an_older_generation_does_not_count() -> None:
    made = world()
    made.fork("alice", AVAILABLE, generation(2), previewing(**AT))
    await made.reconcile(KEY)
    assert ours(made) is None


async def test_it_is_not_written_while_a_fork_at_the_gateway_has_no_ready_pod() -> None:
    made = world()
    add(made, ready=0)
    await made.reconcile(KEY)
    assert ours(made) is None
    assert state(made) == ("Pending", Reason.FORK_NOT_READY)


async def test_a_fork_that_is_lost_later_keeps_the_preview() -> None:
    made = await previewed()
    made.add(fork_deployment("alice", ready=0))
    await made.reconcile(KEY)
    assert sends_to(made) == {fork_host("alice")}


async def test_forks_of_another_sandbox_with_the_same_key_are_met_too() -> None:
    made = world()
    add(made)
    made.add(bound("edge", {"route": [{"destination": {"host": "inventory"}}]}))
    made.add(
        sandbox("zoe", routing_key("alice"), having("spec.workloads", [{"deployment": "inventory"}])),
        fork_service("zoe", "inventory"),
        fork_deployment("zoe", "inventory"),
    )
    await made.reconcile(KEY)
    assert sends_to(made) == {"inventory-zoe.shop.svc.cluster.local"}
    found = said(made)
    assert found is not None
    # the other's forks are the other's to wait for
    assert found.get("services", []) == []


# --- what is refused


async def test_a_refusal_is_said_and_nothing_is_written() -> None:
    made = World(gateway(), front())
    add(made)
    await made.reconcile(KEY)
    assert ours(made) is None
    assert state(made) == ("Refused", Reason.ROUTE_CONFLICT)
    assert made.events() == [("Warning", "RouteConflict")]
    made.add(bound("edge"))
    made.mirror.woken.clear()
    made.mirror.follow()
    assert KEY in made.mirror.woken
    await made.reconcile(KEY)
    assert state(made) == ("Programmed", "Programmed")


async def test_of_two_sandboxes_with_one_host_the_older_has_it_until_it_is_gone() -> None:
    made = world()
    add(made, "bob", previewing(**AT), created("2026-01-02T00:00:00Z"))
    add(made)
    await made.reconcile(BOB)
    assert state(made, "bob") == ("Refused", Reason.ROUTE_CONFLICT)
    found = said(made, "bob")
    assert found is not None
    assert found["message"] == (f"Host {PREVIEW} is the preview of the older Sandbox shop/alice; choose another host")
    made.mirror.follow()
    made.mirror.woken.clear()
    made.api.remove(SANDBOXES, "alice")
    made.mirror.follow()
    assert BOB in made.mirror.woken
    await made.reconcile(BOB)
    assert state(made, "bob") == ("Programmed", "Programmed")


async def test_two_sandboxes_with_hosts_of_their_own_both_have_a_preview() -> None:
    made = world()
    add(made, "bob", previewing(**AT, host="bob.preview.example.com"))
    add(made)
    await made.reconcile(BOB)
    await made.reconcile(KEY)
    assert (state(made, "bob"), state(made)) == (("Programmed", "Programmed"),) * 2


async def test_somebody_elses_object_of_that_name_is_left_alone() -> None:
    made = world()
    theirs = bound("edge")
    theirs["metadata"]["name"] = OURS
    theirs["spec"]["gateways"] = ["istio-system/other"]
    made.add(theirs)
    add(made)
    await made.reconcile(KEY)
    assert state(made) == ("Refused", Reason.NAME_TAKEN)
    assert ours(made) is not None


async def test_a_kind_of_gateway_that_nothing_knows_is_refused() -> None:
    made = World(providers=())
    add(made)
    await made.reconcile(KEY)
    assert state(made) == ("Refused", Reason.MESH_NOT_FOUND)


# --- how it goes


async def test_in_deletion_the_row_goes_when_no_proxy_has_the_preview_any_more() -> None:
    made = await previewed()
    made.mesh.hold()
    start_deletion(made, "alice")
    await made.reconcile(KEY)
    assert ours(made) is None
    found = said(made)
    assert found is not None
    assert (found["state"], found["reason"], found["services"], found["address"]) == (
        "Written",
        "Deleting",
        ["orders"],
        "",
    )
    made.mesh.follow()
    await made.reconcile(KEY)
    assert said(made) is None


async def test_a_suspended_sandbox_has_no_preview() -> None:
    made = await previewed()
    live = made.api.live(SANDBOXES, "alice")
    assert live is not None
    having("spec.suspended", value=True)(live)
    made.add(live)
    await made.reconcile(KEY)
    assert (ours(made), said(made)) == (None, None)


async def test_a_preview_that_is_wanted_no_more_goes_and_the_forks_stay() -> None:
    made = await previewed()
    live = made.api.live(SANDBOXES, "alice")
    assert live is not None
    without("spec.preview")(live)
    generation(2)(live)
    made.add(live)
    made.mirror.woken.clear()
    made.mirror.follow()
    assert KEY in made.mirror.woken
    await made.reconcile(KEY)
    assert ours(made) is None
    # where it was is not known any more, so the wait is bounded
    await made.clock.advance(5.0)
    await made.reconcile(KEY)
    assert said(made) is None
    assert await made.reconcile(KEY) is not None


async def test_another_host_moves_the_preview() -> None:
    made = await previewed()
    live = made.api.live(SANDBOXES, "alice")
    assert live is not None
    having("spec.preview.host", "other.preview.example.com")(live)
    generation(2)(live)
    AVAILABLE(live)
    made.add(live)
    await made.reconcile(KEY)
    found = said(made)
    assert found is not None
    assert (found["address"], found["observedGeneration"]) == ("http://other.preview.example.com", 2)


async def test_a_service_is_named_until_no_proxy_leads_the_preview_to_its_fork() -> None:
    made = await previewed()
    made.mesh.hold()
    made.api.remove(SERVICES, "orders-alice")
    made.mirror.woken.clear()
    made.mirror.follow()
    assert KEY in made.mirror.woken
    await made.reconcile(KEY)
    found = said(made)
    assert found is not None
    assert (found["state"], found["services"]) == ("Programmed", ["orders"])
    await made.clock.advance(GRACE_SECONDS)
    await made.reconcile(KEY)
    assert state(made) == ("Written", Reason.PENDING)
    made.mesh.follow()
    await made.reconcile(KEY)
    found = said(made)
    assert found is not None
    assert (found["state"], found.get("services", [])) == ("Programmed", [])
    assert sends_to(made) == {"orders.shop.svc.cluster.local"}


async def test_after_a_restart_a_preview_that_is_gone_is_still_awaited() -> None:
    made = await previewed()
    made.mesh.hold()
    start_deletion(made, "alice")
    await made.reconcile(KEY)
    made.restart()
    await made.reconcile(KEY)
    assert said(made) is not None
    made.mesh.follow()
    await made.reconcile(KEY)
    assert said(made) is None


def test_users_objects_wake_previews_at_their_kind_of_gateway_alone() -> None:
    made = world()
    add(made)
    made.add(sandbox("carol", previewing("Gateway", "edge", host="carol.preview.example.com", of=HOST)))
    made.mirror.follow()
    made.mirror.woken.clear()
    made.add(bound("more", hosts=["b.example.com"]))
    made.mirror.follow()
    assert {key.name for key in made.mirror.woken if key.kind is EntryKind.PREVIEW} == {"alice"}
