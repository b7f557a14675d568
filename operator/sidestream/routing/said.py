"""What users' route objects say: which entries they concern, and to which Services they lead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sidestream.kube.port import Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.provider import Cluster, Provider
from sidestream.runtime.reconcile import ObjectKey

ObjectId = tuple[Resource, ObjectKey]
Outer = TypeVar("Outer")
Inner = TypeVar("Inner")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Said:
    """What one object says: the entries that it concerns and the Services that it leads to.

    `neighbours` are entries whose objects depend on it besides. `is_patched`: rules of ours are in it.
    """

    entries: frozenset[EntryKey] = frozenset()
    services: frozenset[ServiceHost] = frozenset()
    neighbours: frozenset[EntryKey] = frozenset()
    is_patched: bool = False

    @property
    def from_gateways(self) -> frozenset[ServiceHost]:
        """The Services to which requests from outside are led."""
        is_at_gateway = any(key.kind is not EntryKind.MESH for key in self.entries)
        return self.services if is_at_gateway else frozenset()


class UsersRoutes:
    """What all of them say, by object, Service and entry; those that concern no entry are not kept."""

    def __init__(self, cluster: Cluster, providers: Sequence[Provider]) -> None:
        self._cluster = cluster
        self._readers: dict[Resource, list[Provider]] = defaultdict(list)
        for provider in providers:
            for resource in provider.reads:
                self._readers[resource].append(provider)
        self._by_object: dict[ObjectId, Said] = {}
        self._by_service: dict[ServiceHost, dict[ObjectId, Said]] = defaultdict(dict)
        self._by_entry: dict[EntryKey, dict[ObjectId, Said]] = defaultdict(dict)

    def are_read(self, resource: Resource) -> bool:
        """Whether objects of this kind say anything."""
        return resource in self._readers

    def hear(self, resource: Resource, obj: Object) -> Said:
        """What an object says by now; it is not remembered."""
        readers, cluster = self._readers[resource], self._cluster
        return Said(
            entries=frozenset(key for provider in readers for key in provider.entries_of(obj, cluster)),
            services=frozenset(
                service for provider in readers for service in provider.destinations(obj, cluster.domain)
            ),
            neighbours=frozenset(key for provider in readers for key in provider.neighbours_of(obj, cluster)),
            is_patched=any(provider.is_patched(obj) for provider in readers),
        )

    def remember(self, ident: ObjectId, said: Said) -> None:
        """Take note of what an object says."""
        if not said.entries:
            return
        self._by_object[ident] = said
        for service in said.services:
            self._by_service[service][ident] = said
        for entry in said.entries:
            self._by_entry[entry][ident] = said

    def forget(self, ident: ObjectId) -> Said:
        """Forget what an object said, and return it."""
        said = self._by_object.pop(ident, Said())
        for service in said.services:
            drop(self._by_service, service, ident)
        for entry in said.entries:
            drop(self._by_entry, entry, ident)
        return said

    def refresh(self) -> None:
        """Hear them all again."""
        for ident in list(self._by_object):
            self.forget(ident)
        for resource in self._readers:
            for obj in self._cluster.all(resource):
                if not is_ours(obj):
                    key = ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
                    self.remember((resource, key), self.hear(resource, obj))

    def entries_to(self, service: ServiceHost) -> frozenset[EntryKey]:
        """The entries whose rules lead to a Service."""
        return frozenset(key for said in self._by_service.get(service, {}).values() for key in said.entries)

    def services_of(self, entry: EntryKey) -> frozenset[ServiceHost]:
        """The Services to which the objects about an entry lead."""
        return frozenset(service for said in self._by_entry.get(entry, {}).values() for service in said.services)

    def is_patched(self, entry: EntryKey) -> bool:
        """Whether rules of ours are in an object that concerns the entry."""
        return any(said.is_patched for said in self._by_entry.get(entry, {}).values())

    def patched(self) -> set[EntryKey]:
        """All entries of objects with rules of ours in them."""
        return {entry for said in self._by_object.values() if said.is_patched for entry in said.entries}


def drop(table: dict[Outer, dict[Inner, Value]], outer: Outer, inner: Inner) -> None:
    """Take an item out of a table of tables, and an inner table that is then empty with it."""
    found = table.get(outer)
    if found is not None:
        found.pop(inner, None)
        if not found:
            del table[outer]
