"""One thread that makes all calls of one consumer, for an event loop that must not wait. Knows nothing of Kafka.

A call may lead to a callback whose answer comes from the loop. Until it comes the thread goes on with the calls that
the callback, or what it waits for, makes meanwhile; only those that cannot be made within another wait for their turn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Call:
    """`nests`: it can be made while another waits for a callback; `is_last`: the thread ends with it."""

    make: Callable[[], Any]
    nests: bool
    is_last: bool
    result: Future[Any] = field(default_factory=Future)


class Worker:
    """The thread; it begins with the first call."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._later: deque[_Call] = deque()
        self._lock = threading.Lock()
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, make: Callable[[], T], *, nests: bool = True, is_last: bool = False) -> Future[T]:
        """Have a call made; what it returns or raises is in the future then.

        Raises:
            RuntimeError: the last call was made.
        """
        call = _Call(make, nests, is_last)
        with self._lock:
            if self._has_ended:
                raise RuntimeError("Consumer closed")
            self._calls.put(call)
            if self._thread.ident is None:
                self._thread.start()
        return call.result

    def wait_for(self, answer: Future[T]) -> T:
        """What a callback answers; to be called on the thread itself, in a call."""
        answer.add_done_callback(lambda _: self._calls.put(None))
        while not answer.done():
            call = self._calls.get()
            if call is not None and call.nests:
                _make(call)
            elif call is not None:
                self._later.append(call)
        return answer.result()

    def _run(self) -> None:
        is_over = False
        while not is_over:
            call = self._later.popleft() if self._later else self._calls.get()
            if call is not None:
                _make(call)
                is_over = call.is_last
        with self._lock:
            self._has_ended = True
        self._make_all()

    def _make_all(self) -> None:
        """Let those that came too late be told so by what they call."""
        while self._later:
            _make(self._later.popleft())
        try:
            while True:
                call = self._calls.get_nowait()
                if call is not None:
                    _make(call)
        except Empty:
            pass


def _make(call: _Call) -> None:
    try:
        result = call.make()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        call.result.set_exception(error)
    else:
        call.result.set_result(result)
