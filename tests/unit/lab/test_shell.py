import sys
import threading
from pathlib import Path

import pytest

from sidestream_lab import shell
from sidestream_lab.errors import CommandFailed, LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.shell import Toolbox, run


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def toolbox(tmp_path: Path, world: World) -> Toolbox:
    return Toolbox(Layout(name="lab", cache=tmp_path / "cache", state=tmp_path / "state", kafka_port=39092), world)


def test_only_standard_output_is_returned() -> None:
    assert run(python("import sys; print('out'); print('err', file=sys.stderr)")) == "out\n"


def test_text_and_open_files_are_read_as_standard_input(tmp_path: Path) -> None:
    echo = python("import sys; print(sys.stdin.read())")
    (tmp_path / "file").write_text("from a file")
    with (tmp_path / "file").open("rb") as file:
        assert run(echo, stdin=file) == "from a file\n"
    assert run(echo, stdin="a text") == "a text\n"


def test_the_log_holds_the_command_and_both_outputs(tmp_path: Path) -> None:
    log = tmp_path / "folder" / "step.log"
    run(python("import sys; print('out'); print('err', file=sys.stderr)"), log=log)
    assert log.read_text().startswith(f"$ {sys.executable} -c ")
    assert {"out", "err"} <= set(log.read_text().splitlines())


def test_a_failure_tells_the_command_the_code_the_last_lines_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(CommandFailed) as failure:
        run(python("import sys; [print(n) for n in range(100)]; sys.exit('that was wrong')"), log=log)
    assert failure.value.code == 1
    assert "that was wrong" in failure.value.message
    assert "\n    12\n" not in failure.value.message
    assert str(log) in failure.value.hint


def test_a_program_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(CommandFailed, match="took too long"):
        run(python("import threading; threading.Event().wait()"), timeout=0.2)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(LabError, match="The program no-such-program is missing"):
        run(["no-such-program"])


def test_stop_all_ends_what_others_wait_for() -> None:
    failures: list[CommandFailed] = []

    def wait_for_ever() -> None:
        try:
            run(python("import threading; threading.Event().wait()"))
        except CommandFailed as failure:
            failures.append(failure)

    thread = threading.Thread(target=wait_for_ever)
    thread.start()
    while thread.is_alive():
        shell.stop_all()
        thread.join(timeout=0.05)
    assert len(failures) == 1


def test_the_labs_own_engine_hides_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://users-engine:2375")
    monkeypatch.setenv("KUBECONFIG", "/home/ada/.kube/config")
    tools = toolbox(tmp_path, World.OWN)
    shown = run(python("import os; print(os.environ['DOCKER_HOST'], os.environ['KUBECONFIG'])"), env=tools.environment)
    assert shown.split() == [tools.layout.docker_host, str(tools.layout.kubeconfig)]


def test_the_users_engine_is_used_as_the_user_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://users-engine:2375")
    tools = toolbox(tmp_path, World.USER)
    shown = run(python("import os; print(os.environ['DOCKER_HOST'], os.environ['KUBECONFIG'])"), env=tools.environment)
    assert shown.split() == ["tcp://users-engine:2375", str(tools.layout.kubeconfig)]


def test_a_program_of_the_lab_wins_over_one_on_path(tmp_path: Path) -> None:
    tools = toolbox(tmp_path, World.OWN)
    tools.layout.bin.mkdir(parents=True)
    kubectl = tools.layout.bin / "kubectl"
    kubectl.write_text('#!/bin/sh\necho "mine $*"\n')
    kubectl.chmod(0o755)
    assert tools.kubectl("get", "pods") == "mine get pods\n"
