"""Whatever users have written and however we stand to it: tenants meet their forks, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from builders import annotated, created, having, in_namespace, namespace, selecting, service, thing
from sidestream.api.labels import ROUTING, ROUTING_PATCH
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import ISTIO_GATEWAYS, VIRTUAL_SERVICES, Object
from sidestream.routing.entries import EntryKey, EntryKind, Mode
from sidestream.routing.providers import (
    virtualservice,
    virtualservice_delegates,
    virtualservice_edge,
    virtualservice_render,
    virtualservice_user,
)
from sidestream.routing.providers.virtualservice import GUARDED_FROM, VirtualServiceProvider
from sidestream.routing.providers.virtualservice_patch import without_rules
from sidestream.routing.table import Rule
from unit.routing.examples import LOOK
from unit.routing.istio_model import Request, decide, with_forks
from unit.routing.istio_strategies import (
    EXTRAS,
    HEADERS_OF_ALICE,
    HEADERS_OF_OTHERS,
    forked,
    matches,
    modes,
    requests,
    rules_with,
)
from unit.routing.istio_things import MESH_ORDERS, Objects, host, shop, tenant
from unit.routing.istiod_model import Proxy, at_gateway, at_sidecar
from unit.routing.things import ORDERS_FQDN, virtual_service

Rules = list[dict[str, Any]]
View = Callable[[list[Object], int], Rules]
"""The rules that a proxy has on a port when there are these VirtualServices."""

EDGE = "istio-system/edge"
AT_EDGE = Proxy("istio-system", {"istio": "edge", "app": "edge"}, EDGE)
PATCHED = {ROUTING: ROUTING_PATCH}

# --- what users write


def _also(match: dict[str, Any], gateways: list[str] | None, labels: dict[str, str] | None) -> dict[str, Any]:
    return {
        **match,
        **({} if gateways is None else {"gateways": gateways}),
        **({} if labels is None else {"sourceLabels": labels}),
    }


where = st.sampled_from([None, None, None, ["mesh"], [EDGE], ["mesh", EDGE]])
whose = st.sampled_from([None, None, None, None, {"app": "web"}, {"istio": "edge"}, {"istio": "other"}])
everything = st.sampled_from([{"uri": {"prefix": "/"}}, {"port": 80}, {"port": 81}])
alternatives = st.lists(st.builds(_also, st.one_of(matches, matches, everything), where, whose), max_size=2)

plain_rules = rules_with(alternatives)


def _handover(name: dict[str, str], match: Rules, more: dict[str, Any]) -> dict[str, Any]:
    return {"delegate": name, **more, **({"match": match} if match else {})}


handovers = st.builds(
    _handover,
    st.sampled_from([{"name": "part"}, {"name": "part", "namespace": "billing"}]),
    alternatives,
    st.sampled_from([{}, *EXTRAS[:-1]]),
)
root_rules = st.lists(st.one_of(plain_rules, plain_rules, plain_rules, handovers), min_size=1, max_size=5)
delegated_rules = st.lists(plain_rules, min_size=1, max_size=3)


def _delegates(in_shop: Rules, in_billing: Rules) -> list[Object]:
    return [
        virtual_service("part", *in_shop, hosts=[]),
        thing(VIRTUAL_SERVICES, "part", {"spec": {"http": in_billing}}, in_namespace("billing")),
    ]


delegates = st.builds(_delegates, delegated_rules, delegated_rules)


@dataclass(frozen=True)
class Asked:
    """A request, how it names its tenant, what alice has forked, and how many tenants more there are."""

    request: Request
    mode: HeaderMode
    named: int
    forked: Sequence[str]
    crowd: int


asked = st.builds(Asked, requests, modes, st.integers(0, 1), forked, st.sampled_from([0, 0, 0, GUARDED_FROM]))


# --- the property


def check(before: list[Object], after: list[Object], view: View, asked: Asked) -> None:
    """Alice meets her forks, everybody else what they met before, on a proxy with this view."""
    request = asked.request
    users, ours = view(before, request.port), view(after, request.port)
    tagged = request.with_headers(HEADERS_OF_ALICE[asked.mode][asked.named % len(HEADERS_OF_ALICE[asked.mode])])
    forks = {name: host(f"{name}-alice").fqdn for name in asked.forked}
    assert decide(ours, tagged) == with_forks(decide(users, tagged), forks)
    for headers in HEADERS_OF_OTHERS:
        other = request.with_headers(headers)
        assert decide(ours, other) == decide(users, other)


def written(cluster: Objects, keys: Sequence[EntryKey], asked: Asked) -> list[Object] | None:
    """All VirtualServices when those entries have been written that are not refused; None when all are."""
    provider = VirtualServiceProvider(HeaderSettings(mode=asked.mode))
    tenants = [tenant("alice", *asked.forked), tenant("bob", "orders", "inventory")]
    tenants += [tenant(f"t{number}") for number in range(asked.crowd)]
    objects = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item for item in cluster.all(VIRTUAL_SERVICES)
    }
    refused = 0
    for key in keys:
        try:
            entry = provider.entry(key, cluster)
        except InvalidInputError:
            refused += 1
            continue
        assert entry is not None
        for part in provider.render(entry, sorted(tenants), cluster).parts:
            metadata = {"creationTimestamp": "2031-01-01T00:00:00Z", **part.obj["metadata"]}
            objects[metadata["namespace"], metadata["name"]] = {**part.obj, "metadata": metadata}
    return list(objects.values()) if refused < len(keys) else None


# --- in the mesh

PORTS = having("spec.ports", [{"name": "http-a", "port": 80}, {"name": "http-b", "port": 81}])


@dataclass(frozen=True)
class Mesh:
    """A user's VirtualService for sidecars, of which `is_first` says where it hands over to ours if it does."""

    mode: Mode
    rules: Rules
    is_first: bool
    gateways: list[str] | None
    proxy: Proxy

    def virtual_service(self) -> Object:
        handover: Rules = [{"delegate": {"name": "sidestream-orders"}}] if self.mode is Mode.DELEGATE else []
        http = [*handover, *self.rules] if self.is_first else [*self.rules, *handover]
        spec = {} if self.gateways is None else {"gateways": self.gateways}
        return virtual_service("mine", *http, **spec, hosts=["orders"])


