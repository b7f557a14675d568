"""Sets of users' VirtualServices for the property over the wire: the rules of the unit tests made fit for a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

from hypothesis import strategies as st

from flow.wire.asking import GRPC, HTTP1, HTTP2, Ask
from flow.wire.drawing import drawn
from flow.wire.peers import GRPC_PORT, HTTP2_PORT, HTTP_PORT
from flow.wire.property import EFFECTIVE_PATH, RouteSet, arriving_at
from flow.wire.tenants import crowd, forks_of, tenants_of
from sidestream.kube.port import DESTINATION_RULES, VIRTUAL_SERVICES, Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.virtualservice import GUARDED_FROM
from sidestream.routing.providers.virtualservice_words import mesh_name
from unit.routing.istio_model import SPELLINGS, Request, decide
from unit.routing.istio_strategies import matches, rules_with

ISTIO_DOMAIN = "istio.wire.example"
"""Hosts at the Istio Gateway are under it."""

CROWD = GUARDED_FROM + 1
"""So many tenants that the others' requests get rules of their own in front."""

_ASKS, _FORKED_ASKS, _DECISIONS = 10, 4, 3
"""Requests of each set, how many of them at least come to a Service that tenants fork, by how many ways."""

_NOT_FOR_THE_WIRE = ("aFieldOfTheFuture", "fault", "mirrors")
"""What the API server drops, what is a matter of chance, and what Istio refuses beside `mirror`."""


_conditions = st.lists(matches.filter(bool), min_size=1, max_size=2)
_rules = st.builds(
    list.__add__,
    st.lists(rules_with(_conditions), min_size=2, max_size=5),
    st.lists(rules_with(st.just([])), max_size=1),
)
"""Rules that leave requests to those after them more often than the unit tests' do."""


def owned_sets(namespace: str, count: int) -> list[RouteSet]:
    """Sets without a VirtualService of the user's."""
    drawn_requests = drawn(_some_requests(), count, salt=2)
    return [_in_the_mesh(namespace, f"own{number:02}", number, asked) for number, asked in enumerate(drawn_requests)]


def overlaid_sets(namespace: str, count: int) -> list[RouteSet]:
    """Sets with one for the Service."""
    return [
        _in_the_mesh(namespace, f"over{number:02}", number, asked, rules)
        for number, (asked, rules) in enumerate(_pairs(count, salt=1))
    ]


def delegating_sets(namespace: str, count: int) -> list[RouteSet]:
    """Sets with one that hands over to ours before all else."""
    sets = []
    for number, (asked, rules) in enumerate(_pairs(count, salt=6)):
        name = f"root{number:02}"
        handover = {"delegate": {"name": mesh_name(name)}}
        rest = {"route": [{"destination": {"host": name}}]}
        sets.append(_in_the_mesh(namespace, name, number, asked, [handover, *rules, rest]))
    return sets


def gateway_sets(namespace: str, gateway: str, address: str, count: int) -> list[RouteSet]:
    """Sets with hosts of their own at an Istio Gateway, which is reached at `address`."""
    sets = []
    for number, (asked, rules) in enumerate(_pairs(count, salt=7)):
        name = f"bound{number:02}"
        host = f"{name}.{ISTIO_DOMAIN}"
        forks = forks_of(name, number)
        asks = [replace(_ask(host, request), port=HTTP_PORT, address=address) for request in asked]
        manifest = _virtual_service(namespace, name, rules, hosts=[host], gateways=[gateway])
        sets.append(
            RouteSet(
                name=name,
                entries=(EntryKey(EntryKind.VIRTUAL_SERVICE, namespace, name),),
                users=(manifest, (DESTINATION_RULES, subsets(namespace, name))),
                tenants=tenants_of(forks, namespace),
                forks=forks,
                asks=tuple(asks),
                effective=(Ask(host, EFFECTIVE_PATH, port=HTTP_PORT, address=address),),
            )
        )
    return sets


def subsets(namespace: str, service: str) -> Object:
    """A DestinationRule with the subsets that rules name; every pod is in both."""
    groups = [{"name": name, "labels": {"app": "echo"}} for name in ("v1", "v2")]
    return {
        "apiVersion": DESTINATION_RULES.api_version,
        "kind": DESTINATION_RULES.kind,
        "metadata": {"name": service, "namespace": namespace},
        "spec": {"host": service, "subsets": groups},
    }


