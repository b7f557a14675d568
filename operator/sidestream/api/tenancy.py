"""Who serves which routing key for which Deployment of a namespace; pure, from Sandboxes and RouteGroups alone.

A Sandbox claims its own key for every Deployment that it forks, and the keys of the RouteGroups that it is a member of.
Of several that claim one key for one Deployment, one serves it:

1. a claim on a Sandbox's own key comes before one on a RouteGroup's, whatever their ages,
2. then the older Sandbox comes first (`age_of`); how old a RouteGroup is does not matter.

Whoever does not get its own key for a Deployment has no fork of it (reason WorkloadTaken) and claims nothing there. A
Sandbox in deletion leaves its groups at once, but keeps its own key until it is gone; one that is suspended or not
ready stays. Nothing here depends on the order in which objects are given, nor on any status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.api.selectors import matches_selector


def age_of(sandbox: Sandbox) -> tuple[str, str]:
    """By what Sandboxes are ordered, the oldest first: creationTimestamp (whole seconds), then namespace/name."""
    return sandbox.metadata.creation_timestamp, sandbox.metadata.key


def keys_of(
    sandbox: Sandbox, deployment: str, sandboxes: Iterable[Sandbox], groups: Iterable[RouteGroup]
) -> tuple[str, ...]:
    """`Tenancy.keys_of` for a single question; `sandboxes` are all of the namespace, `groups` its RouteGroups."""
    return Tenancy(sandboxes, groups).keys_of(sandbox.metadata.name, deployment)


@dataclass(frozen=True)
class Conflict:
    """Two Sandboxes claim one key for one Deployment: `holder` serves it, and `loser`, a member, does not.

    `is_own`: it is the holder's own key.
    """

    deployment: str
    holder: str
    loser: str
    is_own: bool


class Tenancy:
    """The answers for one namespace; cheap to make, and what was worked out once is kept."""

    def __init__(self, sandboxes: Iterable[Sandbox], groups: Iterable[RouteGroup]) -> None:
        self._sandboxes = {item.metadata.name: item for item in sorted(sandboxes, key=age_of)}
        self._forkers: dict[str, list[Sandbox]] = {}
        self._owners: dict[tuple[str, str], Sandbox] = {}
        for sandbox in self._sandboxes.values():
            for workload in sandbox.spec.workloads:
                self._forkers.setdefault(workload.deployment, []).append(sandbox)
                self._owners.setdefault((sandbox.routing_key, workload.deployment), sandbox)
        self._rosters: dict[str, list[_Roster]] = {}
        for group in groups:
            if not group.is_deleting:
                self._rosters.setdefault(group.spec.routing_key, []).append(_Roster(group))
        self._servers: dict[tuple[str, str], Sandbox | None] = {}

    def keys_of(self, sandbox: str, deployment: str) -> tuple[str, ...]:
        """The keys that the Sandbox's fork of the Deployment answers to: its own first, then the groups' by name.

        Empty where it has no such fork: it does not ask for one, or another Sandbox has its key there.
        """
        found = self._sandboxes.get(sandbox)
        if found is None or self._owners.get((found.routing_key, deployment)) is not found:
            return ()
        if not self._rosters:
            return (found.routing_key,)
        granted = (key for key in self._group_keys(found) if self._server(key, deployment) is found)
        return (found.routing_key, *sorted(set(granted) - {found.routing_key}))

    def keys_of_sandbox(self, sandbox: str) -> tuple[str, ...]:
        """The keys that any of the Sandbox's forks answers to, in the order of `keys_of`."""
        found = self._sandboxes.get(sandbox)
        if found is None:
            return ()
        keys = {key for workload in found.spec.workloads for key in self.keys_of(sandbox, workload.deployment)}
        return tuple(sorted(keys, key=lambda key: (key != found.routing_key, key)))

    def server(self, key: str, deployment: str) -> str | None:
        """The Sandbox whose fork of the Deployment answers to the key; None: the baseline does."""
        found = self._server(key, deployment)
        return None if found is None else found.metadata.name

    def owner(self, key: str, deployment: str) -> str | None:
        """The Sandbox that has the key as its own and gets to fork the Deployment."""
        found = self._owners.get((key, deployment))
        return None if found is None else found.metadata.name

    def members(self, group: RouteGroup) -> tuple[Sandbox, ...]:
        """The Sandboxes of the RouteGroup, the oldest first."""
        roster = _Roster(group)
        return tuple(item for item in self._sandboxes.values() if roster.has(item))

    def conflicts(self, group: RouteGroup) -> tuple[Conflict, ...]:
        """Where members do not serve the RouteGroup's key because others do, by Deployment, then by the loser's age."""
        key = group.spec.routing_key
        found = []
        for member in self.members(group):
            for deployment in {workload.deployment for workload in member.spec.workloads}:
                if self._owners[member.routing_key, deployment] is not member:
                    continue
                holder = self._server(key, deployment)
                if holder is not None and holder is not member:
                    conflict = Conflict(
                        deployment, holder.metadata.name, member.metadata.name, is_own=holder.routing_key == key
                    )
                    found.append(conflict)
        return tuple(sorted(found, key=lambda item: item.deployment))

    def _group_keys(self, sandbox: Sandbox) -> Iterable[str]:
        return (key for key, rosters in self._rosters.items() if any(roster.has(sandbox) for roster in rosters))

    def _server(self, key: str, deployment: str) -> Sandbox | None:
        place = key, deployment
        if place not in self._servers:
            self._servers[place] = self._owners.get(place) or self._oldest_member(key, deployment)
        return self._servers[place]

    def _oldest_member(self, key: str, deployment: str) -> Sandbox | None:
        rosters = self._rosters.get(key, ())
        return next(
            (
                sandbox
                for sandbox in self._forkers.get(deployment, ())
                if self._owners[sandbox.routing_key, deployment] is sandbox
                and any(roster.has(sandbox) for roster in rosters)
            ),
            None,
        )


class _Roster:
    """Who is a member of one RouteGroup."""

    def __init__(self, group: RouteGroup) -> None:
        selector = group.spec.sandboxes.selector
        self._names = frozenset(group.names)
        self._selector: dict[str, Any] | None = None if selector is None else selector.to_json()
        self._known: dict[str, bool] = {}

    def has(self, sandbox: Sandbox) -> bool:
        """Whether the Sandbox is a member: one in deletion never is."""
        name = sandbox.metadata.name
        if name not in self._known:
            self._known[name] = not sandbox.is_deleting and (
                name in self._names or matches_selector(self._selector, sandbox.metadata.labels)
            )
        return self._known[name]
