"""The conditions of a Sandbox, from what was observed and what should be; pure.

Ready is true only when all others are. Nothing is true on trust: a fork is ready by its Deployment's newest
generation, a route by an entry for the Sandbox's newest generation, a hand-off by its KafkaRoute's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sidestream.api.conditions import Condition, ConditionType, Reason, Status, condition, find_condition
from sidestream.api.kafka import KafkaRoute
from sidestream.api.labels import BASELINE, BASELINE_SERVICE
from sidestream.api.sandbox import MESH_ENTRY, PreviewStatus, RouteStatus
from sidestream.errors import InvalidInputError
from sidestream.kube.port import DEPLOYMENTS, SERVICES
from sidestream.sandbox.desired import Desired, is_asleep
from sidestream.sandbox.handoffs import is_over
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import is_going
from sidestream.sandbox.removal import Removal, Stage, routed_services
from sidestream.sandbox.waiting import wait_of

_ASLEEP: Final = "A suspended Sandbox {}"


def conditions_of(
    observed: Observed, desired: Sequence[Desired], problem: InvalidInputError | None, removals: Sequence[Removal]
) -> list[Condition]:
    """All conditions of a Sandbox that is there to stay; `removals` are what is still going of earlier specs."""
    parts = [
        accepted(problem),
        workloads_ready(observed, desired, removals),
        routes_ready(observed, desired, problem, removals),
        kafka_ready(observed, desired, removals),
    ]
    return [*parts, ready(parts, is_suspended=observed.sandbox.spec.suspended)]


def accepted(problem: InvalidInputError | None) -> Condition:
    """Whether the Sandbox can be served as it is written."""
    if problem is None:
        return condition(ConditionType.ACCEPTED, "True", Reason.ACCEPTED, "The Sandbox can be served as it is written")
    return condition(ConditionType.ACCEPTED, "False", Reason(problem.reason), problem.message)


def workloads_ready(observed: Observed, desired: Sequence[Desired], removals: Iterable[Removal]) -> Condition:
    """Whether every fork is rolled out and available, and none is left that should not be."""
    for item in desired:
        unready = _unready_fork(observed, item)
        if unready is not None:
            return _not(ConditionType.WORKLOADS_READY, *unready)
    for removal in removals:
        if removal.stage is Stage.PODS:
            return _not(ConditionType.WORKLOADS_READY, Reason.DELETING, removal_text(removal))
    is_stopped = is_asleep(observed) and not any(item.is_held for item in desired)
    text = _ASLEEP.format("runs no pods") if is_stopped else "All forks are available"
    return condition(ConditionType.WORKLOADS_READY, "True", Reason.READY, text)


def routes_ready(
    observed: Observed, desired: Sequence[Desired], problem: InvalidInputError | None, removals: Iterable[Removal]
) -> Condition:
    """Whether tenants' requests to every forked Service reach the fork, as the routes' own entries say.

    And whether those to the Sandbox's preview are its tenant's.
    """
    for removal in removals:
        if removal.stage is Stage.ROUTES:
            return _not(ConditionType.ROUTES_READY, Reason.DELETING, removal_text(removal))
    services = _forked_services(observed, desired)
    keys_of = observed.tenancy.keys_of
    if observed.sandbox.spec.suspended and not services:
        return _suspended_routes(observed)
    if not services and problem is not None:
        return _not(ConditionType.ROUTES_READY, Reason.PENDING, "Routes are made once the Sandbox is accepted")
    if not services and observed.sandbox.spec.preview is None:
        text = "No Service leads to the forked Deployments"
        return condition(ConditionType.ROUTES_READY, "True", Reason.NOT_APPLICABLE, text)
    rows = [
        row for row in observed.sandbox.status.routes if row.observed_generation == observed.sandbox.metadata.generation
    ]
    verdicts = [
        verdict
        for service, baseline in services.items()
        for verdict in _route_verdicts(service, rows, keys_of(observed.sandbox.metadata.name, baseline))
    ]
    verdicts += _preview_verdicts(observed)
    return next(
        (verdict for status in ("False", "Unknown") for verdict in verdicts if verdict.status == status),
        condition(ConditionType.ROUTES_READY, "True", Reason.PROGRAMMED, "All routes are in the proxies"),
    )


def kafka_ready(observed: Observed, desired: Iterable[Desired], removals: Iterable[Removal]) -> Condition:
    """Whether every consumer of the forks takes over its tenant's records, as the KafkaRoutes say."""
    handoffs = [handoff for item in desired for handoff in item.handoffs]
    for handoff in handoffs:
        if handoff.problem is not None:
            return _not(ConditionType.KAFKA_READY, Reason(handoff.problem.reason), handoff.problem.message)
        if handoff.live is None:
            return _not(ConditionType.KAFKA_READY, Reason.PENDING, f"KafkaRoute {handoff.name} is being made")
    wanted = {handoff.name for handoff in handoffs}
    for name, route in sorted(observed.our_routes().items()):
        if is_over(route) and name not in wanted:
            continue
        unready = unready_route(name, route)
        if unready is not None:
            return unready
    for removal in removals:
        if removal.stage in {Stage.DRAIN, Stage.GROUPS}:
            return _not(ConditionType.KAFKA_READY, Reason.DRAINING, removal_text(removal))
    if not handoffs:
        text = "No KafkaConsumer names a forked Deployment"
        text = _ASLEEP.format("takes no records") if is_asleep(observed) else text
        return condition(ConditionType.KAFKA_READY, "True", Reason.NOT_APPLICABLE, text)
    return condition(ConditionType.KAFKA_READY, "True", Reason.ACTIVE, "The forks consume their tenant's records")


