import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from sidestream_lab import progress
from sidestream_lab.progress import LiveProgress, PlainProgress, duration, last_line, progress_for


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (0.96, "1.0 s"), (12.4, "12 s"), (59.6, "1 min 00 s"), (405, "6 min 45 s")]
)
def test_durations_are_said_as_a_person_does(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("written", "line"),
    [
        pytest.param("one\ntwo\n", "two", id="the last one"),
        pytest.param("one\n  \n\n", "one", id="not an empty one"),
        pytest.param("", "", id="none in an empty file"),
        pytest.param("x" * 10_000 + "\nend\n", "end", id="also in a long file"),
        pytest.param("50%\r80%\r", "80%", id="the last state of a counter"),
    ],
)
def test_the_last_line_of_a_log(tmp_path: Path, written: str, line: str) -> None:
    (tmp_path / "log").write_text(written)
    assert last_line(tmp_path / "log") == line


def test_a_log_that_does_not_exist_yet_has_no_last_line(tmp_path: Path) -> None:
    assert last_line(tmp_path / "log") == ""


def test_plain_progress_says_what_why_how_long_and_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.01)
    (tmp_path / "build").write_text("compiling things\n")
    lines: list[str] = []
    alive = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if "compiling things" in line:
            alive.set()

    with PlainProgress(lambda name: tmp_path / name, say) as plain:
        plain.started("build", "the programs", 405)
        assert alive.wait(timeout=30)
        plain.ended("build", 400)
    assert lines[0] == "build: the programs (about 6 min 45 s)"
    assert lines[1].endswith("of about 6 min 45 s; compiling things")
    assert lines[-1] == "build: done in 6 min 40 s"


def test_live_progress_leaves_a_line_of_what_has_ended(tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with LiveProgress(lambda name: tmp_path / name, console) as live:
        live.started("build", "the [programs]", 5)
        live.ended("build", 4)
    assert "done build the [programs] in 4 s" in screen.getvalue()


def test_only_a_terminal_gets_the_live_table(tmp_path: Path) -> None:
    terminal, pipe = Console(file=io.StringIO(), force_terminal=True), Console(file=io.StringIO())
    assert isinstance(progress_for(terminal, lambda name: tmp_path / name), LiveProgress)
    assert isinstance(progress_for(pipe, lambda name: tmp_path / name), PlainProgress)
