"""Sets of users' HTTPRoutes for the property over the wire: for Services of the mesh, and for hosts at a Gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from flow.wire.asking import GRPC, HTTP1, HTTP2, Ask, Line
from flow.wire.drawing import drawn
from flow.wire.peers import GRPC_PORT, HTTP2_PORT, HTTP_PORT
from flow.wire.property import EFFECTIVE_PATH, RouteSet, arriving_at
from flow.wire.tenants import SHARED, forks_of, tenants_of
from sidestream.kube.port import HTTP_ROUTES, Object
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost

DOMAIN = "wire.example"
"""Hosts at the gateway are under it."""

_AT_LEAST = 3
"""Rules of each set."""

_OWN = "own"
"""Stands for the Service of the set in what is drawn."""

_paths = st.sampled_from(
    [
        {"type": "Exact", "value": "/api"},
        {"type": "PathPrefix", "value": "/"},
        {"type": "PathPrefix", "value": "/a"},
        {"type": "PathPrefix", "value": "/a/1"},
        {"type": "RegularExpression", "value": "/[ab].*"},
    ]
)
_matches: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "path": _paths,
        "method": st.sampled_from(["GET", "POST"]),
        "headers": st.just([{"type": "Exact", "name": "x-beta", "value": "1"}]),
        "queryParams": st.just([{"type": "Exact", "name": "q", "value": "1"}]),
    },
)
_backends = st.fixed_dictionaries(
    {
        "name": st.sampled_from([_OWN, _OWN, "inventory", "ledger"]),
        "port": st.sampled_from([HTTP_PORT, HTTP2_PORT]),
    },
    optional={
        "filters": st.just(
            [
                {
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": "x-variant", "value": "b"}]},
                }
            ]
        )
    },
)
_filters: list[dict[str, Any]] = [
    {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-a", "value": "b"}]}},
    {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/rewritten"}}},
    {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": SHARED[-1], "port": HTTP_PORT}}},
]
_forwarding: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"backendRefs": st.lists(_backends, min_size=1, max_size=2, unique_by=lambda item: item["name"])},
    optional={
        "matches": st.lists(_matches, min_size=1, max_size=3),
        "filters": st.lists(st.sampled_from(_filters), min_size=1, max_size=2, unique_by=lambda item: item["type"]),
        "timeouts": st.just({"request": "3s"}),
    },
)
_stripped: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "backendRefs": st.lists(_backends, min_size=1, max_size=1),
        "matches": st.just([{"path": {"type": "PathPrefix", "value": "/a"}}]),
        "filters": st.just(
            [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]
        ),
    }
)
_answering: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "matches": st.lists(_matches, min_size=1, max_size=2),
        "filters": st.just(
            [{"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.example", "statusCode": 302}}]
        ),
    }
)
_rules = st.lists(st.one_of(_forwarding, _forwarding, _forwarding, _stripped, _answering), min_size=1, max_size=4)
_routes = st.lists(_rules, min_size=1, max_size=3)
"""The rules of each of a user's routes for one host."""

