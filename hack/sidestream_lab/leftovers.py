"""Removing what an engine leaves on the machine when it stops or dies: processes, mounts, the bridge, control groups.

Everything is found by names that only this lab has, so nothing of another engine is ever touched.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from sidestream_lab.errors import CommandFailed
from sidestream_lab.paths import Layout
from sidestream_lab.shell import run

PROC = Path("/proc")
CGROUP_ROOT = Path("/sys/fs/cgroup")
NETWORK = Path("/sys/class/net")
SHIM_SOCKETS = Path("/run/containerd/s")
ENGINE_PROGRAMS = frozenset({"dockerd", "containerd", "containerd-shim-runc-v2", "docker-proxy"})
PATIENCE_SECONDS = 20.0


def clear(layout: Layout) -> None:
    """Remove everything of the engine of `layout` but its images; does nothing when there is nothing."""
    _kill(lambda: engine_processes(layout))
    _kill(lambda: container_processes(layout))
    for mount in mounts_below(_mount_table(), layout.run, layout.docker_data):
        run(["umount", "--lazy", mount])
    for link in network_links(layout):
        with suppress(CommandFailed):  # its other end may take it along
            run(["ip", "link", "delete", link])
    _remove_cgroups(layout)
    for socket in shim_sockets(layout):
        socket.unlink(missing_ok=True)
    shutil.rmtree(layout.run, ignore_errors=True)


def engine_processes(layout: Layout) -> list[int]:
    """The engine's own processes: they name its configuration or its run directory in their arguments."""
    return [pid for pid, arguments in _commands() if is_engine_command(arguments, layout)]


def is_engine_command(arguments: list[str], layout: Layout) -> bool:
    """Whether this command line is one of the lab's own engine."""
    program, *rest = arguments
    marks = (f"{layout.run}/", str(layout.docker_daemon_config))
    return Path(program).name in ENGINE_PROGRAMS and any(mark in argument for argument in rest for mark in marks)


def shim_sockets(layout: Layout) -> list[Path]:
    """Where containerd's shims of the engine's containers listen: one place for all engines, named by a digest."""
    containers = layout.docker_data / "containers"
    server = layout.docker_exec_root / "containerd" / "containerd.sock" / "moby"
    names = [container.name for container in containers.iterdir()] if containers.is_dir() else []
    return [SHIM_SOCKETS / sha256(str(server / name).encode()).hexdigest() for name in names]


def network_links(layout: Layout) -> list[str]:
    """The engine's bridge and, before it, this machine's ends of its containers' links.

    Without the bridge nobody could tell whose they are, and the kernel keeps those of a killed container for minutes,
    as long as a connection of it is unanswered.
    """
    bridge = NETWORK / layout.bridge
    if not bridge.exists():
        return []
    return [*sorted(port.name for port in (bridge / "brif").iterdir()), layout.bridge]


def container_processes(layout: Layout) -> list[int]:
    """Processes in the engine's control group: those in containers, also when their engine is dead."""
    found = []
    for pid, _ in _commands():
        with suppress(OSError):
            if in_cgroup((PROC / str(pid) / "cgroup").read_text(), layout.cgroup):
                found.append(pid)
    return found


def in_cgroup(membership: str, parent: str) -> bool:
    """Whether the text of a /proc/PID/cgroup file names a control group below `parent`."""
    return any(line.split(":", 2)[-1].startswith(f"{parent}/") for line in membership.splitlines())


def mounts_below(table: str, *directories: Path) -> list[str]:
    """Mount points of a /proc/self/mounts table at or below the directories, the deepest first."""
    points = [line.split()[1].encode().decode("unicode_escape") for line in table.splitlines()]
    below = [point for point in points if any(Path(point).is_relative_to(directory) for directory in directories)]
    return sorted(below, key=len, reverse=True)


def _mount_table() -> str:
    return (PROC / "self" / "mounts").read_text()


def _commands() -> Iterator[tuple[int, list[str]]]:
    # Other systems have no such folder, and no engine of the lab.
    for directory in PROC.iterdir() if PROC.is_dir() else ():
        if not directory.name.isdecimal():
            continue
        with suppress(OSError):
            arguments = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(directory.name), arguments


def _kill(find: Callable[[], list[int]]) -> None:
    """Kill what is found until nothing is: a cluster node that is being killed may still start services."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while pids := find():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _remove_cgroups(layout: Layout) -> None:
    """A control group's folder can go when its children are gone; on version 1 there is one tree a controller."""
    name = layout.cgroup.lstrip("/")
    for top in (CGROUP_ROOT / name, *CGROUP_ROOT.glob(f"*/{name}")):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
