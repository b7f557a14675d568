"""The objects that Sidestream writes at Traefik, and what it says about users' IngressRoutes."""

from __future__ import annotations

from typing import Any

import pytest

from builders import annotated, having, in_namespace, labelled
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import INGRESS_ROUTES, MIDDLEWARES, TRAEFIK_SERVICES, Object
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind
from sidestream.routing.proof import hash_in_redirect
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.ingressroute_doors import SERVED_CLASS
from sidestream.routing.providers.ingressroute_render import GUARDED_FROM
from sidestream.routing.providers.provider import Part
from sidestream.routing.table import Tenant
from unit.routing.istio_things import Objects, host, tenant
from unit.routing.traefik_model import Decision, Request, decide
from unit.routing.traefik_things import ingress_route, route, through, traefik, traefik_service

KEY = EntryKey(EntryKind.INGRESS_ROUTE, "shop", "web")
ALICE = tenant("alice", "orders")
MATCH = "Host(`shop.example.com`)"
PATTERN = r"^(?:.*,)?[ \t]*tenant[ \t]*=[ \t]*alice[ \t]*(?:[;,].*)?$"
BY_HEADER = f"HeaderRegexp(`baggage`, `{PATTERN}`)"


def provider(mode: HeaderMode = HeaderMode.BAGGAGE) -> IngressRouteProvider:
    return IngressRouteProvider(HeaderSettings(mode=mode))


def entry(*objects: Object, key: EntryKey = KEY) -> Entry:
    found = provider().entry(key, Objects(*objects))
    assert found is not None
    return found


def parts(*objects: Object, tenants: list[Tenant] | None = None, mode: HeaderMode = HeaderMode.BAGGAGE) -> list[Part]:
    rendered = provider(mode).render(entry(*objects), tenants or [ALICE], Objects(*objects))
    return list(rendered.parts)


def of(resource: Any, found: list[Part]) -> list[Object]:
    return [part.obj for part in found if part.resource == resource]


def refusal(*objects: Object) -> str:
    with pytest.raises(InvalidInputError) as refused:
        entry(*objects)
    assert refused.value.reason == "RouteConflict"
    return refused.value.message


WEB = ingress_route("web", route(MATCH, "orders"))


# --- what is written


def test_beside_an_ingress_route_stand_the_tenants_rules_and_what_they_refer_to() -> None:
    refusing, redirect, whole = parts(WEB)
    assert redirect.probe is not None
    name = "sidestream-web-2-4d7cae78"
    spec = whole.obj["spec"]
    assert spec == {
        "entryPoints": ["web"],
        "routes": [
            {
                "kind": "Rule",
                "match": f"(Header(`x-sidestream-probe`, `{name}`) || "
                f"Header(`x-sidestream-probe`, `{redirect.name}`) || "
                f"Header(`x-sidestream-probe`, `{refusing.name}`)) && Method(`OPTIONS`) && "
                f"Path(`/sidestream.Probe/Ask`) && {MATCH}",
                "priority": 1_300_000_000,
                "middlewares": [{"name": redirect.name}],
                "services": [{"kind": "TraefikService", "name": "noop@internal"}],
            },
            {
                "kind": "Rule",
                "match": f"({MATCH}) && {BY_HEADER}",
                "priority": 1_000_000_000 + 2 * len(MATCH) + 1,
                "services": [{"name": "orders-alice", "port": 80}],
            },
            {
                "kind": "Rule",
                "match": f"(({MATCH})) && {BY_HEADER}",
                "priority": 1_000_000_000 + 2 * len(MATCH),
                "middlewares": [{"name": refusing.name}],
                "services": [{"kind": "TraefikService", "name": "noop@internal"}],
            },
        ],
    }
    assert whole.obj["metadata"] == {
        "name": name,
        "namespace": "shop",
        "labels": {"app.kubernetes.io/managed-by": "sidestream"},
        "annotations": {
            "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
            "argocd.argoproj.io/sync-options": "Prune=false",
            "sidestream.dev/entry": "IngressRoute shop/web",
            "sidestream.dev/overlays": "shop/web",
        },
    }
    assert refusing.obj["spec"] == {"ipAllowList": {"sourceRange": ["255.255.255.255/32"], "rejectStatusCode": 503}}


