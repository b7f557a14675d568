"""What users write and callers send, at random: rules of VirtualServices, requests, and headers of tenants.

Requests come to ports 80 and 81. Rules route to `orders` and `inventory`, which tenants fork, and elsewhere.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sidestream.config import HeaderMode
from unit.routing.istio_model import SPELLINGS, Request

HEADERS_OF_ALICE = {
    HeaderMode.BAGGAGE: [{"baggage": "tenant=alice"}, {"baggage": "a=b, tenant = alice;p=1"}],
    HeaderMode.EXACT: [{"x-tenant-id": "alice"}],
    HeaderMode.BOTH: [{"baggage": "a=b,tenant=alice"}, {"x-tenant-id": "alice"}],
}
HEADERS_OF_OTHERS: list[dict[str, str]] = [
    {},
    {"baggage": "a=b"},
    {"baggage": "tenant=carol"},
    {"x-tenant-id": "carol"},
]

# --- what users write

hosts = st.sampled_from(
    [
        *2 * sorted(SPELLINGS["orders"]),
        *sorted(SPELLINGS["inventory"]),
        "orders.shop",
        "orders.billing",
        "ledger",
        "api.example.com",
    ]
)
destinations = st.fixed_dictionaries(
    {"host": hosts},
    optional={"port": st.sampled_from([{"number": 80}, {"number": 81}]), "subset": st.sampled_from(["v1", "v2"])},
)
plain_routes = st.fixed_dictionaries(
    {"destination": destinations}, optional={"headers": st.just({"request": {"set": {"x-variant": "b"}}})}
)


def _weighted(routes: list[dict[str, Any]], weights: list[int]) -> list[dict[str, Any]]:
    if len(routes) == 1:
        return routes
    # the API server refuses routes that have no weight at all
    weights = weights if any(weights[: len(routes)]) else [1, *weights[1:]]
    return [{**route, "weight": weight} for route, weight in zip(routes, weights, strict=False)]


weights = st.lists(st.sampled_from([0, 10, 50, 90]), min_size=3, max_size=3)
routes = st.builds(_weighted, st.lists(plain_routes, min_size=1, max_size=3), weights)
strings = st.sampled_from([{"exact": "/api"}, {"prefix": "/"}, {"prefix": "/a"}, {"regex": "/[ab].*"}])
matches = st.fixed_dictionaries(
    {},
    optional={
        "uri": strings,
        "method": st.sampled_from([{"exact": "GET"}, {"exact": "POST"}]),
        "port": st.sampled_from([80, 81]),
        "headers": st.just({"x-beta": {"exact": "1"}}),
        "withoutHeaders": st.sampled_from([{"x-beta": {"exact": "1"}}, {"baggage": {"regex": ".*debug=1.*"}}]),
    },
)
EXTRAS: list[dict[str, Any]] = [
    {"timeout": "3s", "retries": {"attempts": 2}},
    {"retries": {"attempts": 2}, "rewrite": {"uri": "/b"}},
    {"headers": {"response": {"add": {"x-a": "b"}}}},
    {"headers": {"request": {"set": {"x-c": "d"}}}, "timeout": "5s"},
    {"fault": {"abort": {"httpStatus": 500, "percentage": {"value": 10}}}},
    {"mirror": {"host": "orders-shadow"}, "mirrorPercentage": {"value": 5}},
    {"mirrors": [{"destination": {"host": "orders-shadow"}}]},
    {"aFieldOfTheFuture": {"deep": [1]}},
]
"""What a rule may say besides its conditions and destinations."""

alternatives = st.lists(matches, max_size=2)
extras = st.sampled_from([{}, {}, {}, {}, *EXTRAS])


def _rule(body: dict[str, Any], match: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
    return {**body, **more, **({"match": match} if match else {})}


def rules_with(alternatives: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    """Rules with such conditions that forward, mostly, or answer."""
    forwarding = st.builds(_rule, st.builds(lambda found: {"route": found}, routes), alternatives, extras)
    answering = st.builds(_rule, st.just({"directResponse": {"status": 410}}), alternatives, st.just({}))
    return st.one_of(forwarding, forwarding, answering)


rules_of_users = st.lists(rules_with(alternatives), min_size=1, max_size=5)

requests = st.builds(
    Request,
    path=st.sampled_from(["/", "/api", "/a/1", "/b"]),
    method=st.sampled_from(["GET", "POST"]),
    port=st.sampled_from([80, 81]),
    headers=st.sampled_from([{}, {"x-beta": "1"}]),
)
modes = st.sampled_from(list(HeaderMode))
forked = st.sampled_from([("orders",), ("inventory",), ("inventory", "orders")])
