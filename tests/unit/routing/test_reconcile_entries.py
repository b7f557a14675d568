"""Entries of every kind through the whole core, with a provider that writes several objects in two stages."""

from __future__ import annotations

import pytest

from builders import (
    annotated,
    created,
    finalized,
    forking,
    having,
    of_sandboxes,
    route_group,
    sandbox,
    service,
)
from fakes.kube import Request
from sidestream.api.conditions import Reason
from sidestream.api.labels import PROVIDER
from sidestream.config import HeaderSettings
from sidestream.errors import ObjectRejectedError, TransientError
from sidestream.kube.port import ROUTE_GROUPS, SANDBOXES, SERVICES, VIRTUAL_SERVICES, Object
from sidestream.routing.entries import Door, EntryKey, EntryKind
from sidestream.routing.ledger import ASK_AGAIN_SECONDS
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.results import GONE_ANYWAY_SECONDS, GONE_UNSEEN_SECONDS, GRACE_SECONDS
from sidestream.routing.steps import STAGE
from unit.routing.plain_provider import (
    EDGE_DOOR,
    GATEWAYS,
    HTTP_ROUTES,
    MIDDLEWARES,
    STOREFRONT,
    PlainProvider,
    http_route,
    mesh_route,
)
from unit.routing.things import ORDERS_FQDN, fork_deployment, fork_service, to, virtual_service
from unit.routing.world import KEY, World, start_deletion

GUARD, ALICE, BOB = "sidestream-orders-guard", "sidestream-orders-alice", "sidestream-orders-bob"
EDGE_ALICE, EDGE_STRIP = "sidestream-storefront-alice", "sidestream-storefront-alice-strip"
FINALIZED = finalized("sidestream.dev/cleanup")
WEB = EntryKey(EntryKind.MESH, "shop", "web")


def plain(*objects: Object, has_prober: bool = True) -> World:
    return World(*objects, has_prober=has_prober, providers=(PlainProvider(GATEWAYS),))


def ours(world: World, *resources: object) -> list[str]:
    kinds = resources or (HTTP_ROUTES, MIDDLEWARES)
    found = [item for kind in kinds for item in world.api.stored(kind).values()]  # type: ignore[arg-type]
    return sorted(item["metadata"]["name"] for item in found if item["metadata"]["name"].startswith("sidestream-"))


def row(world: World, entry: str = "mesh", *, of: str = "orders", name: str = "alice") -> dict[str, object]:
    (found,) = [item for item in world.rows(name) if (item["entry"], item["service"]) == (entry, of)]
    return found


def states(world: World, name: str = "alice") -> dict[tuple[str, str], str]:
    return {(item["service"], item["entry"]): item["state"] for item in world.rows(name)}


def written(world: World, *, but: str = "sandboxes") -> list[Request]:
    return [request for request in world.api.writes if request.resource.plural not in (but, "events")]


async def mesh_routed(*names: str) -> World:
    world = plain()
    for name in names:
        world.fork(name, FINALIZED)
    await world.reconcile()
    return world


# --- stages


async def test_the_guard_is_proven_before_the_tenants_route_is_written() -> None:
    world = plain()
    world.fork("alice")
    world.mesh.hold()
    outcome = await world.reconcile()
    assert ours(world) == [GUARD]
    assert world.told() == ("Written", Reason.PENDING)
    assert outcome.requeue_after == 0.5
    world.mesh.follow()
    outcome = await world.reconcile()
    assert ours(world) == [ALICE, GUARD]
    assert world.told() == ("Programmed", Reason.PROGRAMMED)
    assert outcome.requeue_after == 30.0


async def test_where_proxies_follow_at_once_one_look_is_enough() -> None:
    world = await mesh_routed("alice")
    assert [str(item) for item in written(world)] == [
        f"apply httproutes shop/{GUARD} as sidestream-routing",
        f"apply httproutes shop/{ALICE} as sidestream-routing",
    ]
    assert world.told() == ("Programmed", Reason.PROGRAMMED)
    live = world.api.live(HTTP_ROUTES, ALICE)
    assert live is not None
    assert live["metadata"]["annotations"][STAGE] == "1"
    world.api.forget_requests()
    await world.reconcile()
    assert world.api.writes == []


async def test_the_row_names_the_objects_that_hold_the_tenants_rules_alone() -> None:
    world = await mesh_routed("alice", "bob")
    assert (row(world)["object"], row(world, name="bob")["object"]) == (ALICE, BOB)
    assert (row(world)["provider"], row(world)["mode"]) == ("HTTPRoute", "Beside")


