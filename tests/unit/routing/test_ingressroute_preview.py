"""Previews at Traefik: what is read, written and refused, and what Traefik makes of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import in_namespace
from sidestream.api.conditions import Reason
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import INGRESS_ROUTES, Object
from sidestream.routing.entries import Door, Entry
from sidestream.routing.providers import ingressroute_preview, ingressroute_preview_table
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.ingressroute_match import And, Condition, Not, Or, at_host, parsed
from sidestream.routing.providers.ingressroute_preview import IngressRoutePreviews
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import Tenant
from unit.routing.examples import LOOK
from unit.routing.istio_things import Objects, tenant
from unit.routing.preview_things import HEADERS, HOST, KEY, PREVIEW, wishing
from unit.routing.test_ingressroute_property import FORKS, NOBODY, downs, rendered
from unit.routing.traefik_model import UNANSWERED, Decision, Request, anonymous, decide, with_forks
from unit.routing.traefik_things import (
    HEADERS_OF_OTHERS,
    ingress_route,
    modes,
    requests,
    route,
    through,
    traefik,
    traefik_service,
    users_ingress_routes,
)

ALICE = tenant("alice", "inventory", "orders")


def wish(**more: Any) -> Object:
    return wishing("Traefik", "web", **more)


def shop(*routes: dict[str, Any], name: str = "shop", **spec: Any) -> Object:
    """A user's IngressRoute for `shop.example.com`."""
    return ingress_route(name, *(routes or (route(f"Host(`{HOST}`)", "orders"),)), **spec)


def entry_in(cluster: Objects, mode: HeaderMode = HeaderMode.BAGGAGE) -> Entry:
    found = IngressRoutePreviews(HEADERS[mode]).entry(KEY, cluster)
    assert found is not None
    return found


def parts_in(cluster: Objects, mode: HeaderMode = HeaderMode.BAGGAGE, who: Tenant = ALICE) -> tuple[Part, ...]:
    provider = IngressRoutePreviews(HEADERS[mode])
    found = provider.entry(KEY, cluster)
    assert found is not None
    return provider.render(found, (who,), cluster).parts


def ingress_of(parts: tuple[Part, ...]) -> Object:
    (found,) = [part.obj for part in parts if part.resource == INGRESS_ROUTES]
    return found


# --- what is read and written


def test_a_users_ingress_route_is_repeated_in_its_namespace_for_the_previews_host() -> None:
    user = shop(tls={"secretName": "cert", "domains": [{"main": HOST}]})
    in_namespace("web")(user)
    parts = parts_in(Objects(wish(), user, traefik(("web", 80))))
    ours = ingress_of(parts)
    assert ours["metadata"]["namespace"] == "web"
    assert ours["metadata"]["annotations"]["sidestream.dev/entry"] == "Preview shop/alice"
    assert (ours["spec"]["entryPoints"], ours["spec"]["tls"]) == (["web"], {"secretName": "cert"})
    assert [rule["match"] for rule in ours["spec"]["routes"][1:]] == [f"Host(`{PREVIEW}`)"]
    assert {part.keys for part in parts} == {frozenset({"alice"})}
    assert all(part.probe is not None and part.probe.name == part.name for part in parts)
    assert all(re.fullmatch(r"[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?", part.name) for part in parts)
    assert {part.obj["metadata"]["namespace"] for part in parts} == {"web"}


def test_the_entry_says_where_it_is_and_that_baggage_is_replaced() -> None:
    entry = entry_in(Objects(wish(), shop(), traefik(("web", 80))))
    assert (entry.source, entry.place["address"]) == ("shop/shop", f"http://{PREVIEW}")
    assert entry.doors == (Door("traefik.traefik.svc.cluster.local", 80, PREVIEW, is_gateway=True),)
    assert (
        entry.finding == "Traefik cannot add to a header, so baggage that a request brings is replaced by the tenant's"
    )
    assert entry_in(Objects(wish(), shop()), HeaderMode.EXACT).finding == ""


