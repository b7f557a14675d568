"""The Docker engine: which one the lab uses, and its own one's start and stop.

The lab's own engine never meets another: its socket, data, pid file, bridge and control group have names of their own,
and it writes no firewall rule at all: ports are published by its proxy process, and nothing in the lab needs a way out.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidestream_lab import leftovers
from sidestream_lab.errors import CommandFailed, LabError
from sidestream_lab.paths import IMAGES, Layout, World
from sidestream_lab.preflight import Package
from sidestream_lab.progress import last_line
from sidestream_lab.shell import Toolbox, run
from sidestream_lab.steps import Step

PACKAGES = (
    Package("docker.io", "dockerd", "the Docker engine"),
    Package("docker-cli", "docker", "the engine's client, where docker.io does not hold it"),
    Package("containerd", "containerd", "runs the engine's containers"),
    Package("runc", "runc", "starts the engine's containers"),
    Package("iproute2", "ip", "removes the engine's network bridge"),
    Package("iptables", "iptables", "name resolution inside the cluster's node"),
    Package("jq", "jq", "adapts containers to the rights that the lab has"),
)
CHOICE = "SIDESTREAM_LAB_ENGINE"
START_SECONDS = 120.0
STOP_SECONDS = 20.0
CAP_SYS_RESOURCE = 24
DAEMON_KEY = Path("/etc/docker/key.json")
"""Older engines leave this behind, whatever their configuration says."""

UNKNOWN_DIGEST = "kindest/node@sha256:" + "0" * 64
"""No registry has this image; one that can be reached says so, at the price of a single small request."""


def decide(layout: Layout, environment: Mapping[str, str] = os.environ) -> World:
    """Which engine to use: the one in use, else the one asked for, else the user's where it reaches images.

    Raises:
        LabError: no engine can be had on this machine.
    """
    if (world := recorded(layout)) is World.USER or leftovers.engine_processes(layout):
        return world or World.OWN
    match environment.get(CHOICE, ""):
        case "":
            return _possible(World.USER if _users_engine_reaches_images(layout) else World.OWN)
        case World.USER | World.OWN as choice:
            return _possible(World(choice))
        case other:
            raise LabError(f"{CHOICE} is {other!r}", f"Set it to {World.USER} or {World.OWN}, or unset it.")


def recorded(layout: Layout) -> World | None:
    """The world of the lab that is up, None when none is."""
    text = _read(_record(layout)).strip()
    return World(text) if text else None


def record(layout: Layout, world: World) -> None:
    """Remember the world of the lab that is coming up."""
    _record(layout).parent.mkdir(parents=True, exist_ok=True)
    _record(layout).write_text(world)


def steps(tools: Toolbox) -> Sequence[Step]:
    """The one step that has an engine running."""
    return [_Running(tools)]


def stop(tools: Toolbox) -> None:
    """Stop the lab's own engine and remove all that it made but its images; the user's engine is left alone."""
    layout = tools.layout
    if tools.world is World.OWN:
        with suppress(OSError, ValueError):
            os.kill(int(layout.docker_pid.read_text()), signal.SIGTERM)
            _await(lambda: not leftovers.engine_processes(layout), STOP_SECONDS)
        leftovers.clear(layout)
    _record(layout).unlink(missing_ok=True)


def is_running(tools: Toolbox) -> bool:
    """Whether the engine answers."""
    if tools.world is World.OWN and not tools.layout.docker_socket.exists():
        return False
    try:
        # Patient, because an engine that is taken for dead is killed; a dead one refuses at once.
        tools.docker("version", "--format", "{{.Server.Version}}", timeout=60)
    except LabError:
        return False
    return True


def daemon_config(layout: Layout, *, wrap_runtime: bool) -> dict[str, object]:
    """The daemon.json of the lab's own engine."""
    config: dict[str, object] = {
        "hosts": [layout.docker_host],
        "data-root": str(layout.docker_data),
        "exec-root": str(layout.docker_exec_root),
        "pidfile": str(layout.docker_pid),
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "ip-masq": False,
        # kind's node asks for a name that no server here knows, and would wait 5 s for an answer.
        "dns-opts": ["timeout:1", "attempts:1"],
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": layout.cgroup,
        "log-opts": {"max-size": "10m", "max-file": "2"},
        "shutdown-timeout": 5,
    }
    if wrap_runtime:
        config["runtimes"] = {"lab": {"path": str(_runtime_wrapper(layout))}}
        config["default-runtime"] = "lab"
    return config


