"""Sets of users' IngressRoutes for the property over the wire: the rules of the unit tests made fit for a cluster."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

from hypothesis import strategies as st

from flow.wire.asking import HTTP1, HTTP2, Ask
from flow.wire.drawing import drawn
from flow.wire.peers import HTTP2_PORT, HTTP_PORT
from flow.wire.property import EFFECTIVE_PATH, TAGS, RouteSet
from flow.wire.tenants import crowd, forks_of, tenants_of
from sidestream.kube.port import INGRESS_ROUTES, MIDDLEWARES, TRAEFIK_SERVICES, Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.providers.ingressroute_render import GUARDED_FROM
from unit.routing import traefik_model
from unit.routing.traefik_things import routes, rules_of_rivals, traefik_services

DOMAIN = "traefik.example"
"""Hosts at Traefik are under it."""

CROWD = GUARDED_FROM + 1
"""So many tenants that the others' requests get rules of their own in front."""

EFFECTIVE = "effective"
"""Name of a Middleware by which an IngressRoute tells that Traefik has it."""

_ASKS, _FORKED_ASKS, _DECISIONS = 8, 3, 3
"""Requests of each set, how many of them at least come to a Service that tenants fork, by how many ways."""

_NOT_FOR_THE_WIRE = ("aFieldOfTheFuture", "namespace", "kind")
"""Of a reference to a Service: what the API server drops, and what is always the same here."""

_HEADERS_MIDDLEWARES = {"compress": {"headers": {"customRequestHeaders": {"x-variant": "b"}}}}
"""What the Middlewares do that rules of the unit tests name."""

_rules = st.lists(routes, min_size=2, max_size=5, unique_by=lambda item: item["match"])
_drawn = st.tuples(_rules, rules_of_rivals, traefik_services(), st.integers(0, 2**31))


def sets(namespace: str, address: str, count: int) -> list[RouteSet]:
    """Sets of two IngressRoutes, which share hosts of their own; Traefik is reached at `address`."""
    return [
        _set(namespace, address, f"ingr{number:02}", number, one)
        for number, one in enumerate(drawn(_drawn, count, salt=8, telling=_is_telling))
    ]


def middlewares(namespace: str) -> Iterator[tuple[Resource, Object]]:
    """Those that rules of the sets name."""
    told = {"headers": {"customResponseHeaders": {"x-rule": "effective"}}}
    for name, spec in {EFFECTIVE: told, **_HEADERS_MIDDLEWARES}.items():
        yield MIDDLEWARES, _object(MIDDLEWARES, namespace, name, spec)


def _is_telling(one: tuple[Any, ...]) -> bool:
    """Whether rules decide the requests by several ways, never at random, and some lead to what tenants fork."""
    objects = [obj for _, obj in _manifests("shop", "orders", one)]
    roles = {f"shop/{name}" for name in ("orders", "inventory")}
    decided, forked = set(), 0
    for request in _requests(one):
        tagged = [request.with_headers(lines) for tags in TAGS.values() for lines in tags]
        found = [traefik_model.decide(objects, item) for item in (request, *tagged)]
        if any(len(item) > 1 for item in found):
            return False
        (decision,) = found[0]
        decided.add(decision)
        forked += any(f'"service": "{role}"' in share for share, _ in decision.shares for role in roles)
    return len(decided) >= _DECISIONS and forked >= _FORKED_ASKS


def _requests(one: tuple[Any, ...]) -> list[traefik_model.Request]:
    every = [
        traefik_model.Request(path, f"{name}.orders.{DOMAIN}", method, headers, query)
        for path, name, method, headers, query in product(
            ("/", "/api", "/api/1", "/b"),
            ("shop", "api", "other"),
            ("GET", "POST"),
            ((), (("x-beta", "1"),), (("x-beta", "x"), ("x-beta", "2"))),
            ((), (("v", "1"),)),
        )
    ]
    return Random(one[3]).sample(every, _ASKS)  # noqa: S311


