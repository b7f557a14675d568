"""Routes at gateways: which listeners take them, beside which neighbours, and what forks elsewhere need."""

from __future__ import annotations

from typing import Any

import pytest

from builders import Modifier, created, having, in_namespace, labelled, namespace, service
from sidestream.api.conditions import Reason
from sidestream.config import HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import HTTP_ROUTES, REFERENCE_GRANTS, Object
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import entry_of
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.httproute_grants import MAX_TARGETS
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import StandIn, Tenant
from unit.routing.gateway_things import (
    FakeCluster,
    gateway,
    gateway_class,
    grant,
    grpc_route,
    header,
    http_route,
    listener,
    mesh,
    prefix,
    rule,
    to,
)

EDGE = {"name": "edge", "namespace": "infra"}
KEY = EntryKey(EntryKind.HTTP_ROUTE, "shop", "pages")
ADDRESS = "edge-proxy.infra.svc.cluster.local"


def pages(*rules: dict[str, Any], modifiers: tuple[Modifier, ...] = (), **spec: Any) -> Object:
    """HTTPRoute shop/pages at Gateway infra/edge, for shop.example.com."""
    whole = {"parentRefs": [EDGE], "hostnames": ["shop.example.com"], **spec}
    return http_route("pages", *(rules or (rule(),)), modifiers=modifiers, **whole)


def proxy(*modifiers: Modifier) -> Object:
    """The Service of the Gateway's proxies."""
    label = labelled({"gateway.networking.k8s.io/gateway-name": "edge"})
    return service("edge-proxy", in_namespace("infra"), label, *modifiers)


def cluster(*objects: Object) -> FakeCluster:
    return FakeCluster(gateway(), gateway_class(), proxy(), *objects)


def tenant(*services: ServiceHost) -> Tenant:
    forks = services or (ServiceHost("shop", "orders"),)
    return Tenant(
        "alice", tuple(StandIn(item, ServiceHost(item.namespace, f"{item.name}-alice")) for item in sorted(forks))
    )


def entry_in(found: FakeCluster, key: EntryKey = KEY) -> Entry:
    entry = HTTPRouteProvider(HeaderSettings()).entry(key, found)
    assert entry is not None
    return entry


def parts_in(found: FakeCluster, *tenants: Tenant, key: EntryKey = KEY) -> tuple[Part, ...]:
    provider = HTTPRouteProvider(HeaderSettings())
    entry = provider.entry(key, found)
    assert entry is not None
    return provider.render(entry, tenants or (tenant(),), found).parts


def refusal(found: FakeCluster) -> str:
    with pytest.raises(InvalidInputError) as caught:
        parts_in(found)
    assert caught.value.reason == Reason.ROUTE_CONFLICT
    return caught.value.message


# --- what is written


def test_a_copy_stands_beside_the_users_route_with_all_that_it_says() -> None:
    parents = [{**EDGE, "sectionName": "http", "port": 80}, mesh()]
    route = pages(rule(to(weight=1)), parentRefs=parents, aFieldOfTheFuture={"deep": 1})
    (part,) = parts_in(cluster(route))
    spec = part.obj["spec"]
    assert (part.name, part.stage, part.keys) == ("sidestream-pages.shop.httproute.alice.0", 0, frozenset({"alice"}))
    assert entry_of(part.obj) == KEY
    assert part.obj["metadata"]["namespace"] == "shop"
    assert spec["parentRefs"] == parents[:1]
    assert (spec["hostnames"], spec["aFieldOfTheFuture"]) == (["shop.example.com"], {"deep": 1})
    assert [item.get("backendRefs") for item in spec["rules"]] == [None, [to("orders-alice", weight=1)]]


def test_the_entry_says_whose_rules_they_are_and_where_they_lead() -> None:
    entry = entry_in(cluster(pages(rule(), rule(to("inventory"), to("old", weight=0)))))
    assert (entry.mode, entry.source) == (Mode.BESIDE, "shop/pages")
    assert entry.reaches == {ServiceHost("shop", "orders"), ServiceHost("shop", "inventory")}


def test_a_route_for_services_alone_is_no_entry_at_a_gateway() -> None:
    provider = HTTPRouteProvider(HeaderSettings())
    assert provider.entry(KEY, cluster(http_route("pages", rule()))) is None
    assert provider.entry(KEY, cluster(pages({"filters": [{"type": "RequestRedirect"}]}))) is None
    assert provider.entry(KEY, cluster()) is None


