"""Entries: the places where a proxy chooses a request's backend, each with the rules that users have for it.

There is one for every Service in the mesh, one for every object of a user that leads requests from outside to Services,
and one for every preview. Whatever is written for tenants is written per entry, by one writer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sidestream.routing.hosts import ServiceHost
from sidestream.routing.table import Rule


class EntryKind(StrEnum):
    """What names an entry: a Service, the kind of a user's object at a gateway, or a Sandbox with a preview."""

    MESH = "Mesh"
    VIRTUAL_SERVICE = "VirtualService"
    HTTP_ROUTE = "HTTPRoute"
    GRPC_ROUTE = "GRPCRoute"
    INGRESS_ROUTE = "IngressRoute"
    PREVIEW = "Preview"


_KINDS: Final[dict[str, EntryKind]] = {item.value: item for item in EntryKind}


@dataclass(frozen=True, order=True)
class EntryKey:
    """Which entry: the Service of the mesh, the user's object at a gateway, or the Sandbox whose preview it is."""

    kind: EntryKind
    namespace: str
    name: str

    def __str__(self) -> str:
        """Such as `HTTPRoute shop/storefront`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> EntryKey | None:
        """The key that `str` made this text of, None for any other text."""
        kind, _, place = text.partition(" ")
        namespace, _, name = place.partition("/")
        known = _KINDS.get(kind)
        return None if known is None or not name else cls(known, namespace, name)


class Mode(StrEnum):
    """How tenants' rules stand to what the user has written."""

    OWNED = "Owned"
    """The user has no rules here; all are ours."""
    OVERLAY = "Overlay"
    """Our object repeats the user's rules and takes precedence over theirs."""
    DELEGATE = "Delegate"
    """The user's object hands over to one of ours, by name."""
    PATCH = "Patch"
    """Our rules are in the user's own object, which they have allowed by an annotation."""
    BESIDE = "Beside"
    """Our objects hold the tenants' rules alone; the proxies merge them with the user's."""


@dataclass(frozen=True)
class Door:
    """Where a request has to be sent to come to an entry.

    `address` and `port` are those of a Service in the cluster; `host` is what the request calls itself. In the mesh
    both are the same host, and the request goes through the caller's own proxy; at a gateway it goes straight there.
    """

    address: str
    port: int
    host: str
    is_gateway: bool = False
    is_tls: bool = False


@dataclass(frozen=True)
class Entry:
    """One entry as its users have it.

    `rules` are theirs in effective order, raw, in the provider's dialect, spelled so that they mean the same in the
    object that is written. `reaches` are the Services to which a rule may lead: their forks matter here. `source` is
    the user's object that the rules were read from (`namespace/name`), None when they have none. `place` is what the
    provider needs to write its own objects (hosts, gateways, parents). `doors` are where the proof is asked for; empty
    with `why_unprovable` as the end of a sentence. `finding` is a sentence for users about what tenant rules do not
    cover here. `why` ends the sentence "is routed by <provider>, for ...".
    """

    key: EntryKey
    mode: Mode
    rules: tuple[Rule, ...]
    reaches: frozenset[ServiceHost]
    source: str | None = None
    place: dict[str, Any] = field(default_factory=dict)
    doors: tuple[Door, ...] = ()
    why_unprovable: str = ""
    finding: str = ""
    why: str = ""
