"""Reads what sidecars do with a Service after a user's VirtualService, or says why tenants cannot be given rules there.

Rules come out portable: spelled so that they mean the same in a VirtualService of any other namespace.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.kube.port import VIRTUAL_SERVICES, Object
from sidestream.routing.entries import Mode
from sidestream.routing.headers import tenant_matches
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.provider import Cluster, key_of
from sidestream.routing.providers.virtualservice_delegates import delegate_of, delegates_of, expanded, user_delegates
from sidestream.routing.providers.virtualservice_patch import is_patch_allowed, without_rules
from sidestream.routing.providers.virtualservice_regex import regexes_of, why_invalid
from sidestream.routing.providers.virtualservice_rules import header_condition_names, matches_of, service_at
from sidestream.routing.providers.virtualservice_words import (
    MESH,
    conflict,
    gateway_name,
    gateways_of,
    is_for_the_mesh,
    is_public,
    is_visible_anywhere,
    mesh_name,
    rule_of,
)
from sidestream.routing.table import Rule

_SHOWN: Final = 60
"""Characters of a regular expression within a sentence."""


@dataclass(frozen=True)
class UserRules:
    """A user's rules in effective order, the VirtualService (`namespace/name`) that has them, and how ours stand to it.

    `place` is what of our object's spec follows from theirs.
    """

    rules: tuple[Rule, ...]
    source: str
    mode: Mode
    place: dict[str, Any] = field(default_factory=dict)


def users_of(cluster: Cluster) -> list[Object]:
    """All VirtualServices that are not ours, without rules of ours that were put into them."""
    return [without_rules(item) for item in cluster.all(VIRTUAL_SERVICES) if not is_ours(item)]


def is_about(virtual_service: Object, service: ServiceHost) -> bool:
    """Whether the VirtualService says what sidecars do with requests for `service`."""
    spec, namespace = virtual_service["spec"], virtual_service["metadata"]["namespace"]
    return is_for_the_mesh(virtual_service) and any(
        service.is_named_by(host, namespace) or service.is_covered_by(host) for host in spec["hosts"]
    )


def mesh_rules(
    service: ServiceHost, ports: Sequence[int], cluster: Cluster, header: HeaderSettings
) -> UserRules | None:
    """The rules of the one VirtualService among the users' that is about `service`; None when there is none.

    Raises:
        InvalidInputError: tenants cannot be given rules; the message names the object, and the rule where it is about
            one.
    """
    users = [item for item in users_of(cluster) if is_for_the_mesh(item) and is_visible_anywhere(item)]
    found = sorted((item for item in users if is_about(item, service)), key=key_of)
    _refuse_half_names([item for item in users if item not in found], service)
    if not found:
        return None
    if len(found) > 1:
        listed = " and ".join(key_of(item) for item in found)
        raise conflict(f"VirtualServices {listed} both name host {service.fqdn}; keep one of them")
    (only,) = found
    mode = _mode(only, service)
    _refuse_the_object(only, service, mode)
    ours = own_delegates(only, cluster)
    refuse_rules([only, *user_delegates(only, cluster, ours)], header)
    rules = _rules_of_sidecars(expanded(only, cluster, ours))
    others = _rules_for_the_other_ports(rules, service, ports, only)
    if mode is Mode.OVERLAY:
        return UserRules((*rules, *others), key_of(only), mode)
    if others:
        raise _no_rule_for_port(only, others[0]["match"][0]["port"])
    own_namespace = only["metadata"]["namespace"]
    return UserRules(_for_the_mesh_alone(rules, only), key_of(only), mode, {"exportTo": [own_namespace]})


def own_delegates(virtual_service: Object, cluster: Cluster) -> frozenset[str]:
    """The VirtualServices (`namespace/name`) of ours that this one may hand over to."""
    metadata = virtual_service["metadata"]
    hosts = virtual_service["spec"].get("hosts") or ()
    services = (service_at(host, metadata["namespace"], cluster.domain) for host in hosts)
    return frozenset(
        [
            f"{metadata['namespace']}/{gateway_name(metadata['namespace'], metadata['name'])}",
            *(f"{service.namespace}/{mesh_name(service.name)}" for service in services if service is not None),
        ]
    )


def refuse_rules(virtual_services: Iterable[Object], header: HeaderSettings) -> None:
    """Refuse rules that cannot be cloned.

    Raises:
        InvalidInputError: a rule looks at the header that names the tenants, or has an invalid regular expression.
    """
    names_tenants = {match.name for match in tenant_matches(header, "any")}
    for item in virtual_services:
        for index, rule in enumerate(item["spec"].get("http") or []):
            for name in sorted(header_condition_names(rule) & names_tenants):
                raise conflict(
                    f"{rule_of(item, index)} matches on header {name}, which names the tenants; match on another header"
                )
            for pattern in regexes_of(rule):
                why = why_invalid(pattern)
                if why is not None:
                    raise conflict(f"The regular expression {_shown(pattern)} in {_lower(rule_of(item, index))} {why}")


def refuse_a_bad_handover(virtual_service: Object, target: str, ours: Collection[str | None]) -> None:
    """Refuse a rule that hands over to our `target` in a way in which tenants would not meet all of their rules.

    Raises:
        InvalidInputError: it has conditions or other fields of its own, or other rules come before it.
    """
    namespace = virtual_service["metadata"]["namespace"]
    for index, rule in enumerate(virtual_service["spec"].get("http") or []):
        goal = delegate_of(rule, namespace)
        subject = rule_of(virtual_service, index)
        if goal == target and (extra := sorted(set(rule) - {"name", "delegate"})):
            raise conflict(f"{subject} delegates to {target} and has {', '.join(extra)} too; leave only delegate in it")
        if goal == target:
            return
        if goal not in ours:
            raise conflict(f"{subject} comes before the one that delegates to {target}; move that one to the top")


def _refuse_half_names(virtual_services: Sequence[Object], service: ServiceHost) -> None:
    """A host of ours would take the requests from one that Istio knows only when they are spelled as it is."""
    for item in virtual_services:
        for host in item["spec"]["hosts"]:
            if service.is_half_named_by(host):
                raise conflict(
                    f"VirtualService {key_of(item)} names host {host}, which Istio takes for another than "
                    f"{service.fqdn}, so its rules hold only for requests that spell it so; write the full name"
                )


def _mode(virtual_service: Object, service: ServiceHost) -> Mode:
    if is_patch_allowed(virtual_service):
        return Mode.PATCH
    if f"{service.namespace}/{mesh_name(service.name)}" in delegates_of(virtual_service):
        return Mode.DELEGATE
    return Mode.OVERLAY


def _refuse_the_object(virtual_service: Object, service: ServiceHost, mode: Mode) -> None:
    spec, namespace = virtual_service["spec"], virtual_service["metadata"]["namespace"]
    subject = f"VirtualService {key_of(virtual_service)}"
    if not any(service.is_named_by(host, namespace) for host in spec["hosts"]):
        raise conflict(f"{subject} names host {service.fqdn} by a wildcard; name the host itself to have it forked")
    match mode:
        case Mode.DELEGATE:
            target = f"{service.namespace}/{mesh_name(service.name)}"
            services = (service_at(host, namespace, service.domain) for host in spec["hosts"])
            names = {f"{item.namespace}/{mesh_name(item.name)}" for item in services if item is not None}
            refuse_a_bad_handover(virtual_service, target, names)
        case Mode.PATCH if len(spec["hosts"]) > 1:
            raise conflict(f"{subject} allows a patch but has several hosts; give each a VirtualService of its own")
        case Mode.OVERLAY:
            _refuse_what_cannot_be_overlaid(virtual_service, subject)
        case _:
            pass


def _refuse_what_cannot_be_overlaid(virtual_service: Object, subject: str) -> None:
    for section in ("tcp", "tls"):
        if virtual_service["spec"].get(section):
            raise conflict(f"{subject} has {section} rules, which cannot be given to tenants; move them elsewhere")
    if not is_public(virtual_service):
        raise conflict(f"{subject} sets exportTo, so no other VirtualService can take precedence over it; remove it")


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


def _for_the_mesh_alone(rules: Sequence[Rule], virtual_service: Object) -> tuple[Rule, ...]:
    """The rules for an object that gateways use as well, but what is made of them must not be theirs."""
    if not gateways_of(virtual_service):
        return tuple(rules)
    if any(_is_for_some_callers(match) for rule in rules for match in matches_of(rule)):
        raise conflict(
            f"VirtualService {key_of(virtual_service)} is for gateways too and has rules for some callers only "
            "(sourceLabels, sourceNamespace); give the gateways a VirtualService of their own"
        )
    return tuple(
        {**rule, "match": [{**match, "gateways": [MESH]} for match in matches_of(rule) or [{}]]} for rule in rules
    )


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
            raise conflict(
                f"VirtualService {key_of(source)} has rules for some callers only (sourceLabels, sourceNamespace) on "
                f"port {port}; add a rule for all others"
            )
    return others


def _no_rule_for_port(virtual_service: Object, port: int) -> Exception:
    return conflict(
        f"VirtualService {key_of(virtual_service)} has no rule for port {port}, where ours would be the only ones; "
        "add a rule for it"
    )


def _is_for_some_callers(match: dict[str, Any]) -> bool:
    return not match.get("gateways") and bool(match.get("sourceLabels") or match.get("sourceNamespace"))


def _shown(pattern: str) -> str:
    return pattern if len(pattern) <= _SHOWN else f"{pattern[: _SHOWN - 3]}..."


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
