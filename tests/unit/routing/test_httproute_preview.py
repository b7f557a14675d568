"""Previews at Gateways of the Gateway API: what is read, written and refused, and what products make of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import created, in_namespace, labelled, namespace, service
from sidestream.api.conditions import Reason
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import GATEWAYS, HTTP_ROUTES, Object
from sidestream.routing.entries import Door, Entry
from sidestream.routing.providers import httproute_preview
from sidestream.routing.providers.httproute_preview import HTTPRoutePreviews
from sidestream.routing.providers.preview import Marking
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import Tenant
from unit.routing import gateway_model as model
from unit.routing.examples import LOOK
from unit.routing.gateway_model import CONFORMANT, Decision, Product, Request
from unit.routing.gateway_things import (
    GATEWAY,
    FakeCluster,
    exact,
    gateway,
    gateway_class,
    grant,
    grpc_route,
    header,
    http_route,
    listener,
    prefix,
    rule,
    to,
)
from unit.routing.preview_things import HEADERS, HOST, KEY, PREVIEW, expected_headers, wishing
from unit.routing.test_httproute_property import FORKS, TENANTS, http_requests, http_rules, our_times

AT = {"kind": "Gateway", "name": "edge", "namespace": "infra"}
ALICE = TENANTS[0]
HTTPS = listener("https", port=443, protocol="HTTPS")


def wish(**more: Any) -> Object:
    return wishing(**AT, **more)


def route(name: str, *rules: dict[str, Any], place: str = "shop", **spec: Any) -> Object:
    """A user's route for `shop.example.com` at Gateway infra/edge."""
    whole = {"parentRefs": [GATEWAY], "hostnames": [HOST], **spec}
    obj = http_route(name, *(rules or (rule(),)), **{key: value for key, value in whole.items() if value is not None})
    in_namespace(place)(obj)
    return obj


def front() -> Object:
    labels = {"gateway.networking.k8s.io/gateway-name": "edge"}
    return service("edge-istio", in_namespace("infra"), labelled(labels))


def edge(*objects: Object, of: Object | None = None) -> FakeCluster:
    return FakeCluster(*objects, of or gateway(), gateway_class(), front(), namespace("shop"), namespace("web"))


def entry_in(cluster: FakeCluster) -> Entry:
    found = HTTPRoutePreviews(HeaderSettings()).entry(KEY, cluster)
    assert found is not None
    return found


def parts_in(cluster: FakeCluster, mode: HeaderMode = HeaderMode.BAGGAGE, who: Tenant = ALICE) -> tuple[Part, ...]:
    provider = HTTPRoutePreviews(HEADERS[mode])
    found = provider.entry(KEY, cluster)
    assert found is not None
    return provider.render(found, (who,), cluster).parts


# --- what is read and written


def test_a_users_route_is_repeated_in_its_namespace_for_the_previews_host() -> None:
    named, plain = parts_in(edge(wish(), route("web", place="web")))
    for part in (named, plain):
        assert part.obj["metadata"]["namespace"] == "web"
        assert part.obj["metadata"]["annotations"]["sidestream.dev/entry"] == "Preview shop/alice"
        assert part.obj["spec"]["hostnames"] == [PREVIEW]
        assert [(ref["name"], ref["sectionName"]) for ref in part.obj["spec"]["parentRefs"]] == [("edge", "http")]
        assert part.probe is not None
        assert (part.probe.name, part.probe.ports, part.keys) == (part.name, frozenset({80}), frozenset({"alice"}))
        probing, leading = part.obj["spec"]["rules"]
        assert probing["filters"][0]["type"] == "RequestRedirect"
        assert leading["backendRefs"][0]["name"] == "orders-alice"
    change = plain.obj["spec"]["rules"][1]["filters"][0]["requestHeaderModifier"]
    assert change == {"add": [{"name": "baggage", "value": "tenant=alice"}]}
    change = named.obj["spec"]["rules"][1]["filters"][0]["requestHeaderModifier"]
    assert change == {"set": [{"name": "baggage", "value": "tenant=alice"}]}


def test_the_entry_says_where_it_is_and_where_it_can_be_asked() -> None:
    entry = entry_in(
        edge(wish(), route("shop"), route("cart", rule(to("cart"), matches=[prefix("/cart")]), place="web"))
    )
    assert (entry.source, entry.place["address"]) == ("shop/shop and web/cart", f"http://{PREVIEW}")
    assert entry.doors == (Door("edge-istio.infra.svc.cluster.local", 80, PREVIEW, is_gateway=True),)
    assert {str(item.fqdn).split(".svc")[0] for item in entry.reaches} == {"orders.shop", "cart.web"}


