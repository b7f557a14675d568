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


@pytest.mark.parametrize(
    ("figure", "holds", "shown"),
    [
        pytest.param(Figure(0.79, "", at_least=0.8), False, "at least 0.80", id="under what it has to reach"),
        pytest.param(Figure(0.8, "", at_least=0.8), True, "at least 0.80", id="just reaches it"),
        pytest.param(Figure(7, "", at_least=0.8), True, "at least 0.80", id="far over it"),
        pytest.param(Figure(0.5, "", 1.0, 0.8), False, "at most 1.00, at least 0.80", id="under the lower of two"),
        pytest.param(Figure(1.5, "", 1.0, 0.8), False, "at most 1.00, at least 0.80", id="over the upper of two"),
        pytest.param(Figure(0.9, "", 1.0, 0.8), True, "at most 1.00, at least 0.80", id="between two"),
        pytest.param(Figure([0.1, 0.2], "", at_least=0.8), False, "at least 0.80", id="runs, which are no number"),
        pytest.param(Figure(0.1, ""), True, "", id="without a limit"),
    ],
)
def test_a_figure_may_have_to_stay_over_a_limit_too(figure: Figure, shown: str, *, holds: bool) -> None:
    assert figure.holds is holds
    assert figure.limits == shown
    assert figure.has_limit is bool(shown)


def test_the_file_has_each_figure_under_its_name_with_versions_and_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = io.StringIO()
    publish(report(1.6), Console(file=shown, width=100))
    written = json.loads((tmp_path / "build" / "bench" / "ready.json").read_text())
    assert written["ratio"] == 1.6
    assert written["runs_s"] == [1.0, 2.25]
    assert written["figures"]["ratio"] == {
        "value": 1.6,
        "unit": "times plain",
        "limit": 1.5,
        "at_least": None,
    }
    assert written["holds"] is False
    assert written["versions"] == {"kubernetes": "v1"}
    assert written["conditions"] == {"cores": 2}
    assert "missed" in shown.getvalue()
