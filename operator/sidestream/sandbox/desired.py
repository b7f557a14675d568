"""What should exist for a Sandbox, and what stands in the way of it; pure.

A Sandbox is accepted whole or not at all: while any workload has a problem nothing new is made for any of them and no
fork is changed, for half an environment answers requests in ways that nobody asked for. Forks that exist are left as
they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.api.kafka import KafkaRoute
from sidestream.api.labels import BASELINE_SERVICE, SANDBOX
from sidestream.api.names import fork_name
from sidestream.api.sandbox import Workload
from sidestream.errors import InvalidInputError
from sidestream.kube.port import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    KAFKA_ROUTES,
    SERVICES,
    Object,
    Resource,
)
from sidestream.sandbox.fork import fork_deployment, stopped, template_mark, wanted_replicas
from sidestream.sandbox.handoffs import Handoff, group_of, handoffs_of, is_over, is_working
from sidestream.sandbox.labels import Selection, budgets_of, selections_of
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import baseline_of, is_made, is_ours, name_of
from sidestream.sandbox.pinning import pinned_baseline, snapshot
from sidestream.sandbox.services import fork_service, services_of
from sidestream.sandbox.variables import tells_all

_MAX_WORDS: Final = 500


@dataclass(frozen=True)
class Desired:
    """One workload as it should be.

    `fork` is the Deployment at full strength, None when `problem` says why there can be none. `revision` is the
    snapshot of the baseline that it is rendered from, None when it follows its baseline. `is_stopped`: no pod may run
    yet or any more, as far as Kafka goes, or because the Sandbox is suspended (`is_asleep`); `is_barred`: because such
    pods joined a baseline's consumer group. `is_held`: the fork works off records that it gives back and stays exactly
    as it is.
    """

    workload: Workload
    name: str
    fork: Object | None = None
    services: tuple[Object, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    revision: Object | None = None
    is_stopped: bool = False
    is_asleep: bool = False
    is_barred: bool = False
    is_held: bool = False
    problem: InvalidInputError | None = None

    def objects(self) -> Iterator[tuple[Resource, Object]]:
        """What to write, in order: what is read by others comes before what reads it."""
        if self.revision is not None:
            yield CONTROLLER_REVISIONS, self.revision
        for handoff in self.handoffs:
            if handoff.route is not None:
                yield KAFKA_ROUTES, handoff.route
        if self.fork is not None and not self.is_held:
            yield DEPLOYMENTS, stopped(self.fork) if self.is_stopped else self.fork
        for service in self.services:
            yield SERVICES, service

    @property
    def waits_for_kafka(self) -> bool:
        """Whether the fork has no pods only because its consumer groups are not there."""
        return self.is_stopped and not self.is_asleep and self.fork is not None and wanted_replicas(self.fork) > 0


def is_asleep(observed: Observed) -> bool:
    """Whether the Sandbox is suspended and no proxy routes to its forks any more: they may give back and stop.

    A Service that is still offered may be routed any moment, whatever the entries say.
    """
    is_offered = any(BASELINE_SERVICE in item["metadata"]["labels"] for item in observed.ours(SERVICES))
    is_routed = bool(observed.sandbox.status.routes) or observed.sandbox.status.preview is not None
    return observed.sandbox.spec.suspended and not is_offered and not is_routed


def desired_workloads(observed: Observed) -> tuple[Desired, ...]:
    """Every workload of the spec, in its order.

    A Service that leads to several of the baselines gets one stand-in, which leads to the fork of the first of them.
    """
    selections = selections_of(observed.all(DEPLOYMENTS), observed.all(SERVICES))
    budgets = budgets_of(observed.all(DISRUPTION_BUDGETS))
    served: set[str] = set()
    result = []
    for workload in observed.sandbox.spec.workloads:
        item = _desired(observed, workload, selections, budgets)
        item = replace(item, services=tuple(service for service in item.services if name_of(service) not in served))
        served |= {name_of(service) for service in item.services}
        result.append(item)
    return tuple(result)


def first_problem(observed: Observed, desired: tuple[Desired, ...]) -> InvalidInputError | None:
    """Why the Sandbox is not accepted, None when it is; the message names the workload."""
    for item in desired:
        problem = item.problem or _problem_of_names(observed, item) or _rejection(observed, item)
        if problem is not None:
            return InvalidInputError(problem.reason, f"Workload {item.workload.deployment}: {problem.message}")
    return None


def _desired(
    observed: Observed, workload: Workload, selections: tuple[Selection, ...], budgets: tuple[Selection, ...]
) -> Desired:
    sandbox = observed.sandbox
    name = fork_name(workload.deployment, sandbox.metadata.name)
    routes, asleep = observed.our_routes(), is_asleep(observed)
    # one that is taken keeps what it has, as long as the Sandbox is not accepted
    keys = observed.tenancy.keys_of(sandbox.metadata.name, workload.deployment) or (sandbox.routing_key,)
    handoffs = handoffs_of(
        sandbox, workload.deployment, observed.consumers, observed.clusters, routes, keys=keys, is_asleep=asleep
    )
    mine = [route for route in routes.values() if route.spec.deployment == workload.deployment]
    lasting = {handoff.name for handoff in handoffs if not handoff.must_go}
    item = Desired(
        workload,
        name,
        handoffs=handoffs,
        is_stopped=asleep
        or not all(handoff.is_ready_for_pods for handoff in handoffs)
        or not all(is_working(route) or is_over(route) for route in mine),
        is_asleep=asleep,
        is_held=observed.our(DEPLOYMENTS, name) is not None
        and any(is_working(route) and route.metadata.name not in lasting for route in mine),
    )
    try:
        _refuse_what_is_taken(observed, workload)
        baseline = _baseline(observed, workload)
        revision = _revision(observed, workload, name)
        source = baseline if revision is None else pinned_baseline(revision)
        variables = [variable for handoff in handoffs for variable in handoff.variables]
        fork = fork_deployment(source, sandbox, workload, selections, variables, budgets=budgets)
    except InvalidInputError as problem:
        return replace(item, problem=problem)
    pod_labels = baseline["spec"]["template"]["metadata"].get("labels") or {}
    services = [] if sandbox.spec.suspended else services_of(observed.all(SERVICES), pod_labels)
    is_barred = template_mark(fork) in {route.status.barred for route in mine}
    # of a consumer that is gone nobody knows any more how a fork that is made again would be told its group
    is_told = tells_all(fork["spec"]["template"]["spec"], map(group_of, filter(is_working, mine)))
    return replace(
        item,
        fork=fork,
        is_stopped=item.is_stopped or is_barred or not is_told,
        is_barred=is_barred,
        services=tuple(fork_service(service, sandbox, workload.deployment) for service in services),
        revision=revision,
    )


def _refuse_what_is_taken(observed: Observed, workload: Workload) -> None:
    sandbox = observed.sandbox
    holder = observed.tenancy.owner(sandbox.routing_key, workload.deployment)
    if holder != sandbox.metadata.name:
        raise InvalidInputError(
            Reason.WORKLOAD_TAKEN,
            f"Sandbox {holder} is older and forks it for routing key {sandbox.routing_key} already; take the workload "
            "out of one of the two, or give this Sandbox another routing key",
        )


def _baseline(observed: Observed, workload: Workload) -> Object:
    found = observed.live(DEPLOYMENTS, workload.deployment)
    namespace = observed.sandbox.metadata.namespace
    if found is None:
        raise InvalidInputError(
            Reason.BASELINE_NOT_FOUND, f"there is no Deployment {workload.deployment} in namespace {namespace}"
        )
    if is_made(found):
        raise InvalidInputError(
            Reason.BASELINE_NOT_FOUND,
            f"Deployment {workload.deployment} is itself a fork of {baseline_of(found)}; name that one",
        )
    return found


def _revision(observed: Observed, workload: Workload, name: str) -> Object | None:
    """The snapshot that the fork is rendered from, None when it follows its baseline.

    One that exists is taken as it is: its data cannot change, and must not.
    """
    if workload.baseline_updates == "Follow":
        return None
    held = observed.our(CONTROLLER_REVISIONS, name)
    return snapshot(_baseline(observed, workload), observed.sandbox) if held is None else held


def _problem_of_names(observed: Observed, item: Desired) -> InvalidInputError | None:
    for resource, obj in item.objects():
        held = observed.live(resource, name_of(obj))
        if held is not None and not is_ours(held, observed.sandbox):
            return _name_taken(observed, resource, held)
    return None


def _name_taken(observed: Observed, resource: Resource, held: Object) -> InvalidInputError:
    who = f"{resource.kind} {name_of(held)}"
    if is_made(held) and held["metadata"]["labels"][SANDBOX] == observed.sandbox.metadata.name:
        text = f"{who} belongs to an earlier Sandbox of this name and is not gone yet{_why(resource, held)}"
    elif is_made(held):
        text = f"{who} belongs to Sandbox {held['metadata']['labels'][SANDBOX]}; give this Sandbox another name"
    else:
        text = f"{who} exists and was not made by Sidestream; give this Sandbox another name"
    return InvalidInputError(Reason.NAME_TAKEN, text)


def _why(resource: Resource, held: Object) -> str:
    """What keeps an object of an earlier Sandbox, as far as we know."""
    if resource is not KAFKA_ROUTES or not is_over(KafkaRoute.from_json(held)):
        return ""
    group = held["spec"]["baselineGroup"]
    return f": it goes when consumer group {group} has passed the records that were that Sandbox's"


def _rejection(observed: Observed, item: Desired) -> InvalidInputError | None:
    for resource, obj in item.objects():
        words = observed.rejections.get((resource, name_of(obj)))
        if words is not None:
            return InvalidInputError(Reason.FORK_REJECTED, " ".join(words.split())[:_MAX_WORDS])
    return None
