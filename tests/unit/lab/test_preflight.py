from pathlib import Path

import pytest

from sidestream_lab import preflight
from sidestream_lab.errors import LabError
from sidestream_lab.paths import World
from sidestream_lab.preflight import GIB, Machine, Package

NO_PROGRAM = Package("no-package", "no-such-program", "a reason")
A_PROGRAM = Package("dash", "sh", "a shell")
A_FILE = Package("proc", "/proc/self/status", "a file")
EVERYWHERE = Package("no-package", "/no/such/file", "a reason", frozenset(World))


def machine(
    *, go: tuple[int, ...] = (1, 26), memory: int = 16 * GIB, disk: int = 100 * GIB, can_install: bool = True
) -> Machine:
    return Machine(go=go, memory=memory, disk=disk, can_install=can_install)


def test_a_good_machine_passes() -> None:
    for world in World:
        preflight.check(world, machine(), built=False)


@pytest.mark.parametrize(
    ("found", "word", "advice"),
    [
        pytest.param(machine(go=(0,)), "Go is missing", "go.dev/dl", id="no Go"),
        pytest.param(machine(go=(1, 19)), "Go 1.19 is too old", "Debian's package golang is older", id="Debian's Go"),
        pytest.param(machine(memory=4 * GIB), "4.0 GiB of memory", "KUBECONFIG=", id="little memory"),
        pytest.param(machine(disk=5 * GIB), "5.0 GiB are free", "XDG_CACHE_HOME", id="little disk"),
    ],
)
def test_a_machine_that_lacks_something_is_told_what(found: Machine, word: str, advice: str) -> None:
    with pytest.raises(LabError, match=word) as refusal:
        preflight.check(World.OWN, found, built=False)
    assert advice in refusal.value.hint


def test_what_is_built_needs_neither_go_nor_much_disk() -> None:
    preflight.check(World.OWN, machine(go=(0,), disk=5 * GIB), built=True)


def test_pulled_images_need_no_go() -> None:
    preflight.check(World.USER, machine(go=(0,)), built=False)


def test_packages_are_missing_when_their_program_or_file_is() -> None:
    assert preflight.missing([NO_PROGRAM, A_PROGRAM, A_FILE, EVERYWHERE], World.OWN) == [NO_PROGRAM, EVERYWHERE]
    assert preflight.missing([NO_PROGRAM, A_PROGRAM, A_FILE, EVERYWHERE], World.USER) == [EVERYWHERE]


def test_who_may_not_install_is_given_the_command(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no-package: a reason") as refusal:
        preflight.install([NO_PROGRAM], machine(can_install=False), tmp_path / "log", pytest.fail)
    assert refusal.value.hint == "Install them: sudo apt-get install no-package"


def test_nothing_is_said_when_nothing_is_missing(tmp_path: Path) -> None:
    preflight.install([], machine(can_install=False), tmp_path / "log", pytest.fail)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with an apt-get that puts into it what a package `brings-X` brings."""
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(
        f"#!/bin/sh\nfor name; do case $name in brings-*) : >{tmp_path}/${{name#brings-}};; esac; done\n"
        f"/bin/chmod +x {tmp_path}/*\n"
    )
    apt_cache = tmp_path / "apt-cache"
    apt_cache.write_text("#!/bin/sh\necho brings-tool brings-nothing\n")
    for program in (apt_get, apt_cache):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_packages_are_named_before_they_are_installed(apt: Path) -> None:
    said: list[str] = []
    preflight.install([Package("brings-tool", "tool", "a reason")], machine(), apt / "log", said.append)
    assert said == ["Installing Debian packages:\n  brings-tool: a reason"]
    assert (apt / "tool").exists()


def test_a_package_that_this_release_does_not_have_is_left_out(apt: Path) -> None:
    both = [Package("brings-tool", "tool", "a reason"), Package("brings-other", "tool", "a reason")]
    preflight.install(both, machine(), apt / "log", print)
    assert "brings-other" not in (apt / "log").read_text()


def test_packages_that_do_not_bring_what_they_should_are_told(apt: Path) -> None:
    with pytest.raises(LabError, match="Still missing after the installation: no-such-program"):
        preflight.install([Package("brings-nothing", "no-such-program", "a reason")], machine(), apt / "log", print)