def test_exact_headers_are_set_and_no_rule_is_doubled() -> None:
    (part,) = parts_in(edge(wish(), route("shop")), HeaderMode.EXACT)
    change = part.obj["spec"]["rules"][1]["filters"][0]["requestHeaderModifier"]
    assert change == {"set": [{"name": "x-tenant-id", "value": "alice"}]}


def test_a_redirect_on_the_plain_port_stays_there_and_the_address_is_that_of_tls() -> None:
    redirect = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}
    plain = route("plain", redirect, parentRefs=[{**GATEWAY, "sectionName": "http"}])
    secure = route("secure", parentRefs=[{**GATEWAY, "sectionName": "https"}])
    cluster = edge(wish(), plain, secure, of=gateway(listener(), HTTPS))
    assert entry_in(cluster).place["address"] == f"https://{PREVIEW}"
    found = {
        (ref["sectionName"], len(part.obj["spec"]["rules"][1].get("backendRefs", ())))
        for part in parts_in(cluster)
        for ref in part.obj["spec"]["parentRefs"]
    }
    assert found == {("http", 0), ("https", 1)}


def test_a_listener_for_previews_alone_takes_the_place_of_the_users_on_that_port() -> None:
    own = listener("previews", hostname="*.preview.example.com")
    cluster = edge(wish(), route("shop", hostnames=None), of=gateway(listener(hostname=HOST), own))
    assert {ref["sectionName"] for part in parts_in(cluster) for ref in part.obj["spec"]["parentRefs"]} == {"previews"}


def test_a_fork_in_another_namespace_gets_a_permission_first() -> None:
    cluster = edge(wish(), route("web", rule(to(namespace="shop")), place="web"), grant("all", "orders"))
    grants = [part for part in parts_in(cluster) if part.resource.kind == "ReferenceGrant"]
    assert [(part.obj["metadata"]["namespace"], part.stage, part.keys) for part in grants] == [("shop", 0, frozenset())]
    assert {part.stage for part in parts_in(cluster) if part not in grants} == {1}


def test_without_forks_at_the_gateway_requests_are_marked_all_the_same() -> None:
    parts = parts_in(edge(wish(), route("shop")), who=Tenant("alice", ()))
    assert {part.obj["spec"]["rules"][1]["backendRefs"][0]["name"] for part in parts} == {"orders"}
    assert all(part.obj["spec"]["rules"][1]["filters"] for part in parts)


def test_a_grpc_route_is_repeated_as_one() -> None:
    obj = grpc_route("cart", rule(), parentRefs=[GATEWAY], hostnames=[HOST])
    assert {part.resource.kind for part in parts_in(edge(wish(), obj))} == {"GRPCRoute"}


def test_a_users_own_changes_of_headers_are_kept() -> None:
    own = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}
    (part,) = parts_in(edge(wish(), route("shop", rule(filters=[own]))), HeaderMode.EXACT)
    (only,) = part.obj["spec"]["rules"][1]["filters"]
    assert [item["name"] for item in only["requestHeaderModifier"]["set"]] == ["x-a", "x-tenant-id"]


# --- what products make of it

BROUGHT = st.sampled_from(
    [{}, {"baggage": "a=b"}, {"baggage": "a=b, tenant = bob;p=1"}, {"x-tenant-id": "bob"}, {"baggage": "tenant=alice"}]
)
placed = st.tuples(
    http_rules,
    st.sampled_from(["shop", "web"]),
    st.sampled_from([[HOST], [HOST, "b.example.com"], ["*.example.com"], None]),
)
MARKS = ("baggage", "x-tenant-id")


def marks_of(decision: Decision) -> tuple[Decision, dict[str, str], dict[str, str]]:
    """The decision without what it sets and adds to name a tenant, and that."""
    rest = json.loads(decision.rest)
    filters, found = [], {"set": {}, "add": {}}  # type: ignore[var-annotated]
    for item in rest.pop("filters", []):
        changes = dict(item.get("requestHeaderModifier") or {})
        for field in ("set", "add"):
            entries = changes.pop(field, [])
            found[field] |= {entry["name"]: entry["value"] for entry in entries if entry["name"] in MARKS}
            kept = [entry for entry in entries if entry["name"] not in MARKS]
            changes |= {field: kept} if kept else {}
        if item["type"] != "RequestHeaderModifier":
            filters.append(item)
        elif changes:
            filters.append({**item, "requestHeaderModifier": changes})
    rest |= {"filters": filters} if filters else {}
    return Decision(decision.shares, json.dumps(rest, sort_keys=True)), found["set"], found["add"]


def after(brought: dict[str, str], set_: dict[str, str], add: dict[str, str]) -> dict[str, str]:
    headers = {**brought, **set_}
    for name, value in add.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


Placed = tuple[list[dict[str, Any]], str, list[str] | None]


