from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FakeClock
from sidestream_sdk.pace import (
    FIRST_PAUSE_SECONDS,
    LONGEST_WAIT_SECONDS,
    PLAIN_SECONDS,
    RETRY_SECONDS,
    Outcome,
    Pace,
)


class Asking:
    """A consumer's pace, its requests taking as long as a test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pace = Pace(self.clock.monotonic)

    def ask(self, outcome: Outcome, *, took: float = 0.0, interval: float | None = 10.0) -> tuple[float, float]:
        """The wait asked for, and the pause afterwards."""
        wait = self.pace.begin(interval)
        self.clock.move(took)
        return wait, self.pace.pause(outcome, interval)


def test_a_service_that_waited_is_asked_again_at_once() -> None:
    assert Asking().ask(Outcome.UNCHANGED, took=5.0) == (5.0, 0.0)


def test_a_service_that_does_not_wait_is_polled_twice_an_interval() -> None:
    asking = Asking()

    assert asking.ask(Outcome.UNCHANGED, took=0.25) == (5.0, 4.75)
    assert asking.ask(Outcome.UNCHANGED, took=0.25) == (5.0, 4.75)


def test_without_a_mapping_there_is_nothing_to_wait_for() -> None:
    assert Asking().ask(Outcome.FAILED, interval=None)[0] == 0.0


def test_however_long_the_interval_the_wait_is_bounded() -> None:
    assert Asking().ask(Outcome.UNCHANGED, took=25.0, interval=3600.0) == (LONGEST_WAIT_SECONDS, 0.0)


def test_changes_one_right_after_the_other_are_asked_for_more_and_more_slowly() -> None:
    asking = Asking()

    pauses = [asking.ask(Outcome.CHANGED, took=0.01)[1] for _ in range(6)]

    assert pauses == [0.1, 0.2, 0.4, 0.8, RETRY_SECONDS, RETRY_SECONDS]
    assert asking.ask(Outcome.CHANGED, took=3.0)[1] == FIRST_PAUSE_SECONDS, "a change after a quiet time"


def test_failures_are_backed_off_from() -> None:
    asking = Asking()

    assert [asking.ask(Outcome.FAILED)[1] for _ in range(5)] == [0.1, 0.2, 0.4, 0.8, RETRY_SECONDS]


def test_a_service_that_is_back_says_so_before_it_is_left_to_wait() -> None:
    asking = Asking()
    asking.ask(Outcome.FAILED)

    assert asking.ask(Outcome.UNCHANGED) == (0.0, FIRST_PAUSE_SECONDS)
    assert asking.ask(Outcome.UNCHANGED, took=5.0) == (5.0, 0.0)


def test_a_service_without_room_is_polled_for_a_while() -> None:
    asking = Asking()

    assert asking.ask(Outcome.NO_ROOM) == (5.0, FIRST_PAUSE_SECONDS)
    assert asking.ask(Outcome.UNCHANGED, took=1.0) == (0.0, 4.0)
    asking.clock.move(PLAIN_SECONDS)
    assert asking.ask(Outcome.UNCHANGED, took=5.0) == (5.0, 0.0)


def test_an_unknown_consumer_is_asked_for_once_a_second() -> None:
    assert Asking().ask(Outcome.UNKNOWN)[1] == RETRY_SECONDS


intervals = st.floats(3.0, 3600.0)
histories = st.lists(st.tuples(st.sampled_from(Outcome), st.floats(0.0, 40.0)), max_size=6)


@given(histories, intervals)
def test_whatever_went_before_a_connection_that_dies_silently_costs_no_interval(
    history: list[tuple[Outcome, float]], interval: float
) -> None:
    """The operator waits one interval: the request that hangs, the pause, and a request that does not have to fit."""
    asking = Asking()
    for outcome, took in history:
        asking.ask(outcome, took=took, interval=interval)

    wait = asking.pace.begin(interval)
    timeout = asking.pace.timeout(interval)
    asking.clock.move(timeout)
    pause = asking.pace.pause(Outcome.FAILED, interval)

    assert 0.999 <= timeout - wait <= 5.001, "a busy service gets some patience"
    assert timeout + pause <= 0.95 * interval
    assert asking.pace.begin(interval) == 0.0, "and is answered at once"


@given(histories, intervals)
def test_no_pause_is_longer_than_half_an_interval(history: list[tuple[Outcome, float]], interval: float) -> None:
    asking = Asking()
    for outcome, took in history:
        _, pause = asking.ask(outcome, took=took, interval=interval)
        assert pause <= interval / 2


@pytest.mark.parametrize(
    ("outcome", "interval"), [(outcome, interval) for outcome in Outcome for interval in (None, 0.1, 10.0)]
)
def test_every_outcome_has_a_pause(outcome: Outcome, interval: float | None) -> None:
    ask: Callable[..., tuple[float, float]] = Asking().ask

    assert ask(outcome, interval=interval)[1] >= 0
