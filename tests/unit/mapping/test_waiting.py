from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from builders import FakeClock, settle
from sidestream.mapping.directory import Workload
from sidestream.mapping.waiting import TooManyWaitersError, WaitingRoom
from sidestream.runtime.metrics import REGISTRY

ORDERS, BILLING = Workload("shop", "orders"), Workload("shop", "billing")


class World:
    """A room, the ETags of two workloads, and how often each was asked for."""

    def __init__(self, *, limit: int = 100) -> None:
        self.clock = FakeClock()
        self.etags: dict[Workload, str | None] = {ORDERS: "a", BILLING: "b"}
        self.looked: Counter[Workload] = Counter()
        self.room = WaitingRoom(self.clock, self._etag_of, limit=limit)

    def _etag_of(self, workload: Workload) -> str | None:
        self.looked[workload] += 1
        return self.etags[workload]

    def change(self, workload: Workload, etag: str | None) -> None:
        self.etags[workload] = etag
        self.room.touch(workload)

    @asynccontextmanager
    async def waiting(
        self, workload: Workload, known: str = "a b", seconds: float = 25, gone: asyncio.Event | None = None
    ) -> AsyncIterator[asyncio.Task[None]]:
        async def leaves() -> None:
            await (gone or asyncio.Event()).wait()

        asleep = self.clock.sleeping
        task = asyncio.create_task(
            self.room.wait(workload, knows=lambda etag: etag in known.split(), seconds=seconds, gone=leaves)
        )
        await settle()
        yield task
        task.cancel()
        await asyncio.wait({task})
        await settle()
        assert self.clock.sleeping <= asleep, "something of the wait was left behind"


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_a_change_ends_the_wait() -> None:
    world = World()
    async with world.waiting(ORDERS) as task:
        assert not task.done()

        world.change(ORDERS, "a2")
        await settle()

        assert task.done()


async def test_who_does_not_know_the_answer_does_not_wait() -> None:
    world = World()
    async with world.waiting(ORDERS, known="old") as task:
        assert task.done()


async def test_an_answer_that_goes_away_ends_the_wait() -> None:
    world = World()
    async with world.waiting(ORDERS) as task:
        world.change(ORDERS, None)
        await settle()
        assert task.done()


async def test_a_change_that_leaves_the_answer_as_it_was_wakes_nobody() -> None:
    world = World()
    async with world.waiting(ORDERS) as task:
        world.looked.clear()

        world.room.touch(ORDERS)
        await settle()

        assert not task.done()
        assert world.looked == {ORDERS: 1}, "the waiter itself looked, so it was woken"


async def test_a_change_of_another_workload_is_not_even_looked_at() -> None:
    world = World()
    async with world.waiting(ORDERS) as task:
        world.looked.clear()

        world.change(BILLING, "b2")
        await settle()

        assert not task.done()
        assert world.looked == {}


async def test_many_changes_at_once_cost_one_look_however_many_wait() -> None:
    world = World()
    async with world.waiting(ORDERS), world.waiting(ORDERS), world.waiting(ORDERS) as task:
        world.looked.clear()

        for number in range(10):
            world.change(ORDERS, f"a{number}" if number < 9 else "a")
        await settle()

        assert world.looked == {ORDERS: 1}
        assert not task.done(), "in the end it is what it was"


async def test_a_change_to_something_that_the_client_knows_is_waited_through() -> None:
    world = World()
    async with world.waiting(ORDERS, known="a b") as task:
        world.change(ORDERS, "b")
        await settle()
        assert not task.done()

        world.change(ORDERS, "c")
        await settle()
        assert task.done()


async def test_without_a_change_the_wait_ends_when_its_time_is_over() -> None:
    world = World()
    async with world.waiting(ORDERS, seconds=25) as task:
        await world.clock.advance(24.9)
        assert not task.done()
        await world.clock.advance(0.2)
        assert task.done()


async def test_a_look_in_between_does_not_make_the_wait_longer() -> None:
    world = World()
    async with world.waiting(ORDERS, known="a b", seconds=25) as task:
        await world.clock.advance(20)
        world.change(ORDERS, "b")
        await world.clock.advance(5.1)
        assert task.done()


async def test_a_client_that_hangs_up_makes_room() -> None:
    world = World(limit=1)
    gone = asyncio.Event()
    async with world.waiting(ORDERS, gone=gone) as task:
        gone.set()
        await settle()
        assert task.done()

        async with world.waiting(ORDERS) as next_one:
            assert not next_one.done()


async def test_beyond_the_limit_nobody_may_wait_until_somebody_has_left() -> None:
    world = World(limit=2)
    refused = metric("sidestream_mapping_waiters_refused_total")
    async with world.waiting(ORDERS) as first, world.waiting(BILLING):
        assert metric("sidestream_mapping_waiters") == 2
        async with world.waiting(ORDERS) as third:
            with pytest.raises(TooManyWaitersError):
                await third
        assert metric("sidestream_mapping_waiters_refused_total") == refused + 1

        world.change(ORDERS, "a2")
        await settle()
        assert first.done()
        async with world.waiting(BILLING) as fourth:
            assert not fourth.done()
    assert metric("sidestream_mapping_waiters") == 0


async def test_when_the_room_closes_all_may_go_and_nobody_waits_any_more() -> None:
    world = World()
    async with world.waiting(ORDERS) as first, world.waiting(BILLING) as second:
        world.room.close()
        await settle()
        assert (first.done(), second.done()) == (True, True)

        async with world.waiting(ORDERS) as late:
            assert late.done()


async def test_a_workload_that_nobody_waits_for_any_more_is_forgotten() -> None:
    world = World()
    async with world.waiting(ORDERS, seconds=1):
        await world.clock.advance(2)

    assert world.room._waiting == {}
