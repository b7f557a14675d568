"""What becomes of a fork's Deployment while it works off the records that it gives back; pure.

It is left exactly as it is, since other pods would begin anew with what these are at, but for what its KafkaRoutes ask:

- `halted`: its members do not say where they hold, so its pods stop.
- `handback`: it had its time, and the baseline's own pods take over in its consumer groups.
- `stranded`: records are left and it runs no pod, so it runs again, and is made again if it was deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.api.labels import APPLIED_HASH
from sidestream.kube.port import DEPLOYMENTS, Object, Resource
from sidestream.sandbox.desired import desired_workloads
from sidestream.sandbox.fork import handed_back, running, stopped, template_mark
from sidestream.sandbox.handoffs import group_of, is_leaving
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import baseline_of, is_going, made, made_metadata, name_of
from sidestream.sandbox.variables import tells_all

Target = tuple[Resource, Object]
"""A kind and an object of it."""

_WITHOUT_GROUP: Final = frozenset({Phase.DELETING, Phase.RETIRING})
_OF_KUBERNETES: Final = "deployment.kubernetes.io/"


def draining_forks(observed: Observed, is_meant: Callable[[Object], bool]) -> tuple[Target, ...]:
    """The forks that have to change while they work off records, as they should be."""
    forks = [item for item in observed.ours(DEPLOYMENTS) if is_meant(item) and not is_going(item)]
    wanted = [_wanted(observed, fork, _routes_of(observed, name_of(fork))) for fork in forks]
    return tuple((DEPLOYMENTS, fork) for fork in wanted if fork is not None)


def lost_forks(observed: Observed) -> tuple[str, ...]:
    """Forks that somebody deleted although records are left that only they may handle, by name."""
    routes = observed.our_routes().values()
    waiting = {item.spec.fork for item in routes if is_leaving(item) and (item.status.stranded or item.status.handback)}
    return tuple(sorted(name for name in waiting if observed.live(DEPLOYMENTS, name) is None))


def remade_forks(observed: Observed) -> tuple[Target, ...]:
    """The lost forks of a Sandbox in deletion, once more, as far as its workloads still say what they are."""
    lost = lost_forks(observed)
    if not lost:
        return ()
    made_again = []
    for item in desired_workloads(observed):
        routes = _routes_of(observed, item.name)
        if item.fork is None or item.name not in lost or not _may_start(routes):
            continue
        if tells_all(item.fork["spec"]["template"]["spec"], map(group_of, routes)):
            made_again.append((DEPLOYMENTS, running(item.fork)))
    return tuple(made_again)


def needs_baseline(observed: Observed) -> bool:
    """Whether a fork has to be made from its baseline again while it works off records."""
    handback = any(is_leaving(route) and route.status.handback for route in observed.our_routes().values())
    return handback or bool(lost_forks(observed))


def _routes_of(observed: Observed, fork: str) -> list[KafkaRoute]:
    return [route for route in observed.our_routes().values() if route.spec.fork == fork]


def _wanted(observed: Observed, fork: Object, routes: Collection[KafkaRoute]) -> Object | None:
    """The fork as its leaving routes ask for it, None when they ask for nothing."""
    leaving = [route.status for route in routes if is_leaving(route)]
    again = _again(observed, fork)
    if any(status.halted for status in leaving):
        return stopped(again)
    if not _may_start(routes):
        return None
    # of all its routes: what is told no group of its own joins the baseline's
    groups = {group_of(route) for route in routes}
    baseline = observed.live(DEPLOYMENTS, baseline_of(fork))
    if baseline is not None and any(status.handback for status in leaving):
        other = handed_back(running(again), baseline, groups)
        if other is not None:
            return other
    is_barred = template_mark(fork) in {route.status.barred for route in routes}
    may_run = not is_barred and tells_all(fork["spec"]["template"]["spec"], groups)
    return running(again) if may_run and any(status.stranded for status in leaving) else None


def _may_start(routes: Iterable[KafkaRoute]) -> bool:
    """Whether no group of the fork is gone: its pods would make that anew, and read what was read before."""
    return all(route.status.phase not in _WITHOUT_GROUP for route in routes)


def _again(observed: Observed, fork: Object) -> Object:
    """The live fork as it is written once more, without what Kubernetes and the last write noted on it."""
    metadata = fork["metadata"]
    annotations = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if name != APPLIED_HASH and not name.startswith(_OF_KUBERNETES)
    }
    labels = metadata.get("labels")
    told = made_metadata(observed.sandbox, baseline_of(fork), name_of(fork), labels=labels, annotations=annotations)
    return made(DEPLOYMENTS, told, spec=fork["spec"])
