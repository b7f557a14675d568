"""Random values for tests that use many of them at once are the same in every run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

from flow.wire.drawing import drawn

TESTS = Path(__file__).parents[2]
NUMBERS = st.integers(0, 10_000)


def test_the_same_values_come_in_every_run() -> None:
    assert drawn(NUMBERS, 20, salt=1) == drawn(NUMBERS, 20, salt=1)


def test_they_do_so_whatever_else_is_imported() -> None:
    program = """
import sys
sys.path[:0] = [{tests!r}]
{more}
from hypothesis import strategies as st
from flow.wire.drawing import drawn
print(drawn(st.lists(st.integers(0, 10**12), min_size=3), 20, salt=1))
"""
    outputs = set()
    for more in ("", "import sidestream.kube.client, sidestream_sdk"):
        code = program.format(tests=str(TESTS), more=more)
        outputs.add(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)

    assert len(outputs) == 1


def test_another_salt_gives_others() -> None:
    assert drawn(NUMBERS, 20, salt=1) != drawn(NUMBERS, 20, salt=2)


def test_no_two_are_equal_and_all_are_telling() -> None:
    values = drawn(NUMBERS, 20, salt=1, telling=lambda number: number % 2 == 0)

    assert len(set(values)) == 20
    assert all(value % 2 == 0 for value in values)


def test_too_few_are_an_error() -> None:
    with pytest.raises(AssertionError, match="only 2 different values"):
        drawn(st.booleans(), 20, salt=1)
