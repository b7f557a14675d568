"""The tenants of sets of routes, and who answers for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sidestream.routing.hosts import ServiceHost
from sidestream.routing.table import StandIn, Tenant

SHARED = ("inventory", "inventory-alice", "inventory-bob", "ledger")
"""Services to which rules of every set may lead."""

_FORKED: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {"alice": ("", "inventory"), "bob": ("",)},
    {"alice": ("",), "bob": ("inventory",)},
    {"alice": ("inventory",), "bob": ("", "inventory")},
)
"""What tenants fork: "" is the Service of the set."""


def forks_of(service: str, number: int) -> dict[str, dict[str, str]]:
    """Who answers for whom in whose place, by tenant, in the set of this number."""
    return {
        key: {name or service: f"{name or service}-{key}" for name in names}
        for key, names in _FORKED[number % len(_FORKED)].items()
    }


def tenants_of(forks: Mapping[str, Mapping[str, str]], namespace: str) -> tuple[Tenant, ...]:
    """The same as providers are told."""
    return tuple(
        Tenant(
            key,
            tuple(
                StandIn(ServiceHost(namespace, name), ServiceHost(namespace, fork))
                for name, fork in sorted(forks[key].items())
            ),
        )
        for key in sorted(forks)
    )


def roles_of(services: Iterable[str]) -> tuple[str, ...]:
    """Who has to answer: each of these Services and its forks, and those that are shared."""
    return (*(role for name in services for role in (name, f"{name}-alice", f"{name}-bob")), *SHARED)


def crowd(namespace: str, service: str, count: int) -> Sequence[Tenant]:
    """More tenants than a test asks for, whose fork is the Service itself."""
    host = ServiceHost(namespace, service)
    return [Tenant(f"t{number:02}", (StandIn(host, host),)) for number in range(count)]
