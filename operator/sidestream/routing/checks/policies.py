"""Checks of Istio's policies that hold for the baseline and not for the fork; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidestream.api.findings import FindingReason
from sidestream.kube.port import (
    AUTHORIZATION_POLICIES,
    GATEWAYS,
    PEER_AUTHENTICATIONS,
    REQUEST_AUTHENTICATIONS,
    SERVICES,
    SIDECARS,
    Object,
)
from sidestream.kube.selectors import matches_labels
from sidestream.routing.checks.istio import waypoint_of
from sidestream.routing.checks.subject import Finding, Fork, Pods, Subject, labels_of
from sidestream.routing.providers.provider import title_of

_ROOT_NAMESPACE: Final = "istio-system"
"""Policies here may select pods of every namespace, unless the mesh's `rootNamespace` says otherwise."""

_ON_PODS: Final = (AUTHORIZATION_POLICIES, PEER_AUTHENTICATIONS, REQUEST_AUTHENTICATIONS, SIDECARS)
_ON_TARGETS: Final = (AUTHORIZATION_POLICIES, REQUEST_AUTHENTICATIONS)


def by_selector(subject: Subject) -> Iterator[Finding]:
    """Policies that select the baseline's pods by a label whose value is another one in the fork's pods."""
    for resource in _ON_PODS:
        # a Sidecar with a selector is for its own namespace, also in the root's
        namespaces = {subject.host.namespace} | (set() if resource is SIDECARS else {_ROOT_NAMESPACE})
        for namespace in sorted(namespaces):
            for policy in subject.cluster.all(resource, namespace):
                yield from _of_selector(policy, subject)


def by_target(subject: Subject) -> Iterator[Finding]:
    """Policies for the Service, or for a waypoint that is the Service's and not the fork Service's."""
    host = subject.host
    for resource in _ON_TARGETS:
        for policy in subject.cluster.all(resource):
            for fork in subject.forks:
                target = _missed_target(policy, fork, subject)
                if target:
                    yield Finding(
                        FindingReason.POLICY_NOT_APPLIED,
                        f"{title_of(policy)} is for {target}: {_effect(policy)} on requests that are sent to the fork "
                        f"Service {fork.host.name} itself, such as a gateway's; if they come, write one for Service "
                        f"{host.namespace}/{fork.host.name}",
                        fork=fork.host.name,
                    )


def _of_selector(policy: Object, subject: Subject) -> Iterator[Finding]:
    wanted = _selector_of(policy)
    selected = [item for item in subject.baselines if matches_labels(wanted, item.labels)]
    for pods in (pods for item in selected for pods in item.forks):
        if not matches_labels(wanted, pods.labels):
            yield Finding(
                FindingReason.POLICY_NOT_APPLIED,
                f"{title_of(policy)} selects {pods.text} ({_differences(wanted, pods)}): {_effect(policy)} there; let "
                "it select by a label that no Service, Deployment or PodDisruptionBudget selects by",
                fork=pods.fork.name,
            )


def _selector_of(policy: Object) -> Mapping[str, str]:
    spec = policy.get("spec") or {}
    if policy["kind"] == SIDECARS.kind:
        return (spec.get("workloadSelector") or {}).get("labels") or {}
    return (spec.get("selector") or {}).get("matchLabels") or {}


def _differences(wanted: Mapping[str, str], pods: Pods) -> str:
    """The labels by which the fork's pods are not selected, as they are there."""
    found = {key: pods.labels.get(key) for key, value in sorted(wanted.items()) if pods.labels.get(key) != value}
    return ", ".join(f"label {key} is {value}" if value else f"there is no label {key}" for key, value in found.items())


def _effect(policy: Object) -> str:
    spec = policy.get("spec") or {}
    match policy["kind"]:
        case AUTHORIZATION_POLICIES.kind:
            return f"its rules (action {spec.get('action', 'ALLOW')}) are not enforced"
        case PEER_AUTHENTICATIONS.kind:
            return f"its mTLS mode {(spec.get('mtls') or {}).get('mode', 'UNSET')} is not demanded"
        case REQUEST_AUTHENTICATIONS.kind:
            return "its tokens are not checked"
        case _:
            return "its listeners and hosts are not set up"


def _missed_target(policy: Object, fork: Fork, subject: Subject) -> str:
    """What a policy is for that the fork is not behind; empty when there is no such thing."""
    namespace = policy["metadata"]["namespace"]
    for reference in _targets_of(policy):
        kind, name = reference.get("kind"), reference.get("name", "")
        if kind == "Service" and (namespace, name) == (subject.host.namespace, subject.host.name):
            if not any(item.get("name") == fork.host.name for item in _targets_of(policy)):
                return subject.title
        elif kind == GATEWAYS.kind and (namespace, name) == _waypoint(subject.service, subject):
            service = subject.cluster.get(SERVICES, fork.host.namespace, fork.host.name) or {"metadata": {}}
            if (namespace, name) != _waypoint(service, subject):
                return f"Gateway {namespace}/{name}, the waypoint of {subject.title}"
    return ""


def _waypoint(service: Object, subject: Subject) -> tuple[str, str] | None:
    namespace = subject.host.namespace
    return waypoint_of(labels_of(service), namespace, subject.namespace_labels(namespace))


def _targets_of(policy: Object) -> list[dict[str, Any]]:
    spec = policy.get("spec") or {}
    one = spec.get("targetRef")
    return [*(spec.get("targetRefs") or ()), *([one] if one else [])]
