"""What rendering has made of each tenant, kept for the next time, and hashes that are made of rules' hashes.

A Service may have a thousand tenants, of which one changes. Forgetting is harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidestream.routing import ownership
from sidestream.routing.entries import EntryKey
from sidestream.routing.providers.provider import Ident, Part
from sidestream.routing.table import Rule, Tenant

_REMEMBERED_ENTRIES: Final = 2_000


@dataclass(frozen=True)
class Measured:
    """Rules that nobody changes any more, with a hash of each and the bytes of all as JSON."""

    rules: tuple[Rule, ...] = ()
    hashes: tuple[str, ...] = ()
    size: int = 0


def measured(rules: Iterable[Rule]) -> Measured:
    """The rules with what is to be known about them."""
    rules = tuple(rules)
    texts = [json.dumps(rule, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() for rule in rules]
    return Measured(
        rules, tuple(hashlib.sha256(text).hexdigest() for text in texts), sum(len(text) + 1 for text in texts)
    )


def joined(parts: Iterable[Measured]) -> Measured:
    """All rules in order."""
    parts = tuple(parts)
    return Measured(
        tuple(rule for part in parts for rule in part.rules),
        tuple(item for part in parts for item in part.hashes),
        sum(part.size for part in parts),
    )


def hash_of(place: Mapping[str, Any], http: Measured) -> str:
    """The hash of a spec of `place` and rules `http`: the same for the same spec, however it was put together."""
    return ownership.config_hash([place, http.hashes])


class Memo:
    """The rules made for each tenant of an entry, as long as what they were made from is the same."""

    def __init__(self) -> None:
        self._entries: OrderedDict[EntryKey, tuple[str, dict[Tenant, Measured]]] = OrderedDict()
        self._parts: dict[EntryKey, dict[Ident, Part]] = {}

    def rules(
        self, key: EntryKey, made_from: str, tenants: Sequence[Tenant], make: Callable[[Tenant], list[Rule]]
    ) -> dict[Tenant, Measured]:
        """The rules that `make` makes for each of the tenants; `made_from` is a hash of all else that it looks at."""
        before, known = self._entries.pop(key, (made_from, {}))
        if before != made_from:
            known = {}
        found = {tenant: known.get(tenant) or measured(make(tenant)) for tenant in tenants}
        if found:
            self._entries[key] = (made_from, found)
        if len(self._entries) > _REMEMBERED_ENTRIES:
            oldest, _ = self._entries.popitem(last=False)
            self._parts.pop(oldest, None)
        return found

    def same(self, key: EntryKey, parts: Sequence[Part]) -> tuple[Part, ...]:
        """The parts, each of those that have not changed being the very object of the time before.

        By that who writes them sees that nothing is to be compared.
        """
        before = self._parts.pop(key, {})
        kept = tuple(before[part.ident] if before.get(part.ident) == part else part for part in parts)
        if kept:
            self._parts[key] = {part.ident: part for part in kept}
        return kept
