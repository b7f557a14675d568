"""Users' VirtualServices at gateways: what is read, what is written beside them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from builders import annotated, created, having, in_namespace, namespace, selecting, service, thing
from sidestream.api.conditions import Reason
from sidestream.config import HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import ISTIO_GATEWAYS, Object
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from unit.routing.istio_things import Objects, host, shop, tenant
from unit.routing.things import ORDERS_FQDN, to, virtual_service

PROVIDER = VirtualServiceProvider(HeaderSettings())
SHOP_EDGE = EntryKey(EntryKind.VIRTUAL_SERVICE, "shop", "edge")
TO_ORDERS = {"route": [to()]}
HOST = "shop.example.com"


def server(port: int = 80, *hosts: str, protocol: str = "HTTP", **tls: Any) -> dict[str, Any]:
    body = {"port": {"number": port, "name": f"p{port}", "protocol": protocol}, "hosts": list(hosts or ["*"])}
    return {**body, "tls": tls} if tls else body


def gateway(name: str = "main", *servers: dict[str, Any], selector: dict[str, str] | None = None) -> Object:
    """A Gateway in namespace `istio-system`."""
    spec = {"selector": selector or {"istio": "edge"}, "servers": list(servers or [server()])}
    return thing(ISTIO_GATEWAYS, name, {"spec": spec}, in_namespace("istio-system"))


def front(name: str = "edge", *modifiers: Any) -> Object:
    """The Service in front of the gateway's pods."""
    return service(name, in_namespace("istio-system"), selecting({"istio": "edge", "app": "edge"}), *modifiers)


def bound(name: str, *rules: dict[str, Any], **spec: Any) -> Object:
    """A VirtualService for `shop.example.com` at Gateway `istio-system/main`."""
    whole = {"hosts": [HOST], "gateways": ["istio-system/main"], **spec}
    return virtual_service(name, *(rules or (TO_ORDERS,)), **whole)


def edge(*objects: Object, gateways: tuple[Object, ...] | None = None) -> Objects:
    more = (gateway(),) if gateways is None else gateways
    return shop(*objects, *more, front(), namespace("istio-system"))


def entry(cluster: Objects, key: EntryKey = SHOP_EDGE) -> Entry:
    found = PROVIDER.entry(key, cluster)
    assert found is not None
    return found


def at(obj: Object, when: str, place: str = "shop") -> Object:
    created(when)(obj)
    in_namespace(place)(obj)
    return obj


# --- what is read


def test_a_virtual_service_at_a_gateway_is_an_entry() -> None:
    assert entry(edge(bound("edge", {"route": [to(), to("ledger.billing.svc.cluster.local")]}))) == Entry(
        key=SHOP_EDGE,
        mode=Mode.BESIDE,
        rules=({"match": [{}], "route": [to(ORDERS_FQDN), to("ledger.billing.svc.cluster.local")]},),
        reaches=frozenset([host("orders"), host("ledger", "billing")]),
        source="shop/edge",
        place={
            "hosts": [HOST],
            "gateways": ["istio-system/main"],
            "exportTo": ["istio-system", "shop", "web"],
        },
        doors=(Door("edge.istio-system.svc.cluster.local", 80, HOST, is_gateway=True),),
        why="VirtualService shop/edge is bound to Gateway istio-system/main",
    )


NO_ENTRY = {
    "one for the mesh": virtual_service("edge", TO_ORDERS),
    "a delegate": virtual_service("edge", TO_ORDERS, hosts=[]),
    "one with tls rules only": bound("edge", http=None, tls=[{}]),
    "another name": bound("other"),
}


@pytest.mark.parametrize("obj", NO_ENTRY.values(), ids=NO_ENTRY)
def test_there_is_no_entry_for(obj: Object) -> None:
    assert PROVIDER.entry(SHOP_EDGE, edge(obj)) is None


def test_the_rules_of_all_for_a_host_are_joined_oldest_first_and_catch_alls_last() -> None:
    api = {"name": "api", "match": [{"uri": {"prefix": "/api"}}], "route": [to("inventory")]}
    rest = {"name": "rest", "match": [{"uri": {"exact": "/x"}}, {"uri": {"prefix": "/"}}], "route": [to()]}
    never = {"name": "never", "route": [to("never")]}
    younger = at(bound("edge", rest, never), "2026-01-02T00:00:00Z")
    older = at(bound("zz", {**TO_ORDERS, "name": "all"}), "2026-01-01T00:00:00Z")
    youngest = at(bound("aa", api), "2026-01-03T00:00:00Z", "billing")
    rules = entry(edge(younger, older, youngest)).rules
    assert [(rule["name"], rule["match"]) for rule in rules] == [
        ("rest", [{"uri": {"exact": "/x"}}]),
        ("api", [{"uri": {"prefix": "/api"}}]),
        ("all", [{}]),
        ("rest", [{"uri": {"prefix": "/"}}]),
    ]
    assert rules[1]["route"] == [to("inventory.billing.svc.cluster.local")]


