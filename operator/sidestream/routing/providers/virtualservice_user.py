"""Reads a user's VirtualService for a Service: its rules as they hold for sidecars, or why it cannot be overlaid.

Rules come out spelled so that they mean the same in a VirtualService of any other namespace.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.config import HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.routing.headers import tenant_matches
from sidestream.routing.hosts import ServiceHost, qualified
from sidestream.routing.providers.virtualservice_rules import header_condition_names, matches_of, routes_of
from sidestream.routing.table import Rule

MESH: Final = "mesh"
"""The reserved name of a gateway that stands for all sidecars."""


@dataclass(frozen=True)
class UserRules:
    """A user's rules for a Service in effective order, and the VirtualService (`namespace/name`) that has them."""

    rules: tuple[Rule, ...]
    source: str


def is_for_the_mesh(virtual_service: Object) -> bool:
    """Whether sidecars use the VirtualService; those of gateways alone do not count."""
    return MESH in (virtual_service["spec"].get("gateways") or [MESH])


def is_about(virtual_service: Object, service: ServiceHost) -> bool:
    """Whether the VirtualService says what sidecars do with requests for `service`."""
    spec, namespace = virtual_service["spec"], virtual_service["metadata"]["namespace"]
    return is_for_the_mesh(virtual_service) and any(
        service.is_named_by(host, namespace) or service.is_covered_by(host) for host in spec.get("hosts") or ()
    )


def user_rules(
    virtual_services: Sequence[Object], service: ServiceHost, ports: Sequence[int], header: HeaderSettings
) -> UserRules | None:
    """The rules of the one VirtualService among the users' that is about `service`; None when there is none.

    Raises:
        InvalidInputError: it cannot be overlaid; the message names the object, and the rule where it is about one.
    """
    found = sorted((item for item in virtual_services if is_about(item, service)), key=_key)
    if not found:
        return None
    if len(found) > 1:
        listed = " and ".join(_key(item) for item in found)
        raise _conflict(f"VirtualServices {listed} both name host {service.fqdn}; keep one of them")
    (only,) = found
    _refuse_what_cannot_be_overlaid(only, service, header)
    namespace = only["metadata"]["namespace"]
    rules = [_portable(rule, namespace, service.domain) for rule in _rules_of_sidecars(only["spec"].get("http") or [])]
    return UserRules((*rules, *_rules_for_the_other_ports(rules, service, ports, only)), source=_key(only))


def _refuse_what_cannot_be_overlaid(virtual_service: Object, service: ServiceHost, header: HeaderSettings) -> None:
    spec, metadata = virtual_service["spec"], virtual_service["metadata"]
    subject = f"VirtualService {_key(virtual_service)}"
    if not any(service.is_named_by(host, metadata["namespace"]) for host in spec["hosts"]):
        raise _conflict(f"{subject} names host {service.fqdn} by a wildcard; name the host itself to have it forked")
    for section in ("tcp", "tls"):
        if spec.get(section):
            raise _conflict(f"{subject} has {section} rules, which cannot be given to tenants; move them elsewhere")
    if (spec.get("exportTo") or ["*"]) != ["*"]:
        raise _conflict(f"{subject} sets exportTo, so no other VirtualService can take precedence over it; remove it")
    for index, rule in enumerate(spec.get("http") or []):
        if rule.get("delegate"):
            raise _conflict(f"{_rule(rule, index)} of {subject} delegates to another VirtualService; inline its rules")
        for name in sorted(header_condition_names(rule) & {match.name for match in tenant_matches(header, "any")}):
            raise _conflict(
                f"{_rule(rule, index)} of {subject} matches on header {name}, which names the tenants; "
                "match on another header"
            )


def _rules_of_sidecars(rules: Sequence[Rule]) -> list[Rule]:
    """The rules without the alternatives that only gateways use; a rule of which none is left is for gateways only."""
    kept = []
    for rule in rules:
        matches = [match for match in matches_of(rule) if MESH in (match.get("gateways") or [MESH])]
        if matches:
            kept.append({**rule, "match": [_for_the_mesh(match) for match in matches]})
        elif not matches_of(rule):
            kept.append(rule)
    return kept


def _for_the_mesh(match: dict[str, Any]) -> dict[str, Any]:
    # `gateways` stays: with it Istio ignores sourceLabels and sourceNamespace of the same alternative
    return {**match, "gateways": [MESH]} if match.get("gateways") else match


def _portable(rule: Rule, namespace: str, domain: str) -> Rule:
    rule = copy.deepcopy(rule)
    destinations = [route["destination"] for route in routes_of(rule)]
    destinations += [mirror["destination"] for mirror in rule.get("mirrors") or ()]
    destinations += [rule["mirror"]] if rule.get("mirror") else []
    for destination in destinations:
        destination["host"] = qualified(destination["host"], namespace, domain)
    return rule


def _rules_for_the_other_ports(
    rules: Sequence[Rule], service: ServiceHost, ports: Sequence[int], source: Object
) -> list[Rule]:
    """What Istio does on ports for which it finds no rule at all: it passes requests on to the Service.

    Our own rules are found on every port, so without this a request that no rule is meant for would be refused.
    """
    others: list[Rule] = []
    for port in ports:
        matches = [match for rule in rules for match in matches_of(rule) or [{}] if match.get("port", port) == port]
        if not matches:
            others.append({"match": [{"port": port}], "route": [{"destination": {"host": service.fqdn}}]})
        elif all(_is_for_some_callers(match) for match in matches):
            raise _conflict(
                f"VirtualService {_key(source)} has rules for some callers only (sourceLabels, sourceNamespace) on "
                f"port {port}; add a rule for all others"
            )
    return others


def _is_for_some_callers(match: dict[str, Any]) -> bool:
    return not match.get("gateways") and bool(match.get("sourceLabels") or match.get("sourceNamespace"))


def _rule(rule: Rule, index: int) -> str:
    return f"Rule {rule['name']} (http[{index}])" if rule.get("name") else f"Rule http[{index}]"


def _conflict(message: str) -> InvalidInputError:
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
