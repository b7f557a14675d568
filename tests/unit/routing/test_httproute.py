"""HTTPRoutes and GRPCRoutes of ours: what is in them, for whom, and when there are none."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders import having, in_namespace, service
from sidestream.api.conditions import Reason
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES, REFERENCE_GRANTS, VIRTUAL_SERVICES, Object
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import config_hash, entry_of, is_ours
from sidestream.routing.proof import PROBE_HEADER, PROBE_PATH, hash_in_redirect, hash_told
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.httproute_rules import MAX_HEADERS, MAX_MATCHES, MAX_MATCHES_OF_RULE, MAX_RULES
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import StandIn, Tenant
from unit.routing.gateway_things import (
    FakeCluster,
    exact,
    gateway_class,
    grpc_route,
    header,
    http_route,
    mesh,
    prefix,
    regex,
    rule,
    to,
)

MESH = EntryKey(EntryKind.MESH, "shop", "orders")
ORDERS_FQDN = "orders.shop.svc.cluster.local"
TWO_PORTS = having("spec.ports", [{"name": "http", "port": 80}, {"name": "http-admin", "port": 8080}])
AND_A_DATABASE = having("spec.ports", [{"name": "http", "port": 80}, {"name": "tcp-db", "port": 5432}])
TENANT_HEADER = {
    "type": "RegularExpression",
    "name": "baggage",
    "value": r"^(?:.*,)?[ \t]*tenant[ \t]*=[ \t]*alice[ \t]*(?:[;,].*)?$",
}
MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}}
REPLACE = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}


def tenant(key: str, *services: str) -> Tenant:
    stand_ins = [
        StandIn(ServiceHost("shop", name), ServiceHost("shop", f"{name}-{key}")) for name in services or ("orders",)
    ]
    return Tenant(key, tuple(sorted(stand_ins)))


def entry_for(*objects: Object, key: EntryKey = MESH, mode: HeaderMode = HeaderMode.BAGGAGE) -> Entry:
    found = HTTPRouteProvider(HeaderSettings(mode=mode)).entry(key, FakeCluster(*objects))
    assert found is not None
    return found


def parts_for(
    *objects: Object, tenants: tuple[Tenant, ...] = (tenant("alice"),), mode: HeaderMode = HeaderMode.BAGGAGE
) -> tuple[Part, ...]:
    cluster = FakeCluster(*objects)
    provider = HTTPRouteProvider(HeaderSettings(mode=mode))
    entry = provider.entry(MESH, cluster)
    assert entry is not None
    return provider.render(entry, tenants, cluster).parts


def rules_of(part: Part) -> list[dict[str, Any]]:
    """The rules without the probe's."""
    rules: list[dict[str, Any]] = part.obj["spec"]["rules"]
    return rules[1:] if part.probe is not None else rules


def refusal(*objects: Object, mode: HeaderMode = HeaderMode.BAGGAGE) -> str:
    with pytest.raises(InvalidInputError) as caught:
        parts_for(*objects, mode=mode)
    assert caught.value.reason == Reason.ROUTE_CONFLICT
    return caught.value.message


# --- where users have no route


def test_a_guard_comes_before_the_first_tenant() -> None:
    guard, route = parts_for(service())
    assert (guard.name, guard.stage, guard.keys) == ("sidestream-orders.mesh", 0, frozenset())
    assert guard.obj["spec"]["parentRefs"] == [mesh()]
    assert rules_of(guard) == [{"matches": [prefix()], "backendRefs": [to(weight=1)]}]
    assert (route.name, route.stage, route.keys) == ("sidestream-orders.mesh.alice.0", 1, frozenset({"alice"}))
    assert rules_of(route) == [
        {"matches": [prefix(headers=[TENANT_HEADER])], "backendRefs": [to("orders-alice", weight=1)]}
    ]


