"""Time as a dependency, so that no test has to wait for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where code of this package takes time from."""

    def now(self) -> datetime:
        """The wall clock in UTC: for what users read, never for measuring."""
        ...

    def monotonic(self) -> float:
        """Seconds from a fixed but unknown point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `monotonic` has advanced by that much."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall clock in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The kernel's monotonic clock in seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Give way to other tasks for that long."""
        await asyncio.sleep(seconds)
