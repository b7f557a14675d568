"""A tenant's request is decided as anybody's, with the forks for the baseline, whichever product decides.

`SIDESTREAM_EXAMPLES` says how many sets of routes are looked at in all; `make test` takes the default.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from builders import Modifier, created, having, in_namespace, service
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import REFERENCE_GRANTS, Object
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers import (
    httproute_mesh,
    httproute_precedence,
    httproute_render,
    httproute_rules,
    httproute_shards,
)
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.httproute_precedence import Condition, Precedence
from sidestream.routing.providers.httproute_render import GroupRenderer
from sidestream.routing.providers.httproute_rules import RouteDialect
from sidestream.routing.table import StandIn, Tenant
from unit.routing import gateway_model as model
from unit.routing.examples import EXAMPLES
from unit.routing.gateway_model import Decision, Product, Request
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
    mesh,
    prefix,
    regex,
    to,
)

SHARES = {"mesh": 40, "gateway": 40, "grpc": 20}
"""Per cent of the examples."""

MUTANT_EXAMPLES = 1500
"""Sets of routes within which a mutation has to show; most do in the first hundred."""


def _tenant(key: str, *services: tuple[str, str]) -> Tenant:
    return Tenant(
        key, tuple(sorted(StandIn(ServiceHost(*item), ServiceHost(item[0], f"{item[1]}-{key}")) for item in services))
    )


TENANTS = [
    _tenant("alice", ("shop", "orders"), ("shop", "inventory"), ("web", "orders")),
    _tenant("bob", ("shop", "orders")),
]
FORKS = {
    tenant.key: {
        (item.service.namespace, item.service.name): (item.fork.namespace, item.fork.name) for item in tenant.stand_ins
    }
    for tenant in TENANTS
}
HEADERS = {
    HeaderMode.BAGGAGE: [{"baggage": "tenant={}"}, {"baggage": "a=b, tenant = {};p=1"}],
    HeaderMode.EXACT: [{"x-tenant-id": "{}"}],
    HeaderMode.BOTH: [
        {"baggage": "a=b,tenant={}"},
        {"x-tenant-id": "{}"},
        {"x-tenant-id": "{}", "baggage": "tenant={}"},
    ],
}
OF_OTHERS: list[dict[str, str]] = [{}, {"baggage": "a=b"}, {"baggage": "tenant=carol"}, {"x-tenant-id": "carol"}]

# --- what users write

mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}}
replace_prefix = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/n"}},
}
set_header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}
redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.example.com"}}

weights = st.sampled_from([0, 1, 1, 3])
backends = st.builds(
    lambda name, weight, namespace, filters: to(
        name,
        weight=weight,
        **({"namespace": namespace} if namespace else {}),
        **({"filters": filters} if filters else {}),
    ),
    st.sampled_from(["orders", "orders", "inventory", "billing"]),
    weights,
    st.sampled_from(["", "", "shop", "web"]),
    st.sampled_from([[], [], [], [mirror], [set_header]]),
)
headers = st.lists(
    st.sampled_from([header(), header("x-c", "2"), header("X-Beta", "[01]", "RegularExpression")]),
    max_size=2,
    unique_by=lambda item: str(item["name"]).lower(),
)
paths = st.sampled_from(
    [
        {},
        {},
        prefix(),
        prefix("/a"),
        prefix("/a/"),
        prefix("/a/b"),
        exact("/a"),
        exact("/a/b"),
        regex("/a.*"),
        regex("/[ab]/?.*"),
    ]
)
http_matches = st.builds(
    lambda path, fields: {**path, **{key: value for key, value in fields.items() if value}},
    paths,
    st.fixed_dictionaries(
        {},
        optional={
            "method": st.sampled_from(["GET", "POST"]),
            "headers": headers,
            "queryParams": st.just([{"type": "Exact", "name": "q", "value": "1"}]),
        },
    ),
)
calls = st.sampled_from(
    [
        {},
        {"method": {"service": "s.Cart"}},
        {"method": {"type": "Exact", "service": "s.Cart", "method": "Add"}},
        {"method": {"method": "Add"}},
        {"method": {"type": "RegularExpression", "service": r"s\..*", "method": "A.*"}},
        {"method": {"type": "RegularExpression", "service": "s.Cart"}},
    ]
)
grpc_matches = st.builds(lambda call, found: {**call, **({"headers": found} if found else {})}, calls, headers)


def _rules(matches: st.SearchStrategy[Any], filters: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[Any]:
    forwarding = st.fixed_dictionaries(
        {"backendRefs": st.lists(backends, min_size=1, max_size=3)},
        optional={
            "matches": st.lists(matches, max_size=3),
            "filters": filters,
            "timeouts": st.just({"request": "3s"}),
            "aFieldOfTheFuture": st.just({"deep": [1]}),
            "name": st.just("mine"),
        },
    )
    return st.lists(forwarding, min_size=1, max_size=size)


http_filters = st.lists(st.sampled_from([mirror, set_header]), max_size=2, unique_by=lambda item: str(item["type"]))
http_rules = st.builds(
    lambda rules, extra: [*rules, *extra],
    _rules(http_matches, http_filters, 4),
    st.sampled_from(
        [
            [],
            [],
            [{"matches": [exact("/a")], "filters": [redirect]}],
            [{"matches": [prefix("/a")], "filters": [replace_prefix], "backendRefs": [to()]}],
        ]
    ),
)
# rules that rival each other: paths that are alike, and little else than numbers of conditions to tell them apart
rival_matches = st.builds(
    lambda path, method, found, query: {
        **path,
        **({"method": "GET"} if method else {}),
        **({"headers": [header(), header("x-c", "2")][:found]} if found else {}),
        **({"queryParams": [{"type": "Exact", "name": "q", "value": "1"}]} if query else {}),
    },
    st.sampled_from([prefix("/a"), prefix("/a"), prefix("/a/b"), exact("/a/b"), prefix("/a/b/c")]),
    st.booleans(),
    st.sampled_from([0, 0, 1, 2]),
    st.booleans(),
)
rival_rules = st.lists(
    st.builds(
        lambda found, name: {"matches": found, "backendRefs": [to(name)]},
        st.lists(rival_matches, min_size=1, max_size=2),
        st.sampled_from(["orders", "billing", "inventory"]),
    ),
    min_size=2,
    max_size=5,
)
rival_requests = st.builds(
    Request,
    path=st.sampled_from(["/a", "/a/b", "/a/b/c"]),
    headers=st.sampled_from([{"x-beta": "1"}, {"x-beta": "1", "x-c": "2"}]),
    query=st.just({"q": "1"}),
)
grpc_rules = _rules(grpc_matches, http_filters, 4)
times = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-03-01T00:00:00Z"])
our_times = st.lists(
    st.sampled_from(["2025-12-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z"]),
    min_size=3,
    max_size=3,
)
modes = st.sampled_from(list(HeaderMode))

http_requests = st.builds(
    Request,
    path=st.sampled_from(["/", "/a", "/a/", "/a/b", "/b/c", "/ab"]),
    method=st.sampled_from(["GET", "POST"]),
    headers=st.sampled_from([{}, {"x-beta": "1"}, {"x-beta": "0"}, {"x-beta": "1", "x-c": "2"}]),
    query=st.sampled_from([{}, {"q": "1"}]),
    host=st.sampled_from(["shop.example.com", "other.example.com", "example.org"]),
)
grpc_requests = st.builds(
    Request,
    path=st.sampled_from(["/s.Cart/Add", "/s.Cart/Drop", "/s.Other/Add", "/x/y"]),
    method=st.just("POST"),
    headers=st.sampled_from([{}, {"x-beta": "1"}, {"x-beta": "1", "x-c": "2"}]),
    host=st.sampled_from(["shop.example.com", "other.example.com"]),
)

# --- a cluster, and what becomes of requests in it


@dataclass
class World:
    """Users' objects, and how the provider has answered them."""

    users: list[Object]
    mode: HeaderMode
    times: list[str]
    others: list[Object] = field(default_factory=list)
    ours: list[Object] = field(default_factory=list)
    first: list[Object] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    @property
    def grants(self) -> list[Object]:
        return [item for item in (*self.others, *self.ours) if item["kind"] == REFERENCE_GRANTS.kind]

    def render(self, keys: Iterable[EntryKey]) -> None:
        cluster = FakeCluster(*self.users, *self.others)
        provider = HTTPRouteProvider(HeaderSettings(mode=self.mode))
        for key in sorted(keys):
            try:
                entry = provider.entry(key, cluster)
                parts = () if entry is None else provider.render(entry, TENANTS, cluster).parts
            except InvalidInputError:
                self.refused.add(f"{key.namespace}/{key.name}")
                continue
            self.ours += [part.obj for part in parts]
            self.first += [part.obj for part in parts if part.stage == 0]
        for number, obj in enumerate(self.ours):
            obj["metadata"]["creationTimestamp"] = self.times[number % len(self.times)]