# --- neighbours


def test_a_neighbours_rule_that_would_lose_to_a_copy_is_copied_in_its_place() -> None:
    older = http_route(
        "older",
        rule(to("beta"), matches=[prefix(headers=[header()])]),
        rule(to("stock"), matches=[prefix("/stock")]),
        parentRefs=[EDGE],
        hostnames=["shop.example.com"],
        modifiers=[created("2025-01-01T00:00:00Z")],
    )
    (part,) = parts_in(cluster(pages(), older))
    assert [item["backendRefs"][0]["name"] for item in part.obj["spec"]["rules"][1:]] == ["beta", "orders-alice"]


@pytest.mark.parametrize(
    "otherwise",
    [
        {"hostnames": ["shop.example.com", "example.org"]},
        {"parentRefs": [{**EDGE, "sectionName": "http"}]},
        {"hostnames": []},
    ],
    ids=["for more hosts", "at one listener", "for all hosts"],
)
def test_a_neighbour_that_is_attached_in_another_way_is_in_the_way(otherwise: dict[str, Any]) -> None:
    attached = {"parentRefs": [EDGE], "hostnames": ["shop.example.com"], **otherwise}
    other = http_route("beta", rule(to("beta"), matches=[prefix(headers=[header()])]), **attached)
    assert refusal(cluster(pages(), other)) == (
        "rules[0] of HTTPRoute shop/beta is for some of the requests of rules[0] of HTTPRoute shop/pages and may take "
        "precedence over it, which a tenant's rules would change; put both in one route"
    )


@pytest.mark.parametrize(
    "otherwise",
    [{"hostnames": ["example.org"]}, {"parentRefs": [{**EDGE, "sectionName": "other"}]}, {"parentRefs": [mesh()]}],
    ids=["for another host", "at another listener", "in the mesh"],
)
def test_a_route_that_meets_none_of_the_requests_is_no_neighbour(otherwise: dict[str, Any]) -> None:
    attached = {"parentRefs": [EDGE], "hostnames": ["shop.example.com"], **otherwise}
    other = http_route("beta", rule(to("beta"), matches=[prefix(headers=[header()])]), **attached)
    at = {**EDGE, "sectionName": "http"}
    assert len(parts_in(cluster(pages(parentRefs=[at]), other))) == 1


def test_neighbours_are_named_for_their_entries_to_be_looked_at() -> None:
    other = pages(modifiers=(having("metadata.name", "other"),))
    stranger = pages(modifiers=(having("metadata.name", "stranger"),), hostnames=["example.org"])
    found = cluster(pages(), other, stranger)
    assert list(HTTPRouteProvider(HeaderSettings()).neighbours_of(pages(), found)) == [
        EntryKey(EntryKind.HTTP_ROUTE, "shop", "other")
    ]


# --- backends in other namespaces

ABROAD = [to("carts", namespace="store")]
CARTS = ServiceHost("store", "carts")


def test_a_fork_in_another_namespace_is_permitted_before_it_is_named() -> None:
    found = cluster(pages(rule(*ABROAD)), grant("theirs", "carts", source="shop", of="store"))
    permission, route = parts_in(found, tenant(CARTS))
    assert (permission.resource, permission.stage, permission.keys) == (REFERENCE_GRANTS, 0, frozenset())
    assert permission.obj["metadata"]["namespace"] == "store"
    assert permission.obj["spec"] == {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
        "to": [{"group": "", "kind": "Service", "name": "carts-alice"}],
    }
    assert (route.resource, route.stage, route.keys) == (HTTP_ROUTES, 1, frozenset({"alice"}))
    assert route.obj["spec"]["rules"][1]["backendRefs"] == [to("carts-alice", namespace="store")]


@pytest.mark.parametrize(
    "theirs",
    [
        [],
        [grant("theirs", "other", source="shop", of="store")],
        [grant("theirs", source="web", of="store")],
        [grant("theirs", source="shop", of="store", kind="GRPCRoute")],
    ],
    ids=["no grant", "for another Service", "for another namespace", "for another kind"],
)
def test_what_users_do_not_permit_is_not_permitted_to_forks(theirs: list[Object]) -> None:
    found = cluster(pages(rule(*ABROAD)), *theirs)
    assert parts_in(found, tenant(CARTS)) == ()
    assert entry_in(found).finding == (
        "HTTPRoute shop/pages leads to Service store/carts, which no ReferenceGrant there allows, so gateways refuse "
        "these requests and forks do not get them; add a ReferenceGrant"
    )


