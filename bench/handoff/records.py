"""The records of a trial, each known by its number; pure."""

from dataclasses import dataclass

from bench.handoff.handled import NOBODY

FORKED = ("alice", "bob")
TENANTS = (*FORKED, "carol", NOBODY)
"""In turns; nobody forks for carol."""

KEYS = 18
"""Record keys of each tenant, in turns: so many that partitions have about equal shares, with every tenant in each."""


@dataclass(frozen=True)
class Record:
    """`sequence` counts the records of one key."""

    tenant: str
    key: str
    sequence: int

    @property
    def headers(self) -> list[tuple[str, str | bytes | None]]:
        """As a service writes them that passes its request's baggage on."""
        return [] if self.tenant == NOBODY else [("baggage", f"region=eu-1,tenant={self.tenant}".encode())]


def record(number: int) -> Record:
    """The record of this number."""
    turn, place = divmod(number, len(TENANTS))
    sequence, key = divmod(turn, KEYS)
    return Record(TENANTS[place], f"{TENANTS[place]}-{key}", sequence)
