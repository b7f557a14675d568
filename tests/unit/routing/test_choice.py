"""What carries the routes of an entry, and the reason that the status gives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builders import annotated, having, labelled, namespace, service
from sidestream.api.conditions import Reason
from sidestream.api.labels import PROVIDER
from sidestream.config import HeaderSettings
from sidestream.kube.port import SERVICES, VIRTUAL_SERVICES, Object, Resource
from sidestream.routing.choice import choose
from sidestream.routing.entries import Door, EntryKey, EntryKind
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from unit.routing.istio_things import Objects, host
from unit.routing.plain_provider import (
    EDGE_DOOR,
    HTTP_ROUTES,
    MIDDLEWARES,
    STOREFRONT,
    PlainProvider,
    http_route,
    mesh_route,
)
from unit.routing.things import ORDERS, ORDERS_FQDN, to, virtual_service

KEY = EntryKey(EntryKind.MESH, "shop", "orders")
DOORS = (Door(ORDERS_FQDN, 80, ORDERS_FQDN),)
PROVIDERS: tuple[Provider, ...] = (VirtualServiceProvider(HeaderSettings()), PlainProvider())

PLAIN = service("orders")
AMBIENT = {"istio.io/dataplane-mode": "ambient"}
WAYPOINT = {"istio.io/use-waypoint": "waypoint"}
VS = virtual_service("theirs", {"route": [to()]})
ROUTE = mesh_route("orders")
ISTIO = (HTTP_ROUTES, MIDDLEWARES)
"""What is missing where only Istio's own kinds are served."""


def wants(provider: str) -> Object:
    return service("orders", annotated({PROVIDER: provider}))


def cluster(*objects: Object, missing: Sequence[Resource] = ()) -> Objects:
    spaces = [] if any(item["kind"] == "Namespace" for item in objects) else [namespace()]
    return Objects(*objects, *spaces, missing=missing)


CHOSEN: dict[str, tuple[Objects, str, str]] = {
    "nobody routes it": (
        cluster(PLAIN),
        "VirtualService",
        "nobody else routes the Service, and the cluster serves VirtualService",
    ),
    "nobody routes it and Istio's kinds are not served": (
        cluster(PLAIN, missing=[VIRTUAL_SERVICES]),
        "HTTPRoute",
        "nobody else routes the Service, and the cluster serves HTTPRoute",
    ),
    "a user's VirtualService": (
        cluster(PLAIN, VS),
        "VirtualService",
        "VirtualService shop/theirs has rules for the Service",
    ),
    "a user's HTTPRoute": (
        cluster(PLAIN, ROUTE),
        "HTTPRoute",
        "HTTPRoute shop/orders-rules has rules for the Service",
    ),
    "another Service's HTTPRoute": (
        cluster(PLAIN, mesh_route(service="web")),
        "VirtualService",
        "nobody else routes the Service, and the cluster serves VirtualService",
    ),
    "its namespace is in ambient mode": (
        cluster(PLAIN, namespace("shop", labelled(AMBIENT))),
        "HTTPRoute",
        "nobody else routes the Service, and it is in Istio's ambient mode",
    ),
    "its namespace has a waypoint": (
        cluster(PLAIN, namespace("shop", labelled(WAYPOINT))),
        "HTTPRoute",
        "nobody else routes the Service, and it is in Istio's ambient mode",
    ),
    "it has a waypoint itself": (
        cluster(service("orders", labelled(WAYPOINT))),
        "HTTPRoute",
        "nobody else routes the Service, and it is in Istio's ambient mode",
    ),
    "its waypoint is none": (
        cluster(PLAIN, namespace("shop", labelled({"istio.io/use-waypoint": "none"}))),
        "VirtualService",
        "nobody else routes the Service, and the cluster serves VirtualService",
    ),
    "ambient mode elsewhere": (
        cluster(PLAIN, namespace("web", labelled(AMBIENT)), namespace()),
        "VirtualService",
        "nobody else routes the Service, and the cluster serves VirtualService",
    ),
    "a user's VirtualService in ambient mode": (
        cluster(PLAIN, VS, namespace("shop", labelled(AMBIENT))),
        "VirtualService",
        "VirtualService shop/theirs has rules for the Service",
    ),
    "ambient mode where only VirtualServices are served": (
        cluster(PLAIN, namespace("shop", labelled(AMBIENT)), missing=ISTIO),
        "VirtualService",
        "nobody else routes the Service, and it is in Istio's ambient mode",
    ),
    "asked for": (
        cluster(wants("HTTPRoute")),
        "HTTPRoute",
        "the Service is annotated sidestream.dev/provider: HTTPRoute",
    ),
    "asked for against a user's VirtualService": (
        cluster(wants("HTTPRoute"), VS),
        "HTTPRoute",
        "the Service is annotated sidestream.dev/provider: HTTPRoute",
    ),
    "asked for where both have rules": (
        cluster(wants("VirtualService"), VS, ROUTE),
        "VirtualService",
        "the Service is annotated sidestream.dev/provider: VirtualService",
    ),
}


