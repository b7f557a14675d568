"""The rows of `Sandbox.status.routes`: which entry a row is about, and who may write it.

A preview's entry has one row, which is `Sandbox.status.preview`.
"""

from __future__ import annotations

from typing import Final

from sidestream.api.labels import manager_of_route
from sidestream.api.names import shortened
from sidestream.api.sandbox import MESH_ENTRY, PreviewStatus, RouteStatus
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost

_LONGEST_MANAGER: Final = 100
"""Characters; the API server takes 128 for a field manager, prefix included."""


def entry_text(key: EntryKey, service: ServiceHost) -> str:
    """What a row about `service` calls the entry."""
    is_own = (key.kind, key.namespace, key.name) == (EntryKind.MESH, service.namespace, service.name)
    return MESH_ENTRY if is_own else str(key)


def entry_of_row(row: RouteStatus, namespace: str) -> EntryKey:
    """The entry that a row of a Sandbox in `namespace` is about; what nobody of ours wrote counts as the mesh's."""
    return EntryKey.parse(row.entry) or EntryKey(EntryKind.MESH, namespace, row.service)


def row_of_preview(key: EntryKey, status: PreviewStatus) -> RouteStatus:
    """What a Sandbox's status says about its preview, whose entry `key` is, in the form of a row."""
    return RouteStatus(
        service="",
        entry=str(key),
        provider="None",
        mode="None",
        object=status.object,
        state=status.state,
        reason=status.reason,
        message=status.message,
        observed_generation=status.observed_generation,
    )


def manager_of(key: EntryKey, namespace: str) -> str:
    """The field manager of all that is said about one entry in a Sandbox of `namespace`.

    One for each entry, so that a reconciler drops only its own rows.
    """
    if key.kind is EntryKind.MESH and key.namespace == namespace:
        return manager_of_route(key.name)
    return manager_of_route(shortened(f"{key.kind}.{key.namespace}.{key.name}".lower(), _LONGEST_MANAGER))
