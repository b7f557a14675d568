"""One worker process as the operator sees it: start it, hand it the configuration, call it, notice its end.

It knows of no cluster, retries nothing and restarts nothing: that is `supervisor`'s duty.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import structlog

from sidestream.kafka import frames
from sidestream.kafka.frames import BrokenFrameError, Message
from sidestream.kafka.translation import Failure

# -P: a module in the operator's working directory must not replace one of the library
COMMAND: Final = (sys.executable, "-P", "-m", "sidestream.kafka.worker")

CONCURRENCY: Final = 16
"""Calls that a worker runs at the same time; more would wait in it while their deadline runs."""

_STOP_SECONDS: Final = 2.0
_STDERR_BYTES: Final = 8192

_log = structlog.get_logger(__name__)


class WorkerLostError(Exception):
    """The process ended, or answers no more; `why` is short and has few values: SIGSEGV, exit code 1, garbage, ..."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the worker process was lost: {why}")
        self.why = why


class CallFailedError(Exception):
    """The worker is well, but Kafka refused the call or the configuration."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.name)
        self.failure = failure


class WorkerProcess:
    """A started worker. Calls may overlap; when the process ends, all calls in flight fail with WorkerLostError."""

    def __init__(self, process: Process, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self._why: str | None = None
        self._life: asyncio.Task[str] | None = None
        self._stderr: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, config: Mapping[str, str], *, command: Sequence[str] = COMMAND, seconds: float) -> Self:
        """Start a process and wait until it has made its client, for at most `seconds`.

        Raises:
            CallFailedError: the client library does not take the configuration.
            WorkerLostError: it ended, wrote garbage or said nothing.
        """
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise AssertionError("asyncio gave no pipes although asked for them")
        self = cls(process, stdin, stdout)
        self._stderr = asyncio.create_task(_log_lines(stderr))
        try:
            async with asyncio.timeout(seconds):
                await self._shake_hands(config)
        except BrokenPipeError:
            raise WorkerLostError(await self._end("")) from None
        except BrokenFrameError:
            raise WorkerLostError(await self._end("garbage")) from None
        except TimeoutError:
            raise WorkerLostError(await self._end("silence")) from None
        except BaseException:
            await self._end("given up")
            raise
        self._life = asyncio.create_task(self._live())
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is of no use any more."""
        return self._why is not None

    async def call(self, verb: str, args: Mapping[str, Any], *, seconds: float, patience: float) -> Any:
        """Run a verb; the worker gives it `seconds`, and we wait for its answer `patience` seconds more.

        Raises:
            CallFailedError: Kafka refused.
            WorkerLostError: the process ended meanwhile.
            TimeoutError: it is alive but says nothing: it hangs.
        """
        if self._why is not None:
            raise WorkerLostError(self._why)
        number = next(self._ids)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            async with asyncio.timeout(seconds + patience):
                await self._send({"id": number, "verb": verb, "args": dict(args), "timeout": seconds})
                answer = await future
        finally:
            self._pending.pop(number, None)
        if "failure" in answer:
            raise CallFailedError(Failure.from_json(answer["failure"]))
        return answer.get("result")

    async def ended(self) -> str:
        """Wait until the process has ended; says why."""
        if self._life is None:
            raise AssertionError("a worker that was never started cannot end")
        return await asyncio.shield(self._life)

    def kill(self) -> None:
        """End the process at once; it takes no call from now on, and `ended` returns soon after."""
        self._why = self._why or signal.SIGKILL.name
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Ask the process to end, insist after two seconds, and return when it has ended."""
        self._stdin.close()
        if self._life is None:
            await self._end("")
            return
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()

    async def _shake_hands(self, config: Mapping[str, str]) -> None:
        await self._send({"config": dict(config), "threads": CONCURRENCY})
        answer = await frames.receive(self._stdout)
        if answer is None:
            raise BrokenPipeError
        if "failure" in answer:
            raise CallFailedError(Failure.from_json(answer["failure"]))

    async def _send(self, message: Message) -> None:
        # a broken pipe shows on the reading side, where the calls in flight are failed
        if self._stdin.is_closing():
            return
        self._stdin.write(frames.encode(message))
        with contextlib.suppress(ConnectionError):
            await self._stdin.drain()

    async def _live(self) -> str:
        """Hand answers to their callers until the process ends; returns why it did."""
        garbage = ""
        try:
            while (answer := await frames.receive(self._stdout)) is not None:
                future = self._pending.get(answer.get("id", 0))
                if future is not None and not future.done():
                    future.set_result(answer)
        except BrokenFrameError:
            garbage = "garbage"
        self._why = await self._end(garbage)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(WorkerLostError(self._why))
        return self._why

    async def _end(self, why: str) -> str:
        """Make sure that the process is over and gone; returns why it ended."""
        if why:
            self.kill()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            # it closed its pipe and lives on
            self.kill()
            code = await self._process.wait()
        self._stdin.close()
        if self._stderr is not None:
            await asyncio.wait([self._stderr], timeout=_STOP_SECONDS)
            self._stderr.cancel()
        return why or _ending(code)


def _ending(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


async def _log_lines(stream: asyncio.StreamReader) -> None:
    """What the worker says on standard error, for those who look for the reason of a crash."""
    while text := await stream.read(_STDERR_BYTES):
        for line in text.decode(errors="replace").splitlines():
            _log.debug("kafka worker says", line=line)