def test_nothing_is_guarded_while_nobody_is_routed() -> None:
    assert parts_for(service(), tenants=()) == ()
    assert parts_for(service(), tenants=(tenant("alice", "inventory"),)) == ()


def test_each_port_of_several_has_its_own_guard_and_routes() -> None:
    parts = parts_for(service("orders", TWO_PORTS))
    assert [(part.name, part.stage) for part in parts] == [
        ("sidestream-orders.mesh-80", 0),
        ("sidestream-orders.mesh-8080", 0),
        ("sidestream-orders.mesh-80.alice.0", 1),
        ("sidestream-orders.mesh-8080.alice.0", 1),
    ]
    assert parts[3].obj["spec"]["parentRefs"] == [mesh(port=8080)]
    assert rules_of(parts[3])[0]["backendRefs"] == [{**to("orders-alice", weight=1), "port": 8080}]
    assert [part.probe.ports for part in parts if part.probe] == [
        frozenset({80}),
        frozenset({8080}),
        frozenset({80}),
        frozenset({8080}),
    ]


def test_a_guard_never_takes_a_port_that_carries_no_http() -> None:
    guard, _ = parts_for(service("orders", AND_A_DATABASE))
    assert guard.obj["spec"]["parentRefs"] == [mesh(port=80)]


def test_the_entry_says_that_all_rules_are_ours() -> None:
    entry = entry_for(service("orders", TWO_PORTS))
    assert (entry.mode, entry.source) == (Mode.OWNED, None)
    assert entry.reaches == {ServiceHost("shop", "orders")}
    assert entry.doors == (Door(ORDERS_FQDN, 80, ORDERS_FQDN), Door(ORDERS_FQDN, 8080, ORDERS_FQDN))


# --- where users have routes


def test_users_routes_need_no_guard() -> None:
    route = http_route("theirs", rule(to("inventory"), matches=[prefix("/stock")]), rule())
    (part,) = parts_for(service(), route)
    assert (part.stage, rules_of(part)) == (
        0,
        [{"matches": [{"headers": [TENANT_HEADER]}], "backendRefs": [to("orders-alice")]}],
    )
    entry = entry_for(service(), route)
    assert (entry.mode, entry.source) == (Mode.BESIDE, "shop/theirs")
    assert entry.reaches == {ServiceHost("shop", "orders"), ServiceHost("shop", "inventory")}


def test_a_rule_that_a_copy_would_win_over_is_copied_too() -> None:
    beta = rule(to("inventory"), matches=[prefix(headers=[header()])])
    (part,) = parts_for(service(), http_route("theirs", rule(matches=[prefix()]), beta))
    assert [item["backendRefs"][0]["name"] for item in rules_of(part)] == ["orders-alice", "inventory"]


def test_a_rule_that_wins_by_its_path_alone_is_not() -> None:
    longer = rule(to("inventory"), matches=[prefix("/stock")])
    (part,) = parts_for(service(), http_route("theirs", rule(matches=[prefix()]), longer))
    assert [item["backendRefs"][0]["name"] for item in rules_of(part)] == ["orders-alice"]


def test_rules_of_several_routes_come_in_the_order_of_their_ages() -> None:
    young = http_route("a", rule(to(port=81)), modifiers=[having("metadata.creationTimestamp", "2026-02-01T00:00:00Z")])
    (part,) = parts_for(service(), young, http_route("b", rule()))
    assert [item["backendRefs"][0]["port"] for item in rules_of(part)] == [80, 81]


def test_the_port_is_named_as_users_do_and_the_others_are_guarded() -> None:
    parts = parts_for(service("orders", TWO_PORTS), http_route("theirs", rule(), parentRefs=[mesh(port=80)]))
    assert [part.name for part in parts] == [
        "sidestream-orders.mesh-8080",
        "sidestream-orders.mesh-80.alice.0",
        "sidestream-orders.mesh-8080.alice.0",
    ]


