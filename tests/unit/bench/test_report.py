"""What a benchmark writes down."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.report import Figure, Report, publish


def report(value: float) -> Report:
    figures = {"ratio": Figure(value, "times plain", 1.5), "runs_s": Figure([1.0, 2.25], "s")}
    return Report("ready", figures, {"kubernetes": "v1"}, {"cores": 2})


@pytest.mark.parametrize(("value", "holds"), [(1.4, True), (1.5, True), (1.51, False)])
def test_it_holds_when_every_figure_keeps_its_limit(value: float, *, holds: bool) -> None:
    assert report(value).holds is holds


def test_the_file_has_each_figure_under_its_name_with_versions_and_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = io.StringIO()
    publish(report(1.6), Console(file=shown, width=100))
    written = json.loads((tmp_path / "build" / "bench" / "ready.json").read_text())
    assert written["ratio"] == 1.6
    assert written["runs_s"] == [1.0, 2.25]
    assert written["figures"]["ratio"] == {"value": 1.6, "unit": "times plain", "limit": 1.5}
    assert written["holds"] is False
    assert written["versions"] == {"kubernetes": "v1"}
    assert written["conditions"] == {"cores": 2}
    assert "missed" in shown.getvalue()
