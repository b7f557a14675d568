from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from builders import FakeClock, settle
from sidestream.errors import ConflictError, TransientError
from sidestream.runtime.leader import Elector, LeadershipLostError, Lease
from sidestream.runtime.metrics import REGISTRY


class SharedLease:
    """A lease that several electors share; `away` cuts everybody off, `mute` only their writes, without an answer."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.away = False
        self.mute = False
        self.writes = 0

    async def read(self) -> Lease | None:
        if self.away:
            raise TransientError("away")
        return self.lease

    async def write(self, lease: Lease) -> Lease:
        if self.mute:
            await asyncio.Event().wait()
        if self.away:
            raise TransientError("away")
        if lease.version != (self.lease.version if self.lease else ""):
            raise ConflictError("409")
        self.writes += 1
        self.lease = replace(lease, version=str(self.writes))
        return self.lease

    @property
    def holder(self) -> str:
        return self.lease.holder if self.lease else ""


class Replica:
    """One process: an elector and the work it leads to, which ends when the test says so."""

    def __init__(self, store: SharedLease, clock: FakeClock, name: str) -> None:
        self.working = False
        self.stopped_at: float | None = None
        self.finish = asyncio.Event()
        self._clock = clock
        self.elector = Elector(store, clock, name, chance=lambda: 0.0)
        self.task = asyncio.create_task(self.elector.run(self._lead))

    async def _lead(self) -> None:
        self.working = True
        try:
            await self.finish.wait()
        finally:
            self.working = False
            self.stopped_at = self._clock.monotonic()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


async def test_of_two_replicas_one_leads() -> None:
    store, clock = SharedLease(), FakeClock()
    first, second = Replica(store, clock, "a"), Replica(store, clock, "b")
    await clock.advance(120)
    assert [first.working, second.working] == [True, False]
    assert store.holder == "a"
    assert REGISTRY.get_sample_value("sidestream_leader") == 1
    await first.stop()
    await second.stop()


async def test_a_lease_is_given_back_on_exit_and_taken_at_once() -> None:
    store, clock = SharedLease(), FakeClock()
    first, second = Replica(store, clock, "a"), Replica(store, clock, "b")
    await clock.advance(30)
    await first.stop()
    assert store.holder == ""
    await clock.advance(2)
    assert second.working
    assert store.lease is not None
    assert store.lease.transitions == 0
    await second.stop()


async def test_a_lease_is_given_back_only_after_the_work_has_stopped() -> None:
    store, clock = SharedLease(), FakeClock()
    cleaning = asyncio.Event()

    async def lead() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await cleaning.wait()

    running = asyncio.create_task(Elector(store, clock, "a").run(lead))
    await clock.advance(3)
    running.cancel()
    await settle()
    assert store.holder == "a"
    cleaning.set()
    await asyncio.wait({running})
    assert store.holder == ""


async def test_work_that_ends_gives_the_lease_back() -> None:
    store, clock = SharedLease(), FakeClock()
    replica = Replica(store, clock, "a")
    await clock.advance(3)
    replica.finish.set()
    await replica.task
    assert store.holder == ""
    assert not replica.elector.is_leader


async def test_work_that_fails_gives_the_lease_back_and_tells() -> None:
    store, clock = SharedLease(), FakeClock()

    async def lead() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Elector(store, clock, "a").run(lead)
    assert store.holder == ""


async def test_a_dead_leaders_lease_lapses_after_its_length_and_no_sooner() -> None:
    store, clock = SharedLease(), FakeClock()
    store.lease = Lease(holder="dead", seconds=15, transitions=3, version="1")
    store.writes = 1
    replica = Replica(store, clock, "b")
    await clock.advance(14)
    assert not replica.working
    await clock.advance(4)
    assert replica.working
    assert store.lease.transitions == 4
    await replica.stop()


async def test_a_renewed_lease_never_lapses_whatever_the_wall_clocks_say() -> None:
    store, clock = SharedLease(), FakeClock()
    store.lease = Lease(holder="a", seconds=15, version="1")
    store.writes = 1
    replica = Replica(store, clock, "b")
    for _ in range(10):
        await clock.advance(14)
        await store.write(store.lease)
    assert not replica.working
    await replica.stop()


async def test_a_leader_that_is_cut_off_stops_before_anybody_else_starts() -> None:
    store, clock = SharedLease(), FakeClock()
    first, second = Replica(store, clock, "a"), Replica(store, clock, "b")
    await clock.advance(30)
    store.away = True
    await clock.advance(12)
    with pytest.raises(LeadershipLostError, match="could not be renewed for 10 seconds"):
        await first.task
    assert not first.working
    assert REGISTRY.get_sample_value("sidestream_leader") == 0
    store.away = False
    await clock.advance(20)
    assert second.working
    await second.stop()


async def test_a_leader_whose_writes_get_no_answer_stops_in_time() -> None:
    store, clock = SharedLease(), FakeClock()
    replica = Replica(store, clock, "a")
    await clock.advance(2)
    store.mute = True
    await clock.advance(9)
    assert replica.working
    await clock.advance(5)
    with pytest.raises(LeadershipLostError):
        await replica.task
    assert replica.stopped_at is not None
    assert replica.stopped_at <= 2 + 10 + 2


async def test_a_short_outage_costs_nothing() -> None:
    store, clock = SharedLease(), FakeClock()
    replica = Replica(store, clock, "a")
    await clock.advance(4)
    for _ in range(5):
        store.away = True
        await clock.advance(6)
        store.away = False
        await clock.advance(4)
    assert replica.working
    await replica.stop()


async def test_a_leader_whose_lease_was_taken_stops_at_once() -> None:
    store, clock = SharedLease(), FakeClock()
    replica = Replica(store, clock, "a")
    await clock.advance(3)
    assert store.lease is not None
    await store.write(replace(store.lease, holder="thief"))
    await clock.advance(2)
    with pytest.raises(LeadershipLostError, match="thief holds the lease now"):
        await replica.task
    assert store.holder == "thief"


async def test_a_renewal_whose_answer_was_lost_is_no_loss() -> None:
    store, clock = SharedLease(), FakeClock()
    replica = Replica(store, clock, "a")
    await clock.advance(3)
    assert store.lease is not None
    await store.write(store.lease)
    await clock.advance(2)
    assert replica.working
    await replica.stop()


async def test_a_restarted_replica_takes_up_its_own_lease() -> None:
    store, clock = SharedLease(), FakeClock()
    store.lease = Lease(holder="a", seconds=15, transitions=2, version="1")
    store.writes = 1
    replica = Replica(store, clock, "a")
    await settle()
    assert replica.working
    assert store.lease.transitions == 2
    await replica.stop()
