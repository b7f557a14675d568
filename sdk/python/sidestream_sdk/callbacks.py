"""Coroutine functions as callbacks of a consumer that another thread calls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from sidestream_sdk.worker import Worker

_callback: Final[ContextVar[asyncio.Task[Any] | None]] = ContextVar("sidestream_callback", default=None)
"""The callback that this is part of, be it in a task that it started."""


class LoopCallbacks:
    """Runs callbacks on the loop while the worker's thread waits for them."""

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._loop = loop
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def are_running(self) -> bool:
        """Whether the thread waits for one."""
        return bool(self._running)

    def wrapped(self, callback: Any, *, consumer: object | None = None) -> Any:
        """The callback as the thread can call it, its first argument replaced by `consumer` where that is given.

        What is no coroutine function stays as it is.
        """
        if not (inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)):
            return callback

        def call_back(*args: Any) -> Any:
            given = args if consumer is None else (consumer, *args[1:])
            return self._worker.wait_for(asyncio.run_coroutine_threadsafe(self._run(callback, given), self._loop))

        return call_back

    def refuse_within(self) -> None:
        """Refuse what would wait for the call that waits for the callback.

        Raises:
            RuntimeError: this is called from a callback that still runs.
        """
        if _callback.get() in self._running:
            raise RuntimeError("a callback must not read, subscribe, unsubscribe or close")

    async def _run(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is what runs this
        self._running.add(task)
        _callback.set(task)
        try:
            return await callback(*args)
        finally:
            self._running.discard(task)
