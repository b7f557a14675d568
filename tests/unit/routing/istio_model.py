"""A small model of what a proxy does with the rules that it has, after Istio's and Envoy's, to judge ours against.

It shares no code with the package: hosts are compared by table, headers by Python's own regex engine. Which rules a
proxy has is in `istiod_model`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

SPELLINGS = {
    "orders": {"orders", "orders.shop.svc.cluster.local"},
    "inventory": {"inventory", "inventory.shop.svc.cluster.local"},
}
"""How objects of namespace `shop` may write the Services that tests fork."""

TRIALS = {"fault", "mirror", "mirrors", "mirrorPercent", "mirrorPercentage"}


@dataclass(frozen=True)
class Request:
    path: str = "/"
    method: str = "GET"
    port: int = 80
    headers: dict[str, str] = field(default_factory=dict)

    def with_headers(self, headers: dict[str, str]) -> Request:
        return Request(self.path, self.method, self.port, {**self.headers, **headers})


@dataclass(frozen=True)
class Decision:
    """What becomes of a request: the shares of its destinations, and everything else that the rule says."""

    shares: frozenset[tuple[str, Fraction]]
    rest: str


def decide(rules: list[dict[str, Any]], request: Request) -> Decision | None:
    """The decision of the first rule that matches; None when none does and the proxy answers 404."""
    for rule in rules:
        alternatives = rule.get("match") or [{}]
        if any(_matches(match, request) for match in alternatives):
            return _decision(rule)
    return None


def with_forks(decision: Decision | None, forks: dict[str, str]) -> Decision | None:
    """The decision that a tenant deserves: its forks where their Services were, and then without the team's trials.

    `forks` has the fork's host for each Service's name.
    """
    if decision is None:
        return None
    by_spelling = {spelling: fork for name, fork in forks.items() for spelling in SPELLINGS[name]}
    shares: dict[str, Fraction] = {}
    is_fork_met = False
    for text, share in decision.shares:
        route = json.loads(text)
        destination = route["destination"]
        if destination["host"] in by_spelling:
            is_fork_met = True
            destination.pop("subset", None)
            destination["host"] = by_spelling[destination["host"]]
        key = json.dumps(route, sort_keys=True)
        shares[key] = shares.get(key, Fraction(0)) + share
    rest = json.loads(decision.rest)
    if is_fork_met:
        rest = {key: value for key, value in rest.items() if key not in TRIALS}
    return Decision(frozenset(shares.items()), json.dumps(rest, sort_keys=True))


def _decision(rule: dict[str, Any]) -> Decision:
    routes = rule.get("route") or []
    weights = [1] if len(routes) == 1 else [route.get("weight", 0) for route in routes]
    shares: dict[str, Fraction] = {}
    for route, weight in zip(routes, weights, strict=True):
        if weight:
            key = json.dumps({name: value for name, value in route.items() if name != "weight"}, sort_keys=True)
            shares[key] = shares.get(key, Fraction(0)) + Fraction(weight, sum(weights))
    rest = {key: value for key, value in rule.items() if key not in ("name", "match", "route")}
    return Decision(frozenset(shares.items()), json.dumps(rest, sort_keys=True))


def _matches(match: dict[str, Any], request: Request) -> bool:
    return (
        match.get("port", request.port) == request.port
        and _holds(match.get("uri"), request.path)
        and _holds(match.get("method"), request.method)
        and all(_header_holds(name, wanted, request) for name, wanted in match.get("headers", {}).items())
        and not any(
            # Envoy takes a missing header for an empty one when the condition is turned round
            _holds(excluded, request.headers.get(name, ""))
            for name, excluded in match.get("withoutHeaders", {}).items()
        )
    )


def _header_holds(name: str, wanted: dict[str, str], request: Request) -> bool:
    return name in request.headers and _holds(wanted, request.headers[name])


def _holds(wanted: dict[str, str] | None, value: str) -> bool:
    match wanted:
        case None:
            return True
        case {"exact": text}:
            return value == text
        case {"prefix": text}:
            return value.startswith(text)
        case {"regex": pattern}:
            return re.fullmatch(pattern, value) is not None
        case _:
            raise AssertionError(f"the model does not know {wanted}")