def check(  # noqa: PLR0917 - what is looked at, and then how
    routes: Sequence[Placed],
    asked: Sequence[Request],
    mode: HeaderMode,
    brought: dict[str, str],
    times: Sequence[str] = ("2026-02-01T00:00:00Z",),
    products: Sequence[Product] = CONFORMANT,
) -> bool:
    """Whether a preview was written; if so it is decided as the users' host, with forks in place and marked."""
    users = [
        route(f"r{number}", *rules, place=place, hostnames=names) for number, (rules, place, names) in enumerate(routes)
    ]
    for number, obj in enumerate(users):
        created(f"2026-01-0{number + 1}T00:00:00Z")(obj)
    controller = "traefik.io/gateway-controller" if products == [Product.TRAEFIK] else "istio.io/gateway-controller"
    grants = [grant("all", source="web"), grant("more", source="shop", of="web")]
    cluster = FakeCluster(
        wish(of=HOST, host="alice.example.org"),
        *users,
        *grants,
        gateway(),
        gateway_class(controller),
        namespace("shop"),
        namespace("web"),
    )
    try:
        ours = [part.obj for part in parts_in(cluster, mode)]
    except InvalidInputError:
        return False
    for number, obj in enumerate(ours):
        created(times[number % len(times)])(obj)
    grants += [item for item in ours if item["kind"] == "ReferenceGrant"]
    before = model.Gateway(users, ("infra", "edge"), grants)
    with_ours = model.Gateway([*users, *ours], ("infra", "edge"), grants)
    for request in asked:
        for product in products:
            at_users = Request(request.path, request.method, request.headers, request.query, HOST)
            at_ours = Request(
                request.path, request.method, {**request.headers, **brought}, request.query, "alice.example.org"
            )
            try:
                wanted = model.swapped(before.decide(at_users, product), FORKS["alice"])
            except model.AmbiguousError:
                continue
            other = at_users.with_headers(brought)
            assert with_ours.decide(other, product) == before.decide(other, product)
            found = with_ours.decide(at_ours, product)
            assert (found is None) == (wanted is None)
            if found is not None and wanted is not None:
                decision, set_, add = marks_of(found)
                assert decision == marks_of(wanted)[0]
                if found.shares:
                    assert after(brought, set_, add) == expected_headers(mode, brought)
    return True


@LOOK
@given(
    routes=st.lists(placed, min_size=1, max_size=3),
    asked=st.lists(http_requests, min_size=3, max_size=6),
    mode=st.sampled_from(list(HeaderMode)),
    brought=BROUGHT,
    times=our_times,
)
def test_a_request_to_the_preview_is_routed_as_to_the_users_host(
    routes: list[Placed], asked: list[Request], mode: HeaderMode, brought: dict[str, str], times: list[str]
) -> None:
    check(routes, asked, mode, brought, times)


@LOOK
@given(
    routes=st.lists(placed, min_size=1, max_size=3),
    asked=st.lists(http_requests, min_size=3, max_size=6),
    mode=st.sampled_from(list(HeaderMode)),
    brought=BROUGHT,
)
def test_so_it_is_at_traefiks_gateways(
    routes: list[Placed], asked: list[Request], mode: HeaderMode, brought: dict[str, str]
) -> None:
    check(routes, asked, mode, brought, products=[Product.TRAEFIK])


EXAMPLE: list[Placed] = [
    (
        [
            rule(to("orders"), matches=[prefix("/a"), exact("/a/b")]),
            rule(to("billing"), matches=[prefix("/a", headers=[header()])]),
            rule(to("billing"), to("orders", weight=3)),
        ],
        "shop",
        [HOST],
    )
]
ASKED = [Request(path=path, headers=found) for path in ("/", "/a", "/a/b") for found in ({}, {"x-beta": "1"})]


def check_example() -> None:
    for mode in HeaderMode:
        for brought in ({}, {"baggage": "a=b"}, {"baggage": "tenant=bob"}, {"x-tenant-id": "bob"}):
            assert check(EXAMPLE, ASKED, mode, brought)


def test_the_example_holds() -> None:
    check_example()


_true_pieces, _true_marked = httproute_preview._pieces, httproute_preview._marked


def _for_all(place: int, found: Any, copied: Any, marking: Marking, group: Any) -> Any:
    return _true_pieces(place, found, copied, Marking(None, marking.set, marking.add), group)


def _only_set(found: Any, marking: Marking, origin: str) -> Any:
    return _true_marked(found, Marking(marking.naming, {**marking.set, **marking.add}), origin)


def _only_forks(found: Any, marking: Marking, origin: str) -> Any:
    return _true_marked(found, marking, origin) if "alice" in json.dumps(found) else found


def _leading_alone(place: int, found: Any, copied: Any, marking: Marking, group: Any) -> Any:
    pieces = _true_pieces(place, found, copied, marking, group)
    return pieces if marking.naming is None or "alice" in json.dumps(found) else iter(())


