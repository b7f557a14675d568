"""Checks of what speaks of a baseline by name or by label and not of its fork; pure.

A fork has `spec.workloads[].replicas` pods with the resources that its containers ask for, and nothing else changes
either. What keeps the baseline's pods up or sizes them goes on doing so as if there were no fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sidestream.api.findings import FindingReason, listed
from sidestream.api.sandbox import FindingStatus
from sidestream.api.selectors import matches_selector
from sidestream.kube.port import (
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    HORIZONTAL_AUTOSCALERS,
    SCALED_OBJECTS,
    VERTICAL_AUTOSCALERS,
    Object,
    Resource,
)
from sidestream.sandbox.labels import Labels
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import name_of

READS: Final[tuple[Resource, ...]] = (
    DISRUPTION_BUDGETS,
    HORIZONTAL_AUTOSCALERS,
    VERTICAL_AUTOSCALERS,
    SCALED_OBJECTS,
)
"""The kinds that the checks look at, in the Sandbox's namespace; a cluster need not serve them."""

_REPLICAS: Final = "which keeps the number of pods in spec.workloads[].replicas of the Sandbox"
_LAG_TRIGGERS: Final = frozenset({"kafka", "apache-kafka"})


@dataclass(frozen=True)
class Subject:
    """A baseline and its fork, both as they are, among what is observed."""

    baseline: Object
    fork: Object
    observed: Observed

    @property
    def title(self) -> str:
        """`Deployment orders and not its fork orders-alice`."""
        return f"Deployment {name_of(self.baseline)} and not its fork {name_of(self.fork)}"

    def about(self, resource: Resource, reference: str) -> Iterator[Object]:
        """The objects of a kind whose `spec.<reference>` names the baseline."""
        for item in self.observed.all(resource):
            target = (item.get("spec") or {}).get(reference) or {}
            # KEDA alone lets the kind be left out, and means a Deployment
            if (target.get("kind", DEPLOYMENTS.kind), target.get("name")) == (DEPLOYMENTS.kind, name_of(self.baseline)):
                yield item


Check = Callable[[Subject], Iterator[FindingStatus]]


def findings_of(observed: Observed, baseline: str, fork: str) -> tuple[FindingStatus, ...]:
    """What is found about a fork, in fixed order; nothing while one of the two Deployments is missing."""
    of_baseline, of_fork = observed.live(DEPLOYMENTS, baseline), observed.our(DEPLOYMENTS, fork)
    if of_baseline is None or of_fork is None:
        return ()
    subject = Subject(of_baseline, of_fork, observed)
    return tuple(finding for check in CHECKS for finding in check(subject))


def _disruption_budgets(subject: Subject) -> Iterator[FindingStatus]:
    """Budgets that protect the baseline's pods: either not the fork's, or by counting the fork's among them."""
    of_baseline, of_fork = _pod_labels(subject.baseline), _pod_labels(subject.fork)
    budgets = [
        (item, _selects(item, of_baseline), _selects(item, of_fork))
        for item in subject.observed.all(DISRUPTION_BUDGETS)
    ]
    has_its_own = any(forked and not base for _, base, forked in budgets)
    for item, base, forked in budgets:
        title = f"PodDisruptionBudget {name_of(item)}"
        if base and forked:
            yield _finding(
                FindingReason.DISRUPTION_BUDGET_COUNTS_FORK,
                f"{title} counts the pods of fork {name_of(subject.fork)} among those of Deployment "
                f"{name_of(subject.baseline)}, so it may allow one eviction too many or none at all; add to its "
                "selector the matchExpression that label sidestream.dev/sandbox DoesNotExist",
            )
        elif base and not has_its_own:
            yield _finding(
                FindingReason.DISRUPTION_BUDGET_NOT_APPLIED,
                f"{title} protects the pods of {subject.title}, all of whose pods a node's drain may evict at once; if "
                f"that matters, write one that selects label sidestream.dev/sandbox",
            )


def _horizontal_autoscalers(subject: Subject) -> Iterator[FindingStatus]:
    """Autoscalers of the baseline, but for those that KEDA made for a ScaledObject."""
    for item in subject.about(HORIZONTAL_AUTOSCALERS, "scaleTargetRef"):
        owners = item["metadata"].get("ownerReferences") or ()
        if not any(owner.get("kind") == SCALED_OBJECTS.kind for owner in owners):
            yield _not_scaled(f"HorizontalPodAutoscaler {name_of(item)} scales {subject.title}, {_REPLICAS}")


def _scaled_objects(subject: Subject) -> Iterator[FindingStatus]:
    """KEDA's autoscalers of the baseline; a lag that they go by is the baseline's."""
    for item in subject.about(SCALED_OBJECTS, "scaleTargetRef"):
        triggers = (item.get("spec") or {}).get("triggers") or ()
        groups = [
            (trigger.get("metadata") or {}).get("consumerGroup", "")
            for trigger in triggers
            if trigger.get("type") in _LAG_TRIGGERS
        ]
        named = listed([group for group in groups if group])
        lag = (
            f"; it goes by the lag of consumer group {named}, and the fork reads in a group of its own" if named else ""
        )
        yield _not_scaled(f"ScaledObject {name_of(item)} scales {subject.title}, {_REPLICAS}{lag}")


def _vertical_autoscalers(subject: Subject) -> Iterator[FindingStatus]:
    """Autoscalers that change the resources of the baseline's pods; one that only recommends changes nothing."""
    for item in subject.about(VERTICAL_AUTOSCALERS, "targetRef"):
        mode = ((item.get("spec") or {}).get("updatePolicy") or {}).get("updateMode")
        if mode != "Off":
            yield _not_scaled(
                f"VerticalPodAutoscaler {name_of(item)} sets the resources of the pods of {subject.title}, whose pods "
                "ask for what the Deployment's template says, or spec.workloads[].containers[].resources of the Sandbox"
            )


CHECKS: Final[tuple[Check, ...]] = (
    _disruption_budgets,
    _horizontal_autoscalers,
    _scaled_objects,
    _vertical_autoscalers,
)


def _not_scaled(message: str) -> FindingStatus:
    return _finding(FindingReason.AUTOSCALER_NOT_APPLIED, message)


def _finding(reason: FindingReason, message: str) -> FindingStatus:
    return FindingStatus(reason=reason, message=message)


def _selects(budget: Object, labels: Labels) -> bool:
    return matches_selector((budget.get("spec") or {}).get("selector"), labels)


def _pod_labels(deployment: Object) -> Labels:
    labels: Labels = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return labels
