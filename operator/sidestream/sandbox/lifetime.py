"""When a Sandbox has lived long enough; pure."""

from __future__ import annotations

from datetime import datetime

from sidestream.api.sandbox import Sandbox
from sidestream.api.times import parse_duration, parse_time


def expiry_of(sandbox: Sandbox, last_changed: datetime) -> datetime | None:
    """When the Sandbox deletes itself, None for never; `last_changed` is when its spec was last seen to change.

    A `ttl` longer than a hundred years is none.
    """
    lifetime = sandbox.spec.lifetime
    if lifetime is None:
        return None
    try:
        length = parse_duration(lifetime.ttl)
    except ValueError:
        return None
    since = last_changed if lifetime.from_ == "LastChange" else parse_time(sandbox.metadata.creation_timestamp)
    return since + length


def last_change_of(sandbox: Sandbox, now: datetime) -> datetime:
    """When the spec was last seen to change: now, unless the status has answered this very spec before.

    A deletion makes a new generation too, but changes no spec.
    """
    seen = sandbox.status.last_changed_at
    is_known = sandbox.is_deleting or sandbox.status.observed_generation == sandbox.metadata.generation
    return parse_time(seen) if seen is not None and is_known else now