def ready(parts: Sequence[Condition], *, is_suspended: bool = False) -> Condition:
    """The sum of the others: the first that is false says why, else the first that is not known.

    A fork that waits for Kafka is not the cause, so then KafkaReady has the word. A suspended Sandbox is never ready.
    """
    ranked = sorted(parts, key=lambda part: part.reason == Reason.WAITING_FOR_KAFKA or part.type == "RoutesReady")
    for status in ("False", "Unknown"):
        for part in ranked:
            if part.status == status:
                return part.model_copy(update={"type": ConditionType.READY})
    if is_suspended:
        text = "The Sandbox is suspended: its requests and records go to the baseline, and its forks run no pods"
        return _not(ConditionType.READY, Reason.SUSPENDED, text)
    return condition(ConditionType.READY, "True", Reason.READY, "The Sandbox's requests and records reach its forks")


def unready_route(name: str, route: KafkaRoute) -> Condition | None:
    """KafkaReady as this KafkaRoute alone makes it, None when the route is ready."""
    said = find_condition(route.status.conditions, ConditionType.READY)
    if route.is_deleting and (said is None or said.status != "False"):
        return _not(ConditionType.KAFKA_READY, Reason.DRAINING, f"KafkaRoute {name} is being given back")
    if said is None or (not route.is_deleting and said.observed_generation < route.metadata.generation):
        return _not(ConditionType.KAFKA_READY, Reason.PENDING, f"KafkaRoute {name} has not been looked at yet")
    return None if said.status == "True" else said.model_copy(update={"type": ConditionType.KAFKA_READY})


def removal_text(removal: Removal) -> str:
    """What the removal waits for, as a sentence."""
    plural = "s" if len(removal.names) > 1 else ""
    names = f"{plural} {', '.join(removal.names)}"
    match removal.stage:
        case Stage.ROUTES if not removal.names:
            return "Waits until no proxy has the preview any more"
        case Stage.ROUTES:
            return f"Waits until no proxy routes to the forks of Service{names} any more"
        case Stage.DRAIN:
            forks = "forks have" if plural else "fork has"
            return f"Waits until the {forks} worked off the records of KafkaRoute{names}"
        case Stage.PODS:
            return f"Waits until the pods of Deployment{names} are gone"
        case Stage.GROUPS:
            return f"Waits until the consumer group{plural} of KafkaRoute{names} {'are' if plural else 'is'} deleted"
        case None:
            return "Nothing is left"