Decide = Callable[[Request, Product], Decision | None]
Entrance = Callable[[Sequence[Object]], Decide]
"""What decides requests by these routes."""


def check(world: World, requests: Sequence[Request], products: Sequence[Product], entrance: Entrance) -> None:
    before = entrance(world.users)
    after = entrance([*world.users, *world.ours])
    half_way = entrance([*world.users, *world.first])
    for request in requests:
        for other in OF_OTHERS:
            asked = request.with_headers(other)
            for product in products:
                expected = _or_random(before, asked, product)
                assert _or_random(after, asked, product) == expected
                assert _or_random(half_way, asked, product) == expected
        for tenant, template in itertools.product(TENANTS, HEADERS[world.mode]):
            asked = request.with_headers({name: text.format(tenant.key) for name, text in template.items()})
            for product in products:
                _check_tenant(world, tenant, _or_random(before, asked, product), _or_random(after, asked, product))


def _check_tenant(world: World, tenant: Tenant, before: Decision | str | None, after: Decision | str | None) -> None:
    if isinstance(before, str):
        return
    expected = model.swapped(before, FORKS[tenant.key])
    if before is not None and before.route in world.refused:
        assert after in (before, expected)
    else:
        assert after == expected


def _or_random(decide: Decide, asked: Request, product: Product) -> Decision | str | None:
    try:
        return decide(asked, product)
    except model.AmbiguousError:
        return "at random"