def test_every_object_is_proven_under_its_name_with_the_hash_to_which_the_probe_is_redirected() -> None:
    objects = [
        ingress_route("web", route(MATCH, through("weighted")), entryPoints=["web"]),
        traefik_service("weighted", weighted={"services": [{"name": "orders", "port": 80}]}),
    ]
    found = parts(*objects)
    probes = [part.probe for part in found if part.probe is not None]
    assert [probe.name for probe in probes] == [part.name for part in found]
    (answered,) = {probe.config_hash for probe in probes}
    for probe in probes:
        asked = Request("/sidestream.Probe/Ask", method="OPTIONS", headers=(("X-Sidestream-Probe", probe.name),))
        (decision,) = decide([*objects, *(part.obj for part in found)], asked)
        assert hash_in_redirect(str(decision.answer)) == answered


def test_the_hash_follows_whatever_changes_requests_and_nothing_else() -> None:
    def hashed(*objects: Object) -> str:
        probe = parts(*objects)[-1].probe
        assert probe is not None
        return probe.config_hash

    weighted = traefik_service("weighted", weighted={"services": [{"name": "orders", "port": 80}]})
    heavier = traefik_service("weighted", weighted={"services": [{"name": "orders", "port": 81}]})
    through_it = ingress_route("web", route(MATCH, through("weighted")))
    assert hashed(WEB) == hashed(ingress_route("web", route(MATCH, "orders")))
    assert hashed(WEB) != hashed(ingress_route("web", route(MATCH, "orders"), tls={}))
    assert hashed(through_it, weighted) != hashed(through_it, heavier)


def test_all_else_that_the_user_says_is_kept() -> None:
    written = {"middlewares": [{"name": "auth"}], "observability": {"tracing": False}, "priority": 7}
    reference = {"name": "orders", "port": "http", "sticky": {"cookie": {"name": "lb"}}, "serversTransport": "slow"}
    user = ingress_route(
        "web",
        route(MATCH, reference, **written),
        entryPoints=["web", "websecure"],
        tls={"secretName": "cert", "options": {"name": "modern"}},
    )
    annotated({"kubernetes.io/ingress.class": "internal", "owner": "team"})(user)
    labelled({"traefik": "internal", "app.kubernetes.io/instance": "web", "helm.sh/chart": "web-1"})(user)
    obj = of(INGRESS_ROUTES, parts(user))[0]
    clone = obj["spec"]["routes"][1]
    assert {key: clone[key] for key in written} == {**written, "priority": 1_000_000_015}
    assert clone["services"] == [{**reference, "name": "orders-alice"}]
    assert (obj["spec"]["entryPoints"], obj["spec"]["tls"]) == (user["spec"]["entryPoints"], user["spec"]["tls"])
    assert obj["metadata"]["annotations"]["kubernetes.io/ingress.class"] == "internal"
    assert "owner" not in obj["metadata"]["annotations"]
    assert obj["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "sidestream", "traefik": "internal"}


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (HeaderMode.BAGGAGE, BY_HEADER),
        (HeaderMode.EXACT, "Header(`x-tenant-id`, `alice`)"),
        (HeaderMode.BOTH, f"({BY_HEADER} || Header(`x-tenant-id`, `alice`))"),
    ],
)
def test_a_tenant_is_named_by_baggage_by_a_header_of_its_own_or_by_either(mode: HeaderMode, text: str) -> None:
    assert of(INGRESS_ROUTES, parts(WEB, mode=mode))[0]["spec"]["routes"][1]["match"] == f"({MATCH}) && {text}"


def test_a_tenant_without_a_fork_behind_the_rules_has_none() -> None:
    assert provider().render(entry(WEB), [tenant("alice", "ledger")], Objects(WEB)).parts == ()