def check_in_the_mesh(mesh: Mesh, parts: list[Object], asked: Asked) -> None:
    mine = mesh.virtual_service()
    if mesh.mode is Mode.PATCH:
        annotated(PATCHED)(mine)
    cluster = shop(mine, *parts, service("orders", PORTS), namespace("istio-system"))
    after = written(cluster, [MESH_ORDERS], asked)
    if after is None:
        return
    assert [item for item in map(without_rules, after) if item["metadata"]["name"] == "mine"] == [mine]
    before = [mine, *parts]
    check(before, after, lambda objects, port: at_sidecar(objects, mesh.proxy, port, ORDERS_FQDN), asked)
    at_edge = [at_gateway(objects, AT_EDGE, asked.request.port) for objects in (before, after)]
    for headers in [*HEADERS_OF_OTHERS, *HEADERS_OF_ALICE[asked.mode]]:
        request = asked.request.with_headers(headers)
        assert decide(at_edge[0], request) == decide(at_edge[1], request)


meshes = st.builds(
    Mesh,
    st.sampled_from([Mode.OVERLAY, Mode.DELEGATE, Mode.PATCH]),
    root_rules,
    st.sampled_from([True, True, True, False]),
    st.sampled_from([None, ["mesh", EDGE]]),
    st.sampled_from([Proxy("web"), Proxy("shop"), Proxy("web", {"app": "web"})]),
)