# --- the property in the mesh

few = st.sampled_from(["a", "b", "c"])
Written = list[tuple[list[dict[str, Any]], str, str]]
"""For each route its rules, its age and the first letter of its name."""


@dataclass
class MeshCase:
    """Routes with Service `orders` as parent, with a port or without, and requests to it."""

    make: Callable[..., Object]
    written: Written
    mode: HeaderMode
    form: int | None
    our: list[str]
    requests: tuple[Request, ...]

    def is_routed(self) -> bool:
        """Checks the property, and says whether anything was written."""
        ref = mesh() if self.form is None else mesh(port=self.form)
        users = [
            self.make(f"{name}{number}", *rules, parentRefs=[ref], modifiers=[created(at)])
            for number, (rules, at, name) in enumerate(self.written)
        ]
        world = World(users, self.mode, self.our, [service("orders"), service("inventory")])
        world.render([EntryKey(EntryKind.MESH, "shop", "orders")])
        if not world.refused:
            check(
                world,
                self.requests,
                model.CONFORMANT,
                lambda routes: model.Mesh(routes, ("shop", "orders"), 80).decide,
            )
        return not world.refused


http_in_the_mesh = st.builds(
    MeshCase,
    st.just(http_route),
    st.lists(st.tuples(st.one_of(http_rules, rival_rules), times, few), max_size=3),
    modes,
    st.sampled_from([None, None, 80]),
    our_times,
    st.tuples(http_requests, rival_requests),
)
grpc_in_the_mesh = st.builds(
    MeshCase,
    st.just(grpc_route),
    st.lists(st.tuples(grpc_rules, times, few), min_size=1, max_size=2),
    modes,
    st.sampled_from([None, None, 80]),
    our_times,
    st.tuples(grpc_requests, grpc_requests),
)


