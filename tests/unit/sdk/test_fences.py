from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream_sdk.fences import (
    Bounds,
    Due,
    Fence,
    FencedChange,
    State,
    Verdict,
    acknowledged,
    baseline_verdict,
    bounds,
    due,
    fork_verdict,
    is_ready,
    needs_end,
    parse_changes,
    settled,
)
from sidestream_sdk.notes import Kind, Notes

numbers = st.integers(0, 20)


def change(fence: Fence | None, name: str = "c1", sandbox: str = "alice") -> FencedChange:
    return FencedChange(name, sandbox, "alice", "g", "Active", {} if fence is None else {0: fence})


@st.composite
def closed_bounds(draw: st.DrawFn) -> Bounds:
    begin, hold, until = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Bounds(begin, hold, until, is_aware=True)


@given(closed_bounds(), numbers)
def test_with_all_numbers_known_each_record_has_one_owner(item: Bounds, offset: int) -> None:
    sides = {baseline_verdict([item], offset), fork_verdict([item], offset)}

    assert sides == {Verdict.TAKE, Verdict.SKIP}


@given(item=closed_bounds(), knows_until=st.booleans(), knows_begin=st.booleans(), offset=numbers)
def test_what_is_decided_early_is_decided_alike_once_all_is_known(
    *, item: Bounds, knows_until: bool, knows_begin: bool, offset: int
) -> None:
    """Of a fork: the baseline acknowledges by the end of the log, so it has not read what a later number changes."""
    early = Bounds(item.begin if knows_begin else None, item.hold, item.until if knows_until else None, is_aware=True)

    verdict = fork_verdict([early], offset)

    assert verdict in {Verdict.HOLD, fork_verdict([item], offset)}


@given(st.lists(closed_bounds(), max_size=3), numbers)
def test_of_several_changes_the_baseline_leaves_what_any_fork_has(items: list[Bounds], offset: int) -> None:
    owned = any(fork_verdict([item], offset) is Verdict.TAKE for item in items)

    assert (baseline_verdict(items, offset) is Verdict.SKIP) == owned


def test_of_several_claims_of_a_fork_holding_comes_before_taking() -> None:
    taken, unknown, not_listed = (
        Bounds(0, None, None),
        Bounds(None, None, None, is_aware=True),
        Bounds(None, None, None),
    )

    assert fork_verdict([taken, unknown], 5) is Verdict.HOLD
    assert fork_verdict([taken, not_listed], 5) is Verdict.TAKE
    assert fork_verdict([], 5) is Verdict.SKIP


def test_what_the_mapping_says_comes_before_the_notes() -> None:
    notes = Notes(acks={"c1": {Kind.FROM: 12, Kind.HOLD: 14}})

    assert bounds(change(Fence(State.FREEZE, 10)), 0, notes) == Bounds(10, 14, None, is_aware=True)
    assert bounds(change(None), 0, notes) == Bounds(12, 14, None, is_aware=False)


@pytest.mark.parametrize("state", [*State, None])
def test_each_state_asks_one_side_at_most_and_only_once(state: State | None) -> None:
    item = change(Fence(state, 10, 12, 15))

    asked = [(side, found) for side in (None, "alice") for found in due([item], 0, Notes(), sandbox=side)]

    assert len(asked) == (0 if state in {State.FROM, State.UNTIL, None} else 1)
    for side, found in asked:
        assert list(due([item], 0, Notes().with_ack("c1", found.kind, 1), sandbox=side)) == []
        assert list(due([item], 1, Notes(), sandbox=side)) == [], "of a partition that is not listed"
        assert list(due([change(Fence(state), sandbox="bob")], 0, Notes(), sandbox="alice")) == []


@given(position=numbers, end=numbers, hold=numbers)
def test_the_baselines_numbers_lie_behind_all_that_anybody_has_read(position: int, end: int, hold: int) -> None:
    for kind in (Kind.FROM, Kind.UNTIL):
        value = acknowledged(Due("c1", kind, hold), position=position, end=end)
        assert value >= max(position, end, hold)


def test_without_the_end_of_the_log_there_is_no_number() -> None:
    with pytest.raises(ValueError, match="end of the log"):
        acknowledged(Due("c1", Kind.FROM), position=3, end=None)
    assert needs_end(Due("c1", Kind.UNTIL))
    assert not needs_end(Due("c1", Kind.HOLD))


def test_the_interval_is_passed_only_when_it_is_committed_past() -> None:
    (asked,) = due([change(Fence(State.RETIRE, 10, 12, 15))], 0, Notes(), sandbox=None)

    assert not is_ready(asked, committed=14)
    assert is_ready(asked, committed=15)
    assert is_ready(Due("c1", Kind.FROM), committed=0)


def test_acknowledgements_of_a_change_that_is_gone_are_forgotten() -> None:
    notes = Notes(3, "a", {"c1": {Kind.FROM: 10}, "c2": {Kind.FROM: 10}}, "app")

    assert settled(notes, [change(Fence(State.ASK))], 0) == Notes(3, "a", {"c1": {Kind.FROM: 10}}, "app")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({}, id="no list"),
        pytest.param([{"id": "c1"}], id="fields missing"),
        pytest.param(
            [
                {
                    "id": "c",
                    "sandbox": "a",
                    "key": "a",
                    "group": "g",
                    "phase": "p",
                    "partitions": {"x": {"state": "From"}},
                }
            ],
            id="a partition that is no number",
        ),
        pytest.param(
            [{"id": "c", "sandbox": "a", "key": "a", "group": "g", "phase": "p", "partitions": {"0": {}}}],
            id="no state",
        ),
        pytest.param(
            [
                {
                    "id": "c",
                    "sandbox": "a",
                    "key": "a",
                    "group": "g",
                    "phase": "p",
                    "partitions": {"0": {"state": "From", "from": "10"}},
                }
            ],
            id="from that is no number",
        ),
    ],
)
def test_what_is_not_shaped_like_changes_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_changes(raw, "orders.created")
