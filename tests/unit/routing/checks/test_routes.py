"""The Service itself, and what users have written to route it."""

from __future__ import annotations

from typing import Any

import pytest

from builders import Modifier, annotated, having, in_namespace, labelled, service, thing
from sidestream.api.conditions import Reason
from sidestream.api.labels import MANAGED_BY, MANAGED_BY_VALUE
from sidestream.kube import port
from sidestream.kube.port import Object
from sidestream.routing.checks.routes import (
    consumer_routes,
    duplicate_virtual_services,
    mixed_kinds,
    other_ports,
    service_profiles,
    unroutable_service,
)
from unit.routing.checks.scene import found, message, parent, route
from unit.routing.things import ORDERS_FQDN, to, virtual_service

OURS = labelled({MANAGED_BY: MANAGED_BY_VALUE})
HTTP = {"name": "http", "port": 80}
DATABASE = {"name": "tcp-db", "port": 5432}


def with_ports(*ports: dict[str, Any]) -> Object:
    return service("orders", having("spec.ports", list(ports)))


def with_modifiers(item: Object, *modifiers: Modifier) -> Object:
    for modify in modifiers:
        modify(item)
    return item


USERS = virtual_service("users", {"route": [to()]})


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(service("orders", having("spec.clusterIP", "None")), "is headless", id="headless"),
        pytest.param(service("orders", having("spec.type", "ExternalName")), "is of type ExternalName", id="no pods"),
        pytest.param(with_ports(DATABASE), "has no HTTP port (ports: 5432 (tcp-db))", id="no HTTP port"),
    ],
)
def test_a_service_that_cannot_be_routed_blocks(of: Object, expected: str) -> None:
    (finding,) = found(unroutable_service, of=of)
    assert finding.message.startswith(f"Service shop/orders {expected}")
    assert (finding.is_blocking, finding.blocks_as) == (True, Reason.PORT_NOT_HTTP)


@pytest.mark.parametrize("of", [with_ports(HTTP), with_ports(HTTP, DATABASE)], ids=["all", "some"])
def test_a_service_with_an_http_port_can_be_routed(of: Object) -> None:
    assert found(unroutable_service, of=of) == []


def test_ports_that_are_not_http_are_named_where_others_are() -> None:
    (finding,) = found(other_ports, of=with_ports(HTTP, DATABASE))
    assert finding.message == (
        "These ports of Service shop/orders carry no HTTP and stay on the baseline for everybody: 5432 (tcp-db); if "
        "one does serve HTTP, name it http-... or grpc-..., or set its appProtocol"
    )
    assert not finding.is_blocking


@pytest.mark.parametrize("of", [with_ports(HTTP), with_ports(DATABASE)], ids=["all are HTTP", "none is"])
def test_ports_are_no_finding_where_there_are_not_both(of: Object) -> None:
    assert found(other_ports, of=of) == []


def test_a_virtual_service_beside_a_route_of_gateway_api_blocks_and_both_are_named() -> None:
    (finding,) = found(mixed_kinds, USERS, route("split"))
    assert finding.message == (
        "VirtualService shop/users and HTTPRoute shop/split both have rules for Service shop/orders, of which a mesh "
        "takes one as it happens; keep one of the two kinds, or annotate the Service with sidestream.dev/provider to "
        "say which one holds"
    )
    assert finding.blocks_as is Reason.ROUTE_CONFLICT


@pytest.mark.parametrize("route_kind", [port.HTTP_ROUTES, port.GRPC_ROUTES], ids=lambda resource: resource.kind)
@pytest.mark.parametrize(
    "spelled", [{"group": "core"}, {"namespace": "shop"}, {"port": 80}], ids=["group core", "namespace", "port"]
)
def test_a_parent_may_be_spelled_in_several_ways(route_kind: port.Resource, spelled: dict[str, Any]) -> None:
    (finding,) = found(mixed_kinds, USERS, route("split", parent(**spelled), kind=route_kind))
    assert f"{route_kind.kind} shop/split" in finding.message


def test_where_the_service_says_which_kind_holds_nothing_is_blocked() -> None:
    of = service("orders", annotated({"sidestream.dev/provider": "HTTPRoute"}))
    (finding,) = found(mixed_kinds, USERS, route("split"), of=of)
    assert not finding.is_blocking
    assert finding.message.endswith("keep one of the two kinds")


@pytest.mark.parametrize(
    "around",
    [
        pytest.param([USERS], id="only a VirtualService"),
        pytest.param([route("split")], id="only a route"),
        pytest.param([with_modifiers(virtual_service("ours"), OURS), route("split")], id="the VirtualService is ours"),
        pytest.param([USERS, with_modifiers(route("guard"), OURS)], id="the route is ours"),
        pytest.param([USERS, route("split", parent("billing"))], id="the route is another Service's"),
        pytest.param([USERS, route("split", parent(kind="Gateway"))], id="the route is a gateway's"),
        pytest.param([USERS, route("split", parent(namespace="other"))], id="of a Service of this name elsewhere"),
        pytest.param([USERS, route("split", parent(namespace="shop"), namespace="web")], id="the route is a caller's"),
        pytest.param([virtual_service("users", hosts=["billing"]), route("split")], id="another host"),
        pytest.param([virtual_service("users", hosts=["*.shop.svc.cluster.local"]), route("split")], id="a wildcard"),
        pytest.param([virtual_service("users", gateways=["public"]), route("split")], id="only at a gateway"),
        pytest.param([thing(port.VIRTUAL_SERVICES, "part", {"spec": {"http": []}}), route("split")], id="a delegate"),
    ],
)
def test_one_kind_alone_is_no_mix(around: list[Object]) -> None:
    assert found(mixed_kinds, *around) == []