async def test_without_a_prober_the_next_stage_follows_after_the_bounded_wait() -> None:
    world = plain(has_prober=False)
    world.fork("alice")
    await world.reconcile()
    assert ours(world) == [GUARD]
    await world.clock.advance(GONE_UNSEEN_SECONDS)
    await world.reconcile()
    assert ours(world) == [ALICE, GUARD]
    assert world.told() == ("Written", Reason.NOT_VERIFIED)


async def test_a_new_tenant_is_written_while_the_prober_is_away_since_the_guard_was_proven() -> None:
    world = await mesh_routed("alice")
    world.mesh.is_away = True
    await world.clock.advance(ASK_AGAIN_SECONDS)
    await world.reconcile()
    world.fork("bob")
    await world.reconcile()
    assert ours(world) == [ALICE, BOB, GUARD]
    assert world.told("bob") == ("Written", Reason.NOT_VERIFIED)
    assert world.told("alice") == ("Programmed", Reason.PROGRAMMED)


async def test_the_guard_goes_when_no_proxy_has_a_tenants_route_any_more() -> None:
    world = await mesh_routed("alice")
    world.mesh.hold()
    start_deletion(world, "alice")
    await world.reconcile()
    assert ours(world) == [GUARD]
    assert world.told() == ("Written", Reason.DELETING)
    world.mesh.follow()
    await world.reconcile()
    assert ours(world) == []
    assert world.rows() == []


async def test_so_it_is_when_the_operator_is_restarted_meanwhile() -> None:
    world = await mesh_routed("alice")
    world.mesh.hold()
    start_deletion(world, "alice")
    await world.reconcile()
    world.restart()
    await world.reconcile()
    assert ours(world) == [GUARD]
    assert world.told() == ("Written", Reason.DELETING)
    world.mesh.follow()
    await world.reconcile()
    assert ours(world) == []
    assert world.rows() == []


async def test_nobodys_deletion_waits_for_the_guard_to_go() -> None:
    world = await mesh_routed("alice")
    world.mesh.hold()
    start_deletion(world, "alice")
    await world.reconcile()
    await world.clock.advance(GONE_ANYWAY_SECONDS)
    await world.reconcile()
    assert world.rows() == []


async def test_a_tenant_that_goes_takes_its_own_route_alone() -> None:
    world = await mesh_routed("alice", "bob")
    start_deletion(world, "alice")
    world.api.forget_requests()
    await world.reconcile()
    assert [str(item) for item in written(world)] == [f"delete httproutes shop/{ALICE}"]
    assert world.rows("alice") == []
    assert world.told("bob") == ("Programmed", Reason.PROGRAMMED)


# --- what the API server refuses


async def test_a_tenants_object_that_is_refused_is_nobody_elses_trouble() -> None:
    world = await mesh_routed("alice")
    world.fork("bob")
    world.api.fail(ObjectRejectedError("no more routes", status=422), verb="apply", resource=HTTP_ROUTES)
    await world.reconcile()
    assert world.told("bob") == ("Refused", Reason.ROUTE_CONFLICT)
    assert world.message("bob") == "no more routes"
    assert world.told("alice") == ("Programmed", Reason.PROGRAMMED)
    assert ours(world) == [ALICE, GUARD]
    await world.reconcile()
    assert world.told("bob") == ("Programmed", Reason.PROGRAMMED)


async def test_where_the_guard_is_refused_nothing_that_needs_it_is_written() -> None:
    world = await mesh_routed("alice")
    world.add(mesh_route("orders", "web"))
    world.fork("bob")
    world.api.fail(ObjectRejectedError("no guards", status=422), verb="apply", resource=HTTP_ROUTES, times=99)
    for _ in range(3):
        await world.reconcile()
    assert ours(world) == []
    assert [world.told(name) for name in ("alice", "bob")] == [("Refused", Reason.ROUTE_CONFLICT)] * 2
    assert written(world)[-1].verb == "apply"


async def test_who_may_not_write_says_so() -> None:
    world = plain()
    world.fork("alice")
    world.api.fail(ObjectRejectedError("forbidden", status=403), verb="apply", resource=HTTP_ROUTES)
    await world.reconcile()
    assert world.told() == ("Refused", Reason.UNAUTHORIZED)


# --- proof that is lost


async def test_a_lost_proof_takes_programmed_away_after_the_grace_and_gives_it_back() -> None:
    world = await mesh_routed("alice")
    world.mesh.lose()
    await world.clock.advance(ASK_AGAIN_SECONDS)
    outcome = await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)
    assert outcome.requeue_after == 0.5
    await world.clock.advance(GRACE_SECONDS)
    await world.reconcile()
    assert world.told()[0] == "Written"
    world.mesh.follow()
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_a_young_proof_is_not_asked_for_again() -> None:
    world = await mesh_routed("alice")
    asked = world.mesh.questions
    await world.clock.advance(ASK_AGAIN_SECONDS - 5)
    await world.reconcile()
    assert world.mesh.questions == asked


