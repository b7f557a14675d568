"""What a consumer's configuration says about committing, and what a fork must have otherwise. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

_TRUE: Final = frozenset({"true", "t", "1"})
_EARLIEST: Final = frozenset({"earliest", "beginning", "smallest"})
_RESET: Final = "auto.offset.reset"
_TOPIC_DEFAULTS: Final = "default.topic.config"


@dataclass(frozen=True)
class CommitSettings:
    """Who commits (`auto_commit`: librdkafka) and who says how far (`auto_store`: librdkafka)."""

    group: str
    auto_commit: bool = True
    auto_store: bool = True

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read them from a consumer's configuration; librdkafka takes flags as booleans or as words."""
        return cls(
            group=str(config.get("group.id", "")),
            auto_commit=_flag(config.get("enable.auto.commit", True)),
            auto_store=_flag(config.get("enable.auto.offset.store", True)),
        )

    @property
    def needs_help(self) -> bool:
        """Whether skipped records would never be committed without the SDK's help."""
        return not (self.auto_commit and self.auto_store)


def with_earliest(config: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The configuration with `auto.offset.reset=earliest`, and the value that this replaced (None: nothing).

    A fork's group has an offset on every partition that existed when it was placed. On one that was added since,
    `latest` would pass over what was produced before the fork saw it.
    """
    changed = dict(config)
    topic = changed.get(_TOPIC_DEFAULTS)
    if isinstance(topic, Mapping) and _RESET in topic:
        changed[_TOPIC_DEFAULTS] = {name: value for name, value in topic.items() if name != _RESET}
        changed.setdefault(_RESET, topic[_RESET])
    previous = str(changed.get(_RESET, "latest"))
    if previous in _EARLIEST:
        return changed, None
    changed[_RESET] = "earliest"
    return changed, previous


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).strip().lower() in _TRUE
