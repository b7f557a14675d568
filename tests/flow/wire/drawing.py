"""Random values from Hypothesis as a list: the same ones in every run, for tests that use them all at once.

Hypothesis now and then takes a constant from the modules that happen to be imported; here it must not, for these are
others when other tests run too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import HypothesisProvider

Value = TypeVar("Value")

_TRIES: Final = 60
"""Random values for each that is kept, at most."""

_SPARE: Final = 4
"""Telling values for each that is kept: neighbours are often variations of each other."""


class _EnoughError(Exception):
    """Ends the drawing."""


def drawn(
    strategy: st.SearchStrategy[Value], count: int, *, salt: int, telling: Callable[[Value], bool] = lambda _: True
) -> list[Value]:
    """So many telling values that differ from each other; another `salt` gives others."""
    found: dict[str, Value] = {}

    @seed(salt)
    @settings(
        max_examples=_TRIES * count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(strategy)
    def collect(value: Value) -> None:
        if telling(value):
            found.setdefault(repr(value), value)
        if len(found) == _SPARE * count:
            raise _EnoughError

    with patch.object(HypothesisProvider, "_maybe_draw_constant", return_value=None), suppress(_EnoughError):
        collect()
    values = list(found.values())[:: max(1, len(found) // count)][:count]
    assert len(values) == count, f"only {len(values)} different values"
    return values
