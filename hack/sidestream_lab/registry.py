"""From sources and the engine into the cluster: there is no image registry in the lab.

The project's own images are built here, named `sidestream/<name>:dev-<digest of all that goes in>`. They are brought
into the cluster when it does not have them yet, as are the lab's own ones. `app` is `hack/lab image`.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Unpack

import typer
from rich.console import Console

from sidestream_lab import engine, images, layers
from sidestream_lab.errors import LabError
from sidestream_lab.nodeimage import has_image
from sidestream_lab.paths import REPOSITORY, Layout, World
from sidestream_lab.shell import Options, Toolbox
from sidestream_lab.steps import Step, digest

CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
CA_BUNDLE = "ca-bundle.crt"
"""Where the Dockerfiles look for more certificate authorities; the images do not hold it, and no tag depends on it."""

PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.egg-info", "build", "dist", ".*")


@dataclass(frozen=True)
class ProjectImage:
    """An image of the project: its Dockerfile and all that this copies, as paths in the repository."""

    name: str
    dockerfile: str
    sources: tuple[str, ...]


PROJECT_IMAGES = {
    image.name: image
    for image in (
        ProjectImage(
            "operator", "Dockerfile", ("requirements/runtime.lock", "sdk/python/sidestream_sdk", "operator/sidestream")
        ),
        ProjectImage(
            "shop",
            "examples/shop/Dockerfile",
            (
                "examples/shop/requirements.lock",
                *(f"examples/shop/{service}" for service in ("storefront", "orders", "fulfilment", "inventory")),
                "sdk/python/sidestream_sdk",
            ),
        ),
    )
}


def steps(tools: Toolbox) -> Sequence[Step]:
    """The steps that bring the lab's images into the cluster: `load-kafka`, and `load-mesh` with the rest."""
    catalogue = images.catalogue(tools.world)
    mesh = tuple(image for name, image in catalogue.items() if name != "kafka")
    return [
        bring(tools, "load-kafka", "Kafka's image is brought into the cluster", (catalogue["kafka"],)),
        bring(tools, "load-mesh", "the images of the mesh and of Python are brought into the cluster", mesh),
    ]


def bring(tools: Toolbox, name: str, why: str, made: tuple[images.Image, ...]) -> Step:
    """The step `name` that brings images into the cluster."""
    return _Load(tools, name, why, made)


def _keep_quiet(_: str) -> None:
    pass


def build(tools: Toolbox, name: str, say: Callable[[str], None] = _keep_quiet) -> str:
    """Build the project's image `name`, bring it into the cluster, and return its full name; both only if needed.

    `say` is told, as a line for a person, what takes a while.

    Raises:
        LabError: there is no such image, or its Dockerfile fails.
    """
    if name not in PROJECT_IMAGES:
        raise LabError(f"There is no image {name!r}", f"Name one of: {', '.join(PROJECT_IMAGES)}.")
    layout, base = tools.layout, images.catalogue(tools.world)["python"].reference
    context = layout.work(f"image-{name}")
    stage(PROJECT_IMAGES[name], REPOSITORY, context)
    reference = f"sidestream/{name}:dev-{digest(context, base)}"
    if not has_image(tools, reference):
        say(f"Building {reference} (about a minute when its dependencies have changed, else seconds) ...")
        add_certificates(context)
        tools.docker(
            *("build", "--network", "host", "--build-arg", f"BASE={base}", *pip_arguments(os.environ)),
            *("--tag", reference, context),
            log=layout.log(f"image-{name}"),
        )
    shutil.rmtree(context)
    if reference not in loaded(tools):
        say(f"Bringing {reference} into the cluster (seconds) ...")
        load(tools, [reference], layout.log(f"image-{name}"))
    return reference


def stage(image: ProjectImage, repository: Path, context: Path) -> None:
    """Lay out a build context with the Dockerfile and its sources, and nothing else of the checkout."""
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    shutil.copy(repository / image.dockerfile, context / "Dockerfile")
    for source in image.sources:
        target = context / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (repository / source).is_dir():
            shutil.copytree(repository / source, target, ignore=NOT_COPIED)
        elif (repository / source).is_file():
            shutil.copy(repository / source, target)
        else:
            raise LabError(
                f"The image {image.name} is made from {source}, which is missing", "Is the checkout complete?"
            )