# --- at gateways


async def edge_routed(*objects: Object, name: str = "alice") -> World:
    world = plain(*(objects or (http_route(),)))
    world.fork(name, FINALIZED)
    await world.reconcile()
    await world.reconcile(STOREFRONT)
    return world


async def test_a_gateways_route_has_a_row_and_objects_of_its_own() -> None:
    world = await edge_routed()
    assert states(world) == {("orders", "mesh"): "Programmed", ("orders", "HTTPRoute shop/storefront"): "Programmed"}
    assert row(world)["gateways"] == ["HTTPRoute shop/storefront"]
    edge = row(world, "HTTPRoute shop/storefront")
    assert (edge["gateways"], edge["source"]) == ([], "shop/storefront")
    assert edge["choice"] == "requests come in by HTTPRoute shop/storefront"
    assert edge["object"] == f"{EDGE_STRIP}, {EDGE_ALICE}"
    assert ours(world) == sorted([GUARD, ALICE, EDGE_ALICE, EDGE_STRIP])


async def test_it_is_asked_at_the_gateway_by_the_objects_name() -> None:
    world = plain(http_route())
    world.fork("alice")
    await world.reconcile(STOREFRONT)
    assert set(world.mesh.asked) == {(EDGE_DOOR, EDGE_ALICE), (EDGE_DOOR, EDGE_STRIP)}
    world.mesh.asked.clear()
    await world.reconcile()
    door = Door(ORDERS_FQDN, 80, ORDERS_FQDN)
    assert set(world.mesh.asked) == {(door, GUARD), (door, ALICE)}


async def test_the_rows_of_one_entry_are_written_by_a_manager_of_its_own() -> None:
    world = await edge_routed()
    managers = {request.manager for request in world.api.writes if request.resource == SANDBOXES}
    assert managers == {"sidestream-route-orders", "sidestream-route-httproute.shop.storefront"}


async def test_an_object_without_a_probe_leaves_the_route_unverified() -> None:
    world = await edge_routed(http_route(mute=True))
    edge = row(world, "HTTPRoute shop/storefront")
    assert (edge["state"], edge["reason"]) == ("Written", Reason.NOT_VERIFIED)
    assert str(edge["message"]).endswith("is not known: a Middleware cannot answer a probe")


async def test_where_nobody_can_ask_the_row_says_why() -> None:
    world = await edge_routed(http_route(unprovable="the gateway has no Service"))
    edge = row(world, "HTTPRoute shop/storefront")
    assert (edge["state"], edge["reason"]) == ("Written", Reason.NOT_VERIFIED)
    assert str(edge["message"]).endswith("is not known: the gateway has no Service")
    assert {name for _, name in world.mesh.asked} == {GUARD, ALICE}


async def test_where_nobody_can_ask_a_deletion_waits_for_the_bounded_time() -> None:
    world = await edge_routed(http_route(unprovable="the gateway has no Service"))
    start_deletion(world, "alice")
    await world.reconcile()
    outcome = await world.reconcile(STOREFRONT)
    assert states(world) == {("orders", "HTTPRoute shop/storefront"): "Written"}
    assert outcome.requeue_after == GONE_UNSEEN_SECONDS
    await world.clock.advance(GONE_UNSEEN_SECONDS)
    await world.reconcile(STOREFRONT)
    assert world.rows() == []


async def test_a_gateways_route_that_is_gone_takes_its_objects_and_rows_along() -> None:
    world = await edge_routed()
    world.api.remove(HTTP_ROUTES, "storefront")
    await world.reconcile(STOREFRONT)
    assert ours(world) == [ALICE, GUARD]
    await world.clock.advance(GONE_UNSEEN_SECONDS)
    await world.reconcile(STOREFRONT)
    await world.reconcile()
    assert states(world) == {("orders", "mesh"): "Programmed"}
    assert row(world)["gateways"] == []
    assert (await world.reconcile(STOREFRONT)).requeue_after is None


async def test_a_gateways_route_that_leads_elsewhere_by_now_lets_the_fork_go() -> None:
    world = await edge_routed()
    world.add(http_route("storefront", "web"))
    await world.reconcile(STOREFRONT)
    await world.reconcile()
    assert states(world) == {("orders", "mesh"): "Programmed"}
    assert ours(world) == [ALICE, GUARD]