def lacks_sys_resource(process_status: str) -> bool:
    """Whether a /proc/PID/status text shows a process without CAP_SYS_RESOURCE, which privileged containers ask for."""
    held = next(line.split()[1] for line in process_status.splitlines() if line.startswith("CapBnd:"))
    return not int(held, 16) >> CAP_SYS_RESOURCE & 1


@dataclass(frozen=True)
class _Running:
    tools: Toolbox
    name: str = "engine"
    needs: Sequence[str] = ()
    seconds: float = 3

    @property
    def why(self) -> str:
        return "a Docker engine for the lab alone" if self.tools.world is World.OWN else "your Docker engine"

    def is_done(self) -> bool:
        layout = self.tools.layout
        wanted = self.tools.world is World.USER or _config_text(layout) == _read(layout.docker_daemon_config)
        return wanted and is_running(self.tools)

    def run(self) -> None:
        if self.tools.world is World.USER:
            raise LabError("Your Docker engine does not answer", "Start it, and see that `docker info` works.")
        stop(self.tools)
        record(self.tools.layout, self.tools.world)
        _start(self.tools)


def _start(tools: Toolbox) -> None:
    layout = tools.layout
    for directory in (layout.run, layout.docker_data, layout.docker_client_config, layout.logs):
        directory.mkdir(parents=True, exist_ok=True)
    wrapper = _runtime_wrapper(layout)
    shutil.copyfile(IMAGES / "node" / wrapper.name, wrapper)
    wrapper.chmod(0o755)
    layout.docker_daemon_config.write_text(_config_text(layout))
    had_key = DAEMON_KEY.exists()
    with layout.log("engine").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--config-file", layout.docker_daemon_config],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A session of its own: Ctrl-C in the terminal that brought the lab up must not end it.
            start_new_session=True,
        )
    if not _await(lambda: daemon.poll() is not None or is_running(tools), START_SECONDS) or daemon.poll() is not None:
        reason = last_line(layout.log("engine"))
        leftovers.clear(layout)
        raise LabError(f"The lab's Docker engine did not start: {reason}", f"Read {layout.log('engine')}")
    if not had_key:
        DAEMON_KEY.unlink(missing_ok=True)
        with suppress(OSError):
            DAEMON_KEY.parent.rmdir()


def _users_engine_reaches_images(layout: Layout) -> bool:
    """Whether `docker info` works and the engine behind it gets an answer from the registry of the node image."""
    if shutil.which("docker") is None or os.environ.get("DOCKER_HOST") == layout.docker_host:
        return False
    try:
        run(["docker", "info"], timeout=20)
        run(["docker", "pull", "--quiet", UNKNOWN_DIGEST], timeout=60)
    except CommandFailed as failure:
        return any(answer in failure.tail for answer in ("manifest unknown", "not found"))
    except LabError:
        return False
    return True


def _possible(world: World) -> World:
    """The world, unless this machine cannot be it."""
    if world is World.OWN and (sys.platform != "linux" or os.geteuid() != 0 or shutil.which("apt-get") is None):
        raise LabError(
            "No Docker engine that can pull images answers, and the lab can run an engine of its own only on Debian or "
            "Ubuntu as root",
            "Start Docker and see that `docker info` and `docker pull kindest/node` work, then run this again.",
        )
    return world


def _record(layout: Layout) -> Path:
    """The file that says which engine the lab that is up uses."""
    return layout.state / "world"


def _runtime_wrapper(layout: Layout) -> Path:
    return layout.state / "runc-without-sys-resource"


def _config_text(layout: Layout) -> str:
    wrap = lacks_sys_resource(Path("/proc/self/status").read_text())
    return json.dumps(daemon_config(layout, wrap_runtime=wrap), indent=2) + "\n"


def _read(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _await(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
