from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.api.kafka import PartitionOffset
from sidestream.kafka import groups
from sidestream.kafka.port import Position, Topic, TopicPartition
from unit.kafka.scenes import P0, P1, at, ends

OFFSETS = st.integers(0, 1000)
PARTITIONS = st.builds(TopicPartition, st.sampled_from(["a", "b"]), st.integers(0, 3))


@pytest.mark.parametrize(
    ("committed", "start"),
    [
        pytest.param(Position(4, 2), Position(4, 2), id="where the baseline is, with its leader epoch"),
        pytest.param(Position(3), Position(3), id="at the first record that is kept"),
        pytest.param(Position(9), Position(9), id="at the end of the log"),
        pytest.param(None, Position(3), id="at the first record where the baseline has committed nothing"),
        pytest.param(Position(2, 1), Position(3), id="at the first record where the baseline's is deleted already"),
        pytest.param(Position(10, 1), Position(3), id="at the first record where the baseline is past the end"),
    ],
)
def test_a_fork_starts(committed: Position | None, start: Position) -> None:
    baseline = {} if committed is None else {P0: committed}
    assert groups.start_positions([P0], baseline, ends(3), ends(9)) == {P0: start}


@given(st.dictionaries(PARTITIONS, st.tuples(OFFSETS, OFFSETS, st.none() | OFFSETS), min_size=1))
def test_a_fork_never_starts_behind_a_record_that_the_baseline_has_not_finished(
    logs: dict[TopicPartition, tuple[int, int, int | None]],
) -> None:
    earliest = {item: min(log[:2]) for item, log in logs.items()}
    latest = {item: max(log[:2]) for item, log in logs.items()}
    committed = {item: Position(log[2]) for item, log in logs.items() if log[2] is not None}
    start = groups.start_positions(logs.keys(), committed, earliest, latest)
    assert start.keys() == logs.keys()
    for item, position in start.items():
        assert earliest[item] <= position.offset <= latest[item]
        if item in committed:
            assert position.offset <= max(committed[item].offset, earliest[item])


@pytest.mark.parametrize(
    ("own", "until", "passed"),
    [
        pytest.param(at(5, 7), ends(5, 7), True, id="at the end of each partition"),
        pytest.param(at(6, 8), ends(5, 7), True, id="past the end, where new records came"),
        pytest.param(at(5, 6), ends(5, 7), False, id="one record short"),
        pytest.param(at(5), ends(5, 7), False, id="nothing committed on one partition"),
        pytest.param({}, {}, True, id="nothing to work off"),
    ],
)
def test_a_fork_is_through(
    own: dict[TopicPartition, Position], until: dict[TopicPartition, int], *, passed: bool
) -> None:
    assert groups.has_passed(own, until) is passed


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        pytest.param({}, True, id="without offsets"),
        pytest.param(at(5), True, id="with some of ours"),
        pytest.param(at(5, 7), True, id="with all of ours"),
        pytest.param(at(5, 8), False, id="with another offset"),
        pytest.param({TopicPartition("else", 0): Position(5)}, False, id="with another topic"),
    ],
)
def test_a_group_may_be_ours(own: dict[TopicPartition, Position], *, ours: bool) -> None:
    assert groups.agrees(own, ends(5, 7)) is ours


def test_a_status_lists_offsets_sorted_and_gives_them_back() -> None:
    offsets = {P1: 7, TopicPartition("a", 10): 1, P0: 5, TopicPartition("a", 9): 2}
    rows = groups.to_status(offsets)
    assert [(row.topic, row.partition) for row in rows] == [("a", 9), ("a", 10), (P0.topic, 0), (P1.topic, 1)]
    assert rows[0] == PartitionOffset(topic="a", partition=9, offset=2)
    assert groups.from_status(rows) == offsets


def test_partitions_are_numbered_from_zero() -> None:
    assert groups.partitions_of([Topic("a", "id", 2)]) == {TopicPartition("a", 0), TopicPartition("a", 1)}
