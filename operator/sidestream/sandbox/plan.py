"""From what is observed of a Sandbox to what is to be done about it; pure: no I/O, no clock, no memory.

In this order: finalizer, writes, deletes, status, events. A plan that is carried out and made again from what then is
has nothing left to do, and one that is interrupted anywhere is made again from what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sidestream.api.conditions import Condition, ConditionType, Reason, condition
from sidestream.api.labels import FINALIZER
from sidestream.api.sandbox import SandboxStatus
from sidestream.kube.port import CONTROLLER_REVISIONS, DEPLOYMENTS, KAFKA_ROUTES, SERVICES, Object, Resource
from sidestream.sandbox.conditions import conditions_of
from sidestream.sandbox.desired import Desired, desired_workloads, first_problem
from sidestream.sandbox.draining import Target, draining_forks
from sidestream.sandbox.lifetime import expiry_of, last_change_of
from sidestream.sandbox.news import (
    EventReason,
    News,
    news_of_conditions,
    news_of_creation,
    news_of_deletion,
    news_of_findings,
    news_of_removal,
)
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import baseline_of, is_going, name_of
from sidestream.sandbox.removal import (
    Removal,
    removal_of_all,
    removal_of_services,
    removal_of_workload,
    told_routes,
    withdrawn_keys,
)
from sidestream.sandbox.status import farewell_conditions, status_of, workload_statuses, workloads_left


@dataclass(frozen=True)
class SandboxConfig:
    """How often to look again, in seconds, without an event: what is under way, and what only a user can mend."""

    waiting_seconds: float = 10.0
    refused_seconds: float = 30.0


@dataclass(frozen=True)
class Effect:
    """A desired object to write or a live one to delete, and what to tell about it once it is done."""

    resource: Resource
    obj: Object
    news: News | None = None


@dataclass(frozen=True)
class Plan:
    """What to do.

    `writes` are desired objects (those that are as desired already are not written), `deletes` live ones. `status` is
    None when the Sandbox is gone afterwards. `finalizer` says what becomes of ours. `is_expired`: the Sandbox is to
    delete itself, last of all.
    """

    finalizer: Literal["keep", "add", "remove"] = "keep"
    writes: tuple[Effect, ...] = ()
    deletes: tuple[Effect, ...] = ()
    status: SandboxStatus | None = None
    news: tuple[News, ...] = ()
    is_expired: bool = False
    requeue_after: float | None = None


def plan(observed: Observed, now: datetime, config: SandboxConfig) -> Plan:
    """What to do about a Sandbox at `now` (UTC)."""
    sandbox = observed.sandbox
    if sandbox.is_deleting:
        return _farewell(observed, now, config) if FINALIZER in sandbox.metadata.finalizers else Plan()
    expiry = expiry_of(sandbox, last_change_of(sandbox, now))
    if expiry is not None and expiry <= now:
        return _expiry(observed, now)
    return _upkeep(observed, now, expiry, config)


def _upkeep(observed: Observed, now: datetime, expiry: datetime | None, config: SandboxConfig) -> Plan:
    desired = desired_workloads(observed)
    problem = first_problem(observed, desired)
    removals = _removals(observed, desired, is_accepted=problem is None)
    writes = [target for removal in removals for target in removal.writes]
    deletes = [target for removal in removals for target in removal.deletes]
    if problem is None:
        writes += _writes(observed, desired)
        writes += draining_forks(
            observed, lambda fork: any(item.is_held and item.name == name_of(fork) for item in desired)
        )
        deletes += _superseded(observed, desired)
    else:
        writes += withdrawn_keys(observed)
    writes += told_routes(observed)
    conditions = conditions_of(observed, desired, problem, removals)
    status = status_of(observed, workload_statuses(observed, desired), conditions, now)
    return Plan(
        finalizer="add" if writes and FINALIZER not in observed.sandbox.metadata.finalizers else "keep",
        writes=_to_write(observed, writes),
        deletes=_to_delete(deletes),
        status=status,
        news=(*news_of_conditions(observed.sandbox, status), *news_of_findings(observed.sandbox, status)),
        requeue_after=_next_look(conditions, expiry, now, config),
    )


def _next_look(
    conditions: Sequence[Condition], expiry: datetime | None, now: datetime, config: SandboxConfig
) -> float | None:
    """In how many seconds to look again; of routes and records we hear from those who look after them."""
    states = {item.type: item.status for item in conditions}
    waits = [] if expiry is None else [(expiry - now).total_seconds()]
    if states[ConditionType.ACCEPTED] != "True":
        waits.append(config.refused_seconds)
    elif states[ConditionType.WORKLOADS_READY] != "True":
        waits.append(config.waiting_seconds)
    return min(waits, default=None)


def _farewell(observed: Observed, now: datetime, config: SandboxConfig) -> Plan:
    removal = removal_of_all(observed)
    if removal.stage is None:
        text = "Forks, routes and consumer groups are gone"
        return Plan(finalizer="remove", news=(News(EventReason.DELETED, text),))
    conditions = farewell_conditions(observed, removal)
    status = status_of(observed, workloads_left(observed), conditions, now)
    return Plan(
        writes=_to_write(observed, removal.writes),
        deletes=_to_delete(removal.deletes),
        status=status,
        news=news_of_deletion(observed.sandbox),
        requeue_after=config.waiting_seconds,
    )


def _expiry(observed: Observed, now: datetime) -> Plan:
    before = observed.sandbox.status
    ttl = observed.sandbox.spec.lifetime.ttl if observed.sandbox.spec.lifetime else ""
    text = f"The Sandbox has lived for its {ttl} and deletes itself"
    conditions = [item for item in before.conditions if item.type != ConditionType.READY]
    conditions.append(condition(ConditionType.READY, "False", Reason.EXPIRED, text))
    return Plan(
        status=status_of(observed, before.workloads, conditions, now),
        news=(News(EventReason.EXPIRED, text),),
        is_expired=True,
    )


def _writes(observed: Observed, desired: Sequence[Desired]) -> list[Target]:
    """All desired objects, the whole of them in the order of kinds: what others read comes first.

    Left out are snapshots that exist (they never change) and what somebody is deleting (it is made anew when gone).
    """
    order = (CONTROLLER_REVISIONS, KAFKA_ROUTES, DEPLOYMENTS, SERVICES)
    targets = [target for item in desired for target in item.objects()]
    return sorted(
        (target for target in targets if _is_writable(observed, target)), key=lambda target: order.index(target[0])
    )


def _is_writable(observed: Observed, target: Target) -> bool:
    resource, obj = target
    live = observed.live(resource, name_of(obj))
    return live is None or not (resource is CONTROLLER_REVISIONS or is_going(live))


def _superseded(observed: Observed, desired: Sequence[Desired]) -> list[Target]:
    """KafkaRoutes that no consumer asks for as they are, and snapshots of baselines that are followed again."""
    lasting = {handoff.name for item in desired for handoff in item.handoffs if not handoff.must_go}
    pinned = {item.name for item in desired if item.revision is not None}
    forked = {item.workload.deployment for item in desired}
    routes = [(KAFKA_ROUTES, item) for item in observed.ours(KAFKA_ROUTES) if name_of(item) not in lasting]
    revisions = [
        (CONTROLLER_REVISIONS, item) for item in observed.ours(CONTROLLER_REVISIONS) if name_of(item) not in pinned
    ]
    return [target for target in [*routes, *revisions] if baseline_of(target[1]) in forked and not is_going(target[1])]


def _removals(observed: Observed, desired: Sequence[Desired], *, is_accepted: bool) -> list[Removal]:
    """What is still to go of workloads that the spec no longer names, and of Services that lead to no baseline now."""
    forked = {item.workload.deployment for item in desired}
    names = {(resource, name_of(obj)) for item in desired for resource, obj in item.objects()}
    left = {
        baseline_of(item)
        for resource in (DEPLOYMENTS, SERVICES, KAFKA_ROUTES, CONTROLLER_REVISIONS)
        for item in observed.ours(resource)
        if baseline_of(item) not in forked and (resource, name_of(item)) not in names
    }
    removals = [removal_of_workload(observed, baseline) for baseline in sorted(left)]
    if is_accepted:
        stray = [
            item
            for item in observed.ours(SERVICES)
            if baseline_of(item) in forked and (SERVICES, name_of(item)) not in names
        ]
        removals += [removal_of_services(observed, [item]) for item in stray]
    return removals


def _to_write(observed: Observed, targets: Iterable[Target]) -> tuple[Effect, ...]:
    return tuple(
        Effect(
            resource, obj, news_of_creation(resource, obj) if observed.live(resource, name_of(obj)) is None else None
        )
        for resource, obj in targets
    )


def _to_delete(targets: Iterable[Target]) -> tuple[Effect, ...]:
    return tuple(Effect(resource, obj, news_of_removal(resource, obj)) for resource, obj in targets)