def test_any_two_entries_for_a_host_have_the_same_rules() -> None:
    cluster = edge(bound("edge"), bound("other", {"match": [{"uri": {"prefix": "/b"}}], "route": [to("inventory")]}))
    assert entry(cluster).rules == entry(cluster, EntryKey(EntryKind.VIRTUAL_SERVICE, "shop", "other")).rules


def test_alternatives_for_sidecars_or_other_gateways_are_left_out() -> None:
    rule = {
        "match": [
            {"gateways": ["mesh"], "uri": {"prefix": "/m"}},
            {"gateways": ["istio-system/main", "mesh"], "uri": {"prefix": "/e"}},
            {"gateways": ["other"], "uri": {"prefix": "/o"}},
            {"sourceLabels": {"istio": "inner"}, "uri": {"prefix": "/s"}},
            {"sourceNamespace": "web", "uri": {"prefix": "/n"}},
            {"sourceLabels": {"istio": "edge"}, "uri": {"prefix": "/l"}},
        ],
        "route": [to()],
    }
    (only,) = entry(edge(bound("edge", rule, gateways=["mesh", "istio-system/main"]))).rules
    assert only["match"] == [{"uri": {"prefix": "/e"}}, {"uri": {"prefix": "/l"}}]


def test_rules_for_single_ports_are_told_apart() -> None:
    redirect = {"name": "secure", "match": [{"port": 80}], "redirect": {"scheme": "https"}}
    rest = {"name": "rest", "match": [{"uri": {"prefix": "/a"}}], "route": [to()]}
    servers = [server(), server(443, protocol="HTTPS", mode="SIMPLE")]
    rules = entry(edge(bound("edge", redirect, rest), gateways=(gateway("main", *servers),))).rules
    assert [(rule["name"], rule["match"]) for rule in rules] == [
        ("secure", [{"port": 80}]),
        ("rest", [{"uri": {"prefix": "/a"}, "port": 443}]),
    ]


# --- doors

DOORS = {
    "plain and TLS": (
        [server(), server(443, protocol="HTTPS", mode="SIMPLE")],
        [(80, HOST, False), (443, HOST, True)],
    ),
    "what only redirects is none": (
        [server(80, httpsRedirect=True), server(443, protocol="HTTPS")],
        [(443, HOST, True)],
    ),
    "one that wants certificates is none": (
        [server(), server(443, protocol="HTTPS", mode="MUTUAL")],
        [(80, HOST, False)],
    ),
    "one that passes through is none": (
        [server(), server(443, protocol="TLS", mode="PASSTHROUGH")],
        [(80, HOST, False)],
    ),
    "the port behind the Service's": ([server(8443, protocol="HTTPS", mode="SIMPLE")], [(443, HOST, True)]),
    "the wildcard's own host": ([server(80, "*.example.com")], [(80, HOST, False)]),
}


@pytest.mark.parametrize(("servers", "doors"), DOORS.values(), ids=DOORS)
def test_doors_are(servers: list[dict[str, Any]], doors: list[tuple[int, str, bool]]) -> None:
    ports = [{"port": 80, "targetPort": 8080}, {"port": 443, "targetPort": 8443}]
    cluster = shop(bound("edge"), gateway("main", *servers), front("edge", having("spec.ports", ports)))
    assert [(door.port, door.host, door.is_tls) for door in entry(cluster).doors] == doors


def test_a_wildcard_is_asked_for_by_a_name_under_it() -> None:
    (door,) = entry(edge(bound("edge", hosts=["*.example.com"]))).doors
    assert door.host == "sidestream-probe.example.com"


def test_without_a_service_in_front_nothing_can_be_proven() -> None:
    found = entry(edge(bound("edge"), gateways=(gateway("main", selector={"istio": "inner"}),)))
    assert (found.doors, found.why_unprovable) == (
        (),
        "no Service leads to an HTTP port of Gateway istio-system/main",
    )


# --- what concerns it


def test_it_concerns_itself_and_all_that_share_its_host() -> None:
    other = bound("other", hosts=["*.example.com"])
    apart = bound("apart", hosts=["else.example.org"])
    cluster = edge(bound("edge"), other, apart, gateways=(gateway("main", server(80, HOST, "else.example.org")),))
    assert [key.name for key in PROVIDER.entries_of(bound("edge"), cluster)] == ["edge", "other"]


def test_one_for_both_concerns_both() -> None:
    both = bound("edge", hosts=["orders"], gateways=["mesh", "istio-system/main"])
    assert [str(key) for key in PROVIDER.entries_of(both, edge(both))] == [
        "Mesh shop/orders",
        "VirtualService shop/edge",
    ]


def test_a_gateway_concerns_all_that_are_bound_to_it() -> None:
    cluster = edge(bound("edge"), bound("far", gateways=["istio-system/else"]))
    assert [str(key) for key in PROVIDER.entries_of(gateway(), cluster)] == ["VirtualService shop/edge"]