@pytest.mark.parametrize(("seen", "provider", "why"), CHOSEN.values(), ids=CHOSEN)
def test_a_provider_is_chosen_and_the_reason_told(seen: Objects, provider: str, why: str) -> None:
    choice = choose(KEY, seen, PROVIDERS)
    assert choice.refusal is None
    assert choice.provider is not None
    assert choice.entry is not None
    assert (choice.provider.name, choice.entry.why) == (provider, why)
    assert choice.doors == DOORS
    assert ORDERS in choice.services


REFUSED: dict[str, tuple[Objects, Reason, str]] = {
    "no such Service": (cluster(), Reason.BASELINE_NOT_FOUND, "Service shop/orders does not exist"),
    "headless": (
        cluster(service("orders", having("spec.clusterIP", "None"))),
        Reason.PORT_NOT_HTTP,
        "Service shop/orders is headless",
    ),
    "headless, whatever is asked for": (
        cluster(service("orders", annotated({PROVIDER: "HTTPRoute"}), having("spec.clusterIP", "None"))),
        Reason.PORT_NOT_HTTP,
        "Service shop/orders is headless",
    ),
    "both have rules": (
        cluster(PLAIN, VS, ROUTE),
        Reason.ROUTE_CONFLICT,
        (
            "VirtualService shop/theirs and HTTPRoute shop/orders-rules both have rules for service orders, which a "
            "mesh takes as it happens; keep one of them, or annotate the Service with sidestream.dev/provider to say "
            "which one holds"
        ),
    ),
    "no mesh": (
        cluster(PLAIN, missing=[VIRTUAL_SERVICES, *ISTIO]),
        Reason.MESH_NOT_FOUND,
        (
            "The cluster serves neither VirtualService (networking.istio.io/v1) nor HTTPRoute "
            "(gateway.networking.k8s.io/v1); install a mesh, or annotate Service shop/orders with "
            "sidestream.dev/provider: None if only its gateways are to route tenants"
        ),
    ),
    "an unknown one is asked for": (
        cluster(wants("Linkerd")),
        Reason.ROUTE_CONFLICT,
        (
            "Service shop/orders is annotated sidestream.dev/provider: Linkerd, which is none of VirtualService, "
            "HTTPRoute, None"
        ),
    ),
    "an empty one is asked for": (
        cluster(wants("")),
        Reason.ROUTE_CONFLICT,
        "Service shop/orders is annotated sidestream.dev/provider: , which is none of VirtualService, HTTPRoute, None",
    ),
    "one is asked for that is not served": (
        cluster(wants("HTTPRoute"), missing=ISTIO),
        Reason.MESH_NOT_FOUND,
        (
            "Service shop/orders is annotated sidestream.dev/provider: HTTPRoute, but the cluster does not serve "
            "HTTPRoute (gateway.networking.k8s.io/v1)"
        ),
    ),
    "the user's rules leave no room": (
        cluster(PLAIN, mesh_route("orders", refuse="HTTPRoute shop/orders-rules is odd")),
        Reason.ROUTE_CONFLICT,
        "HTTPRoute shop/orders-rules is odd",
    ),
}