def _pairs(count: int, *, salt: int) -> list[tuple[list[Request], list[dict[str, Any]]]]:
    """Requests and the rules that decide them."""
    return drawn(st.tuples(_some_requests(), _rules), count, salt=salt, telling=_is_telling)


def _some_requests() -> st.SearchStrategy[list[Request]]:
    every = [
        Request(path, method, port, headers)
        for path, method, port, headers in product(
            ("/", "/api", "/a/1", "/b"), ("GET", "POST"), (HTTP_PORT, HTTP2_PORT), ({}, {"x-beta": "1"})
        )
    ]
    # much faster than a list strategy
    return st.integers(0, 2**31).map(lambda salt: Random(salt).sample(every, _ASKS))  # noqa: S311


def _is_telling(pair: tuple[list[Request], list[dict[str, Any]]]) -> bool:
    """Whether several rules decide the requests, and some of them lead to what tenants fork."""
    asked, rules = pair
    decisions = [decide(rules, request) for request in asked]
    spellings = SPELLINGS["orders"] | SPELLINGS["inventory"]
    forked = [
        found is not None and any(json.loads(share)["destination"]["host"] in spellings for share, _ in found.shares)
        for found in decisions
    ]
    return len(set(decisions)) >= _DECISIONS and sum(forked) >= _FORKED_ASKS


def _in_the_mesh(
    namespace: str, name: str, number: int, asked: Sequence[Request], rules: Sequence[dict[str, Any]] = ()
) -> RouteSet:
    host = ServiceHost(namespace, name)
    forks = forks_of(name, number)
    asks = [_ask(host.fqdn, request) for request in asked]
    asks.append(Ask(host.fqdn, asked[0].path, "POST", protocol=GRPC, port=GRPC_PORT))
    manifests = (
        _virtual_service(namespace, name, rules, hosts=[name]),
        (DESTINATION_RULES, subsets(namespace, name)),
    )
    return RouteSet(
        name=name,
        entries=(EntryKey(EntryKind.MESH, namespace, name),),
        users=manifests if rules else (),
        tenants=(*tenants_of(forks, namespace), *crowd(namespace, name, CROWD if number % 4 == 0 else 0)),
        forks=forks,
        asks=tuple(asks),
        effective=(Ask(host.fqdn, EFFECTIVE_PATH),) if rules else arriving_at(host.fqdn),
    )


def _ask(host: str, request: Request) -> Ask:
    protocol = HTTP2 if request.port == HTTP2_PORT else HTTP1
    return Ask(host, request.path, request.method, tuple(request.headers.items()), protocol, request.port)


def _virtual_service(
    namespace: str, name: str, rules: Sequence[dict[str, Any]], **fields: list[str]
) -> tuple[Resource, Object]:
    handovers = [rule for rule in rules if "delegate" in rule]
    others = [fitted(rule, name, namespace) for rule in rules if "delegate" not in rule]
    return VIRTUAL_SERVICES, {
        "apiVersion": VIRTUAL_SERVICES.api_version,
        "kind": VIRTUAL_SERVICES.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**fields, "http": [*handovers, _effective(), *others]},
    }


def _effective() -> dict[str, Any]:
    """Tells that the proxies have these rules."""
    return {
        "match": [{"uri": {"exact": EFFECTIVE_PATH}}],
        "directResponse": {"status": 200},
        "headers": {"response": {"set": {"x-rule": "effective"}}},
    }


def fitted(rule: dict[str, Any], service: str, namespace: str) -> dict[str, Any]:
    """A rule of the unit tests, of `orders` in `shop`, for this Service; what it decides is no matter of chance."""
    fit = {name: value for name, value in rule.items() if name not in _NOT_FOR_THE_WIRE}
    if "route" in fit:
        fit["route"] = _certain([_moved(route, service, namespace) for route in fit["route"]])
    return fit


def _moved(route: dict[str, Any], service: str, namespace: str) -> dict[str, Any]:
    words = route["destination"]["host"].split(".")
    names = {"orders": service, "inventory": "inventory", "ledger": "ledger"}
    if words[0] in names and words[1:2] in ([], ["shop"]):
        words = [names[words[0]], *([namespace, *words[2:]] if words[1:] else [])]
    return {**route, "destination": {**route["destination"], "host": ".".join(words)}}


def _certain(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(routes) == 1:
        return routes
    weights = [route["weight"] for route in routes]
    chosen = weights.index(max(weights))
    return [{**route, "weight": 100 if index == chosen else 0} for index, route in enumerate(routes)]
