"""Where the lab keeps its things: one place for every path, name and port that it uses.

Nothing here is shared with a user's own Docker, kind clusters or kubeconfig; two layouts share nothing either.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout that this lab belongs to."""

IMAGES = REPOSITORY / "hack" / "images"
"""What images are built from, one folder each."""

MANIFESTS = REPOSITORY / "hack" / "manifests"
"""What is applied to the cluster."""


class World(StrEnum):
    """Where the Docker engine and the images come from."""

    USER = "user"
    """The user's Docker engine; images are pulled."""

    OWN = "own"
    """An engine that the lab starts; images are built from package registries."""


@dataclass(frozen=True)
class Layout:
    """The paths, names and host ports of one lab.

    `cache` holds what is costly to make and safe to delete while the lab is down, `state` what belongs to the running
    lab. A second lab beside the first needs another `name`, `cache`, `state` and `kafka_port`.
    """

    name: str
    cache: Path
    state: Path
    kafka_port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Layout":
        """The layout by the XDG variables, SIDESTREAM_LAB_NAME and SIDESTREAM_LAB_KAFKA_PORT."""
        home = Path(environment.get("HOME") or Path.home())
        cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
        state = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state")
        return cls(
            name=environment.get("SIDESTREAM_LAB_NAME", "sidestream-lab"),
            cache=cache / "sidestream-lab",
            state=state / "sidestream-lab",
            kafka_port=int(environment.get("SIDESTREAM_LAB_KAFKA_PORT", "39092")),
        )

    @property
    def slot(self) -> str:
        """Six characters that tell this lab from every other one on the machine, in names that must be short."""
        return hashlib.sha256(f"{self.name}\n{self.state}".encode()).hexdigest()[:6]

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the lab's cluster, and of nothing else."""
        return self.state / "kubeconfig"

    @property
    def bin(self) -> Path:
        """Links to the programs that the lab uses: kubectl, kind, helm, docker, …; first on its PATH."""
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        """One file a step, and those of the engine."""
        return self.state / "logs"

    def log(self, name: str) -> Path:
        """The log file of the step `name`."""
        return self.logs / f"{name}.log"

    @property
    def stamps(self) -> Path:
        """Records of what was made from which inputs."""
        return self.cache / "stamps"

    def work(self, name: str) -> Path:
        """The folder where the step `name` may build; it may hold anything from an earlier run."""
        return self.cache / "work" / name

    @property
    def run(self) -> Path:
        """What does not outlive the engine: sockets, pid files. Short: a socket's path has at most 107 characters."""
        return Path("/run") / f"sidestream-lab-{self.slot}"

    @property
    def docker_socket(self) -> Path:
        """Where the lab's own engine listens."""
        return self.run / "docker.sock"

    @property
    def docker_host(self) -> str:
        """DOCKER_HOST of the lab's own engine."""
        return f"unix://{self.docker_socket}"

    @property
    def docker_pid(self) -> Path:
        """The pid file of the lab's own engine."""
        return self.run / "docker.pid"

    @property
    def docker_exec_root(self) -> Path:
        """Run-time state of the lab's own engine and its containerd."""
        return self.run / "exec"

    @property
    def docker_data(self) -> Path:
        """Images and containers of the lab's own engine; kept when the lab is down."""
        return self.cache / "engine"

    @property
    def docker_daemon_config(self) -> Path:
        """The daemon.json of the lab's own engine."""
        return self.state / "daemon.json"

    @property
    def docker_client_config(self) -> Path:
        """DOCKER_CONFIG for the lab's own engine: no contexts and credentials of the user."""
        return self.state / "docker"

    @property
    def cgroup(self) -> str:
        """The control group that holds every container of the lab's own engine."""
        return f"/sidestream-lab-{self.slot}"

    @property
    def bridge(self) -> str:
        """The network interface of the cluster's network in the lab's own engine (at most 15 characters)."""
        return f"sslab-{self.slot}"

    @property
    def node(self) -> str:
        """The container that is the cluster's only node."""
        return f"{self.name}-control-plane"

    def kafka_host_port(self, broker: int) -> int:
        """The port on 127.0.0.1 where broker `broker` (0, 1 or 2) is reached from outside the cluster."""
        return self.kafka_port + broker

    def kafka_node_port(self, broker: int) -> int:
        """The nodePort to which that host port leads."""
        return 30092 + broker

    @property
    def kafka_bootstrap(self) -> str:
        """KAFKA_BOOTSTRAP for programs outside the cluster."""
        return f"127.0.0.1:{self.kafka_host_port(0)}"
