"""Settings of the three programs, as the command line and environment give them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HeaderMode(StrEnum):
    """Where the tenant's routing key travels."""

    BAGGAGE = "baggage"
    EXACT = "exact"
    BOTH = "both"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


@dataclass(frozen=True)
class HeaderSettings:
    """Which headers name the tenant: members of `baggage` with one of these keys, a header of its own, or either."""

    mode: HeaderMode = HeaderMode.BAGGAGE
    baggage_keys: tuple[str, ...] = ("tenant",)
    name: str = "x-tenant-id"


@dataclass(frozen=True)
class OperatorSettings:
    """What `sidestream operator` needs to know.

    `identity` is unique to the replica (its pod's name); `prober_url` is None where no prober runs, and then routes
    are never called proven; `resync_seconds` is how often everything is looked at again without an event.
    """

    namespace: str
    identity: str
    header: HeaderSettings = HeaderSettings()
    prober_url: str | None = None
    http_port: int = 8080
    workers: int = 8
    resync_seconds: float = 300.0