_requests = st.tuples(
    st.sampled_from(["/", "/api", "/api?q=1", "/a/1", "/a/1?q=1", "/a", "/b"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([HTTP_PORT, HTTP2_PORT]),
    st.sampled_from([(), (("x-beta", "1"),)]),
)
_asked = st.lists(_requests, min_size=12, max_size=12)

_some = st.tuples(_routes, _asked)
_Rules = list[dict[str, Any]]
_Request = tuple[str, str, int, tuple[Line, ...]]


def mesh_sets(namespace: str, count: int) -> list[RouteSet]:
    """Sets with a Service as parent; every third names its port."""
    sets = []
    for number, (routes, asked) in enumerate(drawn(_some, count, salt=3, telling=_is_telling)):
        name = f"mesh{number:02}"
        port = {"port": HTTP_PORT} if number % 3 == 0 else {}
        parent = {"group": "", "kind": "Service", "name": name, **port}
        manifests = [_route(namespace, f"{name}-{place}", name, parent, rules) for place, rules in enumerate(routes)]
        entries = (EntryKey(EntryKind.MESH, namespace, name),)
        sets.append(_set(namespace, name, number, entries=entries, manifests=manifests, asked=asked))
    return sets


def guarded_sets(namespace: str, count: int) -> list[RouteSet]:
    """Sets without a route of a user."""
    sets = []
    for number, asked in enumerate(drawn(_asked, count, salt=4)):
        name = f"guard{number:02}"
        entries = (EntryKey(EntryKind.MESH, namespace, name),)
        sets.append(_set(namespace, name, number, entries=entries, manifests=[], asked=asked))
    return sets


def gateway_sets(namespace: str, gateway: str, address: str, count: int) -> list[RouteSet]:
    """Sets with hosts of their own at a Gateway, which is reached at `address`."""
    sets = []
    for number, (routes, asked) in enumerate(drawn(_some, count, salt=5, telling=_is_telling)):
        name = f"edge{number:02}"
        parent = {"name": gateway}
        manifests = [_route(namespace, f"{name}-{place}", name, parent, rules) for place, rules in enumerate(routes)]
        for manifest in manifests:
            manifest["spec"]["hostnames"] = [f"{name}.{DOMAIN}"]
        entries = tuple(EntryKey(EntryKind.HTTP_ROUTE, namespace, f"{name}-{place}") for place in range(len(routes)))
        sets.append(_set(namespace, name, number, entries=entries, manifests=manifests, asked=asked, address=address))
    return sets


def _is_telling(some: tuple[list[_Rules], list[_Request]]) -> bool:
    """Whether there are several rules, which do not all take everything."""
    rules = [rule for rules in some[0] for rule in rules]
    return len(rules) >= _AT_LEAST and sum(any(rule.get("matches", ())) for rule in rules) >= _AT_LEAST - 1


def _set(
    namespace: str,
    name: str,
    number: int,
    *,
    entries: tuple[EntryKey, ...],
    manifests: Sequence[Object],
    asked: Sequence[_Request],
    address: str = "",
) -> RouteSet:
    host = f"{name}.{DOMAIN}" if address else ServiceHost(namespace, name).fqdn
    forks = forks_of(name, number)
    asks = [
        Ask(
            host,
            path,
            method,
            headers,
            HTTP2 if port == HTTP2_PORT else HTTP1,
            HTTP_PORT if address else port,
            address,
        )
        for path, method, port, headers in asked
    ]
    asks.append(Ask(host, "/api", "POST", (), GRPC, HTTP_PORT if address else GRPC_PORT, address))
    effective = [
        Ask(host, f"{EFFECTIVE_PATH}/{manifest['metadata']['name']}", port=HTTP_PORT, address=address)
        for manifest in manifests
    ]
    return RouteSet(
        name=name,
        entries=entries,
        users=tuple((HTTP_ROUTES, manifest) for manifest in manifests),
        tenants=tenants_of(forks, namespace),
        forks=forks,
        asks=tuple(asks),
        effective=tuple(effective) or arriving_at(host),
    )


def _route(namespace: str, name: str, service: str, parent: dict[str, Any], rules: Sequence[dict[str, Any]]) -> Object:
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [parent],
            "rules": [_effective(name, service), *(_fitted(rule, service) for rule in rules)],
        },
    }


def _effective(name: str, service: str) -> dict[str, Any]:
    """Tells that the proxies have this route."""
    told = {"set": [{"name": "x-rule", "value": "effective"}]}
    return {
        "matches": [{"path": {"type": "Exact", "value": f"{EFFECTIVE_PATH}/{name}"}}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": told}],
        "backendRefs": [{"name": service, "port": HTTP_PORT}],
    }


def _fitted(rule: dict[str, Any], service: str) -> dict[str, Any]:
    """The rule for this Service; which of its backends is met is no matter of chance."""
    if "backendRefs" not in rule:
        return rule
    backends = [
        {**backend, "name": service if backend["name"] == _OWN else backend["name"], "weight": 1 if index == 0 else 0}
        for index, backend in enumerate(rule["backendRefs"])
    ]
    return {**rule, "backendRefs": backends}
