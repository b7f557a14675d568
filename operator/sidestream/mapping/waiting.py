"""Requests that wait for the answer of their workload to change: who they are, how many, and what ends their wait.

A change wakes only those that wait for that very answer, and only when its ETag became another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sidestream.errors import SidestreamError
from sidestream.mapping.directory import Workload
from sidestream.mapping.metrics import WAITERS, WAITERS_REFUSED
from sidestream.runtime.clock import Clock

DEFAULT_MAX_WAITERS: Final = 3000

_Wake = asyncio.Future[None]


class TooManyWaitersError(SidestreamError):
    """As many requests wait as are allowed to."""


class WaitingRoom:
    """Holds up to `limit` waiting requests; `etag_of` is a workload's ETag as of now, None without an answer."""

    def __init__(
        self, clock: Clock, etag_of: Callable[[Workload], str | None], *, limit: int = DEFAULT_MAX_WAITERS
    ) -> None:
        self.limit = limit
        self._clock = clock
        self._etag_of = etag_of
        self._waiting: dict[Workload, dict[_Wake, str]] = {}
        """What wakes each waiter, and the ETag that it knows."""
        self._count = 0
        self._touched: set[Workload] = set()
        self._closed = False

    async def wait(
        self,
        workload: Workload,
        *,
        knows: Callable[[str], bool],
        seconds: float,
        gone: Callable[[], Awaitable[None]],
    ) -> None:
        """Return when the workload's ETag is none that the client knows, or its time is over, or it is `gone`.

        Raises:
            TooManyWaitersError: there is no room left.
        """
        with self._seat():
            ends = [asyncio.ensure_future(awaitable) for awaitable in (self._clock.sleep(seconds), gone())]
            try:
                while not self._closed and (etag := self._etag_of(workload)) is not None and knows(etag):
                    if await self._is_over(workload, etag, ends):
                        return
            finally:
                for end in ends:
                    end.cancel()

    def touch(self, workload: Workload) -> None:
        """The workload's answer may have changed; looked at once for all changes of this turn of the event loop."""
        if workload in self._waiting:
            if not self._touched:
                asyncio.get_running_loop().call_soon(self._wake_touched)
            self._touched.add(workload)

    def close(self) -> None:
        """End all waits and let none begin, so that a server that stops need not wait for them."""
        self._closed = True
        for waiters in self._waiting.values():
            _wake(waiters)

    @contextmanager
    def _seat(self) -> Iterator[None]:
        if self._count >= self.limit:
            WAITERS_REFUSED.inc()
            raise TooManyWaitersError(f"{self.limit} requests wait already")
        self._count += 1
        WAITERS.inc()
        try:
            yield
        finally:
            self._count -= 1
            WAITERS.dec()

    async def _is_over(self, workload: Workload, etag: str, ends: Sequence[asyncio.Future[None]]) -> bool:
        """Wait until woken or at an end; whether it is an end."""
        wake: _Wake = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(workload, {})
        waiters[wake] = etag
        try:
            await asyncio.wait((wake, *ends), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del waiters[wake]
            if not waiters:
                del self._waiting[workload]
        return any(end.done() for end in ends)

    def _wake_touched(self) -> None:
        touched, self._touched = self._touched, set()
        for workload in touched:
            waiters = self._waiting.get(workload, {})
            etag = self._etag_of(workload) if waiters else None
            _wake([wake for wake, known in waiters.items() if known != etag])


def _wake(waiters: Iterable[_Wake]) -> None:
    for wake in waiters:
        if not wake.done():
            wake.set_result(None)
