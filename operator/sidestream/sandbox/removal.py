"""How what was made for a Sandbox goes: routes, then hand-offs, then forks; never a later step before an earlier; pure.

The same order for a whole Sandbox, for a workload taken out of its spec and for a single Service. It is computed from
what is left, so that it goes on after any interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

from sidestream.api.kafka import KafkaRoute
from sidestream.api.labels import BASELINE_SERVICE, FORCE_CLEANUP
from sidestream.api.names import fork_name
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import CONTROLLER_REVISIONS, DEPLOYMENTS, KAFKA_ROUTES, SERVICES, Object
from sidestream.sandbox.draining import Target, draining_forks, remade_forks
from sidestream.sandbox.handoffs import is_given_back, is_over
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import baseline_of, is_going, made, made_metadata, name_of
from sidestream.sandbox.services import withdrawn


class Stage(Enum):
    """What a removal waits for."""

    ROUTES = auto()
    """Until no proxy routes to the fork."""
    DRAIN = auto()
    """Until the fork has worked off its records."""
    PODS = auto()
    """Until the fork's objects and pods are gone."""
    GROUPS = auto()
    """Until the fork's consumer groups are deleted."""


@dataclass(frozen=True)
class Removal:
    """What to write and delete now, and what the rest waits for; `stage` is None when nothing is left.

    `names` are those that the stage waits for: Services, KafkaRoutes or Deployments; none when it is the preview alone.
    """

    writes: tuple[Target, ...] = ()
    deletes: tuple[Target, ...] = ()
    stage: Stage | None = None
    names: tuple[str, ...] = ()


def removal_of_all(observed: Observed) -> Removal:
    """The next step in the removal of everything that was made for the Sandbox.

    What the user says meanwhile of how it ends is handed on to the KafkaRoutes.
    """
    routed = routed_services(observed.sandbox)
    if routed or observed.sandbox.status.preview is not None:
        return Removal(stage=Stage.ROUTES, names=routed)
    step = _step(observed, lambda _: True)
    return replace(step, writes=(*step.writes, *told_routes(observed)))


def removal_of_workload(observed: Observed, baseline: str) -> Removal:
    """The next step in the removal of the fork of a baseline that the Sandbox no longer names."""
    services = [item for item in observed.ours(SERVICES) if baseline_of(item) == baseline]
    withdrawal = removal_of_services(observed, services)
    if withdrawal.stage is Stage.ROUTES:
        return withdrawal
    left = _routes_without_service(observed)
    if left:
        return Removal(stage=Stage.ROUTES, names=left)
    return _step(observed, lambda item: baseline_of(item) == baseline)


def removal_of_services(observed: Observed, services: Iterable[Object]) -> Removal:
    """The next step in the removal of single fork Services, each of which may go once it is routed no more."""
    services = tuple(services)
    offered = [item for item in services if BASELINE_SERVICE in item["metadata"]["labels"]]
    routed = {
        fork_name(service, observed.sandbox.metadata.name): service for service in routed_services(observed.sandbox)
    }
    waiting = sorted(
        {item["metadata"]["labels"][BASELINE_SERVICE] for item in offered}
        | {routed[name_of(item)] for item in services if name_of(item) in routed}
    )
    if waiting:
        writes = tuple((SERVICES, withdrawn(item, observed.sandbox, baseline_of(item))) for item in offered)
        return Removal(writes=writes, stage=Stage.ROUTES, names=tuple(waiting))
    return Removal(deletes=_not_going((SERVICES, item) for item in services))


def _routes_without_service(observed: Observed) -> tuple[str, ...]:
    """Services that are still routed although no fork Service is offered for them; whose fork it was is not known."""
    labels = [item["metadata"]["labels"] for item in observed.ours(SERVICES)]
    offered = {item[BASELINE_SERVICE] for item in labels if BASELINE_SERVICE in item}
    return tuple(service for service in routed_services(observed.sandbox) if service not in offered)


