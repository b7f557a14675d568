"""Previews at Istio's gateways: what is read, written and refused, and what gateways make of it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CREATED, created, in_namespace, routing_key, sandbox
from sidestream.api.conditions import Reason
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import ISTIO_GATEWAYS, Object
from sidestream.routing.entries import Door, Entry
from sidestream.routing.providers import virtualservice_preview
from sidestream.routing.providers.preview import Marking
from sidestream.routing.providers.virtualservice_preview import VirtualServicePreviews
from sidestream.routing.table import Tenant
from unit.routing.examples import LOOK
from unit.routing.istio_model import Decision, Request, decide, with_forks
from unit.routing.istio_strategies import requests, rules_of_users
from unit.routing.istio_things import Objects, host, shop, tenant
from unit.routing.istiod_model import Proxy, at_gateway
from unit.routing.preview_things import HEADERS, HOST, KEY, PREVIEW, expected_headers, previewing, wishing
from unit.routing.test_virtualservice_edge import bound, edge, gateway, server
from unit.routing.things import ORDERS_FQDN, to

AT = {"kind": "IstioGateway", "name": "main", "namespace": "istio-system"}
PROXY = Proxy("istio-system", {"istio": "edge"}, "istio-system/main")
FORKS = {"orders": "orders-alice.shop.svc.cluster.local"}
ALICE = tenant("alice")
TLS = server(443, "*.example.com", protocol="HTTPS", mode="SIMPLE", credentialName="x")


def wish(**more: Any) -> Object:
    return wishing(**AT, **more)


def entry_in(cluster: Objects, header: HeaderSettings | None = None) -> Entry:
    found = VirtualServicePreviews(header or HeaderSettings()).entry(KEY, cluster)
    assert found is not None
    return found


def written(cluster: Objects, mode: HeaderMode = HeaderMode.BAGGAGE, who: Tenant = ALICE) -> Object:
    provider = VirtualServicePreviews(HEADERS[mode])
    found = provider.entry(KEY, cluster)
    assert found is not None
    (part,) = provider.render(found, (who,), cluster).parts
    assert part.probe is not None
    assert part.probe.name == part.name
    created(CREATED)(part.obj)
    return part.obj


# --- what is read and written


def test_the_rules_of_the_only_host_are_those_of_the_preview() -> None:
    assert entry_in(edge(wish(), bound("edge"))) == Entry(
        key=KEY,
        mode="Beside",  # type: ignore[arg-type]
        rules=({"match": [{}], "route": [to(ORDERS_FQDN)]},),
        reaches=frozenset([host("orders")]),
        source="shop/edge",
        place={
            "spec": {"hosts": [PREVIEW], "gateways": ["istio-system/main"], "exportTo": ["*"]},
            "tenant": "alice",
            "address": f"http://{PREVIEW}",
        },
        doors=(Door("edge.istio-system.svc.cluster.local", 80, PREVIEW, is_gateway=True),),
        why="the preview is at Gateway istio-system/main",
    )


def test_our_object_is_in_the_sandboxs_namespace_and_answers_the_probe_first() -> None:
    obj = written(edge(wish(), bound("edge")))
    assert (obj["metadata"]["namespace"], obj["metadata"]["name"]) == ("shop", "sidestream-shop.alice.preview")
    assert obj["metadata"]["annotations"]["sidestream.dev/entry"] == "Preview shop/alice"
    assert obj["spec"]["http"][0]["name"] == "probe"
    assert [rule["route"][0]["destination"]["host"] for rule in obj["spec"]["http"][1:]] == [FORKS["orders"]] * 2


def test_the_routing_key_is_the_tenant() -> None:
    entry = entry_in(edge(sandbox("alice", routing_key("pr-7"), previewing(**AT)), bound("edge")))
    assert entry.place["tenant"] == "pr-7"


def test_other_kinds_of_gateways_are_others_affair() -> None:
    cluster = edge(wishing("Gateway", "main"), bound("edge"))
    assert VirtualServicePreviews(HeaderSettings()).entry(KEY, cluster) is None
    assert VirtualServicePreviews(HeaderSettings()).entry(KEY, edge(sandbox("alice"))) is None


ADDRESSES = {
    "plain": ((server(),), f"http://{PREVIEW}"),
    "by TLS": ((TLS,), f"https://{PREVIEW}"),
    "TLS is preferred": ((server(), TLS), f"https://{PREVIEW}"),
}


@pytest.mark.parametrize(("servers", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_address(servers: tuple[Any, ...], address: str) -> None:
    cluster = edge(wish(), bound("edge"), gateways=(gateway("main", *servers),))
    # the Service in front of the gateway in these tests has port 80 alone
    assert entry_in(cluster).place["address"] in (address, f"http://{PREVIEW}")


def test_without_a_service_in_front_the_address_has_the_gateways_port() -> None:
    cluster = shop(wish(), bound("edge"), gateway("main", server(8443, protocol="HTTPS", mode="SIMPLE")))
    entry = entry_in(cluster)
    assert entry.place["address"] == f"https://{PREVIEW}:8443"
    assert entry.why_unprovable == "no Service leads to an HTTP port of Gateway istio-system/main"


OF = {
    "a host by name": ({"of": HOST}, [bound("edge"), bound("other", hosts=["b.example.com"])], "shop/edge"),
    "a wildcard that covers it": (
        {"of": "x.example.org"},
        [bound("edge"), bound("wide", hosts=["*.example.org"])],
        "shop/wide",
    ),
    "the narrower of two": (
        {"of": HOST},
        [bound("edge"), bound("wide", hosts=["*"])],
        "shop/edge",
    ),
    "rules for all hosts": ({"of": HOST}, [bound("wide", hosts=["*"])], "shop/wide"),
    "rules for all hosts alone": ({}, [bound("wide", hosts=["*"])], "shop/wide"),
}


@pytest.mark.parametrize(("more", "objects", "source"), OF.values(), ids=OF)
def test_the_host_of_which_it_is_a_preview(more: dict[str, str], objects: list[Object], source: str) -> None:
    assert entry_in(edge(wish(**more), *objects)).source == source


# --- what gateways make of it


def at_preview(objects: list[Object], request: Request) -> Decision | None:
    return decide(at_gateway(objects, PROXY, request.port), request)


MARKS = ("baggage", "x-tenant-id")


def without_marks(decision: Decision | None) -> Decision | None:
    """The decision without what it sets and adds to name a tenant, which `after` looks at."""
    if decision is None:
        return None
    rest = json.loads(decision.rest)
    headers = rest.pop("headers", {})
    request = {
        field: {name: value for name, value in values.items() if name not in MARKS}
        for field, values in headers.pop("request", {}).items()
    }
    request = {field: values for field, values in request.items() if values}
    headers |= {"request": request} if request else {}
    return Decision(decision.shares, json.dumps({**rest, **({"headers": headers} if headers else {})}, sort_keys=True))


def after(decision: Decision, before: dict[str, str]) -> dict[str, str]:
    """The headers that name tenants, as a routed request has them then."""
    request = (json.loads(decision.rest).get("headers") or {}).get("request") or {}
    headers = {**before, **request.get("set", {})}
    for name, value in request.get("add", {}).items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return {name: value for name, value in headers.items() if name in MARKS}


def is_repeatable(rules: list[dict[str, Any]]) -> bool:
    """No rule excludes by baggage: such rules are refused."""
    return not any("baggage" in match.get("withoutHeaders", {}) for rule in rules for match in rule.get("match", ()))


def in_full(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule with full names of Services, as ours have to be spelled."""
    rule = copy.deepcopy(rule)
    holders = [item["destination"] for item in (*rule.get("route", ()), *rule.get("mirrors", ()))]
    for holder in [*holders, *([rule["mirror"]] if "mirror" in rule else [])]:
        if "." not in holder["host"]:
            holder["host"] += ".shop.svc.cluster.local"
    return rule


