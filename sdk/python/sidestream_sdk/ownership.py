"""Whose record is it: the mapping of one consumer, and the decision that baseline and forks take alike.

Under `Fenced` the record's offset decides: see `fences`. Under `Polling` a change (one fork's claim on some keys)
decides by its phase:

| phase             | baseline takes the key | the fork takes it |
|-------------------|------------------------|-------------------|
| Preparing, Active | no                     | yes               |
| Draining          | yes                    | yes               |
| any other         | yes                    | no                |

In Draining both take it: the fork must finish what the baseline had skipped, and neither knows where the other stood;
a record handled twice is better than one handled by nobody. Records without a key, with a key nobody claims, or of a
topic that the mapping does not list are the baseline's.

Pure; the same cases as data: tests/conformance/ownership.json.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sidestream_sdk.baggage import HeaderRules
from sidestream_sdk.fences import WORKING, FencedChange, parse_changes

FORK_ONLY: Final = frozenset({"Preparing", "Active"})
"""Phases in which only the fork takes the keys of a change."""

FORK_TAKES: Final = FORK_ONLY | {"Draining"}
"""Phases in which the fork takes them."""

MAX_POLL_SECONDS: Final = 3600.0

T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """One fork's claim under `Polling`: records with one of `keys` are for `sandbox`, which reads as group `group`."""

    id: str
    sandbox: str
    keys: frozenset[str]
    group: str
    phase: str


@dataclass(frozen=True)
class TopicMapping:
    """One topic of the consumer: the baseline's group and the changes to who takes what, under either coordination."""

    group: str
    changes: tuple[Change, ...] = ()
    fenced: tuple[FencedChange, ...] = ()


@dataclass(frozen=True)
class Mapping:
    """What a consumer (`namespace/deployment`) and all its forks need to know; `poll_interval` is in seconds.

    `version` grows with every change that members must see, within one `epoch` (an installation); 0 says nothing.
    """

    consumer: str
    header: HeaderRules = field(default_factory=HeaderRules)
    poll_interval: float = 1.0
    topics: MappingOf[str, TopicMapping] = field(default_factory=dict)
    version: int = 0
    epoch: str = ""

    @classmethod
    def from_json(cls, raw: Any) -> Mapping:
        """Parse the mapping service's answer; unknown fields and phases are fine, it may be newer than we are.

        Raises:
            ValueError: it is not shaped like a mapping; the text says where.
        """
        match raw:
            case {"consumer": str(consumer), "header": header, "pollIntervalSeconds": int() | float() as interval}:
                topics = _object(raw.get("topics"), "topics")
            case _:
                raise ValueError("the answer must be an object with consumer, header, pollIntervalSeconds and topics")
        if not 0 < interval <= MAX_POLL_SECONDS:
            raise ValueError(f"pollIntervalSeconds must be over 0 and at most {MAX_POLL_SECONDS:.0f}, not {interval}")
        return cls(
            consumer=consumer,
            header=HeaderRules.from_json(header),
            poll_interval=float(interval),
            topics={name: _topic(topic, name) for name, topic in topics.items()},
            version=_typed(raw.get("version", 0), int, "version"),
            epoch=_typed(raw.get("epoch", ""), str, "epoch"),
        )


@dataclass(frozen=True)
class TopicRule:
    """What one side does with a topic's records, made ready for the record loop.

    It takes them as `default` says, but not those whose key is one of `exceptions`; of a key in `claims` the fences of
    these changes decide.
    """

    default: bool
    exceptions: frozenset[str] = frozenset()
    claims: MappingOf[str, tuple[FencedChange, ...]] = field(default_factory=dict)

    def takes(self, key: str | None) -> bool | None:
        """Whether this side takes a record with `key`; None where that depends on its partition and offset."""
        if key in self.exceptions:
            return not self.default
        return None if key in self.claims else self.default


def takes(topic: TopicMapping | None, *, sandbox: str | None, key: str | None) -> bool:
    """Whether the fork of `sandbox` (None: the baseline) takes a record under `Polling`; the table above, in code."""
    if topic is None or key is None:
        return sandbox is None
    claims = [change for change in topic.changes if key in change.keys]
    if sandbox is None:
        return not any(change.phase in FORK_ONLY for change in claims)
    return any(change.sandbox == sandbox and change.phase in FORK_TAKES for change in claims)


def rule_of(topic: TopicMapping | None, *, sandbox: str | None) -> TopicRule:
    """What a topic's mapping says for one side, decided ahead for every key that its changes name."""
    default = sandbox is None
    named = {key for change in topic.changes for key in change.keys} if topic else set()
    exceptions = frozenset(key for key in named if takes(topic, sandbox=sandbox, key=key) != default)
    claims: dict[str, tuple[FencedChange, ...]] = {}
    for change in topic.fenced if topic else ():
        if sandbox in {None, change.sandbox}:
            claims[change.key] = (*claims.get(change.key, ()), change)
    return TopicRule(default, exceptions, claims)


def lists(mapping: Mapping, sandbox: str) -> bool:
    """Whether the mapping speaks of this fork at all, in whatever phase."""
    topics = mapping.topics.values()
    named = {change.sandbox for topic in topics for change in topic.changes}
    return sandbox in named.union(change.sandbox for topic in topics for change in topic.fenced)


def why_not_join(mapping: Mapping, *, sandbox: str | None, group: str) -> str | None:
    """Why a member must not join its consumer group yet, as a sentence; None when it may.

    A fork waits until its group was placed: joining earlier it would be in the way of placing the group, joining
    after the hand-back it would revive a group that is being deleted. A fork that still has the baseline's group
    would take the baseline's partitions and skip everybody's records.
    """
    if sandbox is None:
        return None
    if any(topic.group == group for topic in mapping.topics.values()):
        return (
            f"this is the fork of Sandbox {sandbox}, but its group.id is {group}, the baseline's group; "
            "read group.id from the environment variable that the KafkaConsumer's groupEnv names"
        )
    topics = mapping.topics.values()
    polled = [change.phase for topic in topics for change in topic.changes if change.sandbox == sandbox]
    fenced = [change.phase for topic in topics for change in topic.fenced if change.sandbox == sandbox]
    if FORK_TAKES.isdisjoint(polled) and WORKING.isdisjoint(fenced):
        return f"the hand-off to Sandbox {sandbox} stands at {(*polled, *fenced, 'nothing')[0]}"
    return None


def _topic(raw: Any, name: str) -> TopicMapping:
    match raw:
        case {"group": str(group), "changes": list(changes)}:
            fenced = parse_changes(raw.get("fenced", []), name)
            return TopicMapping(group, tuple(_change(change, name) for change in changes), fenced)
        case _:
            raise ValueError(f"topic {name} must have a group and a list of changes")


def _change(raw: Any, topic: str) -> Change:
    match raw:
        case {"id": str(name), "sandbox": str(sandbox), "keys": list(keys), "group": str(group), "phase": str(phase)}:
            return Change(name, sandbox, frozenset(key for key in keys if isinstance(key, str)), group, phase)
        case _:
            raise ValueError(f"a change of topic {topic} must have id, sandbox, keys, group and phase")


def _typed(raw: Any, kind: type[T], name: str) -> T:
    if not isinstance(raw, kind):
        raise ValueError(f"{name} must be of type {kind.__name__}")  # noqa: TRY004 - all flaws of an answer are ValueErrors
    return raw


def _object(raw: Any, name: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"{name} must be an object")  # noqa: TRY004 - all flaws of an answer are ValueErrors
    return raw
