import json
import re
from pathlib import Path
from typing import Any

import pytest

from sidestream_lab import gobuild, images, traefik, up, versions
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step


def toolbox(tmp_path: Path, world: World) -> Toolbox:
    return Toolbox(Layout(name="lab", cache=tmp_path / "cache", state=tmp_path / "state", kafka_port=39092), world)


def by_name(steps: list[Step]) -> dict[str, Step]:
    return {step.name: step for step in steps}


def object_of(kind: str, world: World = World.OWN) -> Any:
    (found,) = [item for item in traefik.manifest(world) if item["kind"] == kind]
    return found


@pytest.mark.parametrize("world", World)
def test_a_lab_without_a_goal_has_no_traefik(tmp_path: Path, world: World) -> None:
    assert not any("traefik" in step.name for step in up.all_steps(toolbox(tmp_path, world)))
    assert "traefik" not in images.catalogue(world)


@pytest.mark.parametrize("world", World)
def test_the_goal_traefik_brings_it_up_with_all_that_it_needs(tmp_path: Path, world: World) -> None:
    tools = toolbox(tmp_path, world)
    chosen = by_name(up.up_to([*up.all_steps(tools), *up.extra_steps(tools)], "traefik"))
    assert list(chosen)[-2:] == ["load-traefik", "traefik"]
    assert {"cluster", "istio-crds", "image-traefik"} <= chosen.keys()
    assert not {"kafka", "istio"} & chosen.keys()
    seen: set[str] = set()
    for step in chosen.values():
        assert seen.issuperset(step.needs), step.name
        seen.add(step.name)


def test_it_is_built_only_where_nothing_can_be_pulled(tmp_path: Path) -> None:
    own, user = (by_name(up.extra_steps(toolbox(tmp_path, world))) for world in (World.OWN, World.USER))
    assert "build-traefik" in own["image-traefik"].needs
    assert "build-traefik" not in user
    source = traefik.image(World.USER).source
    assert isinstance(source, images.Pulled)
    assert source.origin.endswith(f"traefik:{versions.TRAEFIK}")


def test_versions_and_go_mod_agree() -> None:
    pinned = (traefik.MODULE / "go.mod").read_text()
    assert f"require {traefik._PATH} {versions.TRAEFIK}\n" in pinned
    assert re.search(rf"^tool {re.escape(traefik._PATH)}/cmd/traefik$", pinned, re.MULTILINE)


@pytest.mark.parametrize("original", traefik.ORIGINALS, ids=lambda original: original.folder)
def test_go_mod_takes_each_fork_from_the_copy_that_is_added_to(original: traefik.Original) -> None:
    assert f"{original.module} => ./{original.folder}\n" in (traefik.MODULE / "go.mod").read_text()
    assert list((traefik.FOLDER / "added" / original.folder).glob("*.go"))


def test_a_copy_holds_the_original_and_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = traefik.ORIGINALS[1]
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mux.go").write_text("package mux")
    said = json.dumps({"Dir": str(tmp_path / "cache"), "Sum": original.checksum})
    monkeypatch.setattr(gobuild, "go", lambda *_, **__: said)
    traefik._lay_out(original, tmp_path / "mux", tmp_path / "log")
    assert {path.name for path in (tmp_path / "mux").iterdir()} == {"mux.go", "routing_path.go"}


def test_an_original_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gobuild, "go", lambda *_, **__: json.dumps({"Dir": str(tmp_path), "Sum": "h1:other="}))
    with pytest.raises(LabError, match=r"github.com/gorilla/mux v1.8.1 is not what .* pins: h1:other="):
        traefik._lay_out(traefik.ORIGINALS[1], tmp_path / "mux", tmp_path / "log")


def test_another_state_of_the_recipe_is_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = toolbox(tmp_path, World.OWN).layout
    before = traefik.binary(layout)
    monkeypatch.setattr(traefik, "ORIGINALS", traefik.ORIGINALS[:1])
    assert traefik.binary(layout) != before


@pytest.mark.parametrize("world", World)
def test_the_deployment_runs_the_labs_own_image(world: World) -> None:
    (container,) = object_of("Deployment", world)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == traefik.image(world).reference


def test_the_service_is_found_as_that_of_the_chart_and_leads_to_the_entry_points() -> None:
    service, deployment = object_of("Service"), object_of("Deployment")
    assert service["metadata"]["labels"]["app.kubernetes.io/name"] == "traefik"
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    targets = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    for name in ("web", "websecure"):
        assert f"--entryPoints.{name}.address=:{targets[name]}" in container["args"]


def test_the_deployment_tells_what_it_was_made_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def inputs() -> str:
        said: str = object_of("Deployment")["metadata"]["annotations"][traefik.INPUTS]
        return said

    before = inputs()
    changed = tmp_path / "traefik.yaml"
    changed.write_text(traefik.MANIFEST.read_text().replace("log.level=INFO", "log.level=DEBUG"))
    monkeypatch.setattr(traefik, "MANIFEST", changed)
    assert inputs() != before