@pytest.mark.parametrize(("seen", "reason", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_routed_is_refused_with_a_sentence(seen: Objects, reason: Reason, sentence: str) -> None:
    choice = choose(KEY, seen, PROVIDERS)
    assert (choice.provider, choice.entry, choice.unrouted) == (None, None, "")
    assert choice.refusal is not None
    assert choice.refusal.reason == reason
    assert choice.refusal.message.startswith(sentence)
    assert choice.services == {ORDERS}


def test_a_refused_service_can_still_be_asked_whether_its_routes_are_gone() -> None:
    assert choose(KEY, cluster(PLAIN, VS, ROUTE), PROVIDERS).doors == DOORS


@pytest.mark.parametrize("user", [[], [VS, ROUTE]], ids=["nobody routes it", "both have rules"])
def test_a_service_may_want_no_tenant_rules_in_the_mesh(user: list[Object]) -> None:
    choice = choose(KEY, cluster(wants("None"), *user), PROVIDERS)
    assert (choice.provider, choice.entry, choice.refusal) == (None, None, None)
    assert choice.unrouted == (
        "Service shop/orders is annotated sidestream.dev/provider: None, so the mesh does not route it"
    )
    assert choice.services == {ORDERS}
    assert choice.doors == DOORS


def test_the_forks_of_all_services_matter_to_which_the_rules_lead() -> None:
    choice = choose(KEY, cluster(PLAIN, mesh_route("web", "cart")), PROVIDERS)
    assert choice.services == {host("orders"), host("web"), host("cart")}


def test_a_mesh_that_cannot_route_the_service_at_all_is_no_choice() -> None:
    class Blind(PlainProvider):
        def entry(self, key: EntryKey, cluster: object) -> None:
            del key, cluster

    choice = choose(KEY, cluster(PLAIN), (Blind(),))
    assert choice.refusal is not None
    assert choice.refusal.message == "No mesh can route service shop/orders"
    asked = choose(KEY, cluster(wants("HTTPRoute")), (Blind(),))
    assert asked.refusal is not None
    assert asked.refusal.message.endswith("annotated sidestream.dev/provider: HTTPRoute, which cannot route it")


# --- at gateways


def test_a_users_object_at_a_gateway_is_carried_by_who_reads_its_kind() -> None:
    choice = choose(STOREFRONT, cluster(http_route("storefront", "orders", "web")), PROVIDERS)
    assert choice.provider is PROVIDERS[1]
    assert choice.entry is not None
    assert choice.entry.why == "requests come in by HTTPRoute shop/storefront"
    assert choice.services == {host("orders"), host("web")}
    assert choice.doors == (EDGE_DOOR,)


def test_one_that_leaves_no_room_is_refused_for_the_services_that_it_leads_to() -> None:
    odd = http_route("storefront", "orders", refuse="HTTPRoute shop/storefront is odd")
    choice = choose(STOREFRONT, cluster(odd), PROVIDERS)
    assert choice.refusal is not None
    assert choice.refusal.message == "HTTPRoute shop/storefront is odd"
    assert choice.services == {ORDERS}
    assert choice.doors == ()


@pytest.mark.parametrize(
    "key",
    [STOREFRONT, EntryKey(EntryKind.INGRESS_ROUTE, "shop", "storefront"), EntryKey(EntryKind.HTTP_ROUTE, "web", "x")],
    ids=["gone", "of a kind that nobody reads", "in another namespace"],
)
def test_one_that_is_not_there_is_no_entry(key: EntryKey) -> None:
    choice = choose(key, cluster(http_route("x"), service("orders")), PROVIDERS)
    assert (choice.provider, choice.entry, choice.refusal, choice.unrouted) == (None, None, None, "")
    assert choice.services == frozenset()


def test_a_gateways_route_needs_no_service_of_its_own_name() -> None:
    assert cluster().get(SERVICES, "shop", "storefront") is None
    assert choose(STOREFRONT, cluster(http_route("storefront")), PROVIDERS).refusal is None
