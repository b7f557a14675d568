"""Reads everything that decides the routes of one Service; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from sidestream.api.labels import BASELINE, BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE
from sidestream.api.labels import SANDBOX as SANDBOX_LABEL
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.errors import NotServedError
from sidestream.kube.port import DEPLOYMENTS, NAMESPACES, SANDBOXES, SERVICES, KubeApi, Object
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.provider import Provider


@dataclass(frozen=True)
class Fork:
    """A fork Service of the routed Service: its host, the fork Deployment behind it, and whether a pod is ready."""

    host: ServiceHost
    deployment: str
    is_ready: bool


@dataclass(frozen=True)
class Member:
    """A Sandbox with a fork of the Service, or with an entry about it in its status; `raw` is the object as read."""

    raw: Object
    sandbox: Sandbox
    fork: Fork | None
    entry: RouteStatus | None


@dataclass(frozen=True)
class Observed:
    """What is. `objects` are all objects of the mesh's kind, None where the cluster does not serve it.

    `namespaces` are all of the cluster: a pod in any of them may have a sidecar by a label of its own.
    """

    host: ServiceHost
    service: Object | None
    members: tuple[Member, ...]
    objects: tuple[Object, ...] | None
    namespaces: frozenset[str]

    def held(self, name: str) -> Object | None:
        """The mesh object of this name in the Service's namespace, whoever made it."""
        return next(
            (
                item
                for item in self.objects or ()
                if item["metadata"]["name"] == name and item["metadata"]["namespace"] == self.host.namespace
            ),
            None,
        )


async def observe(api: KubeApi, host: ServiceHost, provider: Provider) -> Observed | None:
    """Everything about the routes of `host`, or None when nobody forks it and nothing is left of such a time."""
    members = await _members(api, host)
    if not members and not await _is_routed(api, host, provider):
        return None
    return Observed(
        host=host,
        service=await api.get(SERVICES, host.namespace, host.name),
        members=members,
        objects=await _objects(api, provider),
        namespaces=frozenset([item["metadata"]["name"] for item in await api.list(NAMESPACES)]),
    )


async def _members(api: KubeApi, host: ServiceHost) -> tuple[Member, ...]:
    forks = await _forks(api, host)
    members = []
    for raw in await api.list(SANDBOXES, host.namespace):
        sandbox = Sandbox.from_json(raw)
        fork = forks.get(sandbox.metadata.name)
        entry = next((item for item in sandbox.status.routes if item.service == host.name), None)
        if fork is not None or entry is not None:
            members.append(Member(raw, sandbox, fork, entry))
    return tuple(members)


async def _forks(api: KubeApi, host: ServiceHost) -> dict[str, Fork]:
    """The fork Services by Sandbox; one that is being deleted no longer counts."""
    services = await api.list(SERVICES, host.namespace, labels=f"{BASELINE_SERVICE}={host.name}")
    if not services:
        return {}
    deployments = await api.list(DEPLOYMENTS, host.namespace, labels=f"{MANAGED_BY}={MANAGED_BY_VALUE}")
    by_labels = {_fork_labels(item): item for item in deployments}
    forks = {}
    for service in services:
        metadata = service["metadata"]
        if metadata.get("deletionTimestamp") or SANDBOX_LABEL not in metadata["labels"]:
            continue
        deployment = by_labels.get(_fork_labels(service))
        forks[metadata["labels"][SANDBOX_LABEL]] = Fork(
            host=ServiceHost(host.namespace, metadata["name"], host.domain),
            deployment=metadata["name"] if deployment is None else deployment["metadata"]["name"],
            is_ready=deployment is not None and deployment.get("status", {}).get("readyReplicas", 0) > 0,
        )
    return forks


def _fork_labels(obj: Object) -> tuple[str | None, str | None]:
    labels = obj["metadata"].get("labels", {})
    return labels.get(SANDBOX_LABEL), labels.get(BASELINE)


async def _is_routed(api: KubeApi, host: ServiceHost, provider: Provider) -> bool:
    try:
        held = await api.get(provider.resource, host.namespace, provider.object_name(host))
    except NotServedError:
        return False
    return held is not None and provider.is_ours(held)


async def _objects(api: KubeApi, provider: Provider) -> tuple[Object, ...] | None:
    try:
        return tuple(await api.list(provider.resource))
    except NotServedError:
        return None