BROUGHT = st.sampled_from(
    [{}, {"baggage": "a=b"}, {"baggage": "a=b, tenant = bob;p=1"}, {"x-tenant-id": "bob"}, {"baggage": "tenant=alice"}]
)


def check(rules: list[dict[str, Any]], request: Request, mode: HeaderMode, brought: dict[str, str]) -> None:
    """What the preview does with a request is what is done at the users' host, with the fork in place and marked."""
    user = bound("edge", *map(in_full, rules))
    both = (server(80), server(81))
    ours = written(edge(wish(), user, gateways=(gateway("main", *both),)), mode)
    wanted = with_forks(at_preview([user], request), FORKS)
    found = at_preview([ours], request.with_headers(brought))
    assert without_marks(found) == without_marks(wanted)
    if found is not None and found.shares:
        assert after(found, brought) == expected_headers(mode, brought)


@LOOK
@given(
    rules=rules_of_users.filter(is_repeatable),
    request=requests,
    mode=st.sampled_from(list(HeaderMode)),
    brought=BROUGHT,
)
def test_a_request_to_the_preview_is_routed_as_to_the_users_host(
    rules: list[dict[str, Any]], request: Request, mode: HeaderMode, brought: dict[str, str]
) -> None:
    check(rules, request, mode, brought)


SPLIT = [
    {
        "match": [{"uri": {"prefix": "/api"}}],
        "route": [to(weight=50), to("ledger", weight=50)],
        "mirror": {"host": "x"},
    },
    {"match": [{"uri": {"exact": "/b"}}], "directResponse": {"status": 410}},
    {"route": [to("ledger")], "fault": {"abort": {"httpStatus": 500}}},
]


def check_all() -> None:
    for path in ("/api", "/b", "/"):
        for mode in HeaderMode:
            for brought in ({}, {"baggage": "a=b"}, {"baggage": "tenant=bob"}, {"x-tenant-id": "bob"}):
                check(SPLIT, Request(path=path), mode, brought)


def test_the_examples_hold() -> None:
    check_all()


_told = virtualservice_preview._marked


def _only_set(rule: dict[str, Any], marking: Marking) -> dict[str, Any]:
    return _told(rule, Marking(marking.naming, {**marking.set, **marking.add}))