MARKS = {
    HeaderMode.BAGGAGE: {"baggage": "tenant=alice"},
    HeaderMode.EXACT: {"x-tenant-id": "alice"},
    HeaderMode.BOTH: {"baggage": "tenant=alice", "x-tenant-id": "alice"},
}


@pytest.mark.parametrize("mode", list(HeaderMode))
def test_every_rule_sets_the_tenants_headers_last(mode: HeaderMode) -> None:
    user = shop(route(f"Host(`{HOST}`)", "orders", middlewares=[{"name": "auth"}]))
    parts = parts_in(Objects(wish(), user), mode)
    leading = ingress_of(parts)["spec"]["routes"][1]
    assert leading["middlewares"][0] == {"name": "auth"}
    (middleware,) = [part.obj for part in parts if part.name == leading["middlewares"][-1]["name"]]
    assert middleware["spec"] == {"headers": {"customRequestHeaders": MARKS[mode]}}


READINGS = {
    "its own host": (f"Host(`{HOST}`)", True),
    "another host": ("Host(`b.example.com`)", False),
    "a host in other letters": ("Host(`SHOP.example.com.`)", True),
    "one of two": (f"Host(`{HOST}`) || Host(`b.example.com`)", True),
    "a pattern": ("HostRegexp(`^shop\\.`)", True),
    "not another host": ("!Host(`b.example.com`)", True),
    "a host and a path": (f"Host(`{HOST}`) && Path(`/a`)", Condition("Path", ("/a",))),
    "a path at any host": ("Path(`/a`) || Path(`/b`)", Or(Condition("Path", ("/a",)), Condition("Path", ("/b",)))),
    "another host or a path": ("Host(`b.example.com`) || Path(`/a`)", Condition("Path", ("/a",))),
    "not a path": (f"Host(`{HOST}`) && !Path(`/a`)", Not(Condition("Path", ("/a",)))),
    "two conditions": (
        "Path(`/a`) && Method(`GET`)",
        And(Condition("Path", ("/a",)), Condition("Method", ("GET",))),
    ),
}


@pytest.mark.parametrize(("text", "rest"), READINGS.values(), ids=READINGS)
def test_a_rule_at_a_known_host(text: str, rest: Any) -> None:
    assert at_host(parsed(text), HOST) == rest


# --- what Traefik makes of it


def check(
    objects: list[Object],
    request: Request,
    mode: HeaderMode,
    brought: list[tuple[str, str]],
    down: frozenset[str] = NOBODY,
    *,
    crowd: int = 0,
) -> bool:
    """Whether a preview was written; if so it is decided as the users' host, with the forks in place."""
    try:
        parts = parts_in(Objects(wish(of=HOST), *objects), mode)
    except InvalidInputError:
        return False
    ours = [part.obj for part in parts]
    others = rendered(objects, [tenant(f"t{number}", "orders") for number in range(crowd)], mode) if crowd else []
    everything = [*objects, *others, *ours]
    asked = request.with_headers(brought)
    deserved = {
        anonymous(with_forks(item, FORKS, down)) for item in decide(objects, _at(request, HOST), down) if item.owner
    }
    marked = {item["metadata"]["name"] for item in ours if "headers" in item["spec"]}
    for item in decide(everything, _at(asked, PREVIEW), down):
        found, is_marked = _without_mark(item, marked)
        assert anonymous(found) in deserved or (not deserved and found.answer == UNANSWERED)
        assert is_marked or not found.shares
    assert all(
        anonymous(item) in {anonymous(one) for one in decide([*objects, *others], _at(asked, host), down)}
        for host in (HOST, "api.example.com", "x.example.org")
        for item in decide(everything, _at(asked, host), down)
    )
    return True


def _at(request: Request, host: str) -> Request:
    return Request(request.path, host, request.method, request.headers, request.query, "web", request.is_tls)


