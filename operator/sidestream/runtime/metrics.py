"""Every Prometheus metric of the operator that is not a domain's own, on a registry of ours.

Labels have few values by design: a sandbox, key or namespace never is one.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry()
"""What /metrics shows; apart from the library's global registry so that tests and child processes stay clean."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

QUEUE_DEPTH: Final = Gauge(
    "sidestream_queue_depth", "Keys that wait for a worker; delayed ones do not count.", ["queue"], registry=REGISTRY
)
QUEUE_IN_FLIGHT: Final = Gauge(
    "sidestream_queue_in_flight", "Keys that a worker has now.", ["queue"], registry=REGISTRY
)
QUEUE_WAIT_SECONDS: Final = Histogram(
    "sidestream_queue_wait_seconds",
    "How long a key waited for a worker.",
    ["queue"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
QUEUE_RETRIES: Final = Counter(
    "sidestream_queue_retries", "Keys queued again because their work failed.", ["queue"], registry=REGISTRY
)
RECONCILE_SECONDS: Final = Histogram(
    "sidestream_reconcile_seconds", "How long one reconcile took.", ["reconciler"], buckets=_SECONDS, registry=REGISTRY
)
RECONCILES: Final = Counter(
    "sidestream_reconciles",
    "Reconciles by how they ended: unchanged, changed, conflict, transient, refused or bug.",
    ["reconciler", "outcome"],
    registry=REGISTRY,
)
KUBE_REQUESTS: Final = Counter(
    "sidestream_kube_requests",
    "Requests to the Kubernetes API; code is the HTTP status, or `error` when no answer came.",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
WATCH_LAST_EVENT: Final = Gauge(
    "sidestream_watch_last_event_timestamp_seconds",
    "When a watch last heard from the API server, in Unix seconds.",
    ["resource"],
    registry=REGISTRY,
)
LEADER: Final = Gauge("sidestream_leader", "1 while this process is the leader, else 0.", registry=REGISTRY)