def test_tenants_are_spread_by_their_keys_so_that_one_more_changes_one_object() -> None:
    few = [tenant(f"t{number}") for number in range(15)]
    before = {part.name: part for part in parts(WEB, tenants=few)}
    after = {part.name: part for part in parts(WEB, tenants=[*few, tenant("zoe")])}
    changed = [name for name, part in after.items() if part is not before.get(name)]
    assert len(of(INGRESS_ROUTES, [after[name] for name in changed])) == 1
    assert len(before) - len(before.keys() & after.keys()) <= 1


@pytest.mark.parametrize(
    ("count", "mode", "is_guarded"),
    [
        (GUARDED_FROM, HeaderMode.BAGGAGE, False),
        (GUARDED_FROM + 1, HeaderMode.BAGGAGE, True),
        (GUARDED_FROM + 1, HeaderMode.EXACT, True),
        (GUARDED_FROM + 1, HeaderMode.BOTH, True),
    ],
)
def test_many_tenants_are_guarded(count: int, mode: HeaderMode, *, is_guarded: bool) -> None:
    found = of(INGRESS_ROUTES, parts(WEB, tenants=[tenant(f"t{number:02}") for number in range(count)], mode=mode))
    guards = [obj for obj in found if "-guard-" in obj["metadata"]["name"]]
    assert bool(guards) is is_guarded
    if guards:
        rule = guards[0]["spec"]["routes"][1]
        assert rule["services"] == [{"name": "orders", "port": 80}]
        first = "x-tenant-id" if mode is HeaderMode.EXACT else "baggage"
        assert rule["match"].startswith(f"({MATCH}) && !HeaderRegexp(`{first}`, ")
        assert rule["match"].endswith(" && !HeaderRegexp(`x-sidestream-probe`, `.`)")
        assert rule["priority"] == 1_600_000_000 + 2 * len(MATCH)


def test_what_does_not_fit_into_an_object_is_refused() -> None:
    rules = [route(f"Host(`shop.example.com`) && Path(`/{number}/{'x' * 300}`)", "orders") for number in range(1000)]
    with pytest.raises(InvalidInputError, match=r"IngressRoute shop/web do not fit into objects of 900000 bytes"):
        parts(ingress_route("web", *rules))


def test_a_traefik_service_with_forks_stands_beside_the_users() -> None:
    weighted = traefik_service(
        "weighted",
        weighted={
            "services": [{"name": "orders", "port": 80, "weight": 3}, {"name": "canary", "port": 80}],
            "sticky": {"cookie": {}},
        },
    )
    found = parts(ingress_route("web", route(MATCH, through("weighted"))), weighted)
    (ours,) = of(TRAEFIK_SERVICES, found)
    assert ours["spec"] == {
        "weighted": {
            "services": [{"name": "orders-alice", "port": 80, "weight": 3}, {"name": "canary", "port": 80}],
            "sticky": {"cookie": {}},
        }
    }
    clone = of(INGRESS_ROUTES, found)[0]["spec"]["routes"][1]
    assert clone["services"] == [through(ours["metadata"]["name"])]


def test_requests_of_tenants_are_not_mirrored() -> None:
    mirroring = traefik_service(
        "mirroring", mirroring={"name": "orders", "port": 80, "mirrors": [{"name": "shadow", "percent": 5}]}
    )
    found = parts(ingress_route("web", route(MATCH, through("mirroring"))), mirroring)
    clone = of(INGRESS_ROUTES, found)[0]["spec"]["routes"][1]
    assert (clone["services"], of(TRAEFIK_SERVICES, found)) == ([{"name": "orders-alice", "port": 80}], [])


