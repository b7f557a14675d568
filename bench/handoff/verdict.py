"""What became of every record, and numbers made of many measurements; pure."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.handoff.handled import BASELINE, Handled, Place

Window = tuple[float, float]
"""From one moment to another."""


@dataclass(frozen=True)
class Verdict:
    """`lost`: handled by no version. `double`: by more than one. `misplaced`: by a fork of another tenant.

    `reordered`: handled for the first time by a version that had handled a later record of the same key before. The
    same version may handle a record again after a member was killed: `repeated`.
    """

    records: int
    lost: tuple[Place, ...]
    double: tuple[Place, ...]
    misplaced: tuple[Place, ...]
    reordered: tuple[Handled, ...]
    repeated: int
    by_forks: int

    @property
    def faults(self) -> int:
        """All that must not be."""
        return len(self.lost) + len(self.double) + len(self.misplaced) + len(self.reordered)


def verdict(handled: Iterable[Handled], ends: Mapping[tuple[str, int], int]) -> Verdict:
    """Of all records of a topic, whose partitions (by topic and number) reach from 0 to `ends`."""
    lines = sorted(handled, key=lambda item: item.moment)
    versions: dict[Place, set[str]] = defaultdict(set)
    for item in lines:
        versions[item.place].add(item.version)
    every = [Place(*partition, offset) for partition, end in ends.items() for offset in range(end)]
    return Verdict(
        records=len(every),
        lost=tuple(place for place in every if place not in versions),
        double=tuple(sorted(place for place, found in versions.items() if len(found) > 1)),
        misplaced=tuple(sorted({item.place for item in lines if item.version not in {BASELINE, item.tenant}})),
        reordered=tuple(_reordered(lines)),
        repeated=len(lines) - sum(map(len, versions.values())),
        by_forks=sum(not found <= {BASELINE} for found in versions.values()),
    )


def _reordered(lines: Iterable[Handled]) -> Iterable[Handled]:
    seen: set[tuple[str, Place]] = set()
    latest: dict[tuple[str, str], int] = {}
    for item in lines:
        if (item.version, item.place) in seen:
            continue
        seen.add((item.version, item.place))
        of_key = (item.version, item.key)
        if item.sequence < latest.get(of_key, 0):
            yield item
        latest[of_key] = max(item.sequence, latest.get(of_key, 0))


def percentile(values: Collection[float], percent: float) -> float:
    """The least of the values that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def throughput_ratio(moments: Sequence[float], windows: Sequence[Window]) -> float:
    """How many of `moments` (ascending) are in the windows beside equally long times before each; 1 is unchanged."""

    def count(begin: float, end: float) -> int:
        return bisect_left(moments, end) - bisect_left(moments, begin)

    within = sum(count(begin, end) for begin, end in windows)
    return within / sum(count(2 * begin - end, begin) for begin, end in windows)