def test_virtual_services_for_one_host_are_named_with_the_one_that_tenants_follow() -> None:
    around = [USERS, virtual_service("more", hosts=[ORDERS_FQDN], gateways=["mesh", "public"])]
    assert message(duplicate_virtual_services, *around, source="shop/users") == (
        "VirtualServices shop/more and shop/users are all for host orders.shop.svc.cluster.local, and a sidecar uses "
        "one of them and drops the others (tenants' rules follow shop/users); merge them into one"
    )


def test_a_rival_in_another_namespace_counts() -> None:
    rival = with_modifiers(virtual_service("rival", hosts=[ORDERS_FQDN]), in_namespace("web"))
    said = message(duplicate_virtual_services, USERS, rival)
    assert said.startswith("VirtualServices shop/users and web/rival are all")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(virtual_service("other", hosts=["billing"]), id="another host"),
        pytest.param(virtual_service("other", gateways=["public"]), id="at a gateway they are merged"),
        pytest.param(virtual_service("other", hosts=["*.shop.svc.cluster.local"]), id="a wildcard yields"),
        pytest.param(with_modifiers(virtual_service("other"), OURS), id="ours is meant to win"),
    ],
)
def test_virtual_services_that_do_not_meet_are_no_duplicates(other: Object) -> None:
    assert found(duplicate_virtual_services, USERS, other) == []


def exported(name: str, to_namespaces: list[str], home: str = "shop") -> Object:
    return with_modifiers(virtual_service(name, hosts=[ORDERS_FQDN], exportTo=to_namespaces), in_namespace(home))


@pytest.mark.parametrize(
    ("one", "other", "are_duplicates"),
    [
        pytest.param(exported("a", ["."], "shop"), exported("b", ["."], "web"), False, id="each at home"),
        pytest.param(exported("a", ["web"]), exported("b", ["."], "web"), True, id="both in one"),
        pytest.param(exported("a", ["*"]), exported("b", ["."], "web"), True, id="one everywhere"),
        pytest.param(exported("a", ["web", "app"]), exported("b", ["api"]), False, id="none in common"),
    ],
)
def test_only_those_for_the_same_callers_are_duplicates(one: Object, other: Object, *, are_duplicates: bool) -> None:
    assert bool(found(duplicate_virtual_services, one, other)) == are_duplicates


def profile(name: str = ORDERS_FQDN, home: str = "shop") -> Object:
    return thing(port.SERVICE_PROFILES, name, {"spec": {}}, in_namespace(home))


def test_a_service_profile_blocks_routes_of_gateway_api() -> None:
    (finding,) = found(service_profiles, profile(), provider="HTTPRoute")
    assert finding.message == (
        "ServiceProfile shop/orders.shop.svc.cluster.local makes the Linkerd proxies ignore all HTTPRoutes of Service "
        "shop/orders, so their requests cannot be routed by tenant; replace it by HTTPRoutes with timeouts and retries"
    )
    assert finding.blocks_as is Reason.ROUTE_CONFLICT


def test_a_service_profile_of_callers_is_only_theirs() -> None:
    (finding,) = found(service_profiles, profile(home="web"), provider="HTTPRoute")
    assert "the Linkerd proxies of callers in namespace web ignore" in finding.message
    assert not finding.is_blocking


@pytest.mark.parametrize(
    ("item", "provider"),
    [
        pytest.param(profile("billing.shop.svc.cluster.local"), "HTTPRoute", id="of another host"),
        pytest.param(profile(), "VirtualService", id="where no HTTPRoute is written"),
    ],
)
def test_other_service_profiles_are_no_obstacle(item: Object, provider: str) -> None:
    assert found(service_profiles, item, provider=provider) == []


def test_routes_in_the_namespaces_of_callers_are_named() -> None:
    theirs = parent(namespace="shop")
    around = [
        route("to-orders", theirs, namespace="web"),
        route("calls", theirs, kind=port.GRPC_ROUTES, namespace="app"),
    ]
    assert message(consumer_routes, *around) == (
        "Callers in namespace app and web go by GRPCRoute app/calls and HTTPRoute web/to-orders alone when they call "
        "Service shop/orders, so their requests never meet a fork; move the rules to a route in namespace shop"
    )


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(route("split"), id="in the Service's own namespace"),
        pytest.param(route("x", parent(), namespace="web"), id="for a Service of this name in its own namespace"),
        pytest.param(with_modifiers(route("x", parent(namespace="shop"), namespace="web"), OURS), id="ours"),
    ],
)
def test_other_routes_are_no_consumers(item: Object) -> None:
    assert found(consumer_routes, item) == []