def test_only_the_parent_of_the_entry_is_kept() -> None:
    parents = [mesh("inventory"), mesh(), {"name": "edge", "namespace": "infra"}]
    (part,) = parts_for(service(), http_route("theirs", rule(), parentRefs=parents, hostnames=["shop.example.com"]))
    assert part.obj["spec"].keys() == {"parentRefs", "rules"}
    assert part.obj["spec"]["parentRefs"] == [mesh()]


def test_a_route_of_another_namespace_is_for_callers_there_alone() -> None:
    consumer = http_route("theirs", rule(), parentRefs=[mesh(namespace="shop")], modifiers=[in_namespace("web")])
    assert entry_for(service(), consumer).mode is Mode.OWNED


def test_calls_are_routed_by_the_kind_that_users_take() -> None:
    route = grpc_route("theirs", rule(matches=[{"method": {"service": "s.Cart"}}]))
    (part,) = parts_for(service(), route)
    assert (part.resource, part.name, part.probe) == (GRPC_ROUTES, "sidestream-orders.mesh-grpc.alice.0", None)
    assert rules_of(part)[0]["matches"] == [{"method": {"service": "s.Cart"}, "headers": [TENANT_HEADER]}]
    entry = entry_for(service(), route)
    assert (entry.doors, entry.why_unprovable) == (
        (),
        "only Istio's proxies are known to answer by a GRPCRoute's rule",
    )


NOT_ISTIO = {
    "another controller's": gateway_class("example.com/istio.io"),
    "one that no controller has taken": gateway_class(is_accepted=False),
}


@pytest.mark.parametrize("found", NOT_ISTIO.values(), ids=NOT_ISTIO)
def test_a_class_that_is_not_istios_says_nothing_about_the_mesh(found: Object) -> None:
    assert not entry_for(service(), grpc_route("theirs", rule()), found).doors


def test_in_istios_mesh_a_rule_without_backends_answers_for_calls() -> None:
    objects = service(), grpc_route("theirs", rule()), gateway_class()
    entry = entry_for(*objects)
    assert (entry.doors, entry.why_unprovable) == ((Door(ORDERS_FQDN, 80, ORDERS_FQDN),), "")
    (part,) = parts_for(*objects)
    probe, *rest = part.obj["spec"]["rules"]
    assert part.probe is not None
    ((match,), (answer,)) = probe["matches"], probe["filters"]
    assert f"/{match['method']['service']}/{match['method']['method']}" == PROBE_PATH
    assert match["headers"] == [{"type": "Exact", "name": PROBE_HEADER, "value": part.name}]
    (told,) = answer["responseHeaderModifier"]["set"]
    assert hash_told({told["name"]: told["value"]}, "") == part.probe.config_hash
    assert part.probe.config_hash == config_hash({**part.obj["spec"], "rules": rest})
    assert "backendRefs" not in probe


def test_both_kinds_are_routed_where_their_rules_do_not_meet() -> None:
    calls = grpc_route("calls", rule(matches=[{"method": {"service": "s.Cart", "method": "Add"}}]))
    parts = parts_for(service(), calls, http_route("pages", rule(matches=[prefix("/")])))
    assert {part.resource for part in parts} == {HTTP_ROUTES, GRPC_ROUTES}


def test_what_is_tried_on_the_baseline_is_not_tried_on_forks() -> None:
    tried = rule(to(filters=[MIRROR]), to("billing"), matches=[prefix("/a")], filters=[MIRROR])
    elsewhere = rule(to("billing"), matches=[prefix("/a", headers=[header()])], filters=[MIRROR])
    (part,) = parts_for(service(), http_route("theirs", tried, elsewhere))
    first, second = rules_of(part)
    assert "filters" not in first
    assert first["backendRefs"] == [to("orders-alice"), to("billing")]
    assert second["filters"] == [MIRROR]


