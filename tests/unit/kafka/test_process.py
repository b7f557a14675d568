from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidestream.kafka.process import CallFailedError, WorkerLostError, WorkerProcess

COMMAND = (sys.executable, str(Path(__file__).with_name("odd_worker.py")))
LONG = 60.0
"""Seconds that no call may take; a busy machine is no failure."""


@asynccontextmanager
async def worker(start: str = "") -> AsyncIterator[WorkerProcess]:
    process = await WorkerProcess.start({"start": start}, command=COMMAND, seconds=LONG)
    try:
        yield process
    finally:
        process.kill()
        await process.ended()


async def ask(process: WorkerProcess, verb: str, *, seconds: float = LONG, **args: object) -> object:
    result: object = await process.call(verb, args, seconds=seconds, patience=0.0)
    return result


def is_alive(pid: int) -> bool:
    return (Path("/proc") / str(pid)).exists()


async def test_each_of_many_overlapping_calls_gets_its_own_answer() -> None:
    async with worker() as process:
        answers = await asyncio.gather(*(ask(process, "echo", number=number) for number in range(50)))
        assert answers == [{"number": number} for number in range(50)]


async def test_a_refusal_is_an_error_with_kafkas_code() -> None:
    async with worker() as process:
        with pytest.raises(CallFailedError) as caught:
            await ask(process, "fail", name="NON_EMPTY_GROUP", text="busy")
        assert (caught.value.failure.name, caught.value.failure.text) == ("NON_EMPTY_GROUP", "busy")


async def test_a_second_answer_to_one_call_is_ignored() -> None:
    async with worker() as process:
        assert await ask(process, "twice") == "first"
        assert await ask(process, "echo", a=1) == {"a": 1}


@pytest.mark.parametrize(
    ("verb", "args", "why"),
    [
        pytest.param("crash", {}, "SIGSEGV", id="a crash of the library"),
        pytest.param("exit", {"code": 7}, "exit code 7", id="an end of its own accord"),
        pytest.param("garbage", {}, "garbage", id="a log line among the frames"),
        pytest.param("close", {}, "SIGKILL", id="a closed pipe in a live process"),
    ],
)
async def test_all_calls_in_flight_fail_when_the_worker_is_lost_by(verb: str, args: dict[str, int], why: str) -> None:
    async with worker() as process:
        waiting = asyncio.create_task(ask(process, "hang"))
        with pytest.raises(WorkerLostError, match=why):
            await ask(process, verb, **args)
        with pytest.raises(WorkerLostError, match=why):
            await waiting
        assert await process.ended() == why
        assert process.has_ended
        assert not is_alive(process.pid)
        with pytest.raises(WorkerLostError, match=why):
            await ask(process, "echo")


async def test_a_call_that_is_not_answered_in_time_leaves_the_others_alone() -> None:
    async with worker() as process:
        with pytest.raises(TimeoutError):
            await ask(process, "hang", seconds=0.05)
        assert await ask(process, "echo", a=1) == {"a": 1}


@pytest.mark.parametrize(
    ("start", "seconds", "why"),
    [
        pytest.param("garbage", LONG, "garbage", id="garbage"),
        pytest.param("silence", 0.2, "silence", id="silence"),
        pytest.param("exit", LONG, "exit code 3", id="an end"),
    ],
)
async def test_a_worker_that_starts_with(start: str, seconds: float, why: str) -> None:
    with pytest.raises(WorkerLostError, match=why):
        await WorkerProcess.start({"start": start}, command=COMMAND, seconds=seconds)


async def test_a_refused_configuration_says_what_is_wrong_with_it() -> None:
    with pytest.raises(CallFailedError) as caught:
        await WorkerProcess.start({"start": "refuse"}, command=COMMAND, seconds=LONG)
    assert "property" in caught.value.failure.text


async def test_the_loop_goes_on_while_the_worker_does_not_even_read() -> None:
    async with worker("deaf") as process:
        call = asyncio.create_task(ask(process, "echo", much="x" * 4_000_000))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not call.done()
        call.cancel()
        await asyncio.wait([call])


async def test_a_stopped_worker_leaves_by_itself() -> None:
    process = await WorkerProcess.start({"start": ""}, command=COMMAND, seconds=LONG)
    await process.stop()
    assert await process.ended() == "exit code 0"
    assert not is_alive(process.pid)


async def test_a_worker_that_does_not_want_to_stop_is_ended() -> None:
    process = await WorkerProcess.start({"start": "deaf"}, command=COMMAND, seconds=LONG)
    await process.stop()
    assert await process.ended() == "SIGKILL"
    assert not is_alive(process.pid)
