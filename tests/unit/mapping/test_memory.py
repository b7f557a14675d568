from __future__ import annotations

import asyncio

import pytest

from builders import FakeClock, settle
from sidestream.errors import KubeError, SidestreamError, TransientError
from sidestream.mapping.memory import Memory


class Authority:
    """Says how often it was asked, unless it has a fault or is to take its time."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: SidestreamError | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def answer(self) -> int:
        self.asked += 1
        await self.free.wait()
        if self.fault is not None:
            raise self.fault
        return self.asked


async def test_an_answer_is_remembered_for_its_time() -> None:
    clock, authority = FakeClock(), Authority()
    memory: Memory[str, int] = Memory(clock, seconds=60)

    assert [await memory.recall("a", authority.answer) for _ in range(3)] == [1, 1, 1]
    assert await memory.recall("b", authority.answer) == 2
    clock.move(60)
    assert await memory.recall("a", authority.answer) == 3


async def test_many_that_ask_at_once_ask_once() -> None:
    authority = Authority()
    memory: Memory[str, int] = Memory(FakeClock(), seconds=60)
    authority.free.clear()
    asking = [asyncio.create_task(memory.recall("a", authority.answer)) for _ in range(5)]
    await settle()
    asking[0].cancel()
    await settle()

    authority.free.set()

    assert await asyncio.gather(*asking[1:]) == [1, 1, 1, 1]


async def test_while_the_authority_is_away_what_was_known_goes_on() -> None:
    clock, authority = FakeClock(), Authority()
    memory: Memory[str, int] = Memory(clock, seconds=60)
    await memory.recall("a", authority.answer)
    clock.move(3600)
    authority.fault = TransientError("no connection")

    assert await memory.recall("a", authority.answer) == 1
    with pytest.raises(TransientError):
        await memory.recall("b", authority.answer)

    authority.fault = None
    assert await memory.recall("a", authority.answer) == 4


async def test_an_authority_that_refuses_to_answer_is_not_away() -> None:
    clock, authority = FakeClock(), Authority()
    memory: Memory[str, int] = Memory(clock, seconds=60)
    await memory.recall("a", authority.answer)
    clock.move(3600)
    authority.fault = KubeError("forbidden", status=403)

    with pytest.raises(KubeError):
        await memory.recall("a", authority.answer)


async def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    authority = Authority()
    memory: Memory[str, int] = Memory(FakeClock(), seconds=60, size=2)
    for key in ("a", "b", "a", "c"):
        await memory.recall(key, authority.answer)
    assert authority.asked == 3

    await memory.recall("a", authority.answer)
    assert authority.asked == 3
    await memory.recall("b", authority.answer)
    assert authority.asked == 4