@LOOK
@given(mesh=meshes, parts=delegates, asked=asked)
def test_in_the_mesh_tenants_meet_their_forks_and_nothing_else_changes(
    mesh: Mesh, parts: list[Object], asked: Asked
) -> None:
    check_in_the_mesh(mesh, parts, asked)


# --- at a gateway


def gateway(name: str = "edge", *hosts: str, ports: Sequence[int] = (80, 81)) -> Object:
    servers = [
        {"port": {"number": port, "name": f"http-{port}", "protocol": "HTTP"}, "hosts": list(hosts) or ["*"]}
        for port in ports
    ]
    spec = {"selector": {"istio": "edge"}, "servers": servers}
    return thing(ISTIO_GATEWAYS, name, {"spec": spec}, in_namespace("istio-system"))


def _bound(rules: Rules, place: str, at: int, is_for_the_mesh: bool) -> Object:  # noqa: FBT001 - for st.builds
    gateways = [EDGE, "mesh"] if is_for_the_mesh else [EDGE]
    item = virtual_service("?", *rules, hosts=["shop.example.com"], gateways=gateways)
    in_namespace(place)(item)
    created(f"2026-01-0{at}T00:00:00Z")(item)
    return item


def _named(items: list[Object]) -> list[Object]:
    for number, item in enumerate(items):
        having("metadata.name", f"mine-{number}")(item)
    return items


bound = st.builds(_bound, root_rules, st.sampled_from(["shop", "billing"]), st.integers(1, 9), st.booleans())
bound_lists = st.lists(
    bound, min_size=1, max_size=3, unique_by=lambda item: str(item["metadata"]["creationTimestamp"])
).map(_named)


@dataclass(frozen=True)
class Edge:
    """Users' VirtualServices for a host at a gateway, and for which of them ours are written."""

    mode: Mode
    items: list[Object]
    is_written: Sequence[bool]

    def virtual_services(self) -> list[Object]:
        # within a user's object our rules would not come first if there were several
        return self.items if self.mode is Mode.BESIDE else self.items[:1]


def check_at_a_gateway(edge: Edge, parts: list[Object], asked: Asked) -> None:
    keys, mine = [], edge.virtual_services()
    for item, is_one in zip(mine, edge.is_written, strict=False):
        name, place = item["metadata"]["name"], item["metadata"]["namespace"]
        keys += [EntryKey(EntryKind.VIRTUAL_SERVICE, place, name)] if is_one else []
        if edge.mode is Mode.DELEGATE:
            item["spec"]["http"].insert(0, {"delegate": {"name": f"sidestream-{place}.{name}.gateway"}})
        if edge.mode is Mode.PATCH:
            annotated(PATCHED)(item)
    fronting = service("edge", in_namespace("istio-system"), selecting({"istio": "edge"}))
    cluster = shop(*mine, *parts, gateway(), fronting, namespace("istio-system"), namespace("billing"))
    after = written(cluster, keys, asked)
    if after is not None:
        check([*mine, *parts], after, lambda objects, port: at_gateway(objects, AT_EDGE, port), asked)


edges = st.builds(
    Edge,
    st.sampled_from([Mode.BESIDE, Mode.BESIDE, Mode.DELEGATE, Mode.PATCH]),
    bound_lists,
    st.sampled_from([(True, True, True), (True, False, False)]),
)


@LOOK
@given(edge=edges, parts=delegates, asked=asked)
def test_at_a_gateway_tenants_meet_their_forks_and_nothing_else_changes(
    edge: Edge, parts: list[Object], asked: Asked
) -> None:
    check_at_a_gateway(edge, parts, asked)


# --- the property sees every way to get it wrong

Patch = Callable[[pytest.MonkeyPatch], None]


def _put(module: ModuleType, name: str, value: Any) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, name, value)

    return patch


def _public(*_: Any) -> dict[str, Any]:
    return {"hosts": [ORDERS_FQDN], "exportTo": ["*"], "gateways": ["mesh"]}


