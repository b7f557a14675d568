"""What a mesh or gateway must offer to carry tenant routes; implementations are pure and see the cluster as a value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from sidestream.kube.port import Object, Resource
from sidestream.routing.entries import Entry, EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.table import Tenant

Ident = tuple[Resource, str, str]
"""Kind, namespace and name of an object."""


def ident_of(resource: Resource, obj: Object) -> Ident:
    """Which object it is."""
    return resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def key_of(obj: Object) -> str:
    """`namespace/name`."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def title_of(obj: Object) -> str:
    """Such as `HTTPRoute shop/orders`."""
    return f"{obj['kind']} {key_of(obj)}"


class Cluster(Protocol):
    """A read-only view of the cluster's objects as of now; nothing in it may be changed."""

    @property
    def domain(self) -> str:
        """The cluster's DNS domain."""
        ...

    def is_served(self, resource: Resource) -> bool:
        """Whether the API server serves this kind."""
        ...

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        """All objects of a kind, in one namespace or in all, by namespace and name; empty where it is not served."""
        ...

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object, None when there is none."""
        ...


@dataclass(frozen=True)
class Probe:
    """How a proxy shows that it has an object: asked for `name`, it answers with `config_hash` (see `proof`).

    `ports` are those of the entry's doors at which it can be asked; None for all.
    """

    name: str
    config_hash: str
    ports: frozenset[int] | None = None


@dataclass(frozen=True)
class Part:
    """One object to write.

    `stage` orders them: what is of a later stage is written when the proxies have all of the earlier ones, and goes
    before them; within a stage they are written in the order in which they are rendered. `keys` are the tenants whose
    rules are in it. `probe` has the object's name; it is None where no proxy can be asked for it.

    `patches` is None for an object of our own, which is `obj` whole. Else it is a user's object as it was read, which
    its user lets us change, and `obj` is that object as it is to be. It is written only where `spec` differs, by a JSON
    patch with `test` on `/metadata/uid` and `/metadata/resourceVersion` of `patches` and `replace` of the fields of
    `spec` that differ; never by server-side apply, which would take the user's fields from their manager. It is never
    deleted, and carries no mark of ours: a part that takes our rules out again is rendered where they are not wanted.
    """

    resource: Resource
    obj: Object
    probe: Probe | None = None
    keys: frozenset[str] = frozenset()
    stage: int = 0
    patches: Object | None = None

    @cached_property
    def ident(self) -> Ident:
        """Which object it is."""
        return ident_of(self.resource, self.obj)

    @cached_property
    def name(self) -> str:
        """The object's name."""
        return str(self.obj["metadata"]["name"])


@dataclass(frozen=True)
class Rendered:
    """All objects of one entry. `finding` is a sentence about tenants' requests that do not come to their forks."""

    parts: tuple[Part, ...] = ()
    finding: str = ""

    @cached_property
    def keys(self) -> frozenset[str]:
        """The tenants that have rules; those without have no rule that leads to a Service they fork."""
        return frozenset[str]().union(*(part.keys for part in self.parts))


class Provider(Protocol):
    """One kind of mesh or gateway object as a carrier of routes; what most do not have is empty here."""

    @property
    def name(self) -> str:
        """What status calls it."""
        ...

    @property
    def carries(self) -> frozenset[EntryKind]:
        """The kinds of entries that it has."""
        ...

    @property
    def reads(self) -> tuple[Resource, ...]:
        """The kinds of users' objects that decide its entries; also in which it may write."""
        ...

    @property
    def writes(self) -> tuple[Resource, ...]:
        """The kinds of objects that it writes."""
        ...

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """The entries that a user's object of one of the kinds in `reads` concerns."""
        ...

    def neighbours_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """Other entries whose objects depend on a user's object, since proxies merge its rules with theirs."""
        del obj, cluster
        return ()

    def is_patched(self, obj: Object) -> bool:
        """Whether rules of ours are in a user's object, which they must leave when nobody is routed by it any more."""
        del obj
        return False

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services that an object of one of the kinds in `reads` or `writes` sends requests to."""
        ...

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """The entry as its users have it, None when there is no such entry for this provider.

        Raises:
            InvalidInputError: the users' objects leave no room for tenant rules; the message names object and rule.
        """
        ...

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """All objects for an entry, for tenants sorted by key, each key once.

        Every object is marked (see `ownership.marked`) as ours and as this entry's.

        Raises:
            InvalidInputError: it cannot be written, such as one over the API server's limits.
        """
        ...
