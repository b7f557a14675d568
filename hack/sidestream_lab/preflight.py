"""What the machine must have before anything starts: packages, Go, disk, memory.

Each module of the lab names the Debian packages that it needs as `PACKAGES`; `sidestream_lab.up` hands them all to
`check`, which installs what is missing where it may, and says what to do everywhere else.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidestream_lab import versions
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.shell import run

GIB = 1024**3
MEMORY = 6 * GIB
"""Cluster, mesh and Kafka take 3 GiB; the largest link of the Go builds as much again."""

DISK_COLD = {World.OWN: 14 * GIB, World.USER: 8 * GIB}
"""What a first `up` writes: 6 GiB of it are Go's caches, the rest the engine's data."""

DISK_WARM = 2 * GIB
"""What running needs when everything is built."""


@dataclass(frozen=True)
class Package:
    """A Debian package, and how to see that the machine has what it brings, by whatever way it came there.

    `proof` is a program looked for on PATH, or an absolute path. `worlds` says where it is needed at all.
    """

    name: str
    proof: str
    why: str
    worlds: frozenset[World] = frozenset({World.OWN})

    def is_present(self) -> bool:
        """Whether the machine has it."""
        return Path(self.proof).exists() if self.proof.startswith("/") else shutil.which(self.proof) is not None


@dataclass(frozen=True)
class Machine:
    """What `check` knows of this machine."""

    go: tuple[int, ...]
    memory: int
    disk: int
    can_install: bool

    @classmethod
    def this(cls, layout: Layout, go: tuple[int, ...]) -> "Machine":
        """This machine, with the disk of the layout's cache."""
        layout.cache.mkdir(parents=True, exist_ok=True)
        return cls(
            go=go,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            disk=shutil.disk_usage(layout.cache).free,
            can_install=os.geteuid() == 0 and shutil.which("apt-get") is not None,
        )


def missing(packages: Sequence[Package], world: World) -> list[Package]:
    """Those of the packages that this world needs and the machine lacks."""
    return [package for package in packages if world in package.worlds and not package.is_present()]


def check(world: World, machine: Machine, *, built: bool) -> None:
    """Refuse a machine on which the lab cannot come up; `built` says that no Go program has to be built.

    Raises:
        LabError: what is missing, and what to do about it.
    """
    if world is World.OWN and not built and machine.go < versions.MINIMUM_GO:
        wanted = _dotted(versions.MINIMUM_GO)
        found = f"Go {_dotted(machine.go)} is too old" if machine.go > (0,) else "Go is missing"
        raise LabError(
            f"{found}: the lab builds Kubernetes and Istio with Go {wanted} or newer",
            f"Put Go {wanted} on PATH, from https://go.dev/dl. Debian's package golang is older.",
        )
    if machine.memory < MEMORY:
        raise LabError(
            f"This machine has {machine.memory / GIB:.1f} GiB of memory; the lab needs {MEMORY / GIB:.0f}",
            "Use a larger one, or a cluster elsewhere: KUBECONFIG=... KAFKA_BOOTSTRAP=... make test",
        )
    needed = DISK_WARM if built else DISK_COLD[world]
    if machine.disk < needed:
        raise LabError(
            f"{machine.disk / GIB:.1f} GiB are free on the disk of the lab's cache; {needed / GIB:.0f} are needed",
            "Make room, or set XDG_CACHE_HOME to a folder on a larger disk.",
        )


def install(packages: Sequence[Package], machine: Machine, log: Path, say: Callable[[str], None]) -> None:
    """Install Debian packages, after saying which and what for.

    Raises:
        LabError: only a person can install them, or they do not bring what they should.
    """
    if not packages:
        return
    names = [package.name for package in packages]
    reasons = "".join(f"\n  {package.name}: {package.why}" for package in packages)
    if not machine.can_install:
        raise LabError(f"These packages are missing:{reasons}", f"Install them: sudo apt-get install {' '.join(names)}")
    say(f"Installing Debian packages:{reasons}")
    # Without this, systemd would start a Docker engine for everyone on this machine.
    environment = {"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
    options = ("--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600")
    run(["apt-get", "update"], env=environment, log=log)
    # Debian and Ubuntu cut the engine into packages differently from release to release.
    known = set(run(["apt-cache", "pkgnames"]).split())
    run(["apt-get", "install", *options, *(name for name in names if name in known)], env=environment, log=log)
    if lacking := [package.proof for package in packages if not package.is_present()]:
        raise LabError(f"Still missing after the installation: {', '.join(lacking)}", f"Read {log}")


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
