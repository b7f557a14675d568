"""A small model of what proxies do with HTTPRoutes and GRPCRoutes, to judge ours against; shares no code with them.

The products order rules differently, so there are several models in one: `Product` says which. Sources: the Gateway
API v1.6 specification; Istio's `sortHTTPRoutes` and `createGRPCURIMatch`; linkerd2-proxy's `RequestMatch` (lengths of
paths whatever their type) with the order that its documentation gives; Envoy Gateway's `sort.go`; Traefik v3's
`buildMatchRule` (one number, ties at random).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from fractions import Fraction
from functools import cached_property
from typing import Any

Json = dict[str, Any]


class Product(Enum):
    SPEC = auto()
    ISTIO = auto()
    LINKERD = auto()
    ENVOY_GATEWAY = auto()
    TRAEFIK = auto()


CONFORMANT = (Product.SPEC, Product.ISTIO, Product.LINKERD, Product.ENVOY_GATEWAY)


@dataclass(frozen=True)
class Request:
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    host: str = "shop.example.com"

    def with_headers(self, headers: dict[str, str]) -> Request:
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True)
class Decision:
    """What becomes of a request: shares of backends, all else that the rule says, and whose rule it is."""

    shares: frozenset[tuple[str, Fraction]]
    rest: str
    route: str = field(default="", compare=False)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One match of one rule of one route, with what does not depend on the request."""

    route: Json
    rule: Json
    match: Json
    index: int
    decision: Decision

    @cached_property
    def is_grpc(self) -> bool:
        return bool(self.route["kind"] == "GRPCRoute")

    @cached_property
    def path(self) -> tuple[str, str]:
        return _path_of(self)

    @cached_property
    def age(self) -> tuple[str, str, str, int]:
        metadata = self.route["metadata"]
        return metadata["creationTimestamp"], metadata["namespace"], metadata["name"], self.index


class AmbiguousError(Exception):
    """The product decides at random."""


class Mesh:
    """What a caller in the Service's own namespace meets."""

    def __init__(self, routes: Sequence[Json], service: tuple[str, str], port: int) -> None:
        attached, forms = [], set()
        for route in routes:
            namespace = route["metadata"]["namespace"]
            for ref in route["spec"].get("parentRefs", []):
                is_parent = (ref.get("kind"), ref.get("namespace", namespace), ref["name"]) == ("Service", *service)
                if is_parent and ref.get("port") in (None, port) and namespace == service[0]:
                    attached.append(route)
                    forms.add(ref.get("port"))
        assert len(forms) < 2, "Istio would use only one of the two forms"
        self._table = _Table(_candidates(attached, None))
        backend = {"kind": "Service", "name": service[1], "namespace": service[0], "port": port}
        self._implicit = Decision(frozenset({(json.dumps(backend, sort_keys=True), Fraction(1))}), "{}")

    def decide(self, request: Request, product: Product) -> Decision | None:
        """None for 404; without any route the Service itself."""
        if not self._table.candidates:
            return self._implicit
        return _decide(self._table.met_by(request, is_found_anywhere=False), request, product)


class Gateway:
    """What a request from outside meets at the Gateway's only listener, which has no hostname."""

    def __init__(self, routes: Sequence[Json], gateway: tuple[str, str], grants: Sequence[Json]) -> None:
        attached = [
            route
            for route in routes
            for ref in route["spec"].get("parentRefs", [])
            if ref.get("kind", "Gateway") == "Gateway"
            and (ref.get("namespace", route["metadata"]["namespace"]), ref["name"]) == gateway
        ]
        self._table = _Table(_candidates(attached, grants))

    def decide(self, request: Request, product: Product) -> Decision | None:
        """None for 404."""
        found = self._table.met_by(request, is_found_anywhere=product is Product.TRAEFIK)
        if product is Product.TRAEFIK:
            return _decide([item for item in found if _best_name(item, request)], request, product)
        names = {name for item in self._table.candidates if (name := _best_name(item, request))}
        best = max(names, key=_specificity, default=None)
        return _decide([item for item in found if best in _names(item.route)], request, product)


def _best_name(item: _Candidate, request: Request) -> str | None:
    return max((name for name in _names(item.route) if _meets(name, request.host)), key=_specificity, default=None)


def _specificity(name: str) -> tuple[bool, int]:
    return not name.startswith("*"), len(name)