MUTATIONS = {
    "requests that name a tenant are not told apart": ("_pieces", _for_all),
    "the header is set in every case": ("_marked", _only_set),
    "rules without a fork are not marked": ("_marked", _only_forks),
    "for requests that name a tenant only rules with forks are repeated": ("_pieces", _leading_alone),
}


@pytest.mark.parametrize(("name", "broken"), MUTATIONS.values(), ids=MUTATIONS)
def test_the_check_sees_a_broken_preview(name: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httproute_preview, name, broken)
    with pytest.raises(AssertionError):
        check_example()


# --- what is refused

SELECTED = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "web"}}}}
REFUSED = {
    "no such Gateway": (
        FakeCluster(wish(), route("shop")),
        "Gateway infra/edge (gateway.networking.k8s.io/v1) does not exist",
    ),
    "a class that nobody serves": (
        FakeCluster(wish(), route("shop"), gateway(), gateway_class(is_accepted=False)),
        "No controller has accepted GatewayClass edge of Gateway infra/edge; install one",
    ),
    "listeners for other hosts": (
        edge(
            wish(), route("shop"), of=gateway(listener(hostname="*.shop.example.com"), listener("raw", protocol="TCP"))
        ),
        f"No HTTP listener of Gateway infra/edge takes host {PREVIEW}; add one whose hostname covers it",
    ),
    "a listener at another port": (
        edge(
            wish(),
            route("shop"),
            of=gateway(listener(hostname=HOST), listener("previews", port=8080, hostname="*.preview.example.com")),
        ),
        (
            f"Gateway infra/edge takes host {PREVIEW} at listener previews (HTTP 8080) alone, where nobody has rules "
            f"for {HOST}; add a listener for it at the same port and protocol as those rules"
        ),
    ),
    "a listener for other namespaces": (
        edge(
            wish(),
            route("shop"),
            of=gateway(
                listener(hostname=HOST),
                listener("previews", hostname="*.preview.example.com", allowedRoutes=SELECTED),
            ),
        ),
        (
            "Listener previews of Gateway infra/edge admits no HTTPRoute from namespace shop (allowedRoutes), where "
            "HTTPRoute shop/shop is, which the preview has to repeat; change allowedRoutes"
        ),
    ),
    "nobody's rules": (
        edge(wish()),
        "Nobody has rules at Gateway infra/edge of which a preview could be made; write a route there first",
    ),
    "rules for another host": (
        edge(wish(of="b.example.com"), route("shop")),
        f"Nobody has rules for host b.example.com at Gateway infra/edge; hosts there are {HOST}",
    ),
    "rules for several hosts": (
        edge(wish(), route("shop"), route("any", hostnames=None)),
        f"There are rules for several hosts at Gateway infra/edge: any, {HOST}; name one in spec.preview.of",
    ),
    "a host that is used": (
        edge(wish(of=HOST), route("shop"), route("other", hostnames=[PREVIEW])),
        f"HTTPRoute shop/other has rules for host {PREVIEW}; choose a host that nobody has rules for",
    ),
    "a host under a wildcard that is used": (
        edge(wish(of=HOST), route("shop"), route("other", hostnames=["*.example.com"])),
        (
            f"HTTPRoute shop/other has rules for host {PREVIEW} by *.example.com; choose a host that nobody has rules "
            "for"
        ),
    ),
    "rules that look at the header": (
        edge(wish(), route("shop", rule(matches=[{"headers": [header("Baggage")]}]))),
        "rules[0] of HTTPRoute shop/shop matches on header baggage, which names the tenants; match on another header",
    ),
    "rules that change the header": (
        edge(
            wish(),
            route(
                "shop",
                rule(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["Baggage"]}}]),
            ),
        ),
        ("rules[0] of HTTPRoute shop/shop changes header baggage, by which a preview's requests name their tenant"),
    ),
    "rules of two namespaces between which ages decide": (
        edge(wish(), route("shop"), route("web", place="web")),
        (
            "rules[0] of HTTPRoute shop/shop and rules[0] of HTTPRoute web/web ask for as much of the same requests, "
            "so that the ages of their routes decide, which a preview cannot repeat; put both in one route"
        ),
    ),
}


@pytest.mark.parametrize(("cluster", "sentence"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_a_sentence(cluster: FakeCluster, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parts_in(cluster)
    assert (refused.value.reason, refused.value.message) == (Reason.ROUTE_CONFLICT, sentence)


@pytest.mark.parametrize("missing", [GATEWAYS, HTTP_ROUTES], ids=lambda item: item.kind)
def test_a_cluster_without_gateway_api_says_so(missing: Any) -> None:
    with pytest.raises(InvalidInputError, match="does not serve Gateway") as refused:
        entry_in(FakeCluster(wish(), unserved=[missing]))
    assert refused.value.reason == Reason.MESH_NOT_FOUND
