from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from sidestream_sdk.worker import Worker

DEADLINE = 10.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("worker-under-test")
    yield worker
    if worker._thread.is_alive():
        worker.submit(lambda: None, is_last=True).result(DEADLINE)


def test_calls_are_made_in_order_on_one_thread(worker: Worker) -> None:
    made: list[tuple[int, str]] = []
    calls = [
        worker.submit(lambda number=number: made.append((number, threading.current_thread().name)))  # type: ignore[misc]
        for number in range(100)
    ]
    for call in calls:
        call.result(DEADLINE)

    assert made == [(number, "worker-under-test") for number in range(100)]


def test_what_a_call_raises_is_raised_where_it_is_asked_for_and_the_next_is_made(worker: Worker) -> None:
    failing = worker.submit(lambda: 1 // 0)

    assert worker.submit(lambda: "next").result(DEADLINE) == "next"
    with pytest.raises(ZeroDivisionError):
        failing.result(DEADLINE)


def test_while_a_callback_is_waited_for_only_calls_that_nest_are_made(worker: Worker) -> None:
    answer: Future[str] = Future()
    order: list[str] = []

    def read() -> str:
        order.append("read")
        got = worker.wait_for(answer)
        order.append("read on")
        return got

    reading = worker.submit(read, nests=False)
    second = worker.submit(lambda: order.append("second read"), nests=False)
    worker.submit(lambda: order.append("commit")).result(DEADLINE)
    third = worker.submit(lambda: order.append("third read"), nests=False)
    worker.submit(lambda: order.append("commit")).result(DEADLINE)
    answer.set_result("yes")

    assert reading.result(DEADLINE) == "yes"
    second.result(DEADLINE)
    third.result(DEADLINE)
    assert order == ["read", "commit", "commit", "read on", "second read", "third read"]


def test_callbacks_may_be_waited_for_within_callbacks(worker: Worker) -> None:
    outer: Future[str] = Future()
    inner: Future[str] = Future()
    first = worker.submit(lambda: worker.wait_for(outer))
    second = worker.submit(lambda: worker.wait_for(inner))
    outer.set_result("outer")
    worker.submit(lambda: None).result(DEADLINE)
    inner.set_result("inner")

    assert (first.result(DEADLINE), second.result(DEADLINE)) == ("outer", "inner")


def test_a_callback_that_fails_fails_the_call(worker: Worker) -> None:
    answer: Future[str] = Future()
    answer.set_exception(ValueError("the application's own"))

    with pytest.raises(ValueError, match="own"):
        worker.submit(lambda: worker.wait_for(answer)).result(DEADLINE)


def test_after_the_last_call_nothing_is_taken_and_what_came_before_is_made(worker: Worker) -> None:
    gate = threading.Event()
    worker.submit(lambda: gate.wait(DEADLINE))
    last = worker.submit(lambda: "last", is_last=True)
    late = worker.submit(lambda: "late")
    gate.set()

    assert (last.result(DEADLINE), late.result(DEADLINE)) == ("last", "late")
    worker._thread.join(DEADLINE)
    assert not worker._thread.is_alive()
    with pytest.raises(RuntimeError, match="Consumer closed"):
        worker.submit(lambda: None)