def _public_at_the_gateway(item: Object, _mode: Mode, _cluster: Objects) -> dict[str, Any]:
    return {"hosts": item["spec"]["hosts"], "exportTo": ["*"], "gateways": [EDGE]}


def _behind(item: Object, rules: Sequence[Rule]) -> Object:
    ours = [{**rule, "name": f"sidestream-{rule['name']}"} for rule in rules]
    return {**item, "spec": {**item["spec"], "http": [*item["spec"]["http"], *ours]}}


_JOINED = virtualservice_edge._joined


def _all_of_each(lists: Sequence[Sequence[Rule]], port: int | None) -> list[Rule]:
    return _JOINED([[rule] for rules in lists for rule in rules], port)


MESH_MUTANTS: dict[str, Patch] = {
    "delegates are left out": _put(virtualservice_delegates, "_merged_rules", lambda *_: []),
    "conditions of the root are forgotten": _put(
        virtualservice_delegates, "_merged_matches", lambda root, leaf: list(leaf or root)
    ),
    "contradictions are kept": _put(virtualservice_delegates, "_contradict", lambda *_: False),
    "fields of the root are forgotten": _put(virtualservice_delegates, "_FILLED", ()),
    "rules for gateways alone are for sidecars too": _put(virtualservice_user, "_rules_of_sidecars", list),
    "ports without rules are forgotten": _put(virtualservice_user, "_rules_for_the_other_ports", lambda *_: []),
    "what is for the mesh is for gateways too": _put(
        virtualservice_user, "_for_the_mesh_alone", lambda rules, _: tuple(rules)
    ),
    "rules before the one that hands over are accepted": _put(
        virtualservice_user, "refuse_a_bad_handover", lambda *_: None
    ),
    "an overlay is public": _put(virtualservice, "_place", _public),
    "rules are put behind the user's": _put(virtualservice_render, "with_rules", _behind),
}
EDGE_MUTANTS: dict[str, Patch] = {
    "delegates are left out": MESH_MUTANTS["delegates are left out"],
    "rules are put behind the user's": MESH_MUTANTS["rules are put behind the user's"],
    "other VirtualServices of the host are forgotten": _put(virtualservice_edge, "sharing", lambda item, _: [item]),
    "the order is that of names": _put(
        virtualservice_edge, "_age", lambda item: (str(10 - int(item["metadata"]["name"][-1])), "", "")
    ),
    "what matches everything stays in its place": _put(virtualservice_edge, "_is_catch_all", lambda _: False),
    "a VirtualService goes on after what matches everything": _put(virtualservice_edge, "_joined", _all_of_each),
    "rules for sidecars alone are for gateways too": _put(virtualservice_edge, "_is_for", lambda *_: True),
    "all ports are one": _put(virtualservice_edge, "_on_port", lambda rule, _: rule.get("match") or [{}]),
    "ours is public at the gateway": _put(virtualservice_edge, "_place", _public_at_the_gateway),
}


HUNT = settings(
    LOOK, max_examples=3000, phases=[Phase.generate], database=None, derandomize=True, report_multiple_bugs=False
)


@pytest.mark.parametrize("mutant", MESH_MUTANTS.values(), ids=MESH_MUTANTS)
def test_in_the_mesh_the_property_catches_a_provider_in_which(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)

    @HUNT
    @given(mesh=meshes, parts=delegates, asked=asked)
    def look(mesh: Mesh, parts: list[Object], asked: Asked) -> None:
        check_in_the_mesh(mesh, parts, asked)

    with pytest.raises(AssertionError):
        look()


@pytest.mark.parametrize("mutant", EDGE_MUTANTS.values(), ids=EDGE_MUTANTS)
def test_at_a_gateway_the_property_catches_a_provider_in_which(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)

    @HUNT
    @given(edge=edges, parts=delegates, asked=asked)
    def look(edge: Edge, parts: list[Object], asked: Asked) -> None:
        check_at_a_gateway(edge, parts, asked)

    with pytest.raises(AssertionError):
        look()
