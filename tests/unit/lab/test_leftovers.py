from hashlib import sha256
from pathlib import Path

import pytest

from sidestream_lab import leftovers
from sidestream_lab.paths import Layout

MOUNTS = """\
proc /proc proc rw 0 0
overlay /cache/engine/overlay2/1/merged overlay rw 0 0
shm /cache/engine/containers/1/mounts/shm tmpfs rw 0 0
nsfs {run}/exec/netns/1 nsfs rw 0 0
tmpfs {run}/exec/netns tmpfs rw 0 0
overlay /cache/engine2/overlay2/1/merged overlay rw 0 0
tmpfs /with\\040blank tmpfs rw 0 0
"""


def layout_in(folder: Path) -> Layout:
    return Layout(name="lab", cache=folder / "cache", state=folder / "state", kafka_port=39092)


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        pytest.param("/usr/sbin/dockerd --config-file {config}", True, id="its daemon"),
        pytest.param("containerd --config {run}/exec/containerd/containerd.toml", True, id="its containerd"),
        pytest.param(
            "/usr/bin/containerd-shim-runc-v2 -id 1 -address {run}/exec/containerd/containerd.sock", True, id="its shim"
        ),
        pytest.param("dockerd -H fd://", False, id="the user's daemon"),
        pytest.param("containerd", False, id="the user's containerd"),
        pytest.param("docker -H unix://{run}/docker.sock logs", False, id="the user's shell"),
        pytest.param("containerd --config {run}2/containerd.toml", False, id="a daemon with a longer name"),
        pytest.param("vi {config}", False, id="an editor"),
    ],
)
def test_the_engines_processes_are_told_from_all_others(command: str, *, ours: bool, tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    arguments = command.format(run=layout.run, config=layout.docker_daemon_config).split()
    assert leftovers.is_engine_command(arguments, layout) is ours


@pytest.mark.parametrize(
    ("membership", "inside"),
    [
        pytest.param("3:cpuset:/lab/1234\n2:cpu:/\n", True, id="version 1"),
        pytest.param("0::/lab/1234/kubelet/pod1\n", True, id="version 2"),
        pytest.param("0::/lab2/1234\n", False, id="another group"),
        pytest.param("0::/user/lab/1234\n", False, id="a group of this name elsewhere"),
        pytest.param("", False, id="a process that has just ended"),
    ],
)
def test_container_processes_are_found_by_their_control_group(membership: str, *, inside: bool) -> None:
    assert leftovers.in_cgroup(membership, "/lab") is inside


def test_mounts_are_found_below_the_labs_folders_the_deepest_first(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    table = MOUNTS.format(run=layout.run)
    found = leftovers.mounts_below(table, layout.run, Path("/cache/engine"))
    assert found == sorted(found, key=len, reverse=True)
    assert set(found) == {
        "/cache/engine/overlay2/1/merged",
        "/cache/engine/containers/1/mounts/shm",
        f"{layout.run}/exec/netns/1",
        f"{layout.run}/exec/netns",
    }


def test_blanks_in_mount_points_are_understood() -> None:
    assert leftovers.mounts_below(MOUNTS, Path("/with blank")) == ["/with blank"]


def test_shim_sockets_are_those_of_the_engines_containers(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    assert leftovers.shim_sockets(layout) == []
    (layout.docker_data / "containers" / "c1").mkdir(parents=True)
    listens_as = f"{layout.docker_exec_root}/containerd/containerd.sock/moby/c1"
    assert [socket.name for socket in leftovers.shim_sockets(layout)] == [sha256(listens_as.encode()).hexdigest()]


def test_clearing_a_machine_without_a_lab_changes_nothing(tmp_path: Path) -> None:
    leftovers.clear(layout_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_links_of_containers_are_found_with_the_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_in(tmp_path)
    monkeypatch.setattr(leftovers, "NETWORK", tmp_path / "net")
    assert leftovers.network_links(layout) == []
    for link in ("eth0", "veth9"):
        (tmp_path / "net" / link).mkdir(parents=True)
    for port in ("veth2", "veth1"):
        (tmp_path / "net" / layout.bridge / "brif" / port).mkdir(parents=True)
    assert leftovers.network_links(layout) == ["veth1", "veth2", layout.bridge]
