"""What an authority said, remembered for a while, so that it is asked rarely and may be away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from sidestream.errors import TransientError
from sidestream.runtime.clock import Clock

DEFAULT_SIZE: Final = 10_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """At most `size` answers, each asked for anew after `seconds`; the one that was used longest ago goes first."""

    def __init__(self, clock: Clock, *, seconds: float, size: int = DEFAULT_SIZE) -> None:
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V]] = {}

    async def recall(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer for `key`, from `ask` where none is fresh; while the authority is away an old one goes on.

        Raises:
            SidestreamError: the authority refused, or is away and never answered for this key.
        """
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            if self._clock.monotonic() - known[1] < self._seconds:
                return known[0]
        try:
            # shielded: others may wait for the same answer when this client hangs up
            return await asyncio.shield(self._asked(key, ask))
        except TransientError:
            if known is None:
                raise
            return known[0]

    def _asked(self, key: K, ask: Callable[[], Awaitable[V]]) -> asyncio.Task[V]:
        """One question at a time for each key, however many ask for it."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, ask))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await ask()
        finally:
            del self._asking[key]
        self._known[key] = (value, self._clock.monotonic())
        self._known.move_to_end(key)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return value
