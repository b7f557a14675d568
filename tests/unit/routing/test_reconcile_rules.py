"""Users' rules under tenants' routes, and what cannot be routed."""

from __future__ import annotations

import pytest

from builders import (
    created,
    finalized,
    forking,
    having,
    labelled,
    namespace,
    routing_key,
    sandbox,
    service,
)
from sidestream.api.conditions import Reason
from sidestream.api.labels import BASELINE
from sidestream.errors import ObjectRejectedError, TransientError
from sidestream.kube.port import (
    DEPLOYMENTS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    REFERENCE_GRANTS,
    SERVICES,
    VIRTUAL_SERVICES,
    Object,
)
from unit.routing.checks.scene import route
from unit.routing.things import ORDERS_FQDN, fork_deployment, fork_service, to, virtual_service
from unit.routing.world import OURS, World, fork_host, routed, start_deletion


async def test_a_users_rules_are_overlaid_and_their_object_is_not_touched() -> None:
    theirs = virtual_service("orders", {"name": "api", "route": [to()], "timeout": "3s"})
    world = World(theirs, namespace("web", labelled({"istio-injection": "enabled"})), namespace("plain"))
    world.fork("alice")
    outcome = await world.reconcile()
    assert world.ours is not None
    assert world.ours["spec"]["exportTo"] == ["plain", "shop", "web"]
    assert [rule.get("timeout") for rule in world.ours["spec"]["http"]] == [None, "3s", "3s"]
    entry = world.entry()
    assert entry is not None
    assert (entry["mode"], entry["state"]) == ("Overlay", "Programmed")
    assert {request.name for request in world.api.writes if request.resource == VIRTUAL_SERVICES} == {OURS}
    assert outcome.requeue_after == 30.0


async def test_an_overlay_reaches_a_namespace_without_labels_since_its_pods_may_have_sidecars_all_the_same() -> None:
    world = World(virtual_service("orders", {"route": [to()]}), namespace("web"))
    world.fork("alice")
    await world.reconcile()
    world.add(namespace("new"))
    await world.reconcile()
    assert world.ours is not None
    assert {"web", "new"} <= set(world.ours["spec"]["exportTo"])


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
    assert world.ours["spec"]["exportTo"] == ["shop"]


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
    assert world.entry("newer") is None
    assert fork_host("newer") not in world.sends_to()


async def test_two_forks_with_one_key_behind_one_service_cannot_both_have_its_requests() -> None:
    """They fork different Deployments, so both have their forks; only the Service is one."""
    world = World()
    world.fork("older", routing_key("red"))
    world.add(sandbox("newer", routing_key("red"), created("2026-01-02T00:00:00Z"), forking("orders-canary")))
    labels = {BASELINE: "orders-canary"}
    world.add(fork_service("newer", "orders", labelled(labels)), fork_deployment("newer", "orders-canary"))
    await world.reconcile()
    assert world.told("older") == ("Programmed", Reason.PROGRAMMED)
    assert world.told("newer") == ("Refused", Reason.ROUTE_CONFLICT)
    assert world.message("newer") == "Requests of tenant red to service orders already go to the fork of Sandbox older"
    assert world.sends_to() == {ORDERS_FQDN, fork_host("older")}


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
    assert _found(world) == ["ServiceNotRoutable"]
    world.add(service("orders"))
    await world.reconcile()
    assert world.told() == ("Programmed", Reason.PROGRAMMED)
    assert _found(world) == []


async def test_what_two_kinds_of_users_objects_route_is_refused_and_found_to_be_so() -> None:
    world = World(virtual_service("orders", {"route": [to()]}), route("split"))
    world.fork("alice")
    await world.reconcile()
    assert world.told() == ("Refused", Reason.ROUTE_CONFLICT)
    assert _found(world) == ["MixedRouteKinds"]


def _found(world: World) -> list[str]:
    entry = world.entry()
    assert entry is not None
    return [finding["reason"] for finding in entry["findings"]]


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
    entry = world.entry()
    assert entry is not None
    (finding,) = entry["findings"]
    assert finding["reason"] == "PortsNotHttp"
    assert finding["message"].startswith(
        "These ports of Service shop/orders carry no HTTP and stay on the baseline for everybody: 5432 (tcp-db)"
    )


async def test_without_a_mesh_it_says_so_looks_again_and_lets_go() -> None:
    world = World()
    for resource in (VIRTUAL_SERVICES, HTTP_ROUTES, GRPC_ROUTES, REFERENCE_GRANTS):
        world.api.unserve(resource)
    world.fork("alice", finalized("sidestream.dev/cleanup"))
    outcome = await world.reconcile()
    assert world.told() == ("Refused", Reason.MESH_NOT_FOUND)
    assert outcome.requeue_after == 30.0
    start_deletion(world, "alice")
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
    world = await routed("alice")
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