def _without_mark(decision: Decision, names: set[str]) -> tuple[Decision, bool]:
    if not decision.rest:
        return decision, False
    rest = json.loads(decision.rest)
    before = rest.pop("middlewares", [])
    kept = [item for item in before if item["name"] not in names]
    rest |= {"middlewares": kept} if kept else {}
    return Decision("", decision.shares, json.dumps(rest, sort_keys=True), decision.answer), kept != before


@LOOK
@given(
    objects=users_ingress_routes(),
    request=requests,
    mode=modes,
    brought=st.sampled_from(HEADERS_OF_OTHERS),
    down=downs,
    crowd=st.sampled_from([0, 0, 25]),
)
def test_a_request_to_the_preview_is_routed_as_to_the_users_host(  # noqa: PLR0917 - what Hypothesis draws
    objects: list[Object],
    request: Request,
    mode: HeaderMode,
    brought: list[tuple[str, str]],
    down: frozenset[str],
    crowd: int,
) -> None:
    check(objects, request, mode, brought, down, crowd=crowd)


EXAMPLE = [
    shop(
        route(f"Host(`{HOST}`) && PathPrefix(`/a`)", "orders", middlewares=[{"name": "strip"}]),
        route(f"Host(`{HOST}`) && Path(`/a/b`)", through("both")),
        route(f"Host(`{HOST}`)", "ledger"),
        route("Host(`b.example.com`)", "inventory", priority=90_000),
    ),
    ingress_route("any", route("PathPrefix(`/any`)", "orders", priority=1_000_000)),
    traefik_service(
        "both", weighted={"services": [{"name": "orders", "port": 80, "weight": 3}, {"name": "ledger", "port": 80}]}
    ),
]


def check_example() -> None:
    for path in ("/", "/a", "/a/b", "/any/x", "/any"):
        for mode in HeaderMode:
            for down in (NOBODY, frozenset({"shop/orders-alice"})):
                for brought in ([], [("baggage", "tenant=bob")]):
                    assert check(EXAMPLE, Request(path=path), mode, brought, down, crowd=25)


def test_the_example_holds() -> None:
    check_example()


_true_rules = ingressroute_preview_table.rules_of


def _as_they_are(rules: Any, host: str) -> Any:
    return [{**item, "priority": item["priority"] - 2_000_000_000} for item in _true_rules(rules, host)]


def _in_no_order(rules: Any, host: str) -> Any:
    return [{**item, "priority": 2_000_000_001} for item in _true_rules(rules, host)]


def _hosts_alone(rules: Any, host: str) -> Any:
    return [{**item, "match": f"Host(`{host}`)"} for item in _true_rules(rules, host)][:1]


MUTATIONS = {
    "users' rules for any host come first": ("rules_of", _as_they_are),
    "users' order is lost": ("rules_of", _in_no_order),
    "rules ask for the host alone": ("rules_of", _hosts_alone),
    "a fork without a pod is no refusal": (
        "answered",
        lambda match, _, __, like: {**like, "match": match, "priority": 1},
    ),
}


@pytest.mark.parametrize(("name", "broken"), MUTATIONS.values(), ids=MUTATIONS)
def test_the_check_sees_a_broken_preview(name: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingressroute_preview, name, broken)
    with pytest.raises(AssertionError):
        check_example()


def test_probes_of_the_preview_come_before_its_rules() -> None:
    probing, *others = ingress_of(parts_in(Objects(wish(), shop())))["spec"]["routes"]
    assert "x-sidestream-probe" in probing["match"]
    assert all(probing["priority"] > item["priority"] for item in others)
    assert probing["priority"] < 2**31


# --- what is refused