def routed_services(sandbox: Sandbox) -> tuple[str, ...]:
    """The Services to whose forks some proxy may route, by any way."""
    preview = sandbox.status.preview
    previewed = () if preview is None else preview.services
    return tuple(sorted({*(route.service for route in sandbox.status.routes), *previewed}))


def _step(observed: Observed, is_meant: Callable[[Object], bool]) -> Removal:
    """The next step for objects that no proxy routes to any more."""
    routes = [item for item in observed.ours(KAFKA_ROUTES) if is_meant(item)]
    working = tuple(name_of(item) for item in routes if not is_given_back(KafkaRoute.from_json(item)))
    if working:
        deletes = _not_going((KAFKA_ROUTES, item) for item in routes)
        forks = draining_forks(observed, is_meant)
        forks += tuple(item for item in remade_forks(observed) if is_meant(item[1]))
        return Removal(forks, deletes, stage=Stage.DRAIN, names=working)
    parts = [
        (resource, item)
        for resource in (DEPLOYMENTS, SERVICES, CONTROLLER_REVISIONS)
        for item in observed.ours(resource)
        if is_meant(item)
    ]
    pods = [item for item in observed.pods if is_meant(item)]
    if parts or pods:
        names = {fork_name(baseline_of(item), observed.sandbox.metadata.name) for item in pods}
        names |= {name_of(item) for resource, item in parts if resource is DEPLOYMENTS}
        return Removal(deletes=_not_going(parts), stage=Stage.PODS, names=tuple(sorted(names)))
    routes = [item for item in routes if not is_over(KafkaRoute.from_json(item))]
    if routes:
        return Removal(
            deletes=_not_going((KAFKA_ROUTES, item) for item in routes),
            stage=Stage.GROUPS,
            names=tuple(name_of(item) for item in routes),
        )
    return Removal()


def told_routes(observed: Observed) -> tuple[Target, ...]:
    """The KafkaRoutes on their way back that have to be told what the Sandbox says by now of how they end.

    That is its `drain`, and once it is deleted its `force-cleanup`. The uid keeps a write from making one anew.
    """
    sandbox = observed.sandbox
    answer = sandbox.metadata.annotations.get(FORCE_CLEANUP) if sandbox.is_deleting else None
    told = []
    for item in observed.ours(KAFKA_ROUTES):
        if answer is None and not (is_going(item) and KafkaRoute.from_json(item).spec.drain != sandbox.spec.drain):
            continue
        annotations = None if answer is None else {FORCE_CLEANUP: answer}
        metadata = made_metadata(sandbox, baseline_of(item), name_of(item), annotations=annotations)
        metadata["uid"] = item["metadata"]["uid"]
        spec = {**item["spec"], "drain": sandbox.spec.drain.to_json()}
        told.append((KAFKA_ROUTES, made(KAFKA_ROUTES, metadata, spec=spec)))
    return tuple(told)


def withdrawn_keys(observed: Observed) -> tuple[Target, ...]:
    """The KafkaRoutes of a Sandbox that is not accepted without the keys that its forks no longer answer to.

    Nothing else of them changes meanwhile, but such a key may be somebody else's by now. Under `Polling` a KafkaRoute
    cannot lose a key.
    """
    sandbox = observed.sandbox
    told = []
    for item in observed.ours(KAFKA_ROUTES):
        spec = KafkaRoute.from_json(item).spec
        granted = {sandbox.routing_key, *observed.tenancy.keys_of(sandbox.metadata.name, spec.deployment)}
        keys = [key for key in spec.keys if key in granted]
        if len(keys) < len(spec.keys) and spec.coordination == "Fenced" and not is_going(item):
            metadata = made_metadata(sandbox, baseline_of(item), name_of(item))
            metadata["uid"] = item["metadata"]["uid"]
            told.append((KAFKA_ROUTES, made(KAFKA_ROUTES, metadata, spec={**item["spec"], "keys": keys})))
    return tuple(told)


def _not_going(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple((resource, item) for resource, item in targets if not is_going(item))
