"""The Go programs of the lab: built from one module in World.OWN, found on PATH in World.USER.

What was built lies in the cache under a digest of its inputs; `Layout.bin` holds links to it, named as the programs.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sidestream_lab import versions
from sidestream_lab.errors import CommandFailed, LabError
from sidestream_lab.paths import IMAGES, Layout, World
from sidestream_lab.shell import Toolbox, run
from sidestream_lab.steps import Step, digest

MODULE = IMAGES / "go"
KUBERNETES_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
)
_MAJOR, _MINOR, _ = versions.KUBERNETES.removeprefix("v").split(".")


@dataclass(frozen=True)
class Program:
    """One binary: `name` in the cache, `package` in the module, `links` under which it is on the lab's PATH."""

    name: str
    package: str
    why: str
    seconds: float
    links: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def step(self) -> str:
        """The name of the step that builds it."""
        return f"build-{self.name}"

    @property
    def linker_flags(self) -> str:
        """Without symbols, and with the version that the program says of itself."""
        return " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in self.variables)])


def _kubernetes_version(package: str) -> tuple[tuple[str, str], ...]:
    return (
        (f"{package}.gitVersion", versions.KUBERNETES),
        (f"{package}.gitMajor", _MAJOR),
        (f"{package}.gitMinor", _MINOR),
    )


PROGRAMS = (
    Program(
        "kube",
        "./cmd/kube",
        "Kubernetes' programs in one binary, for the node image",
        405,
        ("kubectl", "kubeadm", "kube-apiserver", "etcd"),
        _kubernetes_version("k8s.io/component-base/version") + _kubernetes_version("k8s.io/client-go/pkg/version"),
    ),
    Program("kind", "sigs.k8s.io/kind", "kind, which makes the cluster", 15, ("kind",)),
    Program("coredns", "./cmd/coredns", "CoreDNS, for the node image", 25),
    Program("pause", "./cmd/pause", "the container that holds a pod together, for the node image", 2),
    Program(
        "helm",
        "helm.sh/helm/v3/cmd/helm",
        "helm, which installs Istio and Sidestream",
        15,
        ("helm",),
        (
            ("helm.sh/helm/v3/internal/version.version", versions.HELM),
            ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor", _MAJOR),
            ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", _MINOR),
            ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor", _MAJOR),
            ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor", _MINOR),
        ),
    ),
    Program("istiod", "istio.io/istio/pilot/cmd/pilot-discovery", "istiod, the mesh's control plane", 290),
)
FOUND_ON_PATH = ("kind", "kubectl", "helm")
"""What World.USER takes from PATH; everything else is in the images."""


def steps(tools: Toolbox) -> Sequence[Step]:
    """One step a program, one after the other: each alone keeps every core busy, and the first ones are waited for."""
    match tools.world:
        case World.OWN:
            before = [(), *((program.step,) for program in PROGRAMS)]
            return [_Build(tools.layout, program, needs) for program, needs in zip(PROGRAMS, before, strict=False)]
        case World.USER:
            return [_Found(tools.layout, name) for name in FOUND_ON_PATH]


def binary(layout: Layout, name: str) -> Path:
    """Where the binary of the program `name` is, once its step is done."""
    return layout.cache / f"bin-{module_digest()}" / name


@cache
def module_digest() -> str:
    """Changes with everything that is compiled in."""
    return digest(MODULE, repr(PROGRAMS))


def module_directory(module: str) -> Path:
    """The source of a module of the build, as the Go tools unpacked it."""
    return Path(go("list", "-m", "-f", "{{.Dir}}", module).strip())


@dataclass(frozen=True)
class _Build:
    layout: Layout
    program: Program
    needs: Sequence[str]

    @property
    def name(self) -> str:
        return self.program.step

    @property
    def why(self) -> str:
        return self.program.why

    @property
    def seconds(self) -> float:
        return self.program.seconds

    def is_done(self) -> bool:
        target = binary(self.layout, self.program.name)
        return target.is_file() and all(_leads_to(self.layout.bin / link, target) for link in self.program.links)

    def run(self) -> None:
        target = binary(self.layout, self.program.name)
        if not target.is_file():
            self._compile(target)
            _forget_older(self.layout)
        for link in self.program.links:
            _link(self.layout.bin / link, target)

    def _compile(self, target: Path) -> None:
        unfinished = target.with_name(f"{target.name}.unfinished")
        go(
            # -v names each package as it is compiled, which shows that the build goes on.
            *("build", "-v", "-mod=readonly", "-buildvcs=false", "-ldflags", self.program.linker_flags),
            *("-o", unfinished, self.program.package),
            log=self.layout.log(self.name),
        )
        unfinished.rename(target)


@dataclass(frozen=True)
class _Found:
    layout: Layout
    program: str
    needs: Sequence[str] = ()
    seconds: float = 15

    @property
    def name(self) -> str:
        return f"build-{self.program}"

    @property
    def why(self) -> str:
        return f"{self.program} is looked for on PATH, or built"

    def is_done(self) -> bool:
        return (self.layout.bin / self.program).exists()

    def run(self) -> None:
        found = shutil.which(self.program)
        if found and is_recent(self.program, Path(found)):
            _link(self.layout.bin / self.program, Path(found))
        elif go_version() >= versions.MINIMUM_GO:
            build = next(program for program in PROGRAMS if self.program in program.links)
            _Build(self.layout, build, ()).run()
        else:
            raise LabError(
                f"A recent {self.program} is not on PATH, nor Go {_dotted(versions.MINIMUM_GO)} to build it with",
                f"Install {self.program}: https://kind.sigs.k8s.io, https://kubernetes.io/docs/tasks/tools and "
                "https://helm.sh/docs/intro/install tell how.",
            )


def is_recent(program: str, found: Path) -> bool:
    """Whether a program found on PATH will do; an older kind cannot set up the node image of the pinned one."""
    if program != "kind":
        return True
    try:
        said = run([found, "version"], timeout=30)
    except CommandFailed:
        return False
    return _release(said) >= _release(versions.KIND)


def _release(text: str) -> tuple[int, ...]:
    """Major and minor of the first version in a text, () when there is none."""
    version = re.search(r"v(\d+)\.(\d+)", text)
    return tuple(int(part) for part in version.groups()) if version else ()


def go_version() -> tuple[int, ...]:
    """The version of Go on PATH, (0,) when there is none."""
    if shutil.which("go") is None:
        return (0,)
    text = go("env", "GOVERSION").removeprefix("go").split()[0]
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())


def go(*arguments: str | Path, cwd: Path = MODULE, log: Path | None = None) -> str:
    """Run Go as the lab builds with it, in its module unless told otherwise."""
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return run(["go", *arguments], cwd=cwd, env=environment, log=log)


def _leads_to(link: Path, target: Path) -> bool:
    return link.is_symlink() and link.readlink() == target


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _forget_older(layout: Layout) -> None:
    """Binaries of another state of the module are a relink away; each set takes 500 MB."""
    current = binary(layout, "").resolve()
    for folder in layout.cache.glob("bin-*"):
        if folder.resolve() != current:
            shutil.rmtree(folder, ignore_errors=True)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
