"""AsyncSandboxConsumer behind the methods of a plain consumer, for scenarios that are written for one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sidestream_sdk import AsyncSandboxConsumer, Identity


class Blocking:
    """Every method waits for the asynchronous one; callbacks of a subscription are given this object."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: dict[str, Any], identity: Identity | None) -> None:
        async def make() -> AsyncSandboxConsumer:
            return AsyncSandboxConsumer(config, identity=identity)

        self._loop = loop
        self._consumer = asyncio.run_coroutine_threadsafe(make(), loop).result()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._consumer, name)
        return lambda *args, **keywords: asyncio.run_coroutine_threadsafe(
            method(*args, **keywords), self._loop
        ).result()

    def subscribe(self, topics: list[str], *args: Any, **callbacks: Any) -> None:
        given = [self._wrapped(callback) for callback in args]
        named = {name: self._wrapped(callback) for name, callback in callbacks.items()}
        asyncio.run_coroutine_threadsafe(self._consumer.subscribe(topics, *given, **named), self._loop).result()

    def _wrapped(self, callback: Any) -> Any:
        async def call_back(_: AsyncSandboxConsumer, partitions: object) -> None:
            await asyncio.to_thread(callback, self, partitions)

        return call_back if callable(callback) else callback

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