def test_a_delegate_concerns_what_hands_over_to_it() -> None:
    root = bound("edge", {"delegate": {"name": "part"}})
    part = virtual_service("part", TO_ORDERS, hosts=[])
    assert [str(key) for key in PROVIDER.entries_of(part, edge(root, part))] == ["VirtualService shop/edge"]


# --- what is written


def test_it_holds_the_tenants_rules_alone_for_the_same_hosts_and_gateways() -> None:
    (part,) = PROVIDER.render(entry(edge(bound("edge"))), [tenant("alice"), tenant("bob", "ledger")], edge()).parts
    assert part.obj["metadata"]["name"] == "sidestream-shop.edge.gateway"
    assert part.obj["metadata"]["annotations"]["sidestream.dev/entry"] == "VirtualService shop/edge"
    assert "sidestream.dev/baseline-service" not in part.obj["metadata"]["labels"]
    assert part.obj["spec"]["hosts"] == [HOST]
    assert part.obj["spec"]["gateways"] == ["istio-system/main"]
    assert [rule["name"] for rule in part.obj["spec"]["http"]] == ["probe", "tenant-alice"]
    assert part.probe is not None
    assert part.probe.name == part.name


# --- what is refused

LABELLED = {"match": [{"sourceLabels": {"app": "web"}}], "route": [to()]}
REFUSED: dict[str, tuple[Objects, str]] = {
    "a Gateway that does not exist": (
        edge(bound("edge", gateways=["istio-system/main", "missing"])),
        "VirtualService shop/edge is bound to Gateway shop/missing, which does not exist; create it or remove its name",
    ),
    "a Gateway that does not admit the host": (
        edge(bound("edge"), gateways=(gateway("main", server(80, "*.example.org")),)),
        (
            "Gateway istio-system/main admits no host of VirtualService shop/edge (shop.example.com) from namespace "
            "shop over HTTP; add one to the hosts of its servers"
        ),
    ),
    "a Gateway that does not admit the namespace": (
        edge(bound("edge"), gateways=(gateway("main", server(80, "web/*", "./*")),)),
        (
            "Gateway istio-system/main admits no host of VirtualService shop/edge (shop.example.com) from namespace "
            "shop over HTTP; add one to the hosts of its servers"
        ),
    ),
    "exportTo of any for the host": (
        edge(bound("edge"), bound("other", exportTo=["istio-system"])),
        "VirtualService shop/other sets exportTo, so no other VirtualService can take precedence over it; remove it",
    ),
    "hosts that are shared in part": (
        edge(bound("edge", hosts=[HOST, "b.example.com"]), bound("other")),
        (
            "VirtualServices shop/edge and shop/other share hosts at a gateway but not b.example.com at Gateway "
            "istio-system/main; give them the same hosts and gateways, or none in common"
        ),
    ),
    "rules for callers that may be the gateway": (
        edge(bound("edge", LABELLED)),
        (
            "VirtualService shop/edge has rules for some callers only (sourceLabels, sourceNamespace), and it is not "
            "known whether the pods of Gateway istio-system/main are among them; limit the rules to gateways"
        ),
    ),
    "rules that differ between gateways": (
        edge(
            bound(
                "edge",
                {"match": [{"gateways": ["istio-system/main"]}], "route": [to()]},
                gateways=["istio-system/main", "istio-system/inner"],
            ),
            gateways=(gateway(), gateway("inner")),
        ),
        (
            "The rules of VirtualService shop/edge differ between Gateways istio-system/main, istio-system/inner; "
            "give each a VirtualService of its own"
        ),
    ),
    "the tenants' header in another's rule": (
        edge(bound("edge"), bound("other", {"match": [{"headers": {"baggage": {"exact": "x"}}}], "route": [to()]})),
        (
            "Rule http[0] of VirtualService shop/other matches on header baggage, which names the tenants; "
            "match on another header"
        ),
    ),
    "a delegate of ours beside others": (
        edge(bound("edge", {"delegate": {"name": "sidestream-shop.edge.gateway"}}, TO_ORDERS), bound("other")),
        (
            "VirtualService shop/edge shares a host at a gateway with shop/other, so rules within it would not come "
            "first; remove the delegate"
        ),
    ),
}


@pytest.mark.parametrize(("cluster", "sentence"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_the_names_of_object_and_rule(cluster: Objects, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        PROVIDER.entry(SHOP_EDGE, cluster)
    assert (refused.value.reason, refused.value.message) == (Reason.ROUTE_CONFLICT, sentence)


def test_tcp_and_tls_rules_are_no_obstacle_where_ours_stands_beside() -> None:
    assert entry(edge(bound("edge", tls=[{"match": [{"sniHosts": ["x"]}]}]))).mode is Mode.BESIDE


def test_an_annotation_for_the_mesh_does_not_patch_rules_of_the_gateway() -> None:
    both = bound("edge", gateways=["mesh", "istio-system/main"])
    annotated({"sidestream.dev/routing": "Patch"})(both)
    assert entry(edge(both)).mode is Mode.BESIDE
