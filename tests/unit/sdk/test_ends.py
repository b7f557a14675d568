"""Ends of logs are read beside the record loop, and only answers from after the question count."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import pytest
from confluent_kafka import KafkaError, KafkaException

from sidestream_demo.process import wait_until
from sidestream_sdk.ends import PATIENCE_SECONDS, Ends
from sidestream_sdk.progress import Place

P0, P1 = ("orders", 0), ("orders", 1)


class Log:
    """Ends that grow, read when the test says so."""

    def __init__(self) -> None:
        self.end = 10
        self.now = 100.0
        self.waiting: list[Callable[[], None]] = []
        self.ends = Ends(self.read, self.waiting.append, monotonic=lambda: self.now)

    def read(self, places: Collection[Place]) -> dict[Place, int]:
        return dict.fromkeys(places, self.end)

    def answer(self) -> None:
        self.waiting.pop()()


def test_nothing_is_known_before_the_answer() -> None:
    log = Log()
    assert log.ends.of([P0]) is None
    assert log.ends.of([P0]) is None
    assert len(log.waiting) == 1
    log.answer()
    assert log.ends.of([P0]) == {P0: 10}


def test_each_question_is_asked_anew() -> None:
    log = Log()
    log.ends.of([P0])
    log.answer()
    log.ends.of([P0])
    log.end = 15
    assert log.ends.of([P0]) is None
    log.answer()
    assert log.ends.of([P0]) == {P0: 15}


def test_an_answer_to_a_question_about_fewer_partitions_is_not_taken() -> None:
    log = Log()
    log.ends.of([P0])
    log.answer()
    assert log.ends.of([P0, P1]) is None
    log.answer()
    assert log.ends.of([P0, P1]) == {P0: 10, P1: 10}


def test_an_answer_from_before_a_rebalance_is_not_taken() -> None:
    log = Log()
    log.ends.of([P0])
    log.ends.forget()
    log.answer()
    log.end = 12
    assert log.ends.of([P0]) is None
    log.answer()
    assert log.ends.of([P0]) == {P0: 12}


def test_a_question_that_is_never_answered_is_asked_once_more() -> None:
    log = Log()
    log.ends.of([P0])
    lost = log.waiting.pop()
    log.now += PATIENCE_SECONDS - 1
    assert log.ends.of([P0]) is None
    assert log.waiting == []

    log.now += 1
    assert log.ends.of([P0]) is None
    log.end = 15
    log.answer()
    log.end = 20
    lost()

    assert log.ends.of([P0]) == {P0: 15}


def test_a_broker_that_does_not_answer_leaves_all_of_them_out() -> None:
    def fail(_: Collection[Place]) -> dict[Place, int]:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    ends = Ends(fail, lambda read: read())
    assert ends.of([P0]) == {}


def test_by_default_a_thread_reads_and_the_loop_goes_on() -> None:
    may_go, is_done = threading.Event(), threading.Event()

    def read(places: Collection[Place]) -> dict[Place, int]:
        may_go.wait(10)
        is_done.set()
        return dict.fromkeys(places, 1)

    ends = Ends(read)
    assert ends.of([P0]) is None
    may_go.set()
    assert is_done.wait(10)
    wait_until(lambda: ends.of([P0]) == {P0: 1}, 10, "the answer")


def test_whatever_goes_wrong_the_next_question_is_asked() -> None:
    waiting: list[Callable[[], None]] = []

    def read(_: Collection[Place]) -> dict[Place, int]:
        raise ValueError("nobody expected this")

    ends = Ends(read, waiting.append)
    assert ends.of([P0]) is None
    with pytest.raises(ValueError, match="nobody expected this"):
        waiting.pop()()
    assert ends.of([P0]) == {}
    assert ends.of([P0]) is None
    assert len(waiting) == 1