async def test_a_gateways_route_that_leaves_no_room_is_refused_with_its_sentence() -> None:
    world = await edge_routed(http_route(refuse="HTTPRoute shop/storefront is odd"))
    edge = row(world, "HTTPRoute shop/storefront")
    assert (edge["state"], edge["message"]) == ("Refused", "HTTPRoute shop/storefront is odd")
    assert states(world)["orders", "mesh"] == "Programmed"


async def test_a_finding_is_said_though_it_stops_nothing() -> None:
    world = await edge_routed(http_route(finding="Requests by port 81 stay on the baseline"))
    edge = row(world, "HTTPRoute shop/storefront")
    assert (edge["state"], edge["message"]) == ("Programmed", "Requests by port 81 stay on the baseline")


async def test_a_route_of_somebody_elses_that_has_our_name_is_not_overwritten() -> None:
    world = await edge_routed(http_route(), http_route("sidestream-storefront-alice", "web"))
    edge = row(world, "HTTPRoute shop/storefront")
    assert (edge["state"], edge["reason"]) == ("Refused", Reason.NAME_TAKEN)
    assert edge["message"] == (
        "HTTPRoute shop/sidestream-storefront-alice was not made by Sidestream; rename or delete it"
    )


# --- several Services behind one entry


async def test_an_entry_leads_to_the_forks_of_several_services_and_has_a_row_for_each() -> None:
    world = plain(service("web"), http_route("storefront", "orders", "web"))
    world.fork("alice", forking("orders", "web"))
    world.add(fork_service("alice", "web"), fork_deployment("alice", "web", ready=0))
    await world.reconcile(STOREFRONT)
    entry = "HTTPRoute shop/storefront"
    assert states(world) == {("orders", entry): "Programmed", ("web", entry): "Pending"}
    assert _to(world) == ["orders-alice"]
    world.add(fork_deployment("alice", "web"))
    await world.reconcile(STOREFRONT)
    assert states(world) == {("orders", entry): "Programmed", ("web", entry): "Programmed"}
    assert _to(world) == ["orders-alice", "web-alice"]


async def test_two_sandboxes_of_one_key_share_an_entry_when_they_fork_different_services() -> None:
    world = plain(service("web"), http_route("storefront", "orders", "web"))
    world.fork("alice", having("spec.routingKey", "red"))
    world.add(sandbox("bob", forking("web"), having("spec.routingKey", "red")))
    world.add(fork_service("bob", "web"), fork_deployment("bob", "web"))
    await world.reconcile(STOREFRONT)
    live = world.api.live(HTTP_ROUTES, "sidestream-storefront-red")
    assert live is not None
    assert live["spec"]["to"] == ["orders-alice", "web-bob"]
    entry = "HTTPRoute shop/storefront"
    assert states(world) == {("orders", entry): "Programmed"}
    assert states(world, "bob") == {("web", entry): "Programmed"}


async def test_rules_of_the_mesh_that_lead_to_another_forked_service_have_a_row_by_their_entrys_name() -> None:
    world = plain(service("web"), mesh_route("orders", service="web"))
    world.fork("alice")
    await world.reconcile(WEB)
    assert states(world) == {("orders", "Mesh shop/web"): "Programmed"}


def _to(world: World) -> list[str]:
    live = world.api.live(HTTP_ROUTES, EDGE_ALICE)
    assert live is not None
    return list(live["spec"]["to"])


# --- a fork that is away


@pytest.mark.parametrize(
    ("policy", "state", "stays"),
    [(None, "Programmed", True), ("Error", "Programmed", True), ("Baseline", "Pending", False)],
    ids=["by default", "Error", "Baseline"],
)
async def test_a_fork_that_has_served_and_is_away(policy: str | None, state: str, *, stays: bool) -> None:
    world = plain()
    spec = [] if policy is None else [having("spec.onForkUnavailable", policy)]
    world.fork("alice", *spec)
    await world.reconcile()
    world.add(fork_deployment("alice", ready=0))
    await world.reconcile()
    assert (ALICE in ours(world)) is stays
    assert row(world)["state"] == state
    if not stays:
        assert row(world)["message"] in (
            "Deployment orders-alice has no ready pod",
            "Deployment orders-alice has not had a ready pod yet",
        )
    world.add(fork_deployment("alice"))
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


# --- Services that want no tenant rules


