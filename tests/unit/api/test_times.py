from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.api.times import format_micro_time, format_time, parse_duration, parse_time

HUNDRED_YEARS = 36_500 * 24 * 3600 * 10**6
MOMENTS = st.integers(-HUNDRED_YEARS // 3, HUNDRED_YEARS).map(
    lambda microseconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30m", timedelta(minutes=30)),
        ("8h", timedelta(hours=8)),
        ("3d12h", timedelta(days=3, hours=12)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0s", timedelta(0)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "4s3m", "1.5h", "-1h", "1h1h", "1w", "²s", "5s\n"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration; write it like 30m, 8h or 3d12h"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36501d", "9" * 30 + "d"])
def test_a_duration_ends_at_a_hundred_years(text: str) -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration(text)


@given(MOMENTS)
def test_times_survive_writing_and_reading(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)
    assert parse_time(format_micro_time(moment)) == moment


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 12, 1, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-12-01T00:30:00Z"
    assert format_micro_time(moment) == "2026-12-01T00:30:00.000000Z"


@pytest.mark.parametrize("text", ["2026-12-01T00:00:00", "tomorrow", ""])
def test_a_time_without_offset_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)
