import signal
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sidestream_lab import __main__ as program
from sidestream_lab import cli, engine, up
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SIDESTREAM_LAB_NAME", "test")
    return Layout.from_environment()


def names(steps: list[Step]) -> list[str]:
    return [step.name for step in steps]


@pytest.mark.parametrize("world", World)
def test_every_step_needs_only_steps_that_stand_before_it(layout: Layout, world: World) -> None:
    seen: set[str] = set()
    for step in up.all_steps(Toolbox(layout, world)):
        assert seen.issuperset(step.needs), step.name
        seen.add(step.name)


@pytest.mark.parametrize("world", World)
def test_no_two_steps_have_the_same_name(layout: Layout, world: World) -> None:
    steps = names(up.all_steps(Toolbox(layout, world)))
    assert len(steps) == len(set(steps))


def test_up_to_the_cluster_means_no_mesh_and_no_kafka(layout: Layout) -> None:
    steps = up.all_steps(Toolbox(layout, World.OWN))
    chosen = names(up.up_to(steps, "cluster"))
    assert chosen[-1] == "cluster"
    assert "node-image" in chosen
    assert not {"istio", "kafka", "image-python"} & set(chosen)


def test_an_unknown_goal_is_answered_with_those_there_are(layout: Layout) -> None:
    with pytest.raises(LabError, match="no step 'clutser'") as refusal:
        up.up_to(up.all_steps(Toolbox(layout, World.OWN)), "clutser")
    assert "cluster" in refusal.value.hint


def test_env_of_a_lab_that_is_down_fails_with_advice(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert not layout.kubeconfig.exists()
    assert run_program("env") == program.IMPOSSIBLE
    output = capsys.readouterr()
    assert output.out == ""
    assert "The lab is down" in output.err
    assert "hack/lab up" in output.err


def test_env_of_the_labs_own_world_names_cluster_kafka_and_engine(layout: Layout) -> None:
    engine.record(layout, World.OWN)
    layout.kubeconfig.touch()
    output = CliRunner().invoke(cli.app, ["env"]).stdout
    assert f"export KUBECONFIG={layout.kubeconfig}\n" in output
    assert f"export KAFKA_BOOTSTRAP={layout.kafka_bootstrap}\n" in output
    assert f"export DOCKER_HOST={layout.docker_host}\n" in output


def test_env_leaves_a_users_engine_as_it_is(layout: Layout) -> None:
    engine.record(layout, World.USER)
    layout.kubeconfig.touch()
    assert "DOCKER" not in CliRunner().invoke(cli.app, ["env"]).stdout


def test_status_of_a_lab_that_is_down_says_so_and_makes_nothing(layout: Layout) -> None:
    result = CliRunner().invoke(cli.app, ["status"])
    assert result.exit_code == cli.NOT_UP
    assert "The lab is down" in result.stdout
    assert not layout.state.exists()


def test_logs_are_listed_and_printed(layout: Layout) -> None:
    layout.logs.mkdir(parents=True)
    layout.log("cluster").write_text("made a cluster\n")
    assert "cluster" in CliRunner().invoke(cli.app, ["logs"]).stdout
    assert CliRunner().invoke(cli.app, ["logs", "cluster"]).stdout == "made a cluster\n"


def test_down_without_a_lab_changes_nothing(layout: Layout) -> None:
    up.bring_down(layout, print)
    assert not layout.state.exists()


def test_a_bug_is_told_in_one_line_and_its_trace_kept(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "tools_of", lambda _: dict[str, None]()["nothing"])
    assert run_program("status") == program.BUG
    assert "Traceback" not in capsys.readouterr().err
    assert "Traceback" in layout.log("bug").read_text()


def test_an_interrupted_run_says_that_it_can_go_on(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Layout) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(up, "tools_of", interrupt)
    assert run_program("status") == program.INTERRUPTED
    assert "goes on where it stopped" in capsys.readouterr().err
    assert not layout.log("bug").exists()


def test_one_run_waits_for_the_other(layout: Layout) -> None:
    told, entered = threading.Event(), threading.Event()

    def second_run() -> None:
        with up.exclusive(layout, lambda _: told.set()):
            entered.set()

    with up.exclusive(layout, pytest.fail):
        threading.Thread(target=second_run, daemon=True).start()
        assert told.wait(timeout=30)
        assert not entered.is_set()
    assert entered.wait(timeout=30)


def run_program(*arguments: str) -> int:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["hack/lab", *arguments])
            return program.main()
    finally:
        signal.signal(signal.SIGTERM, handler)
