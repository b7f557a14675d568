"""Checks of NetworkPolicies: whom they let through to and from the baseline's pods, and not the fork's; pure.

Each policy is judged alone, while Kubernetes adds up what all of them allow: another one may let through what is found
missing here. Ports and address ranges are not looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from sidestream.api.findings import FindingReason
from sidestream.api.selectors import matches_selector
from sidestream.kube.port import NETWORK_POLICIES, Object
from sidestream.routing.checks.subject import Finding, Labels, Pods, Subject
from sidestream.routing.providers.provider import title_of

_ADVICE: Final = "name both by a label that no Service, Deployment or PodDisruptionBudget selects by"


def policies_on_pods(subject: Subject) -> Iterator[Finding]:
    """Policies that select the baseline's pods and not the fork's."""
    for policy in subject.cluster.all(NETWORK_POLICIES, subject.host.namespace):
        selector = _spec(policy).get("podSelector") or {}
        selected = [item for item in subject.baselines if matches_selector(selector, item.labels)]
        for pods in (pods for item in selected for pods in item.forks):
            if not matches_selector(selector, pods.labels):
                yield Finding(
                    FindingReason.NETWORK_POLICY_NOT_APPLIED,
                    f"{title_of(policy)} selects {pods.text}: what it says does not hold there; {_ADVICE}",
                    fork=pods.fork.name,
                )


def forks_barred(subject: Subject) -> Iterator[Finding]:
    """Policies that let the baseline's pods in as callers, and not the fork's."""
    for policy, pods in _one_sided(subject, "ingress", "from"):
        yield Finding(
            FindingReason.NETWORK_POLICY_BARS_FORK,
            f"{title_of(policy)} lets in {pods.text}, so the fork may not be able to call on; {_ADVICE}",
            fork=pods.fork.name,
        )


def callers_barred(subject: Subject) -> Iterator[Finding]:
    """Policies that let callers out to the baseline's pods, and not to the fork's."""
    for policy, pods in _one_sided(subject, "egress", "to"):
        yield Finding(
            FindingReason.NETWORK_POLICY_BARS_CALLERS,
            f"{title_of(policy)} lets callers out to {pods.text}, so they may not reach the fork; {_ADVICE}",
            fork=pods.fork.name,
        )


def _one_sided(subject: Subject, direction: str, side: str) -> Iterator[tuple[Object, Pods]]:
    """The policies with a rule for the baseline's pods that no rule of them makes good for the fork's."""
    namespace_labels = subject.namespace_labels(subject.host.namespace)
    for policy in subject.cluster.all(NETWORK_POLICIES):
        rules = _spec(policy).get(direction) or ()
        sides = [rule.get(side) or () for rule in rules]
        if not any(peer.get("podSelector") for peers in sides for peer in peers):
            continue
        is_at_home = policy["metadata"]["namespace"] == subject.host.namespace
        is_for = partial(_is_for, namespace=namespace_labels, is_at_home=is_at_home)
        for baseline in subject.baselines:
            wanted = [number for number, peers in enumerate(sides) if is_for(peers, baseline.labels)]
            for pods in baseline.forks if wanted else ():
                named = [is_for(peers, pods.labels) for peers in sides]
                if not all(_is_made_good(number, rules, named) for number in wanted):
                    yield policy, pods


def _is_for(peers: Sequence[dict[str, Any]], labels: Labels, namespace: Labels, *, is_at_home: bool) -> bool:
    """Whether a rule's peers include pods with these labels in a namespace with those; without peers it is for all."""
    return not peers or any(_is_peer(peer, labels, namespace, is_at_home=is_at_home) for peer in peers)


def _is_peer(peer: dict[str, Any], labels: Labels, namespace: Labels, *, is_at_home: bool) -> bool:
    if "ipBlock" in peer:
        return False
    of_namespaces = peer.get("namespaceSelector")
    is_there = is_at_home if of_namespaces is None else matches_selector(of_namespaces, namespace)
    return is_there and matches_selector(peer.get("podSelector") or {}, labels)


def _is_made_good(number: int, rules: Sequence[dict[str, Any]], fork: Sequence[bool]) -> bool:
    """Whether what one rule allows is allowed to the fork's pods, too: by itself or by one with no fewer ports."""
    ports = rules[number].get("ports")
    return any(
        named and (other.get("ports") or None) in (None, ports) for other, named in zip(rules, fork, strict=True)
    )


def _spec(policy: Object) -> dict[str, Any]:
    return policy.get("spec") or {}
