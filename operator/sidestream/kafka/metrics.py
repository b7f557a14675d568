"""Prometheus metrics of the Kafka domain, on the operator's registry."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from sidestream.runtime.metrics import REGISTRY

WORKER_UP: Final = Gauge(
    "sidestream_kafka_worker_up",
    "1 while the worker process of a KafkaCluster answers.",
    ["cluster"],
    registry=REGISTRY,
)
WORKER_ENDS: Final = Counter(
    "sidestream_kafka_worker_ends",
    "Worker processes that ended although nobody asked them to; reason is a signal, an exit code, garbage or silence.",
    ["cluster", "reason"],
    registry=REGISTRY,
)
REQUESTS: Final = Counter(
    "sidestream_kafka_requests",
    "Calls to Kafka; code is `ok`, Kafka's error name, `worker_lost` or `skipped` (the cluster was known to be away).",
    ["cluster", "verb", "code"],
    registry=REGISTRY,
)
REQUEST_SECONDS: Final = Histogram(
    "sidestream_kafka_request_seconds",
    "How long calls to Kafka took, answered or not.",
    ["verb"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
GROUPS: Final = Counter(
    "sidestream_kafka_groups",
    "Consumer groups of forks by what was done to them: placed or deleted.",
    ["cluster", "effect"],
    registry=REGISTRY,
)
LEFT_BEHIND: Final = Gauge(
    "sidestream_kafka_groups_left_behind",
    "Consumer groups named like those of forks that no KafkaRoute knows.",
    ["cluster"],
    registry=REGISTRY,
)
