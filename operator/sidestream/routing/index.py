"""What depends on what among everything that decides routes: from a changed object to the entries that it concerns.

It is fed with every difference of the live copies, and remembers of each object only what it says about entries. Its
lookups serve `observe`; Services that nobody forks, nearly all of a cluster, never wake anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import structlog

from sidestream.api.labels import BASELINE, BASELINE_SERVICE, SANDBOX
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.api.tenancy import Tenancy
from sidestream.kube.port import DEPLOYMENTS, NAMESPACES, ROUTE_GROUPS, SANDBOXES, SERVICES, Object, Resource
from sidestream.kube.reflector import Change
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import entry_of, is_ours
from sidestream.routing.preview_index import PreviewIndex, are_forks_available, preview_of
from sidestream.routing.providers.provider import Cluster, Provider
from sidestream.routing.rows import entry_of_row, row_of_preview
from sidestream.routing.said import ObjectId, Said, UsersRoutes, drop
from sidestream.runtime.reconcile import ObjectKey

Workload = tuple[str, str, str]
"""Namespace, Sandbox and baseline Deployment of a fork, as its labels say."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class KnownSandbox:
    """A Sandbox as read, and parsed."""

    raw: Object
    sandbox: Sandbox

    @cached_property
    def rows(self) -> Mapping[EntryKey, tuple[RouteStatus, ...]]:
        """What its status says of each entry, and nothing of a preview that is wanted and not spoken of yet."""
        found: dict[EntryKey, tuple[RouteStatus, ...]] = {}
        for row in self.sandbox.status.routes:
            entry = entry_of_row(row, self.sandbox.metadata.namespace)
            found[entry] = (*found.get(entry, ()), row)
        preview, said = preview_of(self.sandbox), self.sandbox.status.preview
        if preview is not None:
            found[preview] = () if said is None else (row_of_preview(preview, said),)
        return found