def _set(namespace: str, address: str, name: str, number: int, one: tuple[Any, ...]) -> RouteSet:
    forks = forks_of(name, number)
    effective = Ask(f"shop.{name}.{DOMAIN}", EFFECTIVE_PATH, port=HTTP_PORT, address=address)
    asks = [
        _ask(request, name, address, HTTP2 if place % 3 == 0 else HTTP1) for place, request in enumerate(_requests(one))
    ]
    manifests = tuple(_manifests(namespace, name, one))
    entries = [
        EntryKey(EntryKind.INGRESS_ROUTE, namespace, obj["metadata"]["name"])
        for resource, obj in manifests
        if resource == INGRESS_ROUTES
    ]
    return RouteSet(
        name=name,
        entries=tuple(entries),
        users=manifests,
        tenants=(*tenants_of(forks, namespace), *crowd(namespace, name, CROWD if number % 4 == 0 else 0)),
        forks=forks,
        asks=tuple(asks),
        effective=tuple(replace(effective, path=f"{EFFECTIVE_PATH}/{key.name}") for key in entries),
    )


def _ask(request: traefik_model.Request, name: str, address: str, protocol: str) -> Ask:
    query = "".join(f"?{key}={value}" for key, value in request.query)
    host = request.host.replace(f".orders.{DOMAIN}", f".{name}.{DOMAIN}")
    return Ask(host, f"{request.path}{query}", request.method, request.headers, protocol, HTTP_PORT, address)


def _manifests(namespace: str, name: str, one: tuple[Any, ...]) -> Iterator[tuple[Resource, Object]]:
    """As users of this Service write it; rules match its hosts alone."""
    rules, rivals, services, _ = one
    for obj in services:
        spec = _fitted_spec(copy.deepcopy(obj["spec"]), name)
        yield TRAEFIK_SERVICES, _object(TRAEFIK_SERVICES, namespace, f"{name}-{obj['metadata']['name']}", spec)
    for what, found in (("web", rules), ("rival", rivals)):
        title = f"{name}-{what}"
        told = {
            "kind": "Rule",
            "match": f"Host(`shop.{name}.{DOMAIN}`) && Path(`{EFFECTIVE_PATH}/{title}`)",
            "priority": 10_000,
            "middlewares": [{"name": EFFECTIVE}],
            "services": [{"kind": "TraefikService", "name": "noop@internal"}],
        }
        body = [told, *(_fitted(rule, name) for rule in found)]
        yield INGRESS_ROUTES, _object(INGRESS_ROUTES, namespace, title, {"entryPoints": ["web"], "routes": body})


def _fitted(rule: dict[str, Any], name: str) -> dict[str, Any]:
    """A rule of the unit tests, of `orders` in `shop`, for this Service; what it decides is no matter of chance."""
    within = f"HostRegexp(`\\.{name}\\.traefik\\.example$`)"
    match = (
        rule["match"]
        .replace("\\.example\\.com", f"\\.{name}\\.traefik\\.example")
        .replace("example.com", f"{name}.{DOMAIN}")
    )
    services = [_fitted_reference(item, name) for item in rule["services"]]
    return {**rule, "kind": "Rule", "match": f"{within} && ({match})", "services": _certain(services)}


def _fitted_spec(spec: dict[str, Any], name: str) -> dict[str, Any]:
    for kind in ("weighted", "highestRandomWeight"):
        if kind in spec:
            spec[kind]["services"] = _certain([_fitted_reference(item, name) for item in spec[kind]["services"]])
    if "mirroring" in spec:
        copies = [{"name": "ledger", "port": HTTP_PORT, "percent": 10}]
        spec["mirroring"] = {**_fitted_reference(spec["mirroring"], name), "mirrors": copies}
    return spec


def _fitted_reference(reference: dict[str, Any], name: str) -> dict[str, Any]:
    if reference.get("kind") == "TraefikService":
        return {**reference, "name": f"{name}-{reference['name']}"}
    fit = {key: value for key, value in reference.items() if key not in _NOT_FOR_THE_WIRE}
    known = {"orders": name, "inventory": "inventory"}
    port = {"port": HTTP2_PORT} if fit.get("scheme") == "h2c" else {}
    return {**fit, "name": known.get(reference["name"], "ledger"), **port}


def _certain(references: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(references) == 1:
        return list(references)
    weights = [1 if item.get("weight") is None else item["weight"] for item in references]
    chosen = weights.index(max(weights))
    return [{**item, "weight": 1 if index == chosen else 0} for index, item in enumerate(references)]


def _object(resource: Resource, namespace: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
