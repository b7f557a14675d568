"""Whether the hand-off's benchmark would see a fault, and does not see one where there is none."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.handoff.handled import BASELINE, NOBODY, Handled, Place, append, read
from bench.handoff.verdict import Verdict, percentile, throughput_ratio, verdict

TOPIC = "orders"


def handled(version: str, offset: int, moment: float, *, tenant: str = "alice", key: str = "a") -> Handled:
    """A record of a topic whose sequence is its offset, at a moment."""
    return Handled(version, f"{version}-0", Place(TOPIC, 0, offset), tenant, key, offset, moment)


def verdict_of(lines: Iterable[Handled], *, end: int = 3) -> Verdict:
    return verdict(lines, {(TOPIC, 0): end})


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        pytest.param(
            [handled(BASELINE, 0, 1), handled("alice", 1, 1), handled(BASELINE, 2, 2)],
            {},
            id="each by one version, which changes twice",
        ),
        pytest.param([handled(BASELINE, 0, 1), handled(BASELINE, 2, 2)], {"lost": [1]}, id="one by nobody"),
        pytest.param([handled(BASELINE, 0, 1), handled(BASELINE, 1, 2)], {"lost": [2]}, id="the last by nobody"),
        pytest.param(
            [*(handled(BASELINE, offset, offset) for offset in range(3)), handled("alice", 1, 9)],
            {"double": [1]},
            id="one by both",
        ),
        pytest.param(
            [*(handled(BASELINE, offset, offset) for offset in range(3)), handled(BASELINE, 1, 9)],
            {},
            id="one again by the same version, after all of its key",
        ),
        pytest.param(
            [handled(BASELINE, 0, 1), handled(BASELINE, 2, 2), handled(BASELINE, 1, 3)],
            {"reordered": [1]},
            id="an earlier one for the first time after a later one",
        ),
        pytest.param(
            [handled(BASELINE, 0, 1), handled(BASELINE, 2, 2), handled(BASELINE, 1, 3, key="b")],
            {},
            id="an earlier one of another key after a later one",
        ),
        pytest.param(
            [handled("alice", 2, 1), handled(BASELINE, 0, 2), handled(BASELINE, 1, 3)],
            {},
            id="the versions one behind the other",
        ),
        pytest.param(
            [handled(BASELINE, 0, 1), handled("bob", 1, 1), handled(BASELINE, 2, 2)],
            {"misplaced": [1]},
            id="one by the fork of another tenant",
        ),
        pytest.param(
            [handled(BASELINE, 0, 1), handled("alice", 1, 1, tenant=NOBODY), handled(BASELINE, 2, 2)],
            {"misplaced": [1]},
            id="one of nobody by a fork",
        ),
    ],
)
def test_it_sees_every_fault_and_no_other(lines: list[Handled], faults: dict[str, list[int]]) -> None:
    found = verdict_of(lines)

    assert [place.offset for place in found.lost] == faults.get("lost", [])
    assert [place.offset for place in found.double] == faults.get("double", [])
    assert [place.offset for place in found.misplaced] == faults.get("misplaced", [])
    assert [item.place.offset for item in found.reordered] == faults.get("reordered", [])
    assert found.faults == len(faults)


def test_the_order_is_that_of_the_moments_and_not_of_the_files() -> None:
    lines = [handled(BASELINE, offset, offset) for offset in (2, 0, 1)]

    assert verdict_of(lines).reordered == ()


def test_records_are_those_of_all_partitions() -> None:
    found = verdict([handled(BASELINE, 0, 1)], {(TOPIC, 0): 1, (TOPIC, 1): 2})

    assert found.records == 3
    assert found.lost == (Place(TOPIC, 1, 0), Place(TOPIC, 1, 1))


def test_it_counts_what_came_again_and_what_forks_had() -> None:
    lines = [handled(BASELINE, 0, 1), handled(BASELINE, 0, 2), handled("alice", 1, 3), handled("alice", 2, 4)]

    found = verdict_of(lines)

    assert (found.repeated, found.by_forks, found.faults) == (1, 2, 0)


def test_what_a_member_told_is_read_back_but_for_a_line_that_it_was_killed_in(tmp_path: Path) -> None:
    whole = handled(BASELINE, 0, 1.25)
    with (tmp_path / "baseline-0.handled").open("a") as file:
        append(file, whole)
        file.write(handled(BASELINE, 1, 1.5).line()[:-1])

    assert list(read(tmp_path)) == [whole]


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        pytest.param(50, 5, id="the median"),
        pytest.param(99, 10, id="the greatest of so few"),
        pytest.param(10, 1, id="the least"),
        pytest.param(1, 1, id="under the least"),
    ],
)
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_throughput_in_a_window_is_compared_to_that_before_it() -> None:
    fast, slow = [n / 10 for n in range(10)], [1 + n / 5 for n in range(5)]

    assert throughput_ratio([*fast, *slow], [(1.0, 2.0)]) == 0.5


def test_of_many_windows_each_has_its_weight() -> None:
    even, slow = [n / 10 for n in range(100)], [10 + n / 5 for n in range(5)]

    assert throughput_ratio([*even, *slow], [(2.0, 3.0), (10.0, 11.0)]) == 0.75
