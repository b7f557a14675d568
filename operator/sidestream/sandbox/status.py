"""The status of a Sandbox without its routes and preview, which the routing reconcilers write; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, ConditionType, Reason, condition, merge_conditions
from sidestream.api.kafka import ClaimStatus, FenceState, KafkaRoute
from sidestream.api.labels import BASELINE_GENERATION
from sidestream.api.sandbox import KafkaStatus, Sandbox, SandboxStatus, WorkloadStatus
from sidestream.api.times import format_time
from sidestream.kube.port import DEPLOYMENTS, SERVICES, Object
from sidestream.sandbox.checks import findings_of
from sidestream.sandbox.conditions import accepted, removal_text, unready_route
from sidestream.sandbox.desired import Desired
from sidestream.sandbox.handoffs import group_of
from sidestream.sandbox.lifetime import expiry_of, last_change_of
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import baseline_of, name_of
from sidestream.sandbox.removal import Removal, Stage

_SERVING: Final[frozenset[FenceState]] = frozenset({"From"})
_ENDED: Final[frozenset[FenceState]] = frozenset({"Until", "Retire"})


def status_of(
    observed: Observed, workloads: Iterable[WorkloadStatus], conditions: Iterable[Condition], now: datetime
) -> SandboxStatus:
    """All that this reconciler says; times are taken over from before where nothing changed."""
    sandbox = observed.sandbox
    changed = last_change_of(sandbox, now)
    expiry = expiry_of(sandbox, changed)
    generation = sandbox.metadata.generation
    return SandboxStatus(
        observed_generation=generation,
        routing_key=sandbox.routing_key,
        routing_keys=observed.tenancy.keys_of_sandbox(sandbox.metadata.name),
        workloads=tuple(workloads),
        kafka=tuple(_kafka_status(route) for _, route in sorted(observed.our_routes().items())),
        last_changed_at=format_time(changed),
        expires_at=None if expiry is None else format_time(expiry),
        conditions=merge_conditions(sandbox.status.conditions, conditions, generation=generation, now=format_time(now)),
    )


def status_json(status: SandboxStatus) -> Object:
    """What to apply: without what is not ours, and without empty lists, which nobody can own."""
    foreign = ("routes", "preview")
    return {name: value for name, value in status.to_json().items() if value != [] and name not in foreign}


def workload_statuses(observed: Observed, desired: Iterable[Desired]) -> list[WorkloadStatus]:
    """The workloads of the spec as they are, in its order."""
    return [_workload_status(observed, item.workload.deployment, item.name) for item in desired]


def workloads_left(observed: Observed) -> list[WorkloadStatus]:
    """The forks that a Sandbox in deletion still has."""
    return [_workload_status(observed, baseline_of(item), name_of(item)) for item in observed.ours(DEPLOYMENTS)]


def farewell_conditions(observed: Observed, removal: Removal) -> list[Condition]:
    """The conditions of a Sandbox in deletion: each says how far its part is, Ready what is waited for now."""
    waiting = condition(ConditionType.READY, "False", Reason.DELETING, removal_text(removal))
    parts = {
        ConditionType.WORKLOADS_READY: "The forks go when no route and no record needs them",
        ConditionType.ROUTES_READY: "No proxy routes to the forks",
        ConditionType.KAFKA_READY: "The consumers' records are given back when no proxy routes to the forks",
    }
    match removal.stage:
        case Stage.ROUTES:
            current = ConditionType.ROUTES_READY
        case Stage.DRAIN:
            draining = waiting.model_copy(update={"reason": Reason.DRAINING})
            waiting, current = _kafka_wait(observed, draining), ConditionType.KAFKA_READY
        case Stage.PODS:
            parts[ConditionType.KAFKA_READY] = "The consumers' records are given back"
            current = ConditionType.WORKLOADS_READY
        case Stage.GROUPS:
            parts[ConditionType.WORKLOADS_READY] = "The forks are gone"
            waiting, current = _kafka_wait(observed, waiting), ConditionType.KAFKA_READY
        case None:
            current = ConditionType.READY
    said = {type_: condition(type_, "False", Reason.DELETING, text) for type_, text in parts.items()}
    if current in said:
        said[current] = _as(waiting, current)
    return [_accepted_before(observed.sandbox), *said.values(), waiting]


def _kafka_wait(observed: Observed, waiting: Condition) -> Condition:
    """What the first KafkaRoute that cannot go on says, else what is waited for."""
    for name, route in sorted(observed.our_routes().items()):
        said = unready_route(name, route)
        if said is not None and said.reason not in {Reason.PENDING, Reason.DRAINING, Reason.DELETING}:
            return said.model_copy(update={"type": ConditionType.READY})
    return waiting


def _accepted_before(sandbox: Sandbox) -> Condition:
    found: Sequence[Condition] = [item for item in sandbox.status.conditions if item.type == ConditionType.ACCEPTED]
    return found[0] if found else accepted(None)


def _as(item: Condition, type_: ConditionType) -> Condition:
    return item.model_copy(update={"type": type_})


def _kafka_status(route: KafkaRoute) -> KafkaStatus:
    return KafkaStatus(
        consumer=route.spec.consumer,
        group=group_of(route),
        phase=route.status.phase.value,
        partitions=sum(topic.partitions for topic in route.status.topics),
        pending=len({place for claim in route.status.claims for place in _pending(route, claim)}),
    )


def _pending(route: KafkaRoute, claim: ClaimStatus) -> Iterator[tuple[str, int]]:
    """The partitions on which a claim is not yet the fork's where it serves, or settled where it ends."""
    is_serving = not route.is_deleting and claim.key in route.spec.keys
    done = _SERVING if is_serving else _ENDED
    for fence in claim.fences:
        if fence.state not in done:
            yield fence.topic, fence.partition


def _workload_status(observed: Observed, deployment: str, fork: str) -> WorkloadStatus:
    live = observed.our(DEPLOYMENTS, fork) or {"metadata": {}}
    generation = (live["metadata"].get("annotations") or {}).get(BASELINE_GENERATION, "")
    return WorkloadStatus(
        deployment=deployment,
        fork=fork,
        services=tuple(name_of(item) for item in observed.ours(SERVICES) if baseline_of(item) == deployment),
        ready_replicas=(live.get("status") or {}).get("readyReplicas", 0),
        baseline_generation=int(generation) if generation.isdecimal() else 0,
        keys=observed.tenancy.keys_of(observed.sandbox.metadata.name, deployment),
        findings=findings_of(observed, deployment, fork),
    )