def test_a_traefik_service_of_another_namespace_is_repeated_there() -> None:
    mirroring = traefik_service("mirroring", mirroring={"name": "bills", "port": 80, "mirrors": []})
    weighted = traefik_service("weighted", weighted={"services": [{"name": "bills", "port": 80}]})
    for item in (mirroring, weighted):
        in_namespace("billing")(item)
    user = ingress_route(
        "web",
        route("Path(`/a`)", through("mirroring", namespace="billing")),
        route("Path(`/b`)", through("weighted", namespace="billing")),
    )
    fork = Tenant("alice", (tenant("alice", "bills").stand_ins[0],))
    objects = Objects(user, mirroring, weighted)
    found = provider().entry(KEY, objects)
    assert found is not None
    assert found.reaches == {host("bills", "billing")}
    stand_in = type(fork.stand_ins[0])(host("bills", "billing"), host("bills-alice", "billing"))
    rendered = provider().render(found, [Tenant("alice", (stand_in,))], objects)
    (ours,) = of(TRAEFIK_SERVICES, list(rendered.parts))
    assert ours["metadata"]["namespace"] == "billing"
    services = [item["services"] for item in of(INGRESS_ROUTES, list(rendered.parts))[0]["spec"]["routes"][1::2]]
    assert services == [
        [{"namespace": "billing", "name": "bills-alice", "port": 80}],
        [through(ours["metadata"]["name"], namespace="billing")],
    ]


# --- other IngressRoutes


def test_rules_of_others_that_come_first_are_excluded() -> None:
    api = ingress_route("api", route(f"{MATCH} && PathPrefix(`/api`)", "api"))
    in_namespace("billing")(api)
    (rule,) = entry(WEB, api).rules
    assert rule["match"] == f"({MATCH}) && !((HostRegexp(`^shop\\.example\\.com\\.?$`)) && (PathPrefix(`/api`)))"
    assert rule["priority"] == len(MATCH)


@pytest.mark.parametrize(
    "other",
    [
        ingress_route("api", route("Host(`api.example.com`) && PathPrefix(`/api`)", "api")),
        ingress_route("api", route(MATCH, "api", priority=1)),
        ingress_route("api", route(f"{MATCH} && PathPrefix(`/api`)", "api"), entryPoints=["internal"]),
        ingress_route("api", route(f"{MATCH} && PathPrefix(`/api`)", "api"), parentRefs=[{"name": "gate"}]),
        ingress_route(
            "api",
            route(f"{MATCH} && PathPrefix(`/api`)", "api"),
            modify=annotated({"kubernetes.io/ingress.class": "internal"}),
        ),
    ],
    ids=["of other hosts", "of a lower priority", "at other entry points", "under a parent", "of another Traefik"],
)
def test_rules_of_others_are_let_be(other: Object) -> None:
    found = entry(WEB, other)
    assert (found.rules[0]["match"], found.finding) == (MATCH, "")


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        (
            ingress_route("api", route(f"{MATCH} && Path(`/a`)", "api"), tls={}),
            (
                "Rule routes[0] of IngressRoute shop/api comes before routes[0] of IngressRoute shop/web at some of "
                "its entry points only; at the others requests that match both stay on the baseline; give both "
                "IngressRoutes the same entryPoints and tls"
            ),
        ),
        (
            ingress_route("api", route("PathPrefix(`/`)", "api", priority=len(MATCH))),
            (
                "Rules routes[0] of IngressRoute shop/web and routes[0] of IngressRoute shop/api have the same "
                "priority 24, so that Traefik chooses between them at random; give them different ones"
            ),
        ),
        (
            ingress_route("api", route("Path(`/a`) && Headers(`x`, `1`)", "api")),
            "Rule routes[0] of IngressRoute shop/api cannot be understood: Headers is no condition of Traefik 3",
        ),
    ],
    ids=["they share some traffic only", "they tie", "one cannot be read"],
)
def test_what_others_do_to_tenants_rules_is_said(other: Object, finding: str) -> None:
    assert entry(WEB, other).finding == finding


