"""Which previews a change concerns: those of one host, of one tenant, or at gateways of one kind."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from sidestream.api.conditions import ConditionType, find_condition
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import GATEWAYS, INGRESS_ROUTES, ISTIO_GATEWAYS
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.runtime.reconcile import ObjectKey

_KINDS_BY_GROUP: Final = {
    GATEWAYS.group: "Gateway",
    ISTIO_GATEWAYS.group: "IstioGateway",
    INGRESS_ROUTES.group: "Traefik",
}
"""Of each API group, the kind of gateway that its objects have a say in."""


@dataclass(frozen=True)
class _Wish:
    """What makes one preview depend on others' objects."""

    host: str
    kind: str
    tenant: str


def preview_of(sandbox: Sandbox) -> EntryKey | None:
    """The entry of a Sandbox's preview; None where it wants none and its status speaks of none."""
    if sandbox.spec.preview is None and sandbox.status.preview is None:
        return None
    return EntryKey(EntryKind.PREVIEW, sandbox.metadata.namespace, sandbox.metadata.name)


def are_forks_available(sandbox: Sandbox) -> bool:
    """Whether the Sandbox says so of its newest generation."""
    said = find_condition(sandbox.status.conditions, ConditionType.WORKLOADS_READY)
    return said is not None and said.status == "True" and said.observed_generation == sandbox.metadata.generation


class PreviewIndex:
    """The previews that Sandboxes want."""

    def __init__(self) -> None:
        self._wishes: dict[ObjectKey, _Wish] = {}
        self._by_host: dict[str, set[ObjectKey]] = defaultdict(set)
        self._by_tenant: dict[str, set[ObjectKey]] = defaultdict(set)

    def take(self, key: ObjectKey, sandbox: Sandbox | None) -> set[EntryKey]:
        """Take note of a Sandbox that has changed or is gone (None); returns the previews of its hosts."""
        before = self._wishes.pop(key, None)
        hosts = set()
        if before is not None:
            hosts.add(before.host)
            _discard(self._by_host, before.host, key)
            _discard(self._by_tenant, before.tenant, key)
        if sandbox is not None and sandbox.spec.preview is not None:
            wish = _Wish(sandbox.spec.preview.host, sandbox.spec.preview.gateway.kind, sandbox.routing_key)
            self._wishes[key] = wish
            self._by_host[wish.host].add(key)
            self._by_tenant[wish.tenant].add(key)
            hosts.add(wish.host)
        return {_entry(other) for host in hosts for other in self._by_host.get(host, ())}

    def of_tenant(self, tenant: str) -> set[EntryKey]:
        """The previews whose requests are this tenant's."""
        return {_entry(key) for key in self._by_tenant.get(tenant, ())}

    def concerned_by(self, group: str) -> set[EntryKey]:
        """The previews on which objects of an API group may bear."""
        kind = _KINDS_BY_GROUP.get(group)
        return {_entry(key) for key, wish in self._wishes.items() if wish.kind == kind}

    def within(self, namespace: str) -> set[EntryKey]:
        """The previews of a namespace's Sandboxes."""
        return {_entry(key) for key in self._wishes if key.namespace == namespace}


def _entry(key: ObjectKey) -> EntryKey:
    return EntryKey(EntryKind.PREVIEW, key.namespace, key.name)


def _discard(table: dict[str, set[ObjectKey]], outer: str, key: ObjectKey) -> None:
    table[outer].discard(key)
    if not table[outer]:
        del table[outer]
