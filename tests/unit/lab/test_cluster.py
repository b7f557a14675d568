import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidestream_lab import cluster, gobuild, nodeimage, versions
from sidestream_lab.errors import LabError
from sidestream_lab.paths import IMAGES, Layout, World


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(name="lab", cache=tmp_path / "cache", state=tmp_path / "state", kafka_port=20000)


def patches(layout: Layout, world: World) -> dict[str, Any]:
    configuration = cluster.configuration(layout, world)
    return {patch["kind"]: patch for patch in map(yaml.safe_load, configuration["kubeadmConfigPatches"])}


def test_every_broker_has_a_port_on_this_machine_alone(layout: Layout) -> None:
    [node] = cluster.configuration(layout, World.OWN)["nodes"]
    assert node["extraPortMappings"] == [
        {"listenAddress": "127.0.0.1", "hostPort": 20000 + broker, "containerPort": 30092 + broker}
        for broker in range(3)
    ]


def test_a_stock_node_gets_nothing_that_only_the_labs_node_has(layout: Layout) -> None:
    assert patches(layout, World.USER).keys() == {"ClusterConfiguration", "KubeletConfiguration"}
    assert cluster.configuration(layout, World.USER)["networking"]["disableDefaultCNI"] is False


def test_the_labs_node_holds_the_files_that_its_configuration_names(layout: Layout) -> None:
    root = IMAGES / "node" / "rootfs"
    found = patches(layout, World.OWN)
    assert (root / found["InitConfiguration"]["patches"]["directory"].lstrip("/")).is_dir()
    assert (root / found["KubeletConfiguration"]["resolvConf"].lstrip("/")).is_file()


def test_a_taken_port_is_named(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = Layout(name=layout.name, cache=layout.cache, state=layout.state, kafka_port=port)
        with pytest.raises(LabError, match=f"listens on 127.0.0.1:{port}") as refusal:
            cluster.refuse_taken_ports(taken)
    assert "SIDESTREAM_LAB_KAFKA_PORT" in refusal.value.hint


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        ("registry.k8s.io/kube-apiserver:v1.36.3", "control-plane"),
        ("registry.k8s.io/etcd:3.6.8-0", "control-plane"),
        ("registry.k8s.io/coredns/coredns:v1.14.2", "coredns"),
        ("registry.k8s.io/pause:3.10.2", "pause"),
    ],
)
def test_each_image_of_the_control_plane_has_a_part_that_serves_it(tag: str, part: str) -> None:
    assert nodeimage.part_for(tag) == part
    assert f" AS {part}\n" in (IMAGES / "node" / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("said", "recent"),
    [
        pytest.param("kind v0.33.0 go1.26.1 linux/amd64", True, id="the same"),
        pytest.param("kind v0.34.1 go1.27 linux/amd64", True, id="newer"),
        pytest.param("kind v0.9.0 go1.15 linux/amd64", False, id="older"),
        pytest.param("no version at all", False, id="something else"),
    ],
)
def test_a_kind_that_cannot_set_up_the_node_image_is_not_used(said: str, *, recent: bool, tmp_path: Path) -> None:
    kind = tmp_path / "kind"
    kind.write_text(f"#!/bin/sh\necho '{said}'\n")
    kind.chmod(0o755)
    assert gobuild.is_recent("kind", kind) is recent


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("k8s.io/kubernetes", versions.KUBERNETES),
        ("go.etcd.io/etcd/server/v3", versions.ETCD),
        ("github.com/coredns/coredns", versions.COREDNS),
        ("sigs.k8s.io/kind", versions.KIND),
        ("sigs.k8s.io/gateway-api", versions.GATEWAY_API),
        ("helm.sh/helm/v3", versions.HELM),
        ("istio.io/istio", versions.ISTIO_MODULE),
    ],
)
def test_versions_and_go_mod_agree(module: str, version: str) -> None:
    lines = (gobuild.MODULE / "go.mod").read_text().splitlines()
    [line] = [line for line in lines if line.removeprefix("require ").strip().startswith(f"{module} ")]
    assert version in line.split()


def test_every_program_is_a_package_that_the_module_pins() -> None:
    pinned = (gobuild.MODULE / "go.mod").read_text()
    for program in gobuild.PROGRAMS:
        if program.package.startswith("./"):
            assert (gobuild.MODULE / program.package / "main.go").is_file()
        else:
            assert f"\t{program.package}\n" in pinned


def test_programs_say_their_version() -> None:
    kube = next(program for program in gobuild.PROGRAMS if program.name == "kube")
    assert f"-X k8s.io/component-base/version.gitVersion={versions.KUBERNETES}" in kube.linker_flags
