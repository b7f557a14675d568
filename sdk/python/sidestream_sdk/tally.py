"""Count what became of records, and show it to Prometheus when the application has prometheus-client.

The record loop only adds to plain integers of its own consumer; the sums are made when somebody scrapes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class TopicTally:
    """Counts of one topic in one consumer. Only the consumer's own thread adds."""

    __slots__ = ("conflicts", "held", "malformed", "processed", "skipped")

    def __init__(self) -> None:
        self.processed = 0
        self.skipped = 0
        self.held = 0
        self.malformed = 0
        self.conflicts = 0


@dataclass
class ConsumerTally:
    """Counts of one consumer by topic; `mapping_age` is in seconds, None before the first mapping.

    `stale_answers` are those of mapping replicas that lag behind, `pending` acknowledgements that the mapping does not
    know yet, `waiting` partitions of which nothing can be decided, `dropped_metadata` commits without what the
    application wanted in their metadata.
    """

    group: str
    mapping_age: Callable[[], float | None]
    stale_answers: Callable[[], int] = lambda: 0
    topics: dict[str, TopicTally] = field(default_factory=dict)
    pending: int = 0
    waiting: int = 0
    dropped_metadata: int = 0

    def of(self, topic: str) -> TopicTally:
        """The topic's counts, begun at zero."""
        return self.topics.setdefault(topic, TopicTally())


class _Registry:
    """The consumers of this process; what a closed one counted stays in the sums, which may only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[ConsumerTally] = []
        self._closed: Counter[tuple[str, str, str]] = Counter()

    def add(self, tally: ConsumerTally) -> None:
        with self._lock:
            self._open.append(tally)

    def close(self, tally: ConsumerTally) -> None:
        with self._lock:
            if tally in self._open:
                self._open.remove(tally)
                self._closed.update(_counts(tally))

    def totals(self) -> Counter[tuple[str, str, str]]:
        """Counts by (group, topic, what)."""
        with self._lock:
            totals = self._closed.copy()
            for tally in self._open:
                totals.update(_counts(tally))
        return totals

    def sums(self, what: Callable[[ConsumerTally], int]) -> Counter[str]:
        """A number of each open consumer, added up by group."""
        with self._lock:
            sums: Counter[str] = Counter()
            for tally in self._open:
                sums[tally.group] += what(tally)
        return sums

    def ages(self) -> dict[str, float]:
        """The oldest mapping's age by group."""
        with self._lock:
            known = [(tally.group, tally.mapping_age()) for tally in self._open]
        ages: dict[str, float] = {}
        for group, age in known:
            if age is not None:
                ages[group] = max(age, ages.get(group, 0.0))
        return ages


REGISTRY: Final = _Registry()


def _counts(tally: ConsumerTally) -> Counter[tuple[str, str, str]]:
    return Counter(
        {
            (tally.group, topic, what): getattr(counts, what)
            for topic, counts in list(tally.topics.items())
            for what in TopicTally.__slots__
        }
    )


_GAUGES: Final[tuple[tuple[str, str, Callable[[ConsumerTally], int]], ...]] = (
    ("pending_fences", "Acknowledgements that the mapping does not know yet.", lambda tally: tally.pending),
    ("waiting_partitions", "Partitions of which nothing can be decided now.", lambda tally: tally.waiting),
    ("stale_answers", "Answers of mapping replicas that lag behind.", lambda tally: tally.stale_answers()),
    ("dropped_metadata", "Commits without the application's own metadata.", lambda tally: tally.dropped_metadata),
)


class PrometheusCollector:
    """`prometheus_client` collector over `REGISTRY`; registered by `export_metrics`."""

    def collect(self) -> Iterator[Metric]:
        """The metrics as of now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - optional

        records = CounterMetricFamily(
            "sidestream_sdk_records", "Records by decision.", labels=["group", "topic", "decision"]
        )
        flaws = CounterMetricFamily(
            "sidestream_sdk_header_flaws",
            "Malformed members and conflicting duplicates passed over in tenant headers.",
            labels=["group", "topic", "flaw"],
        )
        for (group, topic, what), count in sorted(REGISTRY.totals().items()):
            match what:
                case "processed":
                    records.add_metric([group, topic, "process"], count)
                case "skipped":
                    records.add_metric([group, topic, "skip"], count)
                case "held":
                    records.add_metric([group, topic, "hold"], count)
                case _:
                    flaws.add_metric([group, topic, what], count)
        age = GaugeMetricFamily(
            "sidestream_sdk_mapping_age_seconds", "Seconds since the mapping was last confirmed.", labels=["group"]
        )
        for group, seconds in sorted(REGISTRY.ages().items()):
            age.add_metric([group], seconds)
        yield from (records, flaws, age)
        for name, text, number_of in _GAUGES:
            gauge = GaugeMetricFamily(f"sidestream_sdk_{name}", text, labels=["group"])
            for group, number in sorted(REGISTRY.sums(number_of).items()):
                gauge.add_metric([group], number)
            yield gauge


_export_once: Final = threading.Lock()


def export_metrics() -> None:
    """Register the collector with prometheus-client's default registry, once, if the package is there."""
    if not _export_once.acquire(blocking=False):
        return
    try:
        from prometheus_client import REGISTRY as DEFAULT  # noqa: PLC0415 - optional
    except ImportError:
        return
    DEFAULT.register(PrometheusCollector())