def _unready_fork(observed: Observed, item: Desired) -> tuple[Reason, str] | None:
    live = observed.our(DEPLOYMENTS, item.name)
    if live is None:
        return Reason.FORK_NOT_READY, f"Deployment {item.name} has not been made"
    if is_going(live):
        return Reason.FORK_NOT_READY, f"Deployment {item.name} is being deleted by somebody; it will be made again"
    if item.waits_for_kafka:
        return Reason.WAITING_FOR_KAFKA, f"Deployment {item.name} has no pods until {_awaited_groups(item)}"
    wait = wait_of(live, observed.pods_of(item.workload.deployment))
    return None if wait is None else (Reason.FORK_NOT_READY, f"Deployment {item.name} {wait}")


def _awaited_groups(item: Desired) -> str:
    if item.is_barred:
        return "its program takes its consumer group from the variable that the KafkaConsumer names"
    names = [handoff.name for handoff in item.handoffs if not handoff.is_ready_for_pods]
    return f"KafkaRoute {', '.join(names)} has its consumer group" if names else "an earlier hand-off has ended"


def _forked_services(observed: Observed, desired: Iterable[Desired]) -> dict[str, str]:
    """The baseline Services whose requests should reach a fork: those wanted, and those that have a stand-in.

    Each with the Deployment to whose fork it leads.
    """
    objects = [*observed.ours(SERVICES), *(service for item in desired for service in item.services)]
    labels = [service["metadata"].get("labels") or {} for service in objects]
    return dict(sorted((item[BASELINE_SERVICE], item[BASELINE]) for item in labels if BASELINE_SERVICE in item))


def _suspended_routes(observed: Observed) -> Condition:
    routed = routed_services(observed.sandbox)
    if routed or observed.sandbox.status.preview is not None:
        text = removal_text(Removal(stage=Stage.ROUTES, names=routed))
        return _not(ConditionType.ROUTES_READY, Reason.DELETING, text)
    return condition(ConditionType.ROUTES_READY, "True", Reason.NOT_APPLICABLE, _ASLEEP.format("takes no requests"))


def _route_verdicts(service: str, rows: Iterable[RouteStatus], keys: Sequence[str]) -> list[Condition]:
    """One for each way to a Service: the mesh's, the gateways' that its row names, and any other that has a row."""
    known = {row.entry: row for row in rows if row.service == service}
    mesh = known.get(MESH_ENTRY)
    ways = [MESH_ENTRY, *sorted({*known, *(() if mesh is None else mesh.gateways)} - {MESH_ENTRY})]
    return [_route_verdict(service, way, known.get(way), keys) for way in ways]


def _route_verdict(service: str, way: str, row: RouteStatus | None, keys: Sequence[str]) -> Condition:
    subject = f"Service {service}" if way == MESH_ENTRY else f"Service {service} by {way}"
    if row is None:
        return _not(ConditionType.ROUTES_READY, Reason.PENDING, f"The route of {subject} is being made")
    missing = [key for key in keys[1:] if key not in row.keys]
    if missing and row.state == "Programmed":
        text = f"The route of {subject} is being made for {', '.join(missing)}, too"
        return _not(ConditionType.ROUTES_READY, Reason.PENDING, text)
    return _said(subject, row)


def _preview_verdicts(observed: Observed) -> list[Condition]:
    """What there is to say about the preview; nothing where none is wanted."""
    sandbox = observed.sandbox
    if sandbox.spec.preview is None:
        return []
    row = sandbox.status.preview
    if row is None or row.observed_generation != sandbox.metadata.generation:
        return [_not(ConditionType.ROUTES_READY, Reason.PENDING, "The route of the preview is being made")]
    return [_said(f"Preview {sandbox.spec.preview.host}", row)]


def _said(subject: str, row: RouteStatus | PreviewStatus) -> Condition:
    """RoutesReady as this row alone makes it."""
    status: Status = "False"
    if row.state in {"Programmed", "Unrouted"}:
        status = "True"
    elif row.state == "Written" and row.reason == Reason.NOT_VERIFIED:
        status = "Unknown"
    text = f"{subject}: {row.message or row.state}"
    return Condition(type=ConditionType.ROUTES_READY, status=status, reason=row.reason, message=text)


def _not(type_: ConditionType, reason: Reason, message: str) -> Condition:
    return condition(type_, "False", reason, message)
