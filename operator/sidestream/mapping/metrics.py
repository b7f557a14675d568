"""Metrics of the mapping service."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

from sidestream.runtime.metrics import REGISTRY

REQUESTS: Final = Counter(
    "sidestream_mapping_requests",
    "Answers by call (consumer, tenant, tenants) and HTTP status.",
    ["call", "code"],
    registry=REGISTRY,
)
WAITERS: Final = Gauge(
    "sidestream_mapping_waiters", "Requests that wait for their answer to change.", registry=REGISTRY
)
WAITERS_REFUSED: Final = Counter(
    "sidestream_mapping_waiters_refused",
    "Requests that were not allowed to wait because too many did already.",
    registry=REGISTRY,
)