def swapped(decision: Decision | None, forks: dict[tuple[str, str], tuple[str, str]]) -> Decision | None:
    """The decision that a tenant deserves: forks for the Services they stand in for, and then no mirroring."""
    if decision is None:
        return None
    shares: dict[str, Fraction] = {}
    is_met = False
    for text, share in decision.shares:
        backend = json.loads(text)
        fork = forks.get((backend.get("namespace"), backend["name"])) if backend.get("kind") == "Service" else None
        if fork is not None:
            is_met = True
            backend["namespace"], backend["name"] = fork
        shares[json.dumps(backend, sort_keys=True)] = share
    rest = decision.rest
    if is_met:
        rest = json.dumps(_without_mirrors(json.loads(rest)), sort_keys=True)
        texts = [
            (json.dumps(_without_mirrors(json.loads(text)), sort_keys=True), share) for text, share in shares.items()
        ]
        shares = {}
        for text, share in texts:
            shares[text] = shares.get(text, Fraction(0)) + share
    return Decision(frozenset(shares.items()), rest, decision.route)


def _without_mirrors(holder: Json) -> Json:
    filters = [item for item in holder.get("filters", []) if item["type"] != "RequestMirror"]
    others = {key: value for key, value in holder.items() if key != "filters"}
    return {**others, "filters": filters} if filters else others


class _Table:
    """Candidates, and those of them that the request asked about last meets."""

    def __init__(self, candidates: list[_Candidate]) -> None:
        self.candidates = candidates
        self._last: tuple[Request, bool, list[_Candidate]] | None = None

    def met_by(self, request: Request, *, is_found_anywhere: bool) -> list[_Candidate]:
        if self._last is None or self._last[0] is not request or self._last[1] is not is_found_anywhere:
            headers = {name.lower(): value for name, value in request.headers.items()}
            found = [
                item
                for item in self.candidates
                if _matches(item, request, headers, is_found_anywhere=is_found_anywhere)
            ]
            self._last = (request, is_found_anywhere, found)
        return self._last[2]


def _candidates(routes: Sequence[Json], grants: Sequence[Json] | None) -> list[_Candidate]:
    return [
        _Candidate(route, rule, match, number, decision)
        for route in routes
        for number, rule in enumerate(route["spec"].get("rules", []))
        for decision in [_decision(route, rule, grants)]
        for match in rule.get("matches") or [{}]
    ]


def _decide(found: Sequence[_Candidate], request: Request, product: Product) -> Decision | None:
    if not found:
        return None
    if product is Product.TRAEFIK:
        ranks = [_traefik_rank(item) for item in found]
        decisions = {item.decision for item, rank in zip(found, ranks, strict=True) if rank == max(ranks)}
        if len(decisions) > 1:
            raise AmbiguousError
        return decisions.pop()
    # `min` keeps the first of equals, which is the order in the routes' lists
    return min(found, key=lambda item: ([-part for part in _rank(item, request, product)], item.age)).decision


def _rank(item: _Candidate, request: Request, product: Product) -> tuple[int, ...]:
    match = item.match
    method = int(not item.is_grpc and "method" in match)
    headers, queries = len(match.get("headers", [])), len(match.get("queryParams", []))
    if item.is_grpc and product in (Product.SPEC, Product.LINKERD):
        call = match.get("method", {})
        return len(call.get("service", "")), len(call.get("method", "")), headers
    kind, value = item.path
    if product is Product.LINKERD:
        length = len(value.rstrip("/") or "/") if kind == "PathPrefix" else len(request.path)
        return length, headers, queries, method
    if product is Product.ENVOY_GATEWAY:
        order = {"PathPrefix": 1, "RegularExpression": 2, "Exact": 3, "": 0}
        exact = sum(header.get("type", "Exact") == "Exact" for header in match.get("headers", []))
        return order[kind], len(value), headers + method, exact, queries
    order = {"": 0, "RegularExpression": 1, "PathPrefix": 2, "Exact": 3}
    return order[kind], len(value.rstrip("/") or "/"), method, headers, queries


