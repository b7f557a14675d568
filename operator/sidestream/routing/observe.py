"""Gathers everything that decides the routes of one entry from the live copies; decides nothing but who carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from sidestream.api.labels import BASELINE, SANDBOX
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.kube.port import DEPLOYMENTS, Object, Resource
from sidestream.routing.choice import Choice, choose
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.index import KnownSandbox, RoutingIndex, is_ready
from sidestream.routing.providers.provider import Cluster, Provider


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
    gateways = _gateways(key, cluster, index, providers) if key.kind is EntryKind.MESH else ()
    return Observed(key, choice, members, held, gateways)


def _gateways(
    key: EntryKey, cluster: Cluster, index: RoutingIndex, providers: Sequence[Provider]
) -> tuple[EntryKey, ...]:
    """Those of the entries at gateways that have a row about the Service: some only share a host with its route."""
    host = ServiceHost(key.namespace, key.name, cluster.domain)
    found = index.gateways_to(host)
    return tuple(entry for entry in sorted(found) if host in choose(entry, cluster, providers).services)


def _members(key: EntryKey, choice: Choice, cluster: Cluster, index: RoutingIndex) -> tuple[Member, ...]:
    known: dict[tuple[str, str], KnownSandbox] = {}
    forks: dict[tuple[str, str], list[Fork]] = {}
    for service in sorted(choice.services):
        stand_ins = _StandIns(service, cluster, index)
        for fork_service in index.forks_of(service):
            metadata = fork_service["metadata"]
            ident = service.namespace, metadata["labels"][SANDBOX]
            owner = index.sandbox(*ident)
            if owner is None or metadata.get("deletionTimestamp"):
                continue
            known[ident] = owner
            forks.setdefault(ident, []).append(stand_ins.fork(fork_service))
    for owner in index.with_rows(key):
        known.setdefault((owner.sandbox.metadata.namespace, owner.sandbox.metadata.name), owner)
    return tuple(
        Member(owner.raw, owner.sandbox, tuple(forks.get(ident, ())), owner.rows.get(key, ()))
        for ident, owner in sorted(known.items(), key=itemgetter(0))
    )


class _StandIns:
    """Makes the forks of one Service; what they have in common is looked up once."""

    def __init__(self, service: ServiceHost, cluster: Cluster, index: RoutingIndex) -> None:
        self._service = service
        self._cluster = cluster
        self._index = index
        self._tenancy = index.tenancy(service.namespace)
        self._baselines: dict[str, Object | None] = {}

    def fork(self, fork_service: Object) -> Fork:
        metadata = fork_service["metadata"]
        baseline = metadata["labels"].get(BASELINE, "")
        deployment = self._index.fork_deployment(fork_service)
        if baseline not in self._baselines:
            self._baselines[baseline] = self._cluster.get(DEPLOYMENTS, self._service.namespace, baseline)
        return Fork(
            service=self._service,
            host=ServiceHost(self._service.namespace, metadata["name"], self._cluster.domain),
            deployment=metadata["name"] if deployment is None else deployment["metadata"]["name"],
            is_ready=is_ready(deployment),
            keys=self._tenancy.keys_of(metadata["labels"][SANDBOX], baseline),
            made=deployment,
            baseline=self._baselines[baseline],
        )