class RoutingIndex:
    """Fed by `take`; `cluster` is the view of the same objects, already changed when `take` is called."""

    def __init__(self, cluster: Cluster, providers: Sequence[Provider]) -> None:
        self._cluster = cluster
        self._users = UsersRoutes(cluster, providers)
        self._carried = {resource for provider in providers for resource in (*provider.reads, *provider.writes)}
        self._sandboxes: dict[ObjectKey, KnownSandbox] = {}
        self._previews = PreviewIndex()
        self._tenancies: dict[str, Tenancy] = {}
        self._rows: dict[EntryKey, set[ObjectKey]] = defaultdict(set)
        self._fork_services: dict[ServiceHost, dict[ObjectKey, Object]] = defaultdict(dict)
        self._stands_for: dict[ObjectKey, tuple[ServiceHost, ObjectKey]] = {}
        self._forked_by: dict[ObjectKey, dict[ObjectKey, Object]] = defaultdict(dict)
        self._deployments: dict[Workload, Object] = {}
        self._written: dict[EntryKey, dict[ObjectId, None]] = defaultdict(dict)

    # --- lookups

    def sandbox(self, namespace: str, name: str) -> KnownSandbox | None:
        """A Sandbox; None when it is gone or cannot be read."""
        return self._sandboxes.get(ObjectKey(namespace, name))

    def tenancy(self, namespace: str) -> Tenancy:
        """Which Sandbox serves which key in a namespace; worked out once per change."""
        if namespace not in self._tenancies:
            sandboxes = [known.sandbox for key, known in self._sandboxes.items() if key.namespace == namespace]
            groups = [RouteGroup.from_json(item) for item in self._cluster.all(ROUTE_GROUPS, namespace)]
            self._tenancies[namespace] = Tenancy(sandboxes, groups)
        return self._tenancies[namespace]

    def with_rows(self, entry: EntryKey) -> list[KnownSandbox]:
        """The Sandboxes whose status speaks of an entry."""
        return [self._sandboxes[key] for key in sorted(self._rows.get(entry, ()), key=_place)]

    def forks_of(self, service: ServiceHost) -> list[Object]:
        """The fork Services that stand in for a Service, by name."""
        found = self._fork_services.get(service, {})
        return [found[key] for key in sorted(found, key=_place)]

    def fork_deployment(self, service: Object) -> Object | None:
        """The fork Deployment behind a fork Service."""
        return self._deployments.get(_workload(service))

    def written(self, entry: EntryKey) -> list[tuple[Resource, Object]]:
        """Our own objects for an entry, as they are."""
        found = []
        for resource, key in self._written.get(entry, ()):
            obj = self._cluster.get(resource, key.namespace, key.name)
            if obj is not None:
                found.append((resource, obj))
        return found

    def gateways_to(self, service: ServiceHost) -> frozenset[EntryKey]:
        """The entries at gateways from which requests may come to a Service."""
        return frozenset(key for key in self._users.entries_to(service) if key.kind is not EntryKind.MESH)

    def all_entries(self) -> set[EntryKey]:
        """Every entry with a fork behind it, with a row in a Sandbox's status, or with objects of ours."""
        forked = {entry for service in self._fork_services for entry in self._entries_to(service)}
        return forked | self._rows.keys() | self._written.keys() | self._users.patched()

    def is_patched(self, entry: EntryKey) -> bool:
        """Whether rules of ours are in a user's object that concerns the entry."""
        return self._users.is_patched(entry)

    def refresh(self) -> None:
        """Read again what users' objects say, once all that it depends on is known."""
        self._users.refresh()

    # --- changes

    def take(self, resource: Resource, change: Change) -> set[EntryKey]:
        """Take note of a difference; returns the entries that must be looked at again."""
        key, obj, is_gone = change.key, change.object, change.type == "DELETED"
        concerned: set[EntryKey] = set()
        if resource in self._carried:
            concerned |= self._take_route(resource, key, obj, is_gone=is_gone)
        if resource == SANDBOXES:
            concerned |= self._take_sandbox(key, obj, is_gone=is_gone)
        if resource == SERVICES:
            concerned |= self._take_service(key, obj, is_gone=is_gone)
        if resource == DEPLOYMENTS:
            concerned |= self._take_deployment(obj, is_gone=is_gone)
        if resource == ROUTE_GROUPS:
            self._tenancies.pop(key.namespace, None)
            concerned |= self._entries_in(key.namespace) | self._previews.within(key.namespace)
        if resource == NAMESPACES and change.type != "MODIFIED":
            concerned |= self.all_entries()
        return concerned

    def _take_route(self, resource: Resource, key: ObjectKey, obj: Object, *, is_gone: bool) -> set[EntryKey]:
        ident = (resource, key)
        ours = entry_of(obj)
        if ours is not None:
            if is_gone:
                drop(self._written, ours, ident)
            else:
                self._written[ours][ident] = None
            return {ours}
        if is_ours(obj) or not self._users.are_read(resource):
            return set()
        previews = self._previews.concerned_by(resource.group)
        before, said = self._users.forget(ident), self._users.hear(resource, obj)
        now = Said() if is_gone else said
        self._users.remember(ident, now)
        if not before.entries and not now.entries:
            # such as a gateway: whom it concerns is more to find out than to look again
            return self.all_entries()
        # a Service's own entry tells which gateways lead to it
        told = {
            EntryKey(EntryKind.MESH, service.namespace, service.name)
            for service in before.from_gateways ^ now.from_gateways
        }
        # of one that is gone what it says by now: Services may have come that its wildcards cover
        concerned = before.entries | said.entries | before.neighbours | said.neighbours | told
        return {entry for entry in concerned if self._matters(entry)} | previews

    def _take_sandbox(self, key: ObjectKey, raw: Object, *, is_gone: bool) -> set[EntryKey]:
        before = self._sandboxes.pop(key, None)
        rows_before = self._forget_rows(key, before)
        now = None if is_gone else _parsed(raw)
        rows_now: set[EntryKey] = set()
        if now is not None:
            self._sandboxes[key] = now
            rows_now = set(now.rows)
            for entry in rows_now:
                self._rows[entry].add(key)
        previews = self._previews.take(key, None if now is None else now.sandbox)
        if now is not None and before is not None and _facts(now) == _facts(before):
            return set()
        self._tenancies.pop(key.namespace, None)
        return self._entries_to_forks(self._forked_by.get(key, {})) | rows_before | rows_now | previews

    def _take_service(self, key: ObjectKey, obj: Object, *, is_gone: bool) -> set[EntryKey]:
        before = self._stands_for.pop(key, None)
        concerned: set[EntryKey] = set()
        if before is not None:
            service, sandbox = before
            drop(self._fork_services, service, key)
            drop(self._forked_by, sandbox, key)
            concerned = self._entries_to(service) | self._previews_with(sandbox)
        labels = obj["metadata"].get("labels") or {}
        if is_ours(obj) and BASELINE_SERVICE in labels and SANDBOX in labels and not is_gone:
            service = ServiceHost(key.namespace, labels[BASELINE_SERVICE], self._cluster.domain)
            sandbox = ObjectKey(key.namespace, labels[SANDBOX])
            self._stands_for[key] = (service, sandbox)
            self._fork_services[service][key] = obj
            self._forked_by[sandbox][key] = obj
            return concerned | self._entries_to(service) | self._previews_with(sandbox)
        if before is not None:
            return concerned
        own = ServiceHost(key.namespace, key.name, self._cluster.domain)
        return {entry for entry in self._entries_to(own) if self._matters(entry)}

    def _take_deployment(self, obj: Object, *, is_gone: bool) -> set[EntryKey]:
        if not is_ours(obj):
            return set()
        workload = _workload(obj)
        before = self._deployments.pop(workload, None)
        if not is_gone:
            self._deployments[workload] = obj
        if before is not None and not is_gone and is_ready(before) == is_ready(obj):
            return set()
        forks = self._forked_by.get(ObjectKey(workload[0], workload[1]), {})
        return self._entries_to_forks(key for key, item in forks.items() if _workload(item) == workload)

    def _forget_rows(self, key: ObjectKey, before: KnownSandbox | None) -> set[EntryKey]:
        entries: set[EntryKey] = set() if before is None else set(before.rows)
        for entry in entries:
            self._rows[entry].discard(key)
            if not self._rows[entry]:
                del self._rows[entry]
        return entries

    # --- relations

    def _entries_to_forks(self, forks: Iterable[ObjectKey]) -> set[EntryKey]:
        """The entries to the Services that these fork Services stand in for, and the previews that may lead there."""
        stands_for = [self._stands_for[key] for key in forks]
        return {
            entry
            for service, sandbox in stands_for
            for entry in self._entries_to(service) | self._previews_with(sandbox)
        }

    def _previews_with(self, sandbox: ObjectKey) -> set[EntryKey]:
        """The previews of a Sandbox and of those with the same key; RouteGroups' keys are left to the next look."""
        known = self._sandboxes.get(sandbox)
        return set() if known is None else self._previews.of_tenant(known.sandbox.routing_key)

    def _entries_to(self, service: ServiceHost) -> set[EntryKey]:
        """The mesh's own entry of a Service, and all others whose rules lead to it."""
        return {EntryKey(EntryKind.MESH, service.namespace, service.name), *self._users.entries_to(service)}

    def _matters(self, entry: EntryKey) -> bool:
        if entry in self._rows or entry in self._written or self.is_patched(entry):
            return True
        services = set(self._users.services_of(entry))
        if entry.kind is EntryKind.MESH:
            services.add(ServiceHost(entry.namespace, entry.name, self._cluster.domain))
        return any(service in self._fork_services for service in services)

    def _entries_in(self, namespace: str) -> set[EntryKey]:
        services = [service for service in self._fork_services if service.namespace == namespace]
        return {entry for service in services for entry in self._entries_to(service)}