def test_many_forks_need_several_grants() -> None:
    hosts = [ServiceHost("store", f"s{number:02}") for number in range(MAX_TARGETS + 1)]
    route = pages(*(rule(to(host.name, namespace="store"), matches=[prefix(f"/{host.name}")]) for host in hosts[:15]))
    more = [to(host.name, namespace="store") for host in hosts[15:]]
    route["spec"]["rules"].append(rule(*more))
    found = cluster(route, grant("theirs", source="shop", of="store"))
    grants = [part for part in parts_in(found, tenant(*hosts)) if part.resource == REFERENCE_GRANTS]
    assert [len(part.obj["spec"]["to"]) for part in grants] == [16, 1]
    assert len({part.name for part in grants}) == 2


# --- listeners


def without_labels(*listeners: dict[str, Any], **spec: Any) -> list[Object]:
    return [gateway(*listeners, **spec), gateway_class(), proxy()]


SELECTOR = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}}
NOT_ADMITTED = (
    "Gateway infra/edge admits no HTTPRoute from namespace shop (allowedRoutes of listener http), so HTTPRoute "
    "shop/pages and tenants' routes beside it take no requests; change allowedRoutes or move the route"
)
REFUSALS: dict[str, tuple[list[Object], str]] = {
    "no such Gateway": (
        [],
        "HTTPRoute shop/pages names Gateway infra/edge as its parent, which does not exist",
    ),
    "a class that nobody serves": (
        [gateway(), gateway_class(is_accepted=False)],
        (
            "No controller has accepted GatewayClass edge of Gateway infra/edge, so nothing serves HTTPRoute "
            "shop/pages; install one, or name another class"
        ),
    ),
    "no such listener": (
        without_labels(listener("other", port=81)),
        "HTTPRoute shop/pages names a listener that Gateway infra/edge does not have: port 80",
    ),
    "a listener for its own namespace": (without_labels(listener(allowedRoutes={})), NOT_ADMITTED),
    "a listener for other namespaces": (without_labels(listener(allowedRoutes=SELECTOR)), NOT_ADMITTED),
    "a listener for another kind": (
        without_labels(listener(allowedRoutes={"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]})),
        NOT_ADMITTED,
    ),
    "a listener of another protocol": (without_labels(listener(protocol="TLS")), NOT_ADMITTED),
    "a listener for another host": (
        without_labels(listener(hostname="*.example.org")),
        (
            "No hostname of HTTPRoute shop/pages is one of listener http of Gateway infra/edge (*.example.org), so "
            "it takes no requests there"
        ),
    ),
}


@pytest.mark.parametrize(("objects", "message"), REFUSALS.values(), ids=REFUSALS)
def test_nothing_is_written_at(objects: list[Object], message: str) -> None:
    assert refusal(FakeCluster(pages(parentRefs=[{**EDGE, "port": 80}]), *objects)) == message


def test_namespaces_are_admitted_by_their_labels() -> None:
    shop = namespace("shop", labelled({"team": "shop"}))
    assert parts_in(FakeCluster(pages(), shop, *without_labels(listener(allowedRoutes=SELECTOR))))


def test_one_gateway_of_several_is_enough() -> None:
    found = FakeCluster(pages(parentRefs=[{"name": "gone", "namespace": "infra"}, EDGE]), *without_labels())
    assert len(entry_in(found).doors) == 1


DOORS: dict[str, tuple[list[dict[str, Any]], list[str], list[Door]]] = {
    "a host of its own": (
        [listener()],
        ["shop.example.com", "example.org"],
        [Door(ADDRESS, 80, "shop.example.com", is_gateway=True)],
    ),
    "any host": ([listener()], [], [Door(ADDRESS, 80, ADDRESS, is_gateway=True)]),
    "the listener's host": (
        [listener(hostname="shop.example.com")],
        [],
        [Door(ADDRESS, 80, "shop.example.com", is_gateway=True)],
    ),
    "a wildcard": (
        [listener(hostname="*.com")],
        ["*.example.com"],
        [Door(ADDRESS, 80, "sidestream-probe.example.com", is_gateway=True)],
    ),
    "the narrower of two": (
        [listener(hostname="a.example.com")],
        ["example.org", "*.example.com"],
        [Door(ADDRESS, 80, "a.example.com", is_gateway=True)],
    ),
    "with TLS and without": (
        [listener(), listener("https", port=443, protocol="HTTPS")],
        ["shop.example.com"],
        [
            Door(ADDRESS, 80, "shop.example.com", is_gateway=True),
            Door(ADDRESS, 443, "shop.example.com", is_gateway=True, is_tls=True),
        ],
    ),
    "a port that the Service has not": ([listener(port=9000)], [], []),
}


@pytest.mark.parametrize(("listeners", "hostnames", "doors"), DOORS.values(), ids=DOORS)
def test_each_listener_is_asked_for(listeners: list[dict[str, Any]], hostnames: list[str], doors: list[Door]) -> None:
    exposed = proxy(having("spec.ports", [{"port": 80}, {"port": 443}]))
    found = FakeCluster(pages(hostnames=hostnames), gateway(*listeners), gateway_class(), exposed)
    assert list(entry_in(found).doors) == doors


def test_traefiks_own_service_is_asked_at_the_port_that_leads_to_the_listeners() -> None:
    labels = labelled({"app.kubernetes.io/name": "traefik"})
    front = service("traefik", labels, having("spec.ports", [{"name": "web", "port": 80, "targetPort": 8000}]))
    controller = gateway_class("traefik.io/gateway-controller")
    found = FakeCluster(pages(hostnames=["shop.example.com"]), gateway(listener(port=8000)), controller, front)
    address = "traefik.shop.svc.cluster.local"
    assert entry_in(found).doors == (Door(address, 80, "shop.example.com", is_gateway=True),)


@pytest.mark.parametrize(
    ("address", "modifier"),
    [
        ("10.0.0.1", having("spec.type", "ClusterIP")),
        ("192.0.2.1", having("status.loadBalancer.ingress", [{"ip": "192.0.2.1"}])),
        ("lb.example.net", having("status.loadBalancer.ingress", [{"hostname": "lb.example.net"}])),
        ("proxy.edge.svc.cluster.local", having("spec.type", "ClusterIP")),
    ],
    ids=["its own address", "its balancer's address", "its balancer's name", "its own name"],
)
def test_a_service_elsewhere_is_known_by_the_gateways_address(address: str, modifier: Modifier) -> None:
    edge = gateway(modifiers=[having("status.addresses", [{"value": address}])])
    found = FakeCluster(pages(), edge, gateway_class(), service("proxy", in_namespace("edge"), modifier))
    assert [door.address for door in entry_in(found).doors] == ["proxy.edge.svc.cluster.local"]


def test_without_a_service_nobody_can_ask() -> None:
    entry = entry_in(FakeCluster(pages(), gateway(), gateway_class()))
    assert (entry.doors, entry.why_unprovable) == ((), "no Service in the cluster leads to Gateway infra/edge")


CALLS = EntryKey(EntryKind.GRPC_ROUTE, "shop", "calls")


def test_calls_are_routed_and_asked_for_at_istios_gateways() -> None:
    found = cluster(grpc_route("calls", rule(), parentRefs=[EDGE], hostnames=["shop.example.com"]))
    (part,) = parts_in(found, key=CALLS)
    assert part.name == "sidestream-calls.shop.grpcroute.alice.0"
    assert part.probe is not None
    assert entry_in(found, CALLS).doors == (Door(ADDRESS, 80, "shop.example.com", is_gateway=True),)


def test_calls_at_other_gateways_are_routed_and_cannot_be_asked_for() -> None:
    route = grpc_route("calls", rule(), parentRefs=[EDGE])
    found = FakeCluster(gateway(), gateway_class("example.com/controller"), proxy(), route)
    (part,) = parts_in(found, key=CALLS)
    assert part.probe is None
    entry = entry_in(found, CALLS)
    assert (entry.doors, entry.why_unprovable) == (
        (),
        "only Istio's proxies are known to answer by a GRPCRoute's rule",
    )
