"""Reads users' HTTPRoutes and GRPCRoutes: what they are attached to, their rules, and what is wrong with these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES, Object, Resource
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.httproute_groups import UserRule, age, conflict
from sidestream.routing.providers.httproute_rules import matches_of
from sidestream.routing.providers.provider import Cluster, title_of
from sidestream.routing.regexes import why_refused
from sidestream.routing.table import Rule

ROUTES: Final[tuple[Resource, ...]] = (HTTP_ROUTES, GRPC_ROUTES)

_GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
_REGEX: Final = "RegularExpression"
_PRESENT: Final = "*"
"""No expression to Istio, but "it is there"."""


@dataclass(frozen=True, order=True)
class Place:
    """A Service or Gateway that a route names as its parent."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def resource_of(route: Object) -> Resource:
    """Which of the two kinds it is."""
    return GRPC_ROUTES if route["kind"] == GRPC_ROUTES.kind else HTTP_ROUTES


def users_routes(cluster: Cluster) -> list[Object]:
    """The routes of both kinds that Sidestream did not write, in the order in which proxies prefer them."""
    return sorted((item for kind in ROUTES for item in cluster.all(kind) if not is_ours(item)), key=age)


def service_parents(route: Object) -> Iterator[tuple[Place, int | None]]:
    """The Services that the route is a mesh route of, each with the port that it is confined to."""
    for ref in parents_of(route):
        if ref.get("group") in ("", "core") and ref.get("kind") == "Service":
            yield _place(ref, route), ref.get("port")


def gateway_parents(route: Object) -> list[tuple[Place, dict[str, Any]]]:
    """The Gateways that the route is attached to, each with the parentRef as it is written."""
    return [
        (_place(ref, route), ref)
        for ref in parents_of(route)
        if ref.get("group", _GATEWAY_GROUP) == _GATEWAY_GROUP and ref.get("kind", "Gateway") == "Gateway"
    ]


def parents_of(route: Object) -> list[dict[str, Any]]:
    """All parentRefs as they are written."""
    return list(route["spec"].get("parentRefs") or ())


def hostnames_of(route: Object) -> tuple[str, ...]:
    """The hosts that the route is confined to at gateways; none means all of the listener's."""
    return tuple(route["spec"].get("hostnames") or ())


def rules_of(route: Object) -> list[Rule]:
    """The route's rules, raw."""
    return list(route["spec"].get("rules") or ())


def user_rules(route: Object, *, is_seed: bool = True, is_foreign: bool = False) -> list[UserRule]:
    """The route's rules with their origins.

    Raises:
        InvalidInputError: proxies refuse one of the rules, or policies hold for this route by its name.
    """
    if not is_foreign:
        _refuse_if_policies_affect(route)
    found = []
    for index, rule in enumerate(rules_of(route)):
        origin = f"rules[{index}] of {title_of(route)}"
        _refuse_invalid_regexes(rule, origin)
        is_grpc = resource_of(route) == GRPC_ROUTES
        found.append(UserRule(rule, origin, is_seed, is_foreign, is_grpc))
    return found


def _place(ref: dict[str, Any], route: Object) -> Place:
    return Place(ref.get("namespace") or route["metadata"]["namespace"], ref["name"])


def _refuse_invalid_regexes(rule: Rule, origin: str) -> None:
    for match in matches_of(rule):
        for what, pattern in _regexes(match):
            why = why_refused(pattern)
            if why is not None:
                raise conflict(f"The regular expression of {what} in {origin} {why}, so proxies refuse it: {pattern}")


def _regexes(match: dict[str, Any]) -> Iterator[tuple[str, str]]:
    path = match.get("path") or {}
    if path.get("type") == _REGEX:
        yield "the path", path.get("value", "/")
    call = match.get("method")
    if isinstance(call, dict) and call.get("type") == _REGEX:
        yield from ((f"the {part}", call[part]) for part in ("service", "method") if call.get(part))
    for field, what in (("headers", "header"), ("queryParams", "query parameter")):
        for item in match.get(field) or ():
            if item.get("type") == _REGEX and item["value"] != _PRESENT:
                yield f"{what} {item['name']}", item["value"]


def _refuse_if_policies_affect(route: Object) -> None:
    """Policies that name a route do not hold for copies of it, and such a policy may be who is let in.

    Their controllers say so in the route's status, after GEP-713.
    """
    for parent in (route.get("status") or {}).get("parents") or ():
        for item in parent.get("conditions") or ():
            if item["type"].endswith("Affected") and item["status"] == "True":
                raise conflict(
                    f"A policy is attached to {title_of(route)} (condition {item['type']}) and would not hold for "
                    "tenants' copies of its rules; attach it to the Service or Gateway instead"
                )
