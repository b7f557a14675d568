"""Gathers everything that decides the routes of one entry from the live copies; decides nothing but who carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidestream.api.labels import BASELINE, SANDBOX
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.kube.port import DEPLOYMENTS, Object, Resource
from sidestream.routing.choice import Choice, choose
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.index import KnownSandbox, RoutingIndex, is_ready
from sidestream.routing.providers.provider import Cluster, Provider
from sidestream.routing.rows import rows_about
from sidestream.runtime.reconcile import ObjectKey


@dataclass(frozen=True)
class Fork:
    """A fork Service that stands in for `service`: the Deployments behind it, and the keys that it answers to.

    `made` is the fork Deployment as it is, `baseline` the one that was forked; None where there is none.
    """

    service: ServiceHost
    host: ServiceHost
    deployment: str
    is_ready: bool
    keys: tuple[str, ...]
    made: Object | None = None
    baseline: Object | None = None


@dataclass(frozen=True)
class Member:
    """A Sandbox with forks that the entry may lead to, or with rows about the entry; `raw` is the object as read."""

    raw: Object
    sandbox: Sandbox
    forks: tuple[Fork, ...]
    rows: tuple[RouteStatus, ...]


@dataclass(frozen=True)
class Observed:
    """What is. `held` are our own objects for the entry; `gateways` other entries from which requests come there."""

    key: EntryKey
    choice: Choice
    members: tuple[Member, ...]
    held: tuple[tuple[Resource, Object], ...]
    gateways: tuple[EntryKey, ...] = ()


def observe(key: EntryKey, cluster: Cluster, index: RoutingIndex, providers: Sequence[Provider]) -> Observed | None:
    """Everything about one entry; None when nobody's fork is behind it and nothing is left of such a time."""
    choice = choose(key, cluster, providers)
    members = _members(key, choice, cluster, index)
    held = tuple(index.written(key))
    if not members and not held and not index.is_patched(key):
        return None
    gateways: frozenset[EntryKey] = frozenset()
    if key.kind is EntryKind.MESH:
        gateways = index.gateways_to(ServiceHost(key.namespace, key.name, cluster.domain))
    return Observed(key, choice, members, held, tuple(sorted(gateways)))


def _members(key: EntryKey, choice: Choice, cluster: Cluster, index: RoutingIndex) -> tuple[Member, ...]:
    known: dict[ObjectKey, KnownSandbox] = {}
    forks: dict[ObjectKey, list[Fork]] = {}
    for service in sorted(choice.services):
        for fork_service in index.forks_of(service):
            metadata = fork_service["metadata"]
            owner = index.sandbox(service.namespace, metadata["labels"][SANDBOX])
            if owner is None or metadata.get("deletionTimestamp"):
                continue
            ident = ObjectKey(service.namespace, owner.sandbox.metadata.name)
            known[ident] = owner
            forks.setdefault(ident, []).append(_fork(service, fork_service, cluster, index))
    for owner in index.with_rows(key):
        known.setdefault(ObjectKey(owner.sandbox.metadata.namespace, owner.sandbox.metadata.name), owner)
    return tuple(
        Member(
            raw=owner.raw,
            sandbox=owner.sandbox,
            forks=tuple(forks.get(ident, ())),
            rows=rows_about(key, owner.sandbox),
        )
        for ident, owner in sorted(known.items())
    )


def _fork(service: ServiceHost, fork_service: Object, cluster: Cluster, index: RoutingIndex) -> Fork:
    metadata = fork_service["metadata"]
    baseline, sandbox = metadata["labels"].get(BASELINE, ""), metadata["labels"][SANDBOX]
    deployment = index.fork_deployment(fork_service)
    return Fork(
        service=service,
        host=ServiceHost(service.namespace, metadata["name"], cluster.domain),
        deployment=metadata["name"] if deployment is None else deployment["metadata"]["name"],
        is_ready=is_ready(deployment),
        keys=index.tenancy(service.namespace).keys_of(sandbox, baseline),
        made=deployment,
        baseline=cluster.get(DEPLOYMENTS, service.namespace, baseline),
    )
