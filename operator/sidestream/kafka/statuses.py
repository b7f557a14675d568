"""Writes of status as the field manager of the Kafka domain, and whether a condition is worth an Event."""

from __future__ import annotations

from collections.abc import Sequence

from sidestream.api.base import Model
from sidestream.api.conditions import Condition
from sidestream.api.labels import MANAGER_KAFKA
from sidestream.kube.apply import ensure_status
from sidestream.kube.port import KubeApi, Object, Resource


async def write_status(api: KubeApi, resource: Resource, live: Object, status: Model, *, guarded: bool = False) -> bool:
    """Write `status` unless the object has it already; returns whether it was written. `guarded` as `ensure_status`."""
    desired = status.to_json()
    if live.get("status") == desired:
        # the usual case, told apart without a look at the owners of a thousand partitions' fields
        return False
    return await ensure_status(api, resource, live, desired, MANAGER_KAFKA, guarded=guarded)


def is_news(before: Sequence[Condition], now: Condition) -> bool:
    """Whether a condition of this type had another reason, or there was none."""
    return all(item.type != now.type or item.reason != now.reason for item in before)
