"""A keyed work queue: each key waits at most once and is worked on by at most one worker at a time.

It holds keys, no work: whoever takes a key reads afresh what is to be done. For one event loop, not thread-safe.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sidestream.runtime import metrics
from sidestream.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait before a retry: `first`, then `second`, doubling up to `longest`.

    `jitter` is the share that chance may take away, so that keys that failed together do not come back together.
    """

    first: float = 0.25
    second: float = 1.0
    longest: float = 60.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: float) -> float:
        """The wait after so many failures in a row (1 or more); `chance` in [0, 1) places it within the jitter."""
        doublings = min(failures - 2, 32)
        full = self.first if failures <= 1 else min(self.second * 2.0**doublings, self.longest)
        return full * (1.0 - self.jitter * chance)


class WorkQueue(Generic[K]):
    """Keys to be worked on, in the order in which they came.

    A worker calls `get`, works, then `done`. A key that is added while its work is in flight is handed out once more
    afterwards. Delayed keys come out only while `keep_time` runs.
    """

    def __init__(
        self, name: str, clock: Clock, *, backoff: Backoff | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        self.name = name
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting_since: dict[K, float] = {}
        self._in_flight: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._alarms: list[tuple[float, int, K]] = []
        self._alarm_count = 0
        self._earlier_alarm = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many keys wait for a worker now; delayed ones do not count."""
        return len(self._waiting_since)

    def add(self, key: K, *, after: float = 0.0) -> None:
        """Hand out `key` in `after` seconds, at the latest: of several delays of one key the earliest holds."""
        if after <= 0:
            self._enqueue(key)
            return
        due = self._clock.monotonic() + after
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._alarm_count += 1
        heapq.heappush(self._alarms, (due, self._alarm_count, key))
        if self._alarms[0][2] == key:
            self._earlier_alarm.set()

    def retry(self, key: K, *, after: float | None = None, at_once: bool = False) -> float:
        """Hand out `key` again because its work failed; returns the wait in seconds.

        The wait is `after` where the other side asked for one, else the back-off. `at_once` spares the first retry
        in a row its wait.
        """
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        wait = self._backoff.delay(failures, self._chance())
        if after is not None:
            wait = after
        elif at_once and failures == 1:
            wait = 0.0
        metrics.QUEUE_RETRIES.labels(self.name).inc()
        self.add(key, after=wait)
        return wait

    def forget(self, key: K) -> None:
        """Start the back-off of `key` anew: its work went well."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key that nobody works on; the caller owes a `done`."""
        key = await self._ready.get()
        waited = self._clock.monotonic() - self._waiting_since.pop(key)
        self._in_flight.add(key)
        metrics.QUEUE_WAIT_SECONDS.labels(self.name).observe(waited)
        self._publish()
        return key

    def done(self, key: K) -> None:
        """The work on `key` is over, well or not."""
        self._in_flight.discard(key)
        if key in self._waiting_since:
            self._ready.put_nowait(key)
        self._publish()

    async def keep_time(self) -> None:
        """Move delayed keys to the waiting ones when they are due; runs until cancelled."""
        while True:
            self._earlier_alarm.clear()
            self._ring()
            if not self._alarms:
                await self._earlier_alarm.wait()
                continue
            due = self._alarms[0][0]
            await self._sleep_until(due)

    def _enqueue(self, key: K) -> None:
        if key in self._waiting_since:
            return
        self._waiting_since[key] = self._clock.monotonic()
        if key not in self._in_flight:
            self._ready.put_nowait(key)
        self._publish()

    def _ring(self) -> None:
        now = self._clock.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            due, _, key = heapq.heappop(self._alarms)
            if self._due.get(key) == due:  # an earlier delay of the same key makes this alarm void
                del self._due[key]
                self._enqueue(key)

    async def _sleep_until(self, due: float) -> None:
        """Sleep until `due` or until an earlier alarm is set."""
        naps = {
            asyncio.ensure_future(self._clock.sleep(due - self._clock.monotonic())),
            asyncio.ensure_future(self._earlier_alarm.wait()),
        }
        try:
            await asyncio.wait(naps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for nap in naps:
                nap.cancel()

    def _publish(self) -> None:
        metrics.QUEUE_DEPTH.labels(self.name).set(len(self._waiting_since))
        metrics.QUEUE_IN_FLIGHT.labels(self.name).set(len(self._in_flight))
