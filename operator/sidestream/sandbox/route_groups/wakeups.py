"""Which RouteGroups an observed object concerns, and which Sandboxes a RouteGroup: from events to keys.

What it remembers serves only to wake enough and not too much; a reconcile never decides by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidestream.api.selectors import matches_selector
from sidestream.runtime.reconcile import ObjectKey

Json = Mapping[str, Any]


@dataclass(frozen=True)
class _Group:
    key: str
    names: frozenset[str]
    selector: Json | None

    def has(self, name: str, labels: Mapping[str, str]) -> bool:
        return name in self.names or matches_selector(self.selector, labels)


@dataclass(frozen=True)
class _Sandbox:
    key: str
    labels: Mapping[str, str]


class RouteGroupWakeups:
    """RouteGroups and the Sandboxes that may be their members, kept up to date from the events of both."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, _Group]] = defaultdict(dict)
        self._sandboxes: dict[str, dict[str, _Sandbox]] = defaultdict(dict)

    def all_keys(self) -> set[ObjectKey]:
        """Every RouteGroup seen and not yet gone."""
        return {ObjectKey(namespace, name) for namespace, groups in self._groups.items() for name in groups}

    def of_sandbox(self, sandbox: Json, *, gone: bool = False) -> set[ObjectKey]:
        """The RouteGroups that a Sandbox is or was a member of, that name it, or whose key is its own or theirs."""
        namespace, name = _place(sandbox)
        known = self._sandboxes[namespace]
        before = known.pop(name, None)
        now = _Sandbox(
            key=sandbox.get("spec", {}).get("routingKey") or name, labels=sandbox["metadata"].get("labels", {})
        )
        if not gone:
            known[name] = now
        states = [state for state in (before, now) if state is not None]
        groups = self._groups[namespace].values()
        keys = {state.key for state in states}
        keys |= {group.key for group in groups for state in states if group.has(name, state.labels)}
        return self._with_keys(namespace, keys)

    def of_group(self, group: Json, *, gone: bool = False) -> tuple[set[ObjectKey], set[ObjectKey]]:
        """The RouteGroups of this one's key, and the Sandboxes that are or were its members if its spec is news.

        Its status says nothing about its members.
        """
        namespace, name = _place(group)
        known = self._groups[namespace]
        before = known.pop(name, None)
        now = None if gone or "deletionTimestamp" in group["metadata"] else _group(group)
        if now is not None:
            known[name] = now
        states = [state for state in (before, now) if state is not None]
        groups = self._with_keys(namespace, {state.key for state in states})
        if before == now:
            return {ObjectKey(namespace, name)} & groups, set()
        members = {
            ObjectKey(namespace, sandbox)
            for sandbox, found in self._sandboxes[namespace].items()
            if any(state.has(sandbox, found.labels) for state in states)
        }
        return groups, members

    def _with_keys(self, namespace: str, keys: Iterable[str]) -> set[ObjectKey]:
        wanted = set(keys)
        return {ObjectKey(namespace, name) for name, group in self._groups[namespace].items() if group.key in wanted}


def _group(group: Json) -> _Group:
    spec = group.get("spec", {})
    sandboxes = spec.get("sandboxes", {})
    return _Group(spec.get("routingKey", ""), frozenset(sandboxes.get("names") or ()), sandboxes.get("selector"))


def _place(obj: Json) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