def test_two_rules_with_one_match_are_one_to_traefik_and_that_is_said() -> None:
    found = entry(ingress_route("web", route(MATCH, "ledger"), route(MATCH, "orders", priority=3)))
    assert [rule["services"][0]["name"] for rule in found.rules] == ["orders"]
    assert found.finding == (
        "Rules routes[0] and routes[1] of IngressRoute shop/web have the same match, of which Traefik uses the last"
    )


def test_traefik_services_that_cannot_be_looked_into_are_said() -> None:
    user = ingress_route("web", route(MATCH, through("elsewhere@file")), route("Path(`/x`)", through("odd")))
    odd = traefik_service("odd", failover={"service": "orders"})
    assert entry(user, odd).finding == ". ".join(
        f"IngressRoute shop/web leads to TraefikService {name}, into which Sidestream cannot see; requests that go "
        "there stay on the baseline"
        for name in ("elsewhere@file", "shop/odd")
    )


# --- what is refused


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (
            ingress_route("web", route(MATCH, "orders"), parentRefs=[{"name": "gate"}]),
            "IngressRoute shop/web is a child of another one (parentRefs), above which no tenant's rule can be put",
        ),
        (
            ingress_route("web", route(MATCH, "orders"), route("Host(`x`", "orders")),
            (
                "Rule routes[1] of IngressRoute shop/web cannot be understood: ')' is expected at the end; correct "
                "the rule or remove it"
            ),
        ),
        (
            ingress_route("web", route("Host(`x`)", "orders", syntax="v2")),
            (
                "Rule routes[0] of IngressRoute shop/web cannot be understood: it is in the syntax of Traefik 2; "
                "correct the rule or remove it"
            ),
        ),
        (
            ingress_route("web", route(MATCH)),
            (
                "Rule routes[0] of IngressRoute shop/web names no services and hands over to child IngressRoutes; "
                "name them here"
            ),
        ),
        (
            ingress_route("web", route(MATCH, "orders", priority=100_000_001)),
            (
                "Rule routes[0] of IngressRoute shop/web has priority 100000001, which leaves no room above it; "
                "choose one of at most 100000000"
            ),
        ),
    ],
    ids=["a child", "an unreadable rule", "the older syntax", "a parent", "a priority without room above it"],
)
def test_an_ingress_route_is_refused_that_is(user: Object, message: str) -> None:
    assert refusal(user) == message


# --- where it is asked


@pytest.mark.parametrize(
    ("user", "front", "door"),
    [
        (WEB, traefik(("web", 80), ("websecure", 443)), Door("", 80, "shop.example.com", is_gateway=True)),
        (
            ingress_route("web", route(MATCH, "orders"), entryPoints=["web", "websecure"], tls={}),
            traefik(("web", 80), ("websecure", 443)),
            Door("", 443, "shop.example.com", is_gateway=True, is_tls=True),
        ),
        (
            ingress_route("web", route(MATCH, "orders"), entryPoints=[]),
            traefik(("web", 80), ("websecure", 443)),
            Door("", 80, "shop.example.com", is_gateway=True),
        ),
        (
            ingress_route("web", route(MATCH, "orders"), entryPoints=["edge"]),
            traefik(("edge", 8080)),
            Door("", 8080, "shop.example.com", is_gateway=True),
        ),
        (
            ingress_route("web", route("PathPrefix(`/`)", "orders")),
            traefik(),
            Door("", 80, "traefik.traefik.svc.cluster.local", is_gateway=True),
        ),
    ],
    ids=["by name", "with TLS", "at default entry points", "at an entry point of another name", "for any host"],
)
def test_an_ingress_route_is_asked_for_at_traefiks_service(user: Object, front: Object, door: Door) -> None:
    address = "traefik.traefik.svc.cluster.local"
    expected = Door(address, door.port, door.host, is_gateway=True, is_tls=door.is_tls)
    assert entry(user, front).doors == (expected,)