REFUSED = {
    "nobody's rules": (
        Objects(wish()),
        "Nobody has rules at entry point web of Traefik of which a preview could be made; write a route there first",
    ),
    "rules at another entry point": (
        Objects(wish(), shop(entryPoints=["websecure"])),
        "Nobody has rules at entry point web of Traefik of which a preview could be made; write a route there first",
    ),
    "rules for another host": (
        Objects(wish(of="b.example.com"), shop()),
        f"Nobody has rules for host b.example.com at entry point web of Traefik; hosts there are {HOST}",
    ),
    "rules for several hosts": (
        Objects(wish(), shop(), shop(route("PathPrefix(`/`)", "web"), name="any")),
        f"There are rules for several hosts at entry point web of Traefik: any, {HOST}; name one in spec.preview.of",
    ),
    "rules for patterns": (
        Objects(wish(), shop(route("HostRegexp(`^shop\\.`)", "orders"))),
        "Rules at entry point web of Traefik ask for hosts by regular expressions; name one in spec.preview.of",
    ),
    "a host that is used": (
        Objects(wish(of=HOST), shop(route(f"Host(`{HOST}`) || Host(`{PREVIEW}`)", "orders"))),
        (
            f"Rule routes[0] of IngressRoute shop/shop has rules for host {PREVIEW}; choose a host that nobody has "
            "rules for"
        ),
    ),
    "a host that a pattern covers": (
        Objects(wish(of=HOST), shop(route("HostRegexp(`\\.example\\.com$`)", "orders"))),
        (
            f"Rule routes[0] of IngressRoute shop/shop has rules for host {PREVIEW}; choose a host that nobody has "
            "rules for"
        ),
    ),
    "rules for all hosts but the users'": (
        Objects(wish(of=HOST), shop(), shop(route(f"!Host(`{HOST}`)", "web"), name="others")),
        (
            f"Rule routes[0] of IngressRoute shop/others holds for host {PREVIEW} and not alike for {HOST}, so it "
            "would take requests of the preview; let it name the hosts that it is for"
        ),
    ),
    "rules that look at the header": (
        Objects(wish(), shop(route(f"Host(`{HOST}`) && Header(`Baggage`, `x`)", "orders"))),
        (
            "Rule routes[0] of IngressRoute shop/shop matches on header baggage, which names the tenants; match on "
            "another header"
        ),
    ),
    "rules that are not understood": (
        Objects(wish(), shop(route(f"Host(`{HOST}`)", "orders"), route(f"Hosts(`{HOST}`)", "orders"))),
        (
            "Rule routes[1] of IngressRoute shop/shop cannot be understood: Hosts is no condition of Traefik 3; "
            "correct the rule or remove it"
        ),
    ),
    "a priority without room": (
        Objects(wish(), shop(route(f"Host(`{HOST}`)", "orders", priority=80_000_000))),
        ("Rule routes[0] of IngressRoute shop/shop has priority 80000000; for a preview it may be at most 70000000"),
    ),
    "with TLS and without": (
        Objects(wish(), shop(), shop(route(f"Host(`{HOST}`) && Path(`/a`)", "orders"), name="secure", tls={})),
        (
            "IngressRoutes shop/secure and shop/shop at entry point web of Traefik differ in tls or in "
            "kubernetes.io/ingress.class, so a preview would have to be two; make them alike"
        ),
    ),
}


@pytest.mark.parametrize(("cluster", "sentence"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_a_sentence(cluster: Objects, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parts_in(cluster)
    assert (refused.value.reason, refused.value.message) == (Reason.ROUTE_CONFLICT, sentence)


def test_a_cluster_without_traefik_says_so() -> None:
    with pytest.raises(InvalidInputError, match="does not serve IngressRoute") as refused:
        entry_in(Objects(wish(), missing=[INGRESS_ROUTES]))
    assert refused.value.reason == Reason.MESH_NOT_FOUND


def test_our_own_objects_are_nobodys_rules() -> None:
    cluster = Objects(wish(), shop())
    again = Objects(wish(), shop(), *(part.obj for part in parts_in(cluster)))
    assert entry_in(again).rules == entry_in(cluster).rules
    assert IngressRouteProvider(HeaderSettings()).entries_of(ingress_of(parts_in(cluster)), again) == ()
