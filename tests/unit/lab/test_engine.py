from pathlib import Path

import pytest

from sidestream_lab import engine
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World

EVERY_CAPABILITY = "CapBnd:\t000001ffffffffff\n"
ALL_BUT_SYS_RESOURCE = "Name:\tsh\nCapBnd:\t000001fffeffffff\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(name="lab", cache=tmp_path / "cache", state=tmp_path / "state", kafka_port=39092)


@pytest.mark.parametrize(
    ("status", "lacks"),
    [pytest.param(EVERY_CAPABILITY, False, id="root"), pytest.param(ALL_BUT_SYS_RESOURCE, True, id="restricted root")],
)
def test_a_missing_right_is_seen_in_the_process_status(status: str, *, lacks: bool) -> None:
    assert engine.lacks_sys_resource(status) is lacks


def test_the_runtime_is_wrapped_only_where_a_right_is_missing(layout: Layout) -> None:
    assert "default-runtime" not in engine.daemon_config(layout, wrap_runtime=False)
    wrapped = engine.daemon_config(layout, wrap_runtime=True)
    assert wrapped["default-runtime"] in wrapped["runtimes"]  # type: ignore[operator]


def test_the_engine_writes_no_firewall_rule_and_has_no_default_bridge(layout: Layout) -> None:
    config = engine.daemon_config(layout, wrap_runtime=False)
    assert not any(config[key] for key in ("iptables", "ip6tables", "ip-masq", "ip-forward"))
    assert config["bridge"] == "none"


def test_every_path_of_the_engine_is_the_labs_own(layout: Layout) -> None:
    config = engine.daemon_config(layout, wrap_runtime=True)
    paths = [str(config[key]) for key in ("data-root", "exec-root", "pidfile")]
    assert all(path.startswith((str(layout.run), str(layout.cache))) for path in paths)


def test_a_choice_that_is_none_is_refused(layout: Layout) -> None:
    with pytest.raises(LabError, match="is 'podman'") as refusal:
        engine.decide(layout, {engine.CHOICE: "podman"})
    assert "user or own" in refusal.value.hint


def test_the_users_engine_is_taken_when_asked_for(layout: Layout) -> None:
    assert engine.decide(layout, {engine.CHOICE: "user"}) is World.USER


def test_a_lab_that_is_up_stays_in_its_world(layout: Layout) -> None:
    engine.record(layout, World.USER)
    assert engine.decide(layout, {engine.CHOICE: "own"}) is World.USER


def test_a_lab_that_was_killed_may_change_its_world(layout: Layout) -> None:
    engine.record(layout, World.OWN)
    assert engine.decide(layout, {engine.CHOICE: "user"}) is World.USER


def test_without_a_record_no_lab_is_up(layout: Layout) -> None:
    assert engine.recorded(layout) is None
    engine.record(layout, World.OWN)
    assert engine.recorded(layout) is World.OWN


def test_an_own_engine_needs_root(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match="as root"):
        engine.decide(layout, {engine.CHOICE: "own"})


@pytest.mark.parametrize(
    ("answer", "world"),
    [
        pytest.param("manifest unknown: manifest unknown", World.USER, id="the registry has no such image"),
        pytest.param("dial tcp: lookup registry-1.docker.io: no such host", World.OWN, id="there is no way to it"),
    ],
)
def test_a_docker_engine_is_used_when_its_registry_answers(
    answer: str, world: World, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = info ] || {{ echo "{answer}" >&2; exit 1; }}\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sidestream_lab.engine._possible", lambda found: found)
    assert engine.decide(layout, {}) is world
