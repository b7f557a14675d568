"""Requests to the shop, and which version of each service says that it handled them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from sidestream_demo.errors import BrokenPromiseError, DemoError
from sidestream_demo.process import wait_until

ANSWER_SECONDS = 30.0
HTTP_HOPS = ("storefront", "orders")
KAFKA_HOPS = ("fulfilment", "inventory")
BASELINE = "baseline"


@dataclass(frozen=True)
class Hop:
    """A service and the version of it that answered, by its own word."""

    service: str
    version: str


@dataclass(frozen=True)
class Trip:
    """One order's way: the tenant it was sent for (None: nobody's), its hops in order, and the seconds to the last."""

    tenant: str | None
    order: str
    hops: tuple[Hop, ...]
    seconds: float


def handlers(inventory: str, prefix: str) -> dict[str, frozenset[str]]:
    """The versions of fulfilment that handled each order, of those at the inventory's URL whose names begin so."""
    with httpx.Client(base_url=inventory, timeout=ANSWER_SECONDS, trust_env=False) as http:
        try:
            answer = http.get("/reservations", params={"prefix": prefix})
            answer.raise_for_status()
            found: list[dict[str, Any]] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DemoError(f"The inventory did not say who handled which orders: {error}") from error
    return {item["order"]: frozenset(hop["version"] for hop in item["asked_by"]) for item in found}


def headers_of(tenant: str | None) -> dict[str, str]:
    """The headers of a request that a tenant sends."""
    return {} if tenant is None else {"baggage": f"tenant={tenant}"}


def place_order(storefront: str, tenant: str | None = None) -> Trip:
    """Order something at the storefront's URL, and wait until fulfilment and inventory have had their part of it.

    Raises:
        BrokenPromiseError: the order never arrived at the end of the chain.
        DemoError: the storefront does not answer, or with an error.
    """
    begin = time.monotonic()
    with httpx.Client(base_url=storefront, timeout=ANSWER_SECONDS, trust_env=False) as http:
        placed = _ask(http, "POST", "/orders", headers_of(tenant), {"item": "book", "quantity": 1})
        order = str(placed["order"])
        try:
            hops = wait_until(lambda: _hops_at_the_end(http, order), ANSWER_SECONDS, f"the order {order}")
        except DemoError as late:
            raise BrokenPromiseError(
                f"The order {order} of {tenant or 'nobody'} did not arrive at {KAFKA_HOPS[-1]} within "
                f"{ANSWER_SECONDS:.0f} s; it went through {describe(_hops(placed))}."
            ) from late
        return Trip(tenant, order, hops, time.monotonic() - begin)


def promised(tenant: str | None, forks: Sequence[str], version: str) -> tuple[Hop, ...]:
    """The hops of a tenant's request: the services in `forks` in its version, all others as the baseline."""
    chain = HTTP_HOPS + KAFKA_HOPS
    return tuple(Hop(service, version if tenant and service in forks else BASELINE) for service in chain)


def check(trip: Trip, expected: tuple[Hop, ...]) -> None:
    """Raise BrokenPromiseError, saying what was promised, unless the trip's hops are those expected."""
    if trip.hops != expected:
        raise BrokenPromiseError(
            f"The order {trip.order} of {trip.tenant or 'nobody'} took another way than promised.\n"
            f"  promised: {describe(expected)}\n  seen:     {describe(trip.hops)}"
        )


def describe(hops: Sequence[Hop]) -> str:
    """The hops as a line of text."""
    parts = [f"{hop.service}({hop.version})" for hop in hops]
    if len(parts) > len(HTTP_HOPS):
        parts.insert(len(HTTP_HOPS), "Kafka")
    return " -> ".join(parts) or "no service"


def _ask(
    http: httpx.Client,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The storefront's JSON answer; empty when it knows of no such order (yet)."""
    try:
        answer = http.request(method, path, headers=headers, json=body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise DemoError(f"The storefront did not answer {method} {path} as it should: {error}") from error
    return found


def _hops_at_the_end(http: httpx.Client, order: str) -> tuple[Hop, ...]:
    """All hops of an order that has arrived, none of one that has not."""
    return _hops(_ask(http, "GET", f"/orders/{order}"))


def _hops(answer: dict[str, Any]) -> tuple[Hop, ...]:
    return tuple(Hop(hop["service"], hop["version"]) for hop in answer.get("hops", ()))
