"""Leader election over a lease: of all replicas only the holder works.

Time is measured on the monotonic clock of each replica and never compared between machines: a lease has lapsed when
nobody renewed it for its whole length while we watched. The holder gives up before that moment, not at it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from sidestream.errors import ConflictError, SidestreamError, TransientError
from sidestream.runtime import metrics
from sidestream.runtime.clock import Clock

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class LeadershipLostError(SidestreamError):
    """The lease is no longer ours, or could not be renewed in time; this process must end."""


@dataclass(frozen=True)
class Lease:
    """A lease as stored. `holder` is empty when it is free; `version` changes with every write, empty before the first.

    The times are for people who read the object.
    """

    holder: str = ""
    seconds: float = 0.0
    acquired_at: datetime | None = None
    renewed_at: datetime | None = None
    transitions: int = 0
    version: str = ""


class LeaseStore(Protocol):
    """Where the one lease of all replicas is kept."""

    async def read(self) -> Lease | None:
        """The lease, or None before anybody wrote it. Raises TransientError while the store is away."""
        ...

    async def write(self, lease: Lease) -> Lease:
        """Store it over the version that it carries, or as new without one; returns it with its new version.

        Raises:
            ConflictError: somebody else wrote meanwhile.
        """
        ...


@dataclass(frozen=True)
class Timing:
    """Seconds. `lease`: how long a lease holds without renewal; `renew_within`: after which the holder gives up;
    `retry`: between attempts. What lies between the first two is the holder's time to stop its work.
    """

    lease: float = 15.0
    renew_within: float = 10.0
    retry: float = 2.0


class Elector:
    """Gets and keeps the lease for `identity`, which must be unique to this process."""

    def __init__(
        self,
        store: LeaseStore,
        clock: Clock,
        identity: str,
        *,
        timing: Timing | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identity = identity
        self._timing = timing or Timing()
        self._chance = chance
        self._seen: tuple[str, float] = ("", 0.0)
        """The version last seen and when it was seen first."""
        self._held: Lease | None = None
        self._renewed = 0.0
        """When the last renewal that went through was begun."""
        metrics.LEADER.set(0)

    @property
    def is_leader(self) -> bool:
        """Whether the lease is ours now."""
        return self._held is not None

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then run `lead` for as long as it is ours; give it back when `lead` returns or we stop.

        On loss `lead` is cancelled; what it has not finished when the lease may go to another is left to die with the
        process.

        Raises:
            LeadershipLostError: the lease was lost while `lead` ran.
        """
        await self._acquire()
        _log.info("leading", identity=self._identity)
        work = asyncio.ensure_future(_awaited(lead()))
        renewal = asyncio.create_task(self._keep())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._stop(work, renewal)
        await work

    async def _stop(self, work: asyncio.Future[None], renewal: asyncio.Task[None]) -> None:
        """End the work first and only then let go of the lease."""
        if renewal.done():
            metrics.LEADER.set(0)
            self._held = None
            work.cancel()
            await asyncio.wait({work}, timeout=self._timing.lease - self._timing.renew_within)
            renewal.result()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        renewal.cancel()
        await asyncio.wait({renewal})
        await self._release()

    async def _acquire(self) -> None:
        while True:
            try:
                if await self._try_acquire():
                    return
            except ConflictError:
                pass
            except TransientError as error:
                _log.warning("cannot read the lease, will try again", error=str(error))
            await self._clock.sleep(self._timing.retry * (1.0 + 0.2 * self._chance()))

    async def _try_acquire(self) -> bool:
        lease = await self._store.read()
        if lease is not None and lease.holder not in ("", self._identity) and not self._has_lapsed(lease):
            return False
        began, now = self._clock.monotonic(), self._clock.now()
        before = lease or Lease()
        mine = Lease(
            holder=self._identity,
            seconds=self._timing.lease,
            acquired_at=now,
            renewed_at=now,
            transitions=before.transitions + (before.holder not in ("", self._identity)),
            version=before.version,
        )
        self._held, self._renewed = await self._store.write(mine), began
        metrics.LEADER.set(1)
        return True

    def _has_lapsed(self, lease: Lease) -> bool:
        now = self._clock.monotonic()
        version, since = self._seen
        if lease.version != version:
            self._seen = (lease.version, now)
            return False
        return now - since >= lease.seconds

    async def _keep(self) -> None:
        """Renew until that fails for too long."""
        while True:
            await self._clock.sleep(self._timing.retry)
            began = self._clock.monotonic()
            left = self._renewed + self._timing.renew_within - began
            if left <= 0:
                raise LeadershipLostError(f"the lease could not be renewed for {self._timing.renew_within:g} seconds")
            try:
                self._held = await self._within(left, self._renew())
                self._renewed = began
            except TransientError as error:
                _log.warning("lease not renewed, will try again", error=str(error))

    async def _renew(self) -> Lease:
        held = self._held
        if held is None:
            raise LeadershipLostError("the lease is not ours")
        try:
            return await self._store.write(replace(held, renewed_at=self._clock.now()))
        except ConflictError:
            # perhaps an earlier renewal of ours whose answer was lost
            stored = await self._store.read()
            if stored is None or stored.holder != self._identity:
                raise LeadershipLostError(f"{stored.holder if stored else 'nobody'} holds the lease now") from None
            return await self._store.write(replace(stored, renewed_at=self._clock.now()))

    async def _release(self) -> None:
        held, self._held = self._held, None
        metrics.LEADER.set(0)
        if held is None:
            return
        with suppress(SidestreamError):  # another replica waits out the lease then
            await self._within(self._timing.retry, self._store.write(replace(held, holder="", seconds=1.0)))

    async def _within(self, seconds: float, attempt: Coroutine[None, None, T]) -> T:
        """The result of `attempt`, or TransientError after so many seconds of our clock."""
        work = asyncio.ensure_future(attempt)
        alarm = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise TransientError(f"no answer within {seconds:.1f} seconds")
        finally:
            work.cancel()
            alarm.cancel()


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable
