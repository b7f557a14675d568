"""What a consumer's configuration says about committing, and what the SDK must have otherwise. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

Reset = Literal["earliest", "latest", "error"]

_TRUE: Final = frozenset({"true", "t", "1"})
_EARLIEST: Final = frozenset({"earliest", "beginning", "smallest"})
_LATEST: Final = frozenset({"latest", "end", "largest"})
_RESET: Final = "auto.offset.reset"
_TOPIC_DEFAULTS: Final = "default.topic.config"


@dataclass(frozen=True)
class CommitSettings:
    """Who commits (`auto_commit`: the client, each `interval` seconds) and who says how far (`auto_store`: the client).

    `reset` is where a partition without a commit begins; `session` are the seconds after which a silent member is out.
    """

    group: str
    auto_commit: bool = True
    auto_store: bool = True
    interval: float = 5.0
    reset: Reset = "latest"
    session: float = 45.0
    is_incremental: bool = False
    """Whether rebalances add and take partitions one by one."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read them from a consumer's configuration; librdkafka takes flags as booleans or as words."""
        return cls(
            group=str(config.get("group.id", "")),
            auto_commit=_flag(config.get("enable.auto.commit", True)),
            auto_store=_flag(config.get("enable.auto.offset.store", True)),
            interval=_milliseconds(config, "auto.commit.interval.ms", 5000) or math.inf,
            reset=_reset(config),
            session=_milliseconds(config, "session.timeout.ms", 45_000),
            is_incremental=config.get("group.protocol") == "consumer"
            or str(config.get("partition.assignment.strategy", "")).startswith("cooperative"),
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


def with_own_commits(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration for librdkafka where the SDK commits: librdkafka's own commits carry no metadata."""
    return {**config, "enable.auto.commit": False, "enable.auto.offset.store": False}


def _milliseconds(config: Mapping[str, Any], name: str, default: int) -> float:
    """In seconds; what is no number, librdkafka refuses with a sentence of its own."""
    try:
        return float(config.get(name, default)) / 1000
    except (TypeError, ValueError):
        return default / 1000


def _reset(config: Mapping[str, Any]) -> Reset:
    topic = config.get(_TOPIC_DEFAULTS)
    given = config.get(_RESET, topic.get(_RESET) if isinstance(topic, Mapping) else None)
    value = "latest" if given is None else str(given)
    if value in _EARLIEST:
        return "earliest"
    return "latest" if value in _LATEST else "error"


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).strip().lower() in _TRUE
