from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FakeClock, settle
from sidestream.runtime.metrics import REGISTRY
from sidestream.runtime.queue import Backoff, WorkQueue


@asynccontextmanager
async def ticking(clock: FakeClock, name: str = "test") -> AsyncIterator[WorkQueue[str]]:
    """A queue whose delays run."""
    queue: WorkQueue[str] = WorkQueue(name, clock, chance=lambda: 0.0)
    keeper = asyncio.create_task(queue.keep_time())
    try:
        yield queue
        assert not keeper.done()
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})


def waiting(queue: WorkQueue[str]) -> list[str]:
    """All keys that a worker would get now; each is done at once."""
    found = []
    while not queue._ready.empty():
        key = get_now(queue)
        queue.done(key)
        found.append(key)
    return found


def get_now(queue: WorkQueue[str]) -> str:
    """The next key of a queue that has one: `get` does not wait then."""
    with pytest.raises(StopIteration) as result:
        queue.get().send(None)
    return str(result.value.value)


def sample(name: str, queue: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"queue": queue})


async def test_keys_come_out_in_order_and_once() -> None:
    queue: WorkQueue[str] = WorkQueue("test", FakeClock())
    for key in ("a", "b", "a"):
        queue.add(key)
    assert queue.depth == 2
    assert waiting(queue) == ["a", "b"]


async def test_get_waits_for_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue("test", FakeClock())
    getting = asyncio.create_task(queue.get())
    await settle()
    assert not getting.done()
    queue.add("a")
    assert await getting == "a"


async def test_a_key_in_flight_is_not_handed_out_twice_but_once_more_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue("test", FakeClock())
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert waiting(queue) == []
    queue.done("a")
    assert waiting(queue) == ["a"]


async def test_a_cancelled_worker_loses_no_key() -> None:
    queue: WorkQueue[str] = WorkQueue("test", FakeClock())
    getting = asyncio.create_task(queue.get())
    await settle()
    getting.cancel()
    queue.add("a")
    await settle()
    assert waiting(queue) == ["a"]


async def test_a_delayed_key_comes_when_it_is_due() -> None:
    clock = FakeClock()
    async with ticking(clock) as queue:
        queue.add("a", after=10)
        await clock.advance(9.9)
        assert waiting(queue) == []
        await clock.advance(0.1)
        assert waiting(queue) == ["a"]


async def test_an_earlier_delay_goes_before_a_later_one_of_the_same_key() -> None:
    clock = FakeClock()
    async with ticking(clock) as queue:
        queue.add("a", after=60)
        await clock.advance(1)
        queue.add("a", after=5)
        queue.add("a", after=30)
        await clock.advance(5)
        assert waiting(queue) == ["a"]
        await clock.advance(120)
        assert waiting(queue) == []


async def test_delays_of_different_keys_do_not_disturb_each_other() -> None:
    clock = FakeClock()
    async with ticking(clock) as queue:
        queue.add("later", after=20)
        queue.add("sooner", after=10)
        await clock.advance(10)
        assert waiting(queue) == ["sooner"]
        await clock.advance(10)
        assert waiting(queue) == ["later"]


async def test_retries_back_off_and_start_anew_after_success() -> None:
    clock = FakeClock()
    async with ticking(clock) as queue:
        waits = [queue.retry("a") for _ in range(9)]
        assert waits == [0.25, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert queue.retry("b") == 0.25
        queue.forget("a")
        assert queue.retry("a") == 0.25


async def test_the_other_side_may_ask_for_a_wait() -> None:
    clock = FakeClock()
    async with ticking(clock) as queue:
        assert queue.retry("a", after=7) == 7
        await clock.advance(6.9)
        assert waiting(queue) == []
        await clock.advance(0.1)
        assert waiting(queue) == ["a"]


async def test_only_the_first_of_several_conflicts_in_a_row_is_spared_its_wait() -> None:
    queue: WorkQueue[str] = WorkQueue("test", FakeClock(), chance=lambda: 0.0)
    assert queue.retry("a", at_once=True) == 0
    assert waiting(queue) == ["a"]
    assert queue.retry("a", at_once=True) == 1.0


@given(failures=st.integers(min_value=1, max_value=10_000), chance=st.floats(min_value=0, max_value=0.999))
def test_a_wait_never_leaves_its_bounds(failures: int, chance: float) -> None:
    backoff = Backoff()
    wait = backoff.delay(failures, chance)
    assert backoff.first * 0.8 <= wait <= backoff.longest
    assert backoff.delay(failures + 1, chance) >= wait


async def test_metrics_tell_depth_wait_flight_and_retries() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue("metered", clock)
    queue.add("a")
    queue.add("b")
    assert sample("sidestream_queue_depth", "metered") == 2
    clock.move(3)
    await queue.get()
    assert sample("sidestream_queue_depth", "metered") == 1
    assert sample("sidestream_queue_in_flight", "metered") == 1
    assert sample("sidestream_queue_wait_seconds_sum", "metered") == 3
    queue.retry("a")
    queue.done("a")
    assert sample("sidestream_queue_in_flight", "metered") == 0
    assert sample("sidestream_queue_retries_total", "metered") == 1


KEYS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS), st.tuples(st.just("done"), KEYS), st.tuples(st.just("get"), st.just(""))
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_no_key_is_lost_doubled_or_worked_on_twice(steps: list[tuple[str, str]]) -> None:
    queue: WorkQueue[str] = WorkQueue("model", FakeClock())
    wanted: set[str] = set()
    in_flight: set[str] = set()
    for verb, key in steps:
        if verb == "add":
            queue.add(key)
            wanted.add(key)
        elif verb == "done" and key in in_flight:
            in_flight.remove(key)
            queue.done(key)
        elif verb == "get" and wanted - in_flight:
            got = get_now(queue)
            assert got in wanted - in_flight
            wanted.remove(got)
            in_flight.add(got)
        assert queue.depth == len(wanted)
    for key in in_flight:
        queue.done(key)
    assert sorted(waiting(queue)) == sorted(wanted)