def test_backends_that_become_equal_are_one_unless_their_weights_would_be_too_much() -> None:
    equal = rule(to(weight=2), to("orders-alice", weight=3), matches=[exact("/a")])
    heavy = rule(to(weight=600_000), to("orders-alice", weight=600_000), matches=[exact("/b")])
    (part,) = parts_for(service(), http_route("theirs", equal, heavy))
    assert [item["backendRefs"] for item in rules_of(part)] == [
        [to("orders-alice", weight=5)],
        [to("orders-alice", weight=600_000), to("orders-alice", weight=600_000)],
    ]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (HeaderMode.BAGGAGE, ["baggage"]),
        (HeaderMode.EXACT, ["x-tenant-id"]),
        (HeaderMode.BOTH, ["baggage", "x-tenant-id"]),
    ],
)
def test_each_way_to_name_the_tenant_is_an_alternative(mode: HeaderMode, names: list[str]) -> None:
    (part,) = parts_for(service(), http_route("theirs", rule(matches=[prefix("/a", headers=[header()])])), mode=mode)
    matches = rules_of(part)[0]["matches"]
    assert [[item["name"] for item in match["headers"]] for match in matches] == [["x-beta", name] for name in names]


def test_a_filter_that_replaces_the_prefix_has_one_match_to_a_rule() -> None:
    replaced = rule(matches=[prefix("/a")], filters=[REPLACE])
    (part,) = parts_for(service(), http_route("theirs", replaced), mode=HeaderMode.BOTH)
    assert [len(item["matches"]) for item in rules_of(part)] == [1, 1]


# --- objects of ours


def test_every_object_is_marked_and_answers_its_probe() -> None:
    parts = parts_for(service(), tenants=(tenant("alice"), tenant("bob")))
    for part in parts:
        assert is_ours(part.obj)
        assert entry_of(part.obj) == MESH
        probe, *rest = part.obj["spec"]["rules"]
        assert part.probe is not None
        assert probe["matches"] == [
            {
                "path": {"type": "Exact", "value": PROBE_PATH},
                "method": "OPTIONS",
                "headers": [{"type": "Exact", "name": PROBE_HEADER, "value": part.name}],
            }
        ]
        answer = probe["filters"][0]["requestRedirect"]
        assert answer["statusCode"] == 302
        assert hash_in_redirect(f"http://{answer['hostname']}/") == part.probe.config_hash
        assert part.probe.config_hash == config_hash({**part.obj["spec"], "rules": rest})


def test_names_of_services_and_keys_never_meet() -> None:
    names = {
        part.name
        for name, key in (("a", "b-mesh"), ("a-b", "mesh"), ("a", "b"), ("a-mesh", "b"), ("a", "0"))
        for part in _parts_of(name, key)
    }
    assert len(names) == 3 + 5


def _parts_of(name: str, key: str) -> tuple[Part, ...]:
    cluster = FakeCluster(service(name))
    provider = HTTPRouteProvider(HeaderSettings())
    entry = provider.entry(EntryKey(EntryKind.MESH, "shop", name), cluster)
    assert entry is not None
    return provider.render(entry, [tenant(key, name)], cluster).parts


def test_nothing_of_users_changes() -> None:
    objects = [service(), http_route("theirs", rule(to(weight=1), to("orders-alice", weight=1), filters=[MIRROR]))]
    before = copy.deepcopy(objects)
    parts_for(*objects)
    assert objects == before


def test_what_stays_the_same_is_the_very_same_object() -> None:
    cluster, provider = FakeCluster(service()), HTTPRouteProvider(HeaderSettings())
    entry = provider.entry(MESH, cluster)
    assert entry is not None
    first = provider.render(entry, [tenant("alice")], cluster).parts
    second = provider.render(entry, [tenant("alice"), tenant("bob")], cluster).parts
    assert all(one is other for one, other in zip(first, second, strict=False))
    changed = FakeCluster(service(), http_route("theirs", rule()))
    entry = provider.entry(MESH, changed)
    assert entry is not None
    assert [part.stage for part in provider.render(entry, [tenant("alice")], changed).parts] == [0]


