"""What proxies have confirmed of one entry's objects, and since when the rest is awaited.

The only memory of the routing reconciler. A restart forgets it: everything is asked for again, and waiting begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sidestream.routing.proof import NOT_ASKED, Claim, Evidence, Proof

ASK_AGAIN_SECONDS: Final = 25.0
"""How old a proof may become: proxies may lose rules that they had, and a route that is lost must be seen."""

AT_ONCE: Final = 40
"""How many old proofs are renewed in one turn, the oldest first."""


@dataclass
class _Record:
    config_hash: str | None
    proof: Proof
    asked_at: float | None
    unproven_since: float | None


class Ledger:
    """One entry's record; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def expect(self, claims: Iterable[Claim], now: float) -> None:
        """From now on these are awaited, and nothing else."""
        wanted = {claim.name: claim.config_hash for claim in claims}
        for name in self._records.keys() - wanted.keys():
            del self._records[name]
        for name, config_hash in wanted.items():
            held = self._records.get(name)
            if held is None or held.config_hash != config_hash:
                self._records[name] = _Record(config_hash, NOT_ASKED, None, now)

    def due(self, claims: Collection[Claim], now: float) -> list[Claim]:
        """The claims to ask for now: all that are unproven, and the oldest of those whose proof is old."""
        unproven = [claim for claim in claims if self.proof(claim.name).evidence is not Evidence.PROVEN]
        old = [
            (record.asked_at or 0.0, claim.name, claim)
            for claim in claims
            if (record := self._records[claim.name]).proof.evidence is Evidence.PROVEN
            and now - (record.asked_at or 0.0) >= ASK_AGAIN_SECONDS
        ]
        return [*unproven, *(claim for _, _, claim in sorted(old, key=lambda item: item[:2])[:AT_ONCE])]

    def note(self, claim: Claim, proof: Proof, now: float) -> None:
        """Write down an answer."""
        record = self._records[claim.name]
        record.proof, record.asked_at = proof, now
        match proof.evidence:
            case Evidence.PROVEN:
                record.unproven_since = None
            case Evidence.NOT_YET:
                record.unproven_since = now if record.unproven_since is None else record.unproven_since
            case Evidence.UNKNOWN:
                pass

    def proof(self, name: str) -> Proof:
        """What is known about an object."""
        record = self._records.get(name)
        return NOT_ASKED if record is None else record.proof

    def waited(self, name: str, now: float) -> float | None:
        """For how many seconds an object has awaited its proof; None when it does not."""
        record = self._records.get(name)
        return None if record is None or record.unproven_since is None else now - record.unproven_since
