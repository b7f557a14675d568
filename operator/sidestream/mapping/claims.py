"""What answers need of a KafkaRoute. There is one for each tenant of each consumer, so nothing else is kept.

Under `Fenced` it has fences for each key, topic and partition: millions in a large cluster, so they are kept by column.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sidestream.api.kafka import Coordination, KafkaRoute, Phase
from sidestream.kube.port import Object

_UNKNOWN: Final = -1
"""Instead of None in a column of offsets."""


class Fence(NamedTuple):
    """One fence, unpacked; `state` may be one that only a later version of ours knows."""

    partition: int
    state: str
    begin: int | None
    hold: int | None
    until: int | None


@dataclass(frozen=True, slots=True)
class Fences:
    """A claim's fences on one topic, one column for each of their properties."""

    partitions: tuple[int, ...]
    states: tuple[str, ...]
    begins: array[int]
    holds: array[int]
    untils: array[int]

    @classmethod
    def of(cls, fences: Sequence[Object]) -> Fences:
        """From a claim in the status."""
        ordered = sorted(fences, key=lambda fence: int(fence["partition"]))
        return cls(
            partitions=_shared(tuple(int(fence["partition"]) for fence in ordered)),
            states=_shared(tuple(sys.intern(fence["state"]) for fence in ordered)),
            begins=_column(ordered, "from"),
            holds=_column(ordered, "hold"),
            untils=_column(ordered, "until"),
        )

    def __iter__(self) -> Iterator[Fence]:
        """In the order of the partitions."""
        for place, (partition, state) in enumerate(zip(self.partitions, self.states, strict=True)):
            yield Fence(partition, state, _at(self.begins, place), _at(self.holds, place), _at(self.untils, place))


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A claim on one key under `Fenced`, with its fences by topic."""

    id: str
    key: str
    fences: dict[str, Fences]


def key_claims(claims: Sequence[Object]) -> tuple[KeyClaim, ...]:
    """The claims of a KafkaRoute's status.

    They are not read with the models of the API: states that an older program does not know have to reach consumers, as
    whoever hides a fence gives the fork's records to the baseline.

    Raises:
        ValueError: they are not shaped as the definition of the kind says.
    """
    try:
        return tuple(
            KeyClaim(str(claim["id"]), str(claim["key"]), _by_topic(claim.get("fences") or ())) for claim in claims
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"claims of another shape: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Claim:
    """A KafkaRoute as members and people see it, and the version of the object that it was seen in."""

    namespace: str
    name: str
    sandbox: str
    deployment: str
    keys: tuple[str, ...]
    topics: tuple[str, ...]
    group: str
    baseline_group: str
    poll_interval: str
    phase: Phase
    coordination: Coordination
    key_claims: tuple[KeyClaim, ...]
    version: int = field(compare=False)

    @classmethod
    def of(cls, route: KafkaRoute, claims: tuple[KeyClaim, ...]) -> Claim:
        """The route's, with the claims of its status."""
        return cls(
            namespace=route.metadata.namespace,
            name=route.metadata.name,
            sandbox=route.spec.sandbox,
            deployment=route.spec.deployment,
            keys=tuple(sorted(route.spec.keys)),
            topics=route.spec.topics,
            group=route.spec.fork_group,
            baseline_group=route.spec.baseline_group,
            poll_interval=route.spec.poll_interval,
            phase=route.status.phase,
            coordination=route.spec.coordination,
            key_claims=claims,
            version=version_of(route.metadata.resource_version) or 0,
        )

    @property
    def is_fenced(self) -> bool:
        """Whether members decide by offsets."""
        return self.coordination == "Fenced"

    @property
    def all_topics(self) -> tuple[str, ...]:
        """Those that the fork reads, and those that still have a fence although it does not read them any more."""
        fenced = (topic for claim in self.key_claims for topic in claim.fences)
        return tuple(dict.fromkeys((*self.topics, *fenced)))


def version_of(resource_version: str) -> int | None:
    """A resourceVersion as a number, which orders the states of all objects of a kind; None where it is none."""
    is_number = resource_version.isascii() and resource_version.isdecimal()
    return int(resource_version) if is_number else None


def _by_topic(fences: Sequence[Object]) -> dict[str, Fences]:
    found: dict[str, list[Object]] = {}
    for fence in fences:
        found.setdefault(sys.intern(fence["topic"]), []).append(fence)
    return {topic: Fences.of(found[topic]) for topic in sorted(found)}


def _column(fences: Sequence[Object], name: str) -> array[int]:
    """Empty where no fence has the number, as most have only `from` most of the time."""
    numbers = [fence.get(name) for fence in fences]
    if all(number is None for number in numbers):
        return array("q")
    return array("q", [_UNKNOWN if number is None else number for number in numbers])


def _at(column: array[int], place: int) -> int | None:
    return None if not column or column[place] == _UNKNOWN else column[place]


@lru_cache(maxsize=4096)
def _shared(column: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same tuple for equal ones: partitions are numbered alike everywhere, and mostly in the same state."""
    return column
