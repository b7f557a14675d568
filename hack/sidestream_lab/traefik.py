"""Traefik in the cluster, for tests of routing that ask for it: no part of a lab that is brought up without a goal.

World.USER pulls it. World.OWN builds it from a Go module of its own. Traefik's forks of two modules are not served by
the Go proxy, so the build adds what these have to copies of the originals (images/traefik/added).
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidestream_lab import gobuild, images, registry, versions
from sidestream_lab.errors import LabError
from sidestream_lab.paths import IMAGES, MANIFESTS, Layout, World
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step, digest
from sidestream_lab.waiting import wait_until

FOLDER = IMAGES / "traefik"
MODULE = FOLDER / "go"
MANIFEST = MANIFESTS / "traefik" / "traefik.yaml"
NAMESPACE = "traefik"
INPUTS = "sidestream.dev/lab-inputs"
READY_SECONDS = 120.0
CRDS = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
_PATH = "github.com/traefik/traefik/v3"
_VERSION_VARIABLE = f"{_PATH}/pkg/version.Version"

Object = dict[str, Any]


@dataclass(frozen=True)
class Original:
    """A module that Traefik has a fork of; `checksum` is what go.sum would say of it."""

    module: str
    version: str
    checksum: str

    @property
    def folder(self) -> str:
        """Where go.mod expects it, with what `added` holds under the same name."""
        return self.module.rpartition("/")[2]


ORIGINALS = (
    Original("github.com/abbot/go-http-auth", "v0.4.0", "h1:QjmvZ5gSC7jm3Zg54DqWE/T5m1t2AfDu6QlXJT0EVT0="),
    Original("github.com/gorilla/mux", "v1.8.1", "h1:TuBL49tXwgrFYWhqrNgrUNEY92u81SPhu7sTdzQEiWY="),
)


def steps(tools: Toolbox) -> Sequence[Step]:
    """The steps `build-traefik` (World.OWN), `image-traefik`, `load-traefik` and `traefik`."""
    made = image(tools.world)
    built: list[Step] = [_Build(tools.layout)] if tools.world is World.OWN else []
    loaded = registry.bring(tools, "load-traefik", "Traefik's image is brought into the cluster", (made,))
    return [*built, images.make(tools, made), loaded, _Ready(tools)]


def image(world: World) -> images.Image:
    """The image that Traefik runs from."""
    why = "Traefik, for tests of routing"
    match world:
        case World.USER:
            return images.Image(
                "traefik", versions.TRAEFIK, why, images.Pulled(f"docker.io/library/traefik:{versions.TRAEFIK}")
            )
        case World.OWN:
            version = f"{versions.TRAEFIK}-{build_digest()}"
            return images.Image("traefik", version, why, images.Built(_fill, seconds=3, needs=("build-traefik",)))


def build_digest() -> str:
    """Changes with everything that goes into the program and its image."""
    return digest(FOLDER, repr(ORIGINALS), versions.TRAEFIK)


def binary(layout: Layout) -> Path:
    """Where the program is, once it is built."""
    return layout.cache / f"traefik-{build_digest()}" / "traefik"


def manifest(world: World) -> list[Object]:
    """The objects of Traefik; its Deployment carries a digest of them all."""
    objects: list[Object] = list(yaml.safe_load_all(MANIFEST.read_text()))
    deployment = objects[-1]
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image(world).reference
    inputs = digest(json.dumps(objects, sort_keys=True))
    deployment["metadata"]["annotations"] = {INPUTS: inputs}
    return objects


@dataclass(frozen=True)
class _Build:
    layout: Layout
    name: str = "build-traefik"
    why: str = "Traefik, for tests of routing"
    seconds: float = 420
    needs: Sequence[str] = ("build-helm",)

    def is_done(self) -> bool:
        return binary(self.layout).is_file()

    def run(self) -> None:
        log, work = self.layout.log(self.name), self.layout.work(self.name)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(MODULE, work)
        for original in ORIGINALS:
            _lay_out(original, work / original.folder, log)
        target = binary(self.layout)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name("traefik.unfinished")
        flags = f"-s -w -X {_VERSION_VARIABLE}={versions.TRAEFIK.removeprefix('v')}"
        gobuild.go(
            *("build", "-v", "-mod=readonly", "-buildvcs=false", "-ldflags", flags, "-o", unfinished),
            f"{_PATH}/cmd/traefik",
            cwd=work,
            log=log,
        )
        unfinished.rename(target)
        shutil.rmtree(work)
        for folder in self.layout.cache.glob("traefik-*"):
            if folder != target.parent:
                shutil.rmtree(folder, ignore_errors=True)


def _lay_out(original: Original, folder: Path, log: Path) -> None:
    """A copy of a module, with the files that are added to it."""
    found = _downloaded(original.module, original.version, log)
    if found["Sum"] != original.checksum:
        raise LabError(
            f"{original.module} {original.version} is not what sidestream_lab/traefik.py pins: {found['Sum']}",
            "When its version was changed on purpose, write the new checksum there.",
        )
    # in the module cache everything is read-only
    shutil.copytree(found["Dir"], folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    shutil.copytree(FOLDER / "added" / original.folder, folder, dirs_exist_ok=True)


def _downloaded(module: str, version: str, log: Path) -> dict[str, str]:
    """Where the Go tools have unpacked a module (`Dir`), and its checksum (`Sum`)."""
    said: dict[str, str] = json.loads(
        gobuild.go("mod", "download", "-json", f"{module}@{version}", cwd=Path("/"), log=log)
    )
    return said


def _fill(tools: Toolbox, context: Path, _: Path) -> None:
    for source in ("added", "go"):
        shutil.rmtree(context / source)
    (context / "traefik").hardlink_to(binary(tools.layout))


@dataclass(frozen=True)
class _Ready:
    tools: Toolbox
    name: str = "traefik"
    why: str = "Traefik starts in the cluster"
    seconds: float = 15
    # whose CRDs it watches, too
    needs: Sequence[str] = ("load-traefik", "istio-crds")

    def is_done(self) -> bool:
        text = self.tools.kubectl(
            *("--namespace", NAMESPACE, "get", "deployment/traefik", "--ignore-not-found", "--output", "json")
        )
        found: Object = json.loads(text) if text else {"metadata": {}}
        wanted = manifest(self.tools.world)[-1]["metadata"]["annotations"][INPUTS]
        is_current = (found["metadata"].get("annotations") or {}).get(INPUTS) == wanted
        return is_current and bool(found.get("status", {}).get("readyReplicas"))

    def run(self) -> None:
        log = self.tools.layout.log(self.name)
        apply = ("apply", "--server-side", "--force-conflicts", "--filename")
        self.tools.kubectl(*apply, self._crds(log), log=log)
        self.tools.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", "--all", log=log)
        objects = {"apiVersion": "v1", "kind": "List", "items": manifest(self.tools.world)}
        self.tools.kubectl(*apply, "-", stdin=json.dumps(objects), log=log)
        status = ("rollout", "status", "deployment/traefik", f"--timeout={READY_SECONDS:.0f}s")
        self.tools.kubectl("--namespace", NAMESPACE, *status, log=log)
        wait_until(
            self.is_done,
            seconds=READY_SECONDS,
            what="Traefik does not become ready",
            hint=f"Look at: kubectl --namespace {NAMESPACE} logs deployment/traefik",
        )

    def _crds(self, log: Path) -> str | Path:
        match self.tools.world:
            case World.USER:
                return f"https://raw.githubusercontent.com/traefik/traefik/{versions.TRAEFIK}/{CRDS}"
            case World.OWN:
                return Path(_downloaded(_PATH, versions.TRAEFIK, log)["Dir"]) / CRDS