def is_ready(deployment: Object | None) -> bool:
    """Whether a fork has a pod that takes requests."""
    return deployment is not None and (deployment.get("status") or {}).get("readyReplicas", 0) > 0


def _parsed(raw: Object) -> KnownSandbox | None:
    try:
        return KnownSandbox(raw, Sandbox.from_json(raw))
    except ValueError as error:
        _log.error(
            "Sandbox cannot be read and is left out of the routes", name=raw["metadata"]["name"], error=str(error)
        )
        return None


def _facts(known: KnownSandbox) -> tuple[Any, ...]:
    """What of a Sandbox decides its routes; its status is mostly our own word."""
    metadata, awaited = known.sandbox.metadata, None
    if known.sandbox.spec.preview is not None:
        awaited = are_forks_available(known.sandbox)
    return metadata.uid, metadata.generation, metadata.deletion_timestamp, known.raw["metadata"].get("labels"), awaited


def _place(key: ObjectKey) -> tuple[str, str]:
    """By what keys are ordered, as they are by themselves; of a thousand this is much quicker."""
    return key.namespace, key.name


def _workload(obj: Object) -> Workload:
    labels = obj["metadata"].get("labels") or {}
    return obj["metadata"]["namespace"], labels.get(SANDBOX, ""), labels.get(BASELINE, "")
