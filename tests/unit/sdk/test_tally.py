from __future__ import annotations

import pytest
from prometheus_client import REGISTRY as PROMETHEUS
from prometheus_client import CollectorRegistry

from sidestream_sdk import tally
from sidestream_sdk.tally import ConsumerTally, PrometheusCollector, export_metrics


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """A Prometheus registry over an SDK registry of the test's own."""
    monkeypatch.setattr(tally, "REGISTRY", tally._Registry())
    prometheus = CollectorRegistry()
    prometheus.register(PrometheusCollector())
    return prometheus


def consumer(processed: int, skipped: int, *, age: float | None = None) -> ConsumerTally:
    counted = ConsumerTally("fulfilment", lambda: age)
    counts = counted.of("orders.created")
    counts.processed, counts.skipped = processed, skipped
    tally.REGISTRY.add(counted)
    return counted


def records(registry: CollectorRegistry, decision: str) -> float | None:
    labels = {"group": "fulfilment", "topic": "orders.created", "decision": decision}
    return registry.get_sample_value("sidestream_sdk_records_total", labels)


def test_records_are_counted_by_decision_over_all_consumers(registry: CollectorRegistry) -> None:
    consumer(processed=3, skipped=10)
    consumer(processed=1, skipped=0)

    assert records(registry, "process") == 4
    assert records(registry, "skip") == 10


def test_a_closed_consumers_counts_stay(registry: CollectorRegistry) -> None:
    first = consumer(processed=3, skipped=0)
    tally.REGISTRY.close(first)
    tally.REGISTRY.close(first)
    consumer(processed=1, skipped=0)

    assert records(registry, "process") == 4


def test_flaws_of_headers_are_counted(registry: CollectorRegistry) -> None:
    consumer(processed=0, skipped=0).of("orders.created").conflicts = 2

    labels = {"group": "fulfilment", "topic": "orders.created", "flaw": "conflicts"}
    assert registry.get_sample_value("sidestream_sdk_header_flaws_total", labels) == 2


def test_the_age_of_the_oldest_mapping_is_shown(registry: CollectorRegistry) -> None:
    consumer(processed=0, skipped=0)
    assert registry.get_sample_value("sidestream_sdk_mapping_age_seconds", {"group": "fulfilment"}) is None

    consumer(processed=0, skipped=0, age=2.0)
    consumer(processed=0, skipped=0, age=1.0)
    assert registry.get_sample_value("sidestream_sdk_mapping_age_seconds", {"group": "fulfilment"}) == 2.0


def test_held_records_are_counted_beside_what_becomes_of_them(registry: CollectorRegistry) -> None:
    consumer(processed=3, skipped=10).of("orders.created").held = 2

    assert records(registry, "hold") == 2
    assert records(registry, "process") == 3


def test_what_is_pending_is_shown_of_open_consumers(registry: CollectorRegistry) -> None:
    for pending in (2, 1):
        counted = ConsumerTally("fulfilment", lambda: None, lambda: 5, pending=pending, waiting=1, dropped_metadata=4)
        tally.REGISTRY.add(counted)
    tally.REGISTRY.close(counted)

    shown = {
        name: registry.get_sample_value(f"sidestream_sdk_{name}", {"group": "fulfilment"})
        for name in ("pending_fences", "waiting_partitions", "stale_answers", "dropped_metadata")
    }
    assert shown == {"pending_fences": 2, "waiting_partitions": 1, "stale_answers": 5, "dropped_metadata": 4}


def test_the_default_registry_has_the_metrics_once() -> None:
    export_metrics()
    export_metrics()

    names = [family.name for family in PROMETHEUS.collect()]
    assert names.count("sidestream_sdk_records") == 1
