"""Metrics of the mapping service."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

from sidestream.runtime.metrics import REGISTRY

REQUESTS: Final = Counter(
    "sidestream_mapping_requests",
    "Answers by call (consumer, tenant, tenants) and HTTP status.",
    ["call", "code"],
    registry=REGISTRY,
)
