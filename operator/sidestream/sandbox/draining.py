"""What becomes of a fork's Deployment while it works off the records that it gives back; pure.

It is left exactly as it is, since other pods would begin anew with what these are at, but for what its KafkaRoute asks:

- `halted`: its members do not say where they hold, so its pods stop.
- `handback`: it had its time, and the baseline's own pods take over in its consumer group.
- `stranded`: records are left and it runs no pod, so it runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

from sidestream.api.kafka import KafkaRoute
from sidestream.kube.port import DEPLOYMENTS, Object, Resource
from sidestream.sandbox.containers import merged_env
from sidestream.sandbox.fork import SANDBOX_VARIABLE, stopped, wanted_replicas
from sidestream.sandbox.handoffs import is_leaving
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.ownership import baseline_of, made, made_metadata, name_of

_OF_KUBERNETES: Final = "deployment.kubernetes.io/"
_LISTS: Final = ("containers", "initContainers")


def draining_forks(observed: Observed, is_meant: Callable[[Object], bool]) -> tuple[tuple[Resource, Object], ...]:
    """The forks that have to change while they work off records, as they should be."""
    routes: dict[str, list[KafkaRoute]] = {}
    for route in observed.our_routes().values():
        if is_leaving(route):
            routes.setdefault(route.spec.fork, []).append(route)
    forks = [item for item in observed.ours(DEPLOYMENTS) if is_meant(item)]
    return tuple(
        (DEPLOYMENTS, wanted)
        for fork in forks
        if (wanted := _wanted(observed, fork, routes.get(name_of(fork), []))) is not None
    )


def _wanted(observed: Observed, fork: Object, routes: Collection[KafkaRoute]) -> Object | None:
    """The fork as its leaving routes ask for it, None when they ask for nothing."""
    if any(route.status.halted for route in routes):
        return stopped(_again(observed, fork))
    baseline = observed.live(DEPLOYMENTS, baseline_of(fork))
    if baseline is not None and any(route.status.handback for route in routes):
        groups = {route.spec.fork_group for route in routes}
        return _handed_back(_running(_again(observed, fork)), baseline, groups)
    if any(route.status.stranded for route in routes):
        return _running(_again(observed, fork))
    return None


def _again(observed: Observed, fork: Object) -> Object:
    """The live fork as it is written once more."""
    metadata = fork["metadata"]
    annotations = metadata.get("annotations") or {}
    return made(
        DEPLOYMENTS,
        made_metadata(
            observed.sandbox,
            baseline_of(fork),
            name_of(fork),
            labels=metadata.get("labels"),
            annotations={name: value for name, value in annotations.items() if not name.startswith(_OF_KUBERNETES)},
        ),
        spec=fork["spec"],
    )


def _running(fork: Object) -> Object:
    return {**fork, "spec": {**fork["spec"], "replicas": max(wanted_replicas(fork), 1)}}


def _handed_back(fork: Object, baseline: Object, groups: Collection[str]) -> Object:
    """The fork with the baseline's pods, which are told what tells them that they are a fork and its group."""
    template = fork["spec"]["template"]
    told = {name: list(_told(container, groups)) for name, container in _containers(template["spec"])}
    pod_spec = baseline["spec"]["template"]["spec"]
    lists = {
        field: [
            {**item, "env": merged_env(item.get("env") or (), told.get(item["name"], ()))} for item in pod_spec[field]
        ]
        for field in _LISTS
        if pod_spec.get(field)
    }
    return {**fork, "spec": {**fork["spec"], "template": {**template, "spec": {**pod_spec, **lists}}}}


def _told(container: Object, groups: Collection[str]) -> Iterator[Object]:
    for variable in container.get("env") or ():
        if variable["name"] == SANDBOX_VARIABLE or variable.get("value") in groups:
            yield variable


def _containers(pod_spec: Object) -> Iterator[tuple[str, Object]]:
    for field in _LISTS:
        for item in pod_spec.get(field) or ():
            yield item["name"], item
