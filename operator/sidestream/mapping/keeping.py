"""What of an object stays in memory, and how a KafkaRoute is read from what stayed."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from sidestream.api.kafka import KafkaRoute
from sidestream.kube.port import Object
from sidestream.kube.reflector import Keep
from sidestream.mapping.claims import Claim, key_claims

_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_KEY_CLAIMS: Final = "keyClaims"
"""Where a kept KafkaRoute has its claims packed."""


def keeping(*status: str) -> Keep:
    """Identity, spec and these fields of the status: offsets of every partition would be most of the memory."""

    def keep(obj: Object) -> Object:
        found = obj.get("status") or {}
        kept: Object = {name: obj[name] for name in ("apiVersion", "kind", "spec") if name in obj}
        metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
        return {**kept, "metadata": metadata, "status": {name: found[name] for name in status if name in found}}

    return keep


_keep_phase: Final = keeping("phase")


def keep_route(obj: Object) -> Object:
    """The same of a KafkaRoute, with the phase and the claims, packed; left out where they cannot be read."""
    kept = _keep_phase(obj)
    with suppress(ValueError):
        kept[_KEY_CLAIMS] = key_claims((obj.get("status") or {}).get("claims") or ())
    return kept


def read_claim(kept: Object) -> Claim:
    """From what `keep_route` kept.

    Raises:
        ValueError: it cannot be read.
    """
    if _KEY_CLAIMS not in kept:
        raise ValueError("the claims in its status are not shaped as the definition of the kind says")
    return Claim.of(KafkaRoute.from_json(kept), kept[_KEY_CLAIMS])