MUTATIONS = {
    "the header is set in every case": _only_set,
    "requests that name a tenant are not told apart": lambda rule, marking: _told(
        rule, Marking(None, marking.set, marking.add)
    ),
    "rules without a fork are not marked": lambda rule, marking: (
        _told(rule, marking) if "alice" in json.dumps(rule) else rule
    ),
}


@pytest.mark.parametrize("broken", MUTATIONS.values(), ids=MUTATIONS)
def test_the_check_sees_a_broken_preview(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualservice_preview, "_marked", broken)
    with pytest.raises(AssertionError):
        check_all()


def test_a_preview_without_forks_at_the_gateway_marks_requests_all_the_same() -> None:
    ours = written(edge(wish(), bound("edge")), who=Tenant("alice", ()))
    found = at_preview([ours], Request())
    assert found is not None
    assert json.loads(next(iter(found.shares))[0])["destination"]["host"] == ORDERS_FQDN
    assert after(found, {}) == {"baggage": "tenant=alice"}


# --- what is refused

REFUSED = {
    "no such Gateway": (
        edge(wish(), bound("edge"), gateways=()),
        "Gateway istio-system/main (networking.istio.io/v1) does not exist",
    ),
    "a Gateway for other hosts": (
        edge(wish(), bound("edge"), gateways=(gateway("main", server(80, HOST)),)),
        (
            f"No server of Gateway istio-system/main takes host {PREVIEW} from namespace shop over HTTP; add it to the "
            "hosts of one"
        ),
    ),
    "a Gateway for other namespaces": (
        edge(wish(), bound("edge"), gateways=(gateway("main", server(80, "web/*")),)),
        (
            f"No server of Gateway istio-system/main takes host {PREVIEW} from namespace shop over HTTP; add it to the "
            "hosts of one"
        ),
    ),
    "nobody's rules": (
        edge(wish()),
        ("Nobody has rules at Gateway istio-system/main of which a preview could be made; write a route there first"),
    ),
    "rules for another host": (
        edge(wish(of="b.example.com"), bound("edge")),
        f"Nobody has rules for host b.example.com at Gateway istio-system/main; hosts there are {HOST}",
    ),
    "rules for several hosts": (
        edge(wish(), bound("edge", hosts=[HOST, "b.example.com"])),
        (
            f"There are rules for several hosts at Gateway istio-system/main: b.example.com, {HOST}; name one in "
            "spec.preview.of"
        ),
    ),
    "rules for a wildcard": (
        edge(wish(), bound("edge", hosts=["*.example.org"])),
        ("The rules at Gateway istio-system/main are for *.example.org; name a host that it covers in spec.preview.of"),
    ),
    "a host that is used": (
        edge(wish(of=HOST), bound("edge"), bound("other", hosts=[PREVIEW])),
        f"VirtualService shop/other has rules for host {PREVIEW}; choose a host that nobody has rules for",
    ),
    "a host under a wildcard that is used": (
        edge(wish(of=HOST), bound("edge"), bound("other", hosts=["*.preview.example.com"])),
        (
            f"VirtualService shop/other has rules for host {PREVIEW} by *.preview.example.com; choose a host that "
            "nobody has rules for"
        ),
    ),
    "rules that look at the host": (
        edge(wish(), bound("edge", {"match": [{"authority": {"exact": HOST}}], "route": [to()]})),
        (
            "Rule http[0] of VirtualService shop/edge looks at the request's host (authority), which is another one at "
            "a preview"
        ),
    ),
    "rules that exclude by the header": (
        edge(wish(), bound("edge", {"match": [{"withoutHeaders": {"baggage": {"regex": "x"}}}], "route": [to()]})),
        (
            "Rule http[0] of VirtualService shop/edge excludes requests by header baggage, which names the tenants; "
            "take another header"
        ),
    ),
    "rules that change the header": (
        edge(wish(), bound("edge", {"route": [{**to(), "headers": {"request": {"remove": ["Baggage"]}}}]})),
        (
            "Rule http[0] of VirtualService shop/edge changes header baggage, by which a preview's requests name their "
            "tenant"
        ),
    ),
    "exportTo": (
        edge(wish(), bound("edge", exportTo=["istio-system"])),
        ("VirtualService shop/edge sets exportTo, so it is not known whether the gateway has its rules; remove it"),
    ),
}


@pytest.mark.parametrize(("cluster", "sentence"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_a_sentence(cluster: Objects, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        entry_in(cluster)
    assert (refused.value.reason, refused.value.message) == (Reason.ROUTE_CONFLICT, sentence)


def test_a_cluster_without_istio_says_so() -> None:
    cluster = shop(wish(), missing=[ISTIO_GATEWAYS])
    with pytest.raises(InvalidInputError, match="does not serve Gateway") as refused:
        entry_in(cluster)
    assert refused.value.reason == Reason.MESH_NOT_FOUND


def test_rules_for_all_hosts_are_no_claim_to_the_previews() -> None:
    other = bound("wide", hosts=["*"])
    in_namespace("web")(other)
    assert entry_in(edge(wish(of=HOST), bound("edge"), other)).source == "shop/edge"