def _path_of(item: _Candidate) -> tuple[str, str]:
    if not item.is_grpc:
        path = item.match.get("path", {})
        return path.get("type", "PathPrefix"), path.get("value", "/")
    call = item.match.get("method")
    if call is None:
        return "", ""
    service, method = call.get("service"), call.get("method")
    if call.get("type") == "RegularExpression":
        return "RegularExpression", f"/{service or '[^/]+'}/{method or '.+'}"
    if service is None:
        return "RegularExpression", f"/[^/]+/{method}"
    return ("Exact", f"/{service}/{method}") if method else ("PathPrefix", f"/{service}/")


def _traefik_rank(item: _Candidate) -> int:
    names = _names(item.route)
    host = max(len(name) for name in names)
    match = item.match
    if item.is_grpc:
        kind, value = item.path
        texts = [f"Header(`{one['name']}`,`{one['value']}`)" for one in match.get("headers", [])]
        return len(" && ".join([f"PathRegexp(`{value}`)" if kind else "PathPrefix(`/`)", *texts])) + host
    kind, value = item.path
    by_kind = {"Exact": 100_000, "PathPrefix": 1 if value == "/" else 10_000 + 100 * len(value)}
    rank = by_kind.get(kind, 10_000 + 100 * len(value))
    rank += 1000 * ("method" in match) + 100 * len(match.get("headers", [])) + 10 * len(match.get("queryParams", []))
    return rank + host + len(item.route["spec"]["rules"]) - item.index


def _matches(item: _Candidate, request: Request, headers: dict[str, str], *, is_found_anywhere: bool) -> bool:
    match = item.match
    if not item.is_grpc and match.get("method", request.method) != request.method:
        return False
    if not _path_holds(*item.path, request.path, is_found_anywhere=is_found_anywhere):
        return False
    for one in match.get("headers", ()):
        value = headers.get(one["name"].lower())
        if value is None or not _holds(one, value, is_found_anywhere=is_found_anywhere):
            return False
    return all(
        one["name"] in request.query and _holds(one, request.query[one["name"]], is_found_anywhere=is_found_anywhere)
        for one in match.get("queryParams", ())
    )


def _path_holds(kind: str, value: str, path: str, *, is_found_anywhere: bool) -> bool:
    if kind == "Exact":
        return path == value
    if kind == "RegularExpression":
        return _holds({"type": kind, "value": value}, path, is_found_anywhere=is_found_anywhere)
    prefix = value.rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")


def _holds(wanted: Json, value: str, *, is_found_anywhere: bool) -> bool:
    if wanted.get("type", "Exact") == "Exact":
        return bool(wanted["value"] == value)
    find = re.search if is_found_anywhere else re.fullmatch
    return find(wanted["value"], value) is not None


def _names(route: Json) -> Collection[str]:
    return route["spec"].get("hostnames") or ["*"]


def _meets(name: str, host: str) -> bool:
    return host.endswith(name[1:]) if name.startswith("*") else name == host


def _decision(route: Json, rule: Json, grants: Sequence[Json] | None) -> Decision:
    namespace = route["metadata"]["namespace"]
    backends = rule.get("backendRefs", [])
    total = sum(backend.get("weight", 1) for backend in backends)
    shares: dict[str, Fraction] = {}
    for backend in backends:
        weight = backend.get("weight", 1)
        named = {"kind": "Service", "namespace": namespace, **{key: backend[key] for key in backend if key != "weight"}}
        named.pop("group", None)
        if grants is not None and not _is_granted(route, named, grants):
            named = {"name": "refused"}
        if weight:
            key = json.dumps(named, sort_keys=True)
            shares[key] = shares.get(key, Fraction(0)) + Fraction(weight, total)
    rest = {key: value for key, value in rule.items() if key not in ("name", "matches", "backendRefs")}
    if backends and not total:
        rest["answer"] = 500
    return Decision(
        frozenset(shares.items()), json.dumps(rest, sort_keys=True), f"{namespace}/{route['metadata']['name']}"
    )


def _is_granted(route: Json, backend: Json, grants: Sequence[Json]) -> bool:
    namespace = route["metadata"]["namespace"]
    if backend["namespace"] == namespace:
        return True
    return any(
        grant["metadata"]["namespace"] == backend["namespace"]
        and any(item["kind"] == route["kind"] and item["namespace"] == namespace for item in grant["spec"]["from"])
        and any(item.get("name") in (None, backend["name"]) for item in grant["spec"]["to"])
        for grant in grants
    )