@pytest.mark.parametrize(
    ("user", "front", "why"),
    [
        (WEB, traefik(("edge", 80)), "no Service labelled app.kubernetes.io/name=traefik has a port named web"),
        (
            WEB,
            traefik(("web", 80), modify=having("metadata.labels", {"app": "traefik"})),
            "no Service labelled app.kubernetes.io/name=traefik has a port named web",
        ),
        (
            WEB,
            traefik(("web", 80), modify=annotated({SERVED_CLASS: "internal"})),
            "no Service labelled app.kubernetes.io/name=traefik has a port named web",
        ),
        (
            ingress_route("web", route("HostRegexp(`.*`)", "orders")),
            traefik(),
            "no rule names a host in full, so no request of ours is known to come there",
        ),
    ],
    ids=["without that entry point", "that is not labelled", "of another class", "for hosts by pattern"],
)
def test_nothing_can_be_proven_at_a_traefik(user: Object, front: Object, why: str) -> None:
    found = entry(user, front)
    assert (found.doors, found.why_unprovable) == ((), why)


# --- what concerns what


def test_an_ingress_route_concerns_itself_and_those_that_it_shares_requests_with() -> None:
    near = ingress_route("near", route("PathPrefix(`/`)", "ledger"))
    far = ingress_route("far", route("Host(`far.example.com`)", "ledger"))
    objects = Objects(WEB, near, far)
    assert [key.name for key in provider().entries_of(WEB, objects)] == ["web", "near"]
    assert provider().destinations(near, "cluster.local") == {host("ledger")}


def test_a_traefik_service_concerns_those_that_lead_there_through_others_too() -> None:
    inner = traefik_service("inner", weighted={"services": [{"name": "orders", "port": 80}]})
    outer = traefik_service("outer", weighted={"services": [through("inner")]})
    user = ingress_route("web", route(MATCH, through("outer")))
    objects = Objects(inner, outer, user, ingress_route("other", route(MATCH, "orders")))
    assert list(provider().entries_of(inner, objects)) == [KEY]
    assert provider().destinations(inner, "cluster.local") == {host("orders")}
    assert provider().destinations(user, "cluster.local") == frozenset()


def test_ours_is_nobodys_entry() -> None:
    ours = of(INGRESS_ROUTES, parts(WEB))[0]
    name = ours["metadata"]["name"]
    assert provider().entry(EntryKey(EntryKind.INGRESS_ROUTE, "shop", name), Objects(WEB, ours)) is None
    assert list(provider().entries_of(ours, Objects(WEB, ours))) == []
    assert entry(WEB, ours) == entry(WEB)


def test_an_ingress_route_that_is_not_there_is_no_entry() -> None:
    assert provider().entry(KEY, Objects()) is None


def test_a_probe_is_answered_among_many_tenants_too() -> None:
    found = parts(WEB, tenants=[tenant(f"t{number:02}") for number in range(GUARDED_FROM + 1)])
    objects = [WEB, *(part.obj for part in found)]
    probe = found[-1].probe
    assert probe is not None
    asked = Request("/sidestream.Probe/Ask", method="OPTIONS", headers=(("x-sidestream-probe", probe.name),))
    (decision,) = decide(objects, asked)
    assert decision == Decision("", frozenset(), "", f"http://{probe.config_hash}.sidestream-probe.invalid/")


def test_middlewares_come_before_what_refers_to_them() -> None:
    kinds = [part.resource for part in parts(WEB)]
    assert kinds == [MIDDLEWARES, MIDDLEWARES, INGRESS_ROUTES]


def test_no_rule_looks_at_the_header_of_other_hosts_requests() -> None:
    """Traefik tries the rules of all hosts for every request: a thousand regexes would cost all of them."""
    tenants_rules = [rule for obj in of(INGRESS_ROUTES, parts(WEB)) for rule in obj["spec"]["routes"]]
    by_header = [rule["match"] for rule in tenants_rules if "HeaderRegexp(`baggage`" in rule["match"]]
    assert len(by_header) == 2
    assert all(match.index("Host(") < match.index("HeaderRegexp(") for match in by_header)
    assert len(set(by_header)) == 2, "Traefik keeps one of two rules with one text"
