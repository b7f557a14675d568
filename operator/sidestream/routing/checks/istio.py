"""Checks of what Istio needs, or has been told, to route a Service: waypoints, DestinationRules, Sidecars; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sidestream.api.findings import FindingReason, listed
from sidestream.kube.port import DESTINATION_RULES, GATEWAYS, SIDECARS, Object
from sidestream.routing.checks.subject import Finding, Labels, Subject, labels_of, titles
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.provider import title_of

DATAPLANE_MODE: Final = "istio.io/dataplane-mode"
USE_WAYPOINT: Final = "istio.io/use-waypoint"
USE_WAYPOINT_NAMESPACE: Final = "istio.io/use-waypoint-namespace"
INGRESS_USE_WAYPOINT: Final = "istio.io/ingress-use-waypoint"
_WAYPOINT_FOR: Final = "istio.io/waypoint-for"
_INJECT: Final = "sidecar.istio.io/inject"

_POLICY_TEXTS: Final = {
    "connectionPool": "connection pool",
    "loadBalancer": "load balancing",
    "outlierDetection": "outlier detection",
    "portLevelSettings": "settings of single ports",
}


def waypoint_of(labels: Labels, namespace: str, namespace_labels: Labels) -> tuple[str, str] | None:
    """Namespace and name of the waypoint of a Service with these labels in this namespace; None for none.

    The Service's own label goes before its namespace's, and `none` means none.
    """
    said = labels if USE_WAYPOINT in labels else namespace_labels
    name = said.get(USE_WAYPOINT, "none")
    return None if name == "none" else (said.get(USE_WAYPOINT_NAMESPACE, namespace), name)


def missing_waypoint(subject: Subject) -> Iterator[Finding]:
    """In ambient mode rules on headers are a waypoint's to follow, and there is none that would."""
    host = subject.host
    namespace_labels = subject.namespace_labels(host.namespace)
    if not _is_ambient(subject, namespace_labels):
        return
    waypoint = waypoint_of(labels_of(subject.service), host.namespace, namespace_labels)
    start = f"{subject.title} is in Istio's ambient mode"
    end = "requests of callers without a sidecar stay on the baseline"
    if waypoint is None:
        yield Finding(
            FindingReason.WAYPOINT_MISSING,
            f"{start} and has no waypoint, so {end}; label the Service or its namespace {USE_WAYPOINT}: <a waypoint>, "
            f"and {INGRESS_USE_WAYPOINT}: true if an ingress gateway without tenants' routes sends requests to it",
        )
        return
    text = _why_unfit(subject, *waypoint)
    if text is not None:
        yield Finding(FindingReason.WAYPOINT_MISSING, f"{start}, but {text}, so {end}")


def destination_rules(subject: Subject) -> Iterator[Finding]:
    """DestinationRules for the baseline's host alone: a fork is another host and inherits nothing.

    One for a wildcard that covers both holds for both.
    """
    rules = [item for item in subject.cluster.all(DESTINATION_RULES) if not is_ours(item)]
    for rule in rules:
        parts = _parts_of(rule) if _is_for(rule, subject.host) else []
        for fork in subject.forks if parts else ():
            if any(_is_for(other, fork.host) for other in rules):
                continue
            yield Finding(
                FindingReason.DESTINATION_RULE_NOT_APPLIED,
                f"{title_of(rule)} is for host {subject.host.fqdn} alone: what it says ({', '.join(parts)}) does not "
                f"hold for the fork; if it has to, write a DestinationRule for host {fork.host.fqdn}",
                fork=fork.host.name,
            )


def hiding_sidecars(subject: Subject) -> Iterator[Finding]:
    """Sidecars that keep the Service's routes from callers, who may still reach it by its address.

    A Sidecar that lets the Service through lets its VirtualService through too, and with it all hosts that this leads
    to, forks included. Of Sidecars in other namespaces only those count that speak of the Service's namespace: to the
    others it is a stranger.
    """
    host = subject.host
    found = [
        item
        for item in subject.cluster.all(SIDECARS)
        if _speaks_of(item, host.namespace) and not any(_covers(where, name, host) for where, name in _egress(item))
    ]
    if found:
        yield Finding(
            FindingReason.SIDECAR_HIDES_ROUTES,
            f"The egress hosts of {titles(found)} leave out {subject.title}: callers of it have no tenants' routes and "
            f"stay on the baseline if they reach it at all; if there are any, add {host.namespace}/{host.fqdn}",
        )


def _is_ambient(subject: Subject, namespace_labels: Labels) -> bool:
    pods: Labels = next((item.labels for item in subject.baselines), {})
    mode = pods.get(DATAPLANE_MODE, namespace_labels.get(DATAPLANE_MODE))
    return mode == "ambient" and pods.get(_INJECT) != "true"


def _why_unfit(subject: Subject, namespace: str, name: str) -> str | None:
    gateway = subject.cluster.get(GATEWAYS, namespace, name)
    if gateway is None:
        return f"its waypoint, Gateway {namespace}/{name}, does not exist"
    served = labels_of(gateway).get(_WAYPOINT_FOR, "service")
    if served not in ("service", "all"):
        return f"its waypoint, Gateway {namespace}/{name}, is not for Services ({_WAYPOINT_FOR}: {served})"
    return None


def _is_for(rule: Object, host: ServiceHost) -> bool:
    return host.is_named_by((rule.get("spec") or {}).get("host", ""), rule["metadata"]["namespace"])


def _parts_of(rule: Object) -> list[str]:
    """What a DestinationRule says, in words."""
    spec: dict[str, Any] = rule.get("spec") or {}
    policy: dict[str, Any] = spec.get("trafficPolicy") or {}
    mode = (policy.get("tls") or {}).get("mode")
    parts = [_POLICY_TEXTS.get(name, name) for name in sorted(policy) if name != "tls"]
    parts += [f"TLS mode {mode}"] if mode else []
    subsets = [item["name"] for item in spec.get("subsets") or ()]
    return parts + ([f"subsets {listed(subsets)}"] if subsets else [])


def _speaks_of(sidecar: Object, namespace: str) -> bool:
    egress = _egress(sidecar)
    is_at_home = sidecar["metadata"]["namespace"] == namespace
    return bool(egress) and (is_at_home or any(where == namespace for where, _ in egress))


def _egress(sidecar: Object) -> list[tuple[str, str]]:
    """Namespace and DNS name of each host that a Sidecar lets callers out to; empty when it says nothing of them."""
    own = sidecar["metadata"]["namespace"]
    listeners: Sequence[dict[str, Any]] = (sidecar.get("spec") or {}).get("egress") or ()
    hosts = [spelled.partition("/") for listener in listeners for spelled in listener.get("hosts") or ()]
    return [(own if where == "." else where, name) for where, _, name in hosts]


def _covers(where: str, name: str, host: ServiceHost) -> bool:
    return where in ("*", host.namespace) and (host.is_covered_by(name) or name.lower() == host.fqdn)