async def test_a_service_that_wants_no_rules_in_the_mesh_keeps_its_gateways() -> None:
    world = plain(service("orders", annotated({PROVIDER: "None"})), http_route())
    world.fork("alice", FINALIZED)
    await world.reconcile()
    await world.reconcile(STOREFRONT)
    assert states(world) == {("orders", "mesh"): "Unrouted", ("orders", "HTTPRoute shop/storefront"): "Programmed"}
    assert row(world)["reason"] == Reason.NOT_APPLICABLE
    assert row(world)["gateways"] == ["HTTPRoute shop/storefront"]
    assert ours(world) == [EDGE_ALICE, EDGE_STRIP]


async def test_routes_go_when_a_service_comes_to_want_none_and_come_back_after() -> None:
    world = await mesh_routed("alice")
    world.add(service("orders", annotated({PROVIDER: "None"})))
    await world.reconcile()
    assert ours(world) == []
    assert states(world) == {("orders", "mesh"): "Unrouted"}
    world.add(service("orders", annotated({PROVIDER: "HTTPRoute"})))
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)


async def test_an_unrouted_sandbox_goes_at_once() -> None:
    world = plain(service("orders", annotated({PROVIDER: "None"})))
    world.fork("alice", FINALIZED)
    await world.reconcile()
    start_deletion(world, "alice")
    await world.reconcile()
    assert world.rows() == []
    assert world.mesh.questions == 0


# --- another provider


async def test_what_one_provider_wrote_goes_when_another_takes_over() -> None:
    world = World(providers=(VirtualServiceProvider(HeaderSettings()), PlainProvider()))
    world.fork("alice")
    await world.reconcile()
    assert ours(world, VIRTUAL_SERVICES) == ["sidestream-orders"]
    world.add(mesh_route("orders"))
    await world.reconcile()
    assert ours(world, VIRTUAL_SERVICES) == []
    assert ours(world) == [ALICE, GUARD]
    assert row(world)["provider"] == "HTTPRoute"
    world.add(virtual_service("theirs", {"route": [to()]}))
    await world.reconcile()
    assert ours(world, VIRTUAL_SERVICES) + ours(world) == []
    assert world.told() == ("Refused", Reason.ROUTE_CONFLICT)


# --- RouteGroups


async def test_the_forks_of_a_groups_members_answer_to_its_key_too() -> None:
    world = await mesh_routed("alice", "bob")
    world.add(route_group("release", of_sandboxes("bob")))
    await world.reconcile()
    assert ours(world) == sorted([GUARD, ALICE, BOB, "sidestream-orders-release"])
    assert row(world, name="bob")["object"] == f"{BOB}, sidestream-orders-release"
    assert row(world)["object"] == ALICE
    world.api.remove(ROUTE_GROUPS, "release")
    await world.reconcile()
    assert ours(world) == sorted([GUARD, ALICE, BOB])
    assert row(world, name="bob")["object"] == BOB


async def test_of_two_members_the_older_serves_the_groups_key() -> None:
    world = plain(route_group("release", of_sandboxes("alice", "bob")))
    world.fork("alice", created("2026-01-02T00:00:00Z"))
    world.fork("bob")
    await world.reconcile()
    live = world.api.live(HTTP_ROUTES, "sidestream-orders-release")
    assert live is not None
    assert live["spec"]["to"] == ["orders-bob"]
    assert world.told("alice") == ("Programmed", Reason.PROGRAMMED)


async def test_a_member_that_leaves_hands_the_groups_key_to_the_next() -> None:
    world = plain(route_group("release", of_sandboxes("alice", "bob")))
    world.fork("alice", FINALIZED)
    world.fork("bob", created("2026-01-02T00:00:00Z"))
    await world.reconcile()
    start_deletion(world, "alice")
    await world.reconcile()
    live = world.api.live(HTTP_ROUTES, "sidestream-orders-release")
    assert live is not None
    assert live["spec"]["to"] == ["orders-bob"]


# --- errors that are no verdict


async def test_an_api_server_that_is_away_changes_no_row() -> None:
    world = await mesh_routed("alice")
    world.fork("bob")
    world.api.fail(TransientError("away"), verb="apply", resource=HTTP_ROUTES)
    with pytest.raises(TransientError):
        await world.reconcile()
    assert world.told("alice") == ("Programmed", Reason.PROGRAMMED)
    assert row(world, name="bob")["state"] == "Pending"
    await world.reconcile()
    assert world.told("bob") == ("Programmed", Reason.PROGRAMMED)


async def test_a_sandbox_that_leaves_while_its_service_is_gone_lets_go_too() -> None:
    world = await mesh_routed("alice")
    world.api.remove(SERVICES, "orders")
    start_deletion(world, "alice")
    await world.reconcile(KEY)
    await world.clock.advance(GONE_UNSEEN_SECONDS)
    await world.reconcile(KEY)
    assert world.rows() == []
    assert ours(world) == []