def test_destinations_are_all_services_that_a_route_names() -> None:
    provider = HTTPRouteProvider(HeaderSettings())
    route = http_route(
        "theirs", rule(to(), to("carts", namespace="web"), {"kind": "Bucket", "group": "x", "name": "b"})
    )
    assert provider.destinations(route, "cluster.local") == {
        ServiceHost("shop", "orders"),
        ServiceHost("web", "carts"),
    }
    assert provider.destinations(service(), "cluster.local") == frozenset()


def test_a_route_concerns_its_services_and_itself_at_a_gateway() -> None:
    provider, cluster = HTTPRouteProvider(HeaderSettings()), FakeCluster()
    route = http_route("theirs", parentRefs=[mesh(), mesh("carts", namespace="web"), {"name": "edge"}])
    assert list(provider.entries_of(route, cluster)) == [
        MESH,
        EntryKey(EntryKind.MESH, "web", "carts"),
        EntryKey(EntryKind.HTTP_ROUTE, "shop", "theirs"),
    ]
    ours = parts_for(service())[0].obj
    assert list(provider.entries_of(ours, cluster)) == []


# --- limits


def test_what_does_not_fit_in_one_object_is_divided() -> None:
    rules = [rule(matches=[exact(f"/{number}/{other}") for other in range(8)]) for number in range(20)]
    parts = parts_for(service(), http_route("one", *rules[:10]), http_route("two", *rules[10:]))
    assert [part.name for part in parts] == ["sidestream-orders.mesh.alice.0", "sidestream-orders.mesh.alice.1"]
    for part in parts:
        found = part.obj["spec"]["rules"]
        assert len(found) <= MAX_RULES
        assert sum(len(item["matches"]) for item in found) <= MAX_MATCHES
    assert sum(len(rules_of(part)) for part in parts) == 20


def test_a_rule_with_too_many_matches_becomes_several() -> None:
    many = rule(matches=[exact(f"/{number}") for number in range(MAX_MATCHES_OF_RULE)])
    parts = parts_for(service(), http_route("theirs", many), mode=HeaderMode.BOTH)
    assert [[len(item["matches"]) for item in rules_of(part)] for part in parts] == [[64], [64]]


def test_rules_that_nothing_but_their_order_tells_apart_are_never_divided() -> None:
    rivals = [rule(matches=[prefix("/a", headers=[header(f"x-{number}")])]) for number in range(16)]
    assert refusal(service(), http_route("theirs", *rivals)) == (
        "For a tenant the rules from rules[0] of HTTPRoute shop/theirs to rules[15] of HTTPRoute shop/theirs would "
        "have to be in one object, since they ask for as much of the same requests; 15 rules and 127 matches are "
        "its limit. Write fewer of them, or let them ask for more headers than each other"
    )


# --- what leaves no room

