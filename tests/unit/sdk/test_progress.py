from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidestream_sdk.progress import Place, SkipProgress

P0: Place = ("orders", 0)
P1: Place = ("orders", 1)


def test_a_run_of_skipped_records_may_be_committed_past() -> None:
    progress = SkipProgress()
    for offset in (7, 8, 9):
        progress.skipped(P0, offset)
    progress.skipped(P1, 3)

    assert progress.take_due() == [(P0, 10), (P1, 4)]
    assert progress.take_due() == []


def test_not_while_a_record_before_them_is_in_the_applications_hands() -> None:
    progress = SkipProgress()
    progress.given(P0, 7)
    progress.skipped(P0, 8)
    assert progress.take_due() == []

    progress.acknowledged(P0, 8)
    assert progress.take_due() == [(P0, 9)]


def test_acknowledging_only_the_first_of_two_is_not_enough() -> None:
    progress = SkipProgress()
    progress.given(P0, 7)
    progress.given(P0, 8)
    progress.skipped(P0, 9)

    progress.acknowledged(P0, 8)
    assert progress.take_due() == []
    progress.acknowledged(P0, 9)
    assert progress.take_due() == [(P0, 10)]


def test_committing_the_last_record_once_more_does_not_take_the_progress_back() -> None:
    progress = SkipProgress()
    progress.given(P0, 7)
    progress.acknowledged(P0, 8)
    progress.skipped(P0, 8)
    assert progress.take_due() == [(P0, 9)]

    progress.acknowledged(P0, 8)
    assert progress.take_due() == [(P0, 9)], "the application's commit put the group back to 8"


def test_turning_back_on_purpose_is_left_alone() -> None:
    progress = SkipProgress()
    progress.given(P0, 7)
    progress.acknowledged(P0, 8)
    progress.skipped(P0, 8)

    progress.acknowledged(P0, 5)
    assert progress.take_due() == []


def test_a_commit_of_everything_includes_what_was_skipped() -> None:
    progress = SkipProgress()
    progress.given(P0, 7)
    progress.skipped(P0, 8)
    progress.acknowledged_all()
    assert progress.take_due() == []

    progress.skipped(P0, 9)
    assert progress.take_due() == [(P0, 10)]


def test_a_partition_that_was_taken_away_is_forgotten() -> None:
    progress = SkipProgress()
    progress.skipped(P0, 7)
    progress.skipped(P1, 7)
    progress.forget([P0, ("unknown", 0)])

    assert progress.take_due() == [(P1, 8)]


@given(steps=st.lists(st.sampled_from(["skip", "give", "acknowledge one", "acknowledge last", "look"]), max_size=40))
def test_nothing_is_ever_committed_past_a_record_in_the_applications_hands(steps: list[str]) -> None:
    progress = SkipProgress()
    offset = 0
    pending: list[int] = []
    for step in steps:
        match step:
            case "skip":
                progress.skipped(P0, offset)
                offset += 1
            case "give":
                progress.given(P0, offset)
                pending.append(offset)
                offset += 1
            case "acknowledge one" if pending:
                progress.acknowledged(P0, pending.pop(0) + 1)
            case "acknowledge last" if pending:
                progress.acknowledged(P0, pending[-1] + 1)
                pending.clear()
            case _:
                for _, due in progress.take_due():
                    assert all(due <= record for record in pending)
                    assert due <= offset
    if not pending and steps and steps[-1] == "skip":
        assert progress.take_due() == [(P0, offset)]


@dataclass(frozen=True)
class At:
    place: Place
    number: int

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.number


rare = ["acknowledge all", "turn back", "forget", "look"]
steps_at_places = st.lists(
    st.tuples(
        st.sampled_from(["skip", "give", "acknowledge"]) | st.sampled_from(rare), st.sampled_from([P0, ("payments", 0)])
    ),
    min_size=3,
    max_size=20,
)


@example(steps=[("give", P0), ("skip", P0), ("acknowledge", P0)])
@settings(max_examples=500)
@given(steps=steps_at_places)
def test_notes_that_are_read_late_come_to_the_same_as_telling_each_record_at_once(
    steps: list[tuple[str, Place]],
) -> None:
    told, noted = SkipProgress(), SkipProgress()
    last_given: dict[Place, int] = {}
    for offset, (step, place) in enumerate(steps):
        match step:
            case "skip":
                told.skipped(place, offset)
                noted.of(place[0]).note(At(place, offset), taken=False)
            case "give":
                last_given[place] = offset
                told.given(place, offset)
                noted.of(place[0]).note(At(place, offset), taken=True)
            case "acknowledge":
                next_offset = last_given.get(place, 0) + 1
                told.acknowledged(place, next_offset)
                noted.acknowledged(place, next_offset)
            case "turn back":
                told.acknowledged(place, offset // 2)
                noted.acknowledged(place, offset // 2)
            case "acknowledge all":
                told.acknowledged_all()
                noted.acknowledged_all()
            case "forget":
                told.forget([place])
                noted.forget([place])
            case _:
                assert sorted(told.take_due()) == sorted(noted.take_due())

    assert sorted(told.take_due()) == sorted(noted.take_due())
