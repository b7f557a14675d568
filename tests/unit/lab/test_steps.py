import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream_lab.errors import LabError
from sidestream_lab.steps import Stamp, Task, digest, run_steps

PATIENCE_SECONDS = 30


class Diary:
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, name: str, why: str, seconds: float) -> None:
        self.lines.append(f"{name} started: {why}, {seconds:.0f} s")

    def ended(self, name: str, seconds: float) -> None:
        self.lines.append(f"{name} ended in time: {seconds < PATIENCE_SECONDS}")

    def failed(self, name: str, seconds: float) -> None:
        self.lines.append(f"{name} failed in time: {seconds < PATIENCE_SECONDS}")


def task(name: str, run: Callable[[], None], *needs: str, done: bool = False) -> Task:
    return Task(name=name, why="a reason", seconds=5, run=run, is_done=lambda: done, needs=needs)


def nothing() -> None:
    pass


def no_log(name: str) -> Path:
    return Path("/nonexistent") / name


def test_a_step_runs_after_those_that_it_needs() -> None:
    order: list[str] = []
    run_steps(
        [
            task("roof", lambda: order.append("roof"), "wall"),
            task("wall", lambda: order.append("wall"), "ground"),
            task("ground", lambda: order.append("ground")),
        ],
        Diary(),
        no_log,
    )
    assert order == ["ground", "wall", "roof"]


def test_what_is_done_is_neither_run_nor_told() -> None:
    diary = Diary()
    run_steps([task("old", lambda: pytest.fail("was run"), done=True), task("new", nothing, "old")], diary, no_log)
    assert diary.lines == ["new started: a reason, 5 s", "new ended in time: True"]


def test_steps_that_do_not_wait_for_each_other_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)

    def meet() -> None:
        meeting.wait(timeout=PATIENCE_SECONDS)

    run_steps([task("here", meet), task("there", meet)], Diary(), no_log)


def test_the_log_of_an_earlier_attempt_is_gone_when_a_step_begins(tmp_path: Path) -> None:
    for name in ("again", "done"):
        (tmp_path / name).write_text("earlier")
    seen: list[bool] = []
    steps = [task("again", lambda: seen.append((tmp_path / "again").exists())), task("done", nothing, done=True)]
    run_steps(steps, Diary(), lambda name: tmp_path / name)
    assert seen == [False]
    assert (tmp_path / "done").read_text() == "earlier"


def test_a_failure_is_raised_and_what_needs_it_is_not_run() -> None:
    def fail() -> None:
        raise LabError("no luck")

    diary = Diary()
    with pytest.raises(LabError, match="no luck"):
        run_steps([task("first", fail), task("second", lambda: pytest.fail("was run"), "first")], diary, no_log)
    assert diary.lines[-1] == "first failed in time: True"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([task("a", nothing, "b"), task("b", nothing, "a")], id="in a ring"),
        pytest.param([task("a", nothing, "unknown")], id="on an unknown step"),
    ],
)
def test_steps_that_would_wait_for_ever_are_refused(steps: list[Task]) -> None:
    with pytest.raises(ValueError, match="can never start: a"):
        run_steps(steps, Diary(), no_log)


@given(st.lists(st.one_of(st.text(), st.binary()), max_size=4), st.lists(st.one_of(st.text(), st.binary()), max_size=4))
def test_different_inputs_have_different_digests(one: list[str | bytes], two: list[str | bytes]) -> None:
    def as_bytes(items: list[str | bytes]) -> list[bytes]:
        return [item.encode() if isinstance(item, str) else item for item in items]

    assert (digest(*one) == digest(*two)) == (as_bytes(one) == as_bytes(two))


def test_a_folders_digest_changes_with_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = digest(tmp_path)
    (tmp_path / "a").write_text("y")
    second = digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest(tmp_path)}) == 3


def test_a_stamp_holds_for_the_inputs_that_it_was_set_with(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "folder" / "stamp", "1")
    assert not stamp.is_set()
    stamp.set()
    assert stamp.is_set()
    assert not Stamp(stamp.file, "2").is_set()