def look(share: str) -> settings:
    return settings(
        max_examples=max(1, EXAMPLES * SHARES[share] // 100),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@look("mesh")
@given(http_in_the_mesh)
def test_callers_in_the_mesh(case: MeshCase) -> None:
    case.is_routed()


@look("grpc")
@given(grpc_in_the_mesh)
def test_callers_of_grpc_in_the_mesh(case: MeshCase) -> None:
    case.is_routed()


# --- the property at gateways


@dataclass(frozen=True)
class Site:
    """Where a route is, and for which hosts."""

    namespace: str = "shop"
    hostnames: tuple[str, ...] = ("shop.example.com",)


sites = st.one_of(
    st.just(Site()),
    st.builds(
        Site,
        st.sampled_from(["shop", "web"]),
        st.sampled_from([("shop.example.com",), (), ("*.example.com",), ("shop.example.com", "example.org")]),
    ),
)


@dataclass
class GatewayCase:
    """Routes with Gateway infra/edge as parent, whose class is `controller`'s, and requests to it."""

    make: Callable[..., Object]
    written: list[tuple[list[dict[str, Any]], str, str, Site]]
    mode: HeaderMode
    controller: str
    granted: list[str]
    our: list[str]
    requests: tuple[Request, ...]

    def is_routed(self) -> bool:
        """Checks the property, and says whether nothing was refused."""
        users = [self._route(number, *item) for number, item in enumerate(self.written)]
        others = [gateway(), gateway_class(self.controller), service("orders")]
        others += [
            grant("all", of=namespace, source=source, kind=users[0]["kind"])
            for namespace, source in (("shop", "web"), ("web", "shop"))
            if namespace in self.granted
        ]
        world = World(users, self.mode, self.our, others)
        provider, cluster = HTTPRouteProvider(HeaderSettings()), FakeCluster(*users, *others)
        world.render({key for route in users for key in provider.entries_of(route, cluster)})
        products = [Product.TRAEFIK] if self.controller.startswith("traefik") else model.CONFORMANT

        def entrance(routes: Sequence[Object]) -> Decide:
            # grants of ours are there when routes of ours are
            has_ours = any(route not in world.users for route in routes)
            grants = [item for item in world.grants if has_ours or item in world.others]
            found = [item for item in routes if item["kind"] == users[0]["kind"]]
            return model.Gateway(found, ("infra", "edge"), grants).decide

        check(world, self.requests, products, entrance)
        return not world.refused

    def _route(self, number: int, rules: list[dict[str, Any]], at: str, name: str, site: Site) -> Object:
        modifiers: list[Modifier] = [created(at), in_namespace(site.namespace)]
        if site.hostnames:
            modifiers.append(having("spec.hostnames", list(site.hostnames)))
        return self.make(f"{name}{number}", *rules, parentRefs=[GATEWAY], modifiers=modifiers)


controllers = st.sampled_from(["istio.io/gateway-controller", "traefik.io/gateway-controller"])
grants = st.sampled_from([[], ["shop"], ["shop", "web"]])


def at_a_gateway(
    make: Callable[..., Object], rules: st.SearchStrategy[Any], requests: st.SearchStrategy[Any]
) -> st.SearchStrategy[GatewayCase]:
    written = st.tuples(rules, times, few, sites)
    several = st.lists(written, min_size=2, max_size=3)
    return st.builds(
        GatewayCase,
        st.just(make),
        st.one_of(st.lists(written, min_size=1, max_size=1), several),
        modes,
        controllers,
        grants,
        our_times,
        requests,
    )


http_at_a_gateway = at_a_gateway(
    http_route, st.one_of(http_rules, rival_rules), st.tuples(http_requests, rival_requests)
)
grpc_at_a_gateway = at_a_gateway(grpc_route, grpc_rules, st.tuples(grpc_requests, grpc_requests))


@look("gateway")
@given(http_at_a_gateway)
def test_requests_from_outside(case: GatewayCase) -> None:
    case.is_routed()


@look("grpc")
@given(grpc_at_a_gateway)
def test_calls_of_grpc_from_outside(case: GatewayCase) -> None:
    case.is_routed()


# --- most of what is looked at is routed


@pytest.mark.parametrize(("cases", "least"), [(http_in_the_mesh, 95), (http_at_a_gateway, 55)], ids=["mesh", "gateway"])
def test_most_sets_of_routes_are_not_refused(cases: st.SearchStrategy[MeshCase | GatewayCase], least: int) -> None:
    seen: list[bool] = []

    @settings(max_examples=100, derandomize=True, database=None, deadline=None)
    @given(cases)
    def count(case: MeshCase | GatewayCase) -> None:
        case.requests = ()
        seen.append(case.is_routed())

    count()
    assert 100 * sum(seen) >= least * len(seen)


# --- the property sees every way to get it wrong

Patch = Callable[[pytest.MonkeyPatch], None]


def _copy_only_what_leads_to_forks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Precedence, "closure", lambda _, seeds: sorted(seeds))


def _copy_only_what_rivals_the_seeds(patch: pytest.MonkeyPatch) -> None:
    def one_step(self: Precedence, seeds: Iterable[int]) -> list[int]:
        items, found = self._items, set(seeds)
        for seed in list(found):
            found |= {index for index in self._rivals(items[seed]) if self._may_be_overtaken(items[index], items[seed])}
        return sorted(found)

    patch.setattr(Precedence, "closure", one_step)


def _trust_the_order_of_the_specification(patch: pytest.MonkeyPatch) -> None:
    def outnumbers(self: Condition, other: Condition) -> bool:
        return self._counts > other._counts

    patch.setattr(Condition, "outnumbers", outnumbers)


def _trust_that_types_of_paths_decide(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        httproute_precedence.Path,
        "may_rank_equal",
        lambda self, other: (self.kind, self._start) == (other.kind, other._start),
    )


def _forget_that_slashes_do_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(httproute_precedence.Path, "may_rank_equal", lambda self, other: self == other)


def _take_traefik_for_conformant(patch: pytest.MonkeyPatch) -> None:
    real = Precedence.__init__
    patch.setattr(Precedence, "__init__", lambda self, items, **_: real(self, items, is_weighted=False))


def _take_ties_as_broken(patch: pytest.MonkeyPatch) -> None:
    def without_ties(self: Condition, other: Condition) -> bool:
        return all(one >= another for one, another in zip(self._counts, other._counts, strict=True))

    patch.setattr(Condition, "outnumbers", without_ties)


def _part_what_only_age_orders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(httproute_shards, "ties", lambda _, **__: [])
    patch.setattr(httproute_shards, "_ROOM_FOR_RULES", 1)


def _reverse_the_copies(patch: pytest.MonkeyPatch) -> None:
    real = httproute_shards.sharded
    patch.setattr(httproute_render, "sharded", lambda *given, **more: [rules[::-1] for rules in real(*given, **more)])


def _keep_the_mirrors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(httproute_rules, "_TRIAL", "")


def _mirror_nothing_at_all(patch: pytest.MonkeyPatch) -> None:
    real = RouteDialect.for_tenant

    def spared(self: RouteDialect, rule: Any, *rest: Any) -> Any:
        return real(self, httproute_rules._without_trials(rule), *rest)

    patch.setattr(RouteDialect, "for_tenant", spared)


def _drop_other_backends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(httproute_rules, "_merged", lambda found: found[:1])


def _merge_unlike_backends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(httproute_rules, "_without_weight", lambda backend: backend["name"])


def _forget_weights_when_merging(patch: pytest.MonkeyPatch) -> None:
    def merged(found: list[Any]) -> list[Any]:
        return [item for place, item in enumerate(found) if item not in found[:place]]

    patch.setattr(httproute_rules, "_merged", merged)


def _ignore_namespaces(patch: pytest.MonkeyPatch) -> None:
    def anywhere(backend: Any, namespace: str, domain: str) -> ServiceHost:
        return ServiceHost(namespace, backend["name"], domain)

    patch.setattr(httproute_rules, "service_of", anywhere)


def _copy_only_the_first_alternative(patch: pytest.MonkeyPatch) -> None:
    real = RouteDialect.for_tenant

    def partly(self: RouteDialect, rule: Any, matches: Sequence[Any], tenant: Tenant) -> Any:
        return real(self, rule, matches[:1], tenant)

    patch.setattr(RouteDialect, "for_tenant", partly)


def _ask_for_no_header(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(httproute_rules, "narrowed", lambda match, _: match)


def _write_no_guard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GroupRenderer, "guard", lambda _: ())


def _always_guard(patch: pytest.MonkeyPatch) -> None:
    real = httproute_mesh._guarded_groups
    patch.setattr(httproute_mesh, "_guarded_groups", lambda service, _, host: real(service, [], host))


def _speak_of_the_port_always(patch: pytest.MonkeyPatch) -> None:
    real = httproute_mesh._group
    patch.setattr(
        httproute_mesh,
        "_group",
        lambda resource, host, port, rules, **more: real(resource, host, port or 80, rules, **more),
    )


MUTANTS: dict[str, tuple[str, Patch]] = {
    "only rules to forks are copied": ("mesh", _copy_only_what_leads_to_forks),
    "rivals of rivals are not copied": ("mesh", _copy_only_what_rivals_the_seeds),
    "all are taken to order as the specification": ("mesh", _trust_the_order_of_the_specification),
    "types of paths are taken to decide": ("mesh", _trust_that_types_of_paths_decide),
    "slashes at the end of prefixes count": ("mesh", _forget_that_slashes_do_not_count),
    "Traefik is taken for conformant": ("gateway", _take_traefik_for_conformant),
    "ties are taken as broken": ("mesh", _take_ties_as_broken),
    "what only age orders is parted": ("mesh", _part_what_only_age_orders),
    "the copies come in reverse": ("mesh", _reverse_the_copies),
    "mirrors are kept": ("mesh", _keep_the_mirrors),
    "mirrors of rules that lead elsewhere are dropped": ("mesh", _mirror_nothing_at_all),
    "other backends are dropped": ("mesh", _drop_other_backends),
    "backends that differ are merged": ("mesh", _merge_unlike_backends),
    "merged backends lose their weights": ("mesh", _forget_weights_when_merging),
    "namespaces of backends are ignored": ("mesh", _ignore_namespaces),
    "only the first alternative is copied": ("mesh", _copy_only_the_first_alternative),
    "the header is not asked for": ("mesh", _ask_for_no_header),
    "the guard is missing": ("mesh", _write_no_guard),
    "there is a guard beside users' rules": ("mesh", _always_guard),
    "the port is named though users do not": ("mesh", _speak_of_the_port_always),
}


@pytest.mark.parametrize(("where", "mutant"), MUTANTS.values(), ids=MUTANTS)
def test_the_property_catches_a_provider_in_which(where: str, mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    cases: st.SearchStrategy[MeshCase | GatewayCase] = http_in_the_mesh if where == "mesh" else http_at_a_gateway

    @settings(
        look("mesh"),
        max_examples=MUTANT_EXAMPLES,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
    )
    @given(cases)
    def look_closely(case: MeshCase | GatewayCase) -> None:
        case.is_routed()

    with pytest.raises(AssertionError):
        look_closely()