def add_certificates(context: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Give the build the certificate authorities that pip is told to use on this machine, if it is told."""
    named = (Path(environment[variable]) for variable in CA_VARIABLES if environment.get(variable))
    if bundle := next((path for path in named if path.is_file()), None):
        shutil.copy(bundle, context / CA_BUNDLE)


def pip_arguments(environment: Mapping[str, str]) -> list[str]:
    """Build arguments that tell pip about this machine's package index, for the Dockerfiles that ask for them."""
    return [f"--build-arg={name}={environment[name]}" for name in PIP_VARIABLES if environment.get(name)]


def load(tools: Toolbox, references: Sequence[str], log: Path | None = None) -> None:
    """Bring images from the engine into the cluster, those that it does not have yet."""
    if missing := sorted(set(references) - loaded(tools)):
        _copy(tools, missing, log)


def loaded(tools: Toolbox) -> set[str]:
    """The names of the images in the cluster, as the engine has them."""
    listed = _containerd(tools, "images", "list", "--quiet")
    return {name.removeprefix("docker.io/") for name in listed.split()}


def _copy(tools: Toolbox, references: Sequence[str], log: Path | None) -> None:
    match tools.world:
        case World.USER:
            tools.kind("load", "docker-image", "--name", tools.layout.name, *references, log=log)
        case World.OWN:
            present = set(_containerd(tools, "content", "list", "--quiet").split())
            if present.isdisjoint(_layers(tools, references)):
                _pipe(tools, references, log)
            else:
                _pipe_rest(tools, references, present, log)


def _pipe(tools: Toolbox, references: Sequence[str], log: Path | None) -> None:
    """Straight into the node, where `kind load` would write the whole of it to a file first."""
    with subprocess.Popen(
        ["docker", "save", *references], env=os.environ | tools.environment, stdout=subprocess.PIPE
    ) as saver:
        _containerd(tools, "images", "import", "-", stdin=saver.stdout, log=log)
    if saver.returncode:
        raise LabError(f"docker save {' '.join(references)} failed", "See what it wrote above.")


def _pipe_rest(tools: Toolbox, references: Sequence[str], present: Collection[str], log: Path | None) -> None:
    tools.layout.work("").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools.layout.work(""), prefix="load-") as work:
        archive, rest = Path(work) / "saved.tar", Path(work) / "rest.tar"
        tools.docker("save", "--output", archive, *references, log=log)
        with rest.open("wb") as output:
            layers.without(archive, present, output)
        with rest.open("rb") as source:
            _containerd(tools, "images", "import", "-", stdin=source, log=log)


def _layers(tools: Toolbox, references: Sequence[str]) -> set[str]:
    listed = tools.docker("image", "inspect", "--format", '{{join .RootFS.Layers " "}}', *references)
    return set(listed.split())


def _containerd(tools: Toolbox, *arguments: str, **options: Unpack[Options]) -> str:
    """Run ctr in the node, on the images of Kubernetes."""
    ctr = ("ctr", "--namespace", "k8s.io", *arguments)
    return tools.docker("exec", "--interactive", tools.layout.node, *ctr, **options)


@dataclass(frozen=True)
class _Load:
    tools: Toolbox
    name: str
    why: str
    images: tuple[images.Image, ...]
    seconds: float = 15

    @property
    def needs(self) -> Sequence[str]:
        return ("cluster", *(image.step for image in self.images))

    def is_done(self) -> bool:
        return loaded(self.tools).issuperset(image.reference for image in self.images)

    def run(self) -> None:
        load(self.tools, [image.reference for image in self.images], self.tools.layout.log(self.name))


app = typer.Typer(help="The images of the project, in the lab's cluster.", no_args_is_help=True)


@app.command(name="build")
def build_command(
    names: Annotated[list[str], typer.Argument(help=f"What to build: {', '.join(PROJECT_IMAGES)}.")],
) -> None:
    """Build images from the checkout, bring them into the cluster, and print their names, one a line."""
    layout = Layout.from_environment()
    world = engine.recorded(layout)
    if world is None:
        raise LabError("The lab is down", "Run `hack/lab up` first.")
    for name in names:
        print(build(Toolbox(layout, world), name, Console(stderr=True, highlight=False).print))


@app.callback()
def image() -> None:
    """Keep `build` a command of its own although it is the only one."""
