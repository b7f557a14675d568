"""Durations and points in time as users write and read them in the custom resources."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_LONGEST: Final = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """The length of `3d12h`, `90m` or `5s`: days, hours, minutes and seconds, each at most once and in this order.

    Raises:
        ValueError: anything else, nothing at all, or more than a hundred years; the text is a sentence for users.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is no duration; write it like 30m, 8h or 3d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        length = timedelta.max
    if length > _LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return length


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as in `2026-12-01T00:00:00Z`; what is below a second is cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """RFC 3339 in UTC to the microsecond, which Kubernetes calls MicroTime (Leases and Events)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 text names, in UTC.

    Raises:
        ValueError: the text is no RFC 3339 time or says no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} says no offset from UTC")
    return moment.astimezone(UTC)
