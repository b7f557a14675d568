"""What a mesh must offer to carry tenant routes; implementations are pure and know nothing of the cluster's state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidestream.kube.port import Object, Resource
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.table import RouteTable, Rule


@dataclass(frozen=True)
class BaseRules:
    """A Service's rules without tenants: the user's, read from `source` (`namespace/name`), or the mesh's default."""

    rules: tuple[Rule, ...]
    source: str | None = None


@dataclass(frozen=True)
class Rendered:
    """The object to write, and the hash with which every proxy that has it answers the probe."""

    obj: Object
    config_hash: str


class Provider(Protocol):
    """One kind of mesh object as a carrier of routes."""

    @property
    def name(self) -> str:
        """What status calls it."""
        ...

    @property
    def resource(self) -> Resource:
        """The kind that is read and written."""
        ...

    def object_name(self, service: ServiceHost) -> str:
        """The name of the object that is written for this Service, in the Service's namespace."""
        ...

    def is_ours(self, obj: Object) -> bool:
        """Whether Sidestream wrote the object."""
        ...

    def base_rules(self, objects: Sequence[Object], service: ServiceHost, ports: Sequence[int]) -> BaseRules:
        """The rules that hold for `service` on its HTTP `ports` without us; `objects` are all of the kind.

        Raises:
            InvalidInputError: the users' objects leave no room for tenant rules; the message names object and rule.
        """
        ...

    def render(self, table: RouteTable, namespaces: Collection[str]) -> Rendered | None:
        """The object that holds the whole table; None when no rule of the table leads to its Service.

        `namespaces` are those whose clients must see it in place of a user's object.
        """
        ...

    def destinations(self, obj: Object) -> frozenset[str]:
        """Every host that the object sends requests to."""
        ...