FULL = [header(f"x-{number}") for number in range(MAX_HEADERS)]
REFUSALS: dict[str, tuple[list[Object], str]] = {
    "a match with as many headers as fit": (
        [http_route("theirs", rule(matches=[prefix(headers=FULL)]))],
        (
            "rules[0] of HTTPRoute shop/theirs has a match with 16 headers; with the tenant's it would have more than "
            "the 16 that the API server takes"
        ),
    ),
    "a rule for the tenants' own header": (
        [http_route("theirs", rule(), rule(to("inventory"), matches=[prefix(headers=[header("Baggage")])]))],
        "rules[1] of HTTPRoute shop/theirs matches on header Baggage, which names the tenants; match on another header",
    ),
    "a regular expression that looks ahead": (
        [http_route("theirs", rule(matches=[regex("/(?!b).*")]))],
        (
            "The regular expression of the path in rules[0] of HTTPRoute shop/theirs is not valid: "
            '"invalid perl operator: (?!", so proxies refuse it: /(?!b).*'
        ),
    ),
    "a regular expression for a header": (
        [http_route("theirs", rule(matches=[prefix(headers=[header("x-a", "(", "RegularExpression")])]))],
        (
            "The regular expression of header x-a in rules[0] of HTTPRoute shop/theirs is not valid: "
            '"missing ): (", so proxies refuse it: ('
        ),
    ),
    "a regular expression for a method": (
        [grpc_route("theirs", rule(matches=[{"method": {"type": "RegularExpression", "service": "["}}]))],
        (
            "The regular expression of the service in rules[0] of GRPCRoute shop/theirs is not valid: "
            '"missing ]: [", so proxies refuse it: ['
        ),
    ),
    "one route with a port and one without": (
        [http_route("a", rule()), http_route("b", rule(), parentRefs=[mesh(port=80)])],
        (
            "HTTPRoute shop/a names Service shop/orders without a port and HTTPRoute shop/b with one; Istio then uses "
            "only one of the two, so write both in the same way"
        ),
    ),
    "both kinds for the same requests": (
        [http_route("pages", rule()), grpc_route("calls", rule(to("inventory")))],
        (
            "rules[0] of GRPCRoute shop/calls is for some of the requests of rules[0] of HTTPRoute shop/pages and may "
            "take precedence over it, which a tenant's rules would change; put both in one route"
        ),
    ),
    "a policy on the route": (
        [
            http_route(
                "theirs",
                rule(),
                modifiers=[
                    having(
                        "status.parents",
                        [{"conditions": [{"type": "kuadrant.io/AuthPolicyAffected", "status": "True"}]}],
                    )
                ],
            )
        ],
        (
            "A policy is attached to HTTPRoute shop/theirs (condition kuadrant.io/AuthPolicyAffected) and would not "
            "hold for tenants' copies of its rules; attach it to the Service or Gateway instead"
        ),
    ),
}


@pytest.mark.parametrize(("objects", "message"), REFUSALS.values(), ids=REFUSALS)
def test_nothing_is_written_beside(objects: list[Object], message: str) -> None:
    assert refusal(service(), *objects) == message


def test_what_istio_takes_for_presence_is_left_to_the_mesh() -> None:
    present = rule(matches=[prefix(headers=[header("x-a", "*", "RegularExpression")])])
    assert len(parts_for(service(), http_route("theirs", present))) == 1


def test_rules_that_no_copy_meets_may_match_on_the_tenants_header() -> None:
    debug = rule(to("inventory"), matches=[exact("/debug", headers=[header("baggage")])])
    assert len(rules_of(parts_for(service(), http_route("theirs", rule(), debug))[0])) == 1


def test_without_routes_of_version_1_there_is_no_entry() -> None:
    provider = HTTPRouteProvider(HeaderSettings())
    nothing = (HTTP_ROUTES, GRPC_ROUTES, REFERENCE_GRANTS)
    assert provider.entry(MESH, FakeCluster(service(), unserved=nothing)) is None
    assert provider.entry(MESH, FakeCluster(service(), unserved=(HTTP_ROUTES, GRPC_ROUTES))) is None


def test_older_definitions_alone_are_refused() -> None:
    cluster = FakeCluster(service(), unserved=(HTTP_ROUTES, GRPC_ROUTES, VIRTUAL_SERVICES))
    with pytest.raises(InvalidInputError) as caught:
        HTTPRouteProvider(HeaderSettings()).entry(MESH, cluster)
    assert (caught.value.reason, caught.value.message) == (
        Reason.MESH_NOT_FOUND,
        (
            "The cluster has Gateway API, but does not serve HTTPRoute as gateway.networking.k8s.io/v1; install the "
            "CRDs of Gateway API 1.0 or newer"
        ),
    )


def test_a_service_that_is_not_there_is_no_entry() -> None:
    assert HTTPRouteProvider(HeaderSettings()).entry(MESH, FakeCluster()) is None
