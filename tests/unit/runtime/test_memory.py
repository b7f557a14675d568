"""A process that keeps many objects looks for garbage seldom, but does look."""

import gc
from collections.abc import Iterator

import pytest

from sidestream.runtime.memory import keep_many_objects


@pytest.fixture(autouse=True)
def pace() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_reading_a_large_object_is_no_reason_to_look_through_everything() -> None:
    gc.set_threshold(700, 10, 10)
    rounds: list[int] = []
    gc.callbacks.append(lambda phase, info: rounds.append(info["generation"]) if phase == "start" else None)
    try:
        [{"name": number} for number in range(20_000)]
        before = len(rounds)
        keep_many_objects()
        rounds.clear()
        [{"name": number} for number in range(20_000)]
    finally:
        gc.callbacks.pop()

    assert before > 10
    assert len(rounds) <= 1
    assert gc.isenabled()
