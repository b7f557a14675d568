"""What a consumer group's members write beside their committed offsets: the metadata of a partition's commit.

    {"ss": 1, "v": 4711, "e": "2f1c9a07", "a": {"9d3f01c2aa": {"f": 1200}}, "app": "what the application had there"}

`v` is the version of the mapping that the partition was last handled by, `e` the installation that this version is of,
`a` the acknowledgements by change (see `Kind`), `app` metadata of the application itself. A commit is fenced by the
broker and moves with the partition, so its next owner knows what was promised and how old its mapping may be. Text that
is not ours is the application's. Pure; the same cases as data: tests/conformance/metadata.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

FORMAT: Final = 1
MAX_BYTES: Final = 4095
"""`offset.metadata.max.bytes` of a broker by default, less the byte that ends a text in librdkafka's commits."""

_MARK: Final = '{"ss":'


class Kind(StrEnum):
    """What can be acknowledged for a change on a partition, and what the number with it is."""

    AWARE = "w"
    """The fork holds back at the first record of the key; 1."""
    FROM = "f"
    """The baseline: the first offset that is the fork's."""
    HOLD = "h"
    """The fork: it takes no record from this offset on."""
    UNTIL = "u"
    """The baseline: the first offset that is its own again."""
    GONE = "g"
    """The baseline has passed the fork's interval; 1."""


Acks = Mapping[str, Mapping[Kind, int]]
"""Acknowledgements by change and kind."""


@dataclass(frozen=True)
class Notes:
    """The metadata of one partition's commit; `epoch` is empty where no mapping was known."""

    version: int = 0
    epoch: str = ""
    acks: Acks = field(default_factory=dict)
    app: str = ""

    @classmethod
    def parse(cls, text: str | None) -> Notes:
        """Read metadata; what cannot be read as ours, or is of a later format, is the application's own."""
        if not text or not text.startswith(_MARK):
            return cls(app=text or "")
        try:
            # librdkafka commits the zero byte that ends a text in C, and other clients show it
            return _notes(json.loads(text.rstrip("\0")))
        except (ValueError, RecursionError):
            return cls(app=text)

    def encode(self) -> str:
        """The metadata; the application's own text as it is where there is nothing of ours."""
        if not self.version and not self.acks:
            return self.app
        raw: dict[str, Any] = {"ss": FORMAT, "v": self.version, "e": self.epoch}
        if self.acks:
            raw["a"] = {name: dict(sorted(kinds.items())) for name, kinds in sorted(self.acks.items())}
        if self.app:
            raw["app"] = self.app
        return json.dumps(raw, separators=(",", ":"), ensure_ascii=False)

    def find(self, change: str, kind: Kind) -> int | None:
        """The number acknowledged, None without an acknowledgement."""
        kinds = self.acks.get(change)
        return None if kinds is None else kinds.get(kind)

    def with_ack(self, change: str, kind: Kind, value: int) -> Notes:
        """With one acknowledgement more; one that is there already stays as it is: the first write wins."""
        kinds = self.acks.get(change, {})
        return replace(self, acks={**self.acks, change: {kind: value, **kinds}})

    def at(self, version: int, epoch: str) -> Notes:
        """As somebody writes it whose mapping is of this version: a version never goes back within an installation."""
        newest = max(version, self.version) if epoch == self.epoch else version
        return replace(self, version=newest, epoch=epoch)

    def of(self, epoch: str) -> Notes:
        """What of it counts in this installation: promises made to another one are void."""
        return self if self.epoch in {epoch, ""} else Notes(app=self.app)


def size_of(text: str) -> int:
    """Bytes that the broker counts."""
    return len(text.encode())


def _notes(raw: Any) -> Notes:
    match raw:
        case {"ss": 1, "v": int(version), "e": str(epoch)}:
            acks = raw.get("a", {})
            app = raw.get("app", "")
        case _:
            raise ValueError("not of a known format")
    if not isinstance(acks, dict) or not isinstance(app, str):
        raise ValueError("not of a known format")  # noqa: TRY004 - all flaws are ValueErrors
    return Notes(version, epoch, {str(name): _kinds(kinds) for name, kinds in acks.items()}, app)


def _kinds(raw: Any) -> dict[Kind, int]:
    """Kinds of a later version of ours are passed over."""
    if not isinstance(raw, dict):
        raise ValueError("not of a known format")  # noqa: TRY004 - all flaws are ValueErrors
    known = set(Kind)
    return {Kind(name): value for name, value in raw.items() if name in known and isinstance(value, int)}
