"""The Kubernetes cluster: one kind node, with ports on this machine for Kafka's brokers."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidestream_lab import nodeimage
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Stamp, Step, digest

BROKERS = 3
"""How many brokers get a port on this machine; restart tests use three, all else the first."""


def steps(tools: Toolbox) -> Sequence[Step]:
    """The step that has a cluster answering."""
    return [_Cluster(tools)]


def is_ready(tools: Toolbox) -> bool:
    """Whether the cluster's API server says that it is ready."""
    if not tools.layout.kubeconfig.is_file():
        return False
    try:
        # Patient, because a cluster that is taken for dead is made anew; a dead one refuses at once.
        tools.kubectl("get", "--raw", "/readyz", "--request-timeout=30s", timeout=60)
    except LabError:
        return False
    return True


def delete(tools: Toolbox) -> None:
    """Remove the cluster with its network and kubeconfig, or what is left of them; the engine has to answer."""
    layout, log = tools.layout, tools.layout.log("cluster")
    label = f"label=io.x-k8s.kind.cluster={layout.name}"
    if nodes := tools.docker("ps", "--all", "--quiet", "--filter", label).split():
        tools.docker("rm", "--force", "--volumes", *nodes, log=log)
    if layout.name in tools.docker("network", "ls", "--format", "{{.Name}}").split():
        tools.docker("network", "rm", layout.name, log=log)
    layout.kubeconfig.unlink(missing_ok=True)
    _record(layout).unlink(missing_ok=True)


def configuration(layout: Layout, world: World) -> dict[str, Any]:
    """What kind is asked for."""
    ports = [
        {
            "listenAddress": "127.0.0.1",
            "hostPort": layout.kafka_host_port(broker),
            "containerPort": layout.kafka_node_port(broker),
        }
        for broker in range(BROKERS)
    ]
    return {
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "kind": "Cluster",
        "name": layout.name,
        "networking": {"apiServerAddress": "127.0.0.1", "disableDefaultCNI": world is World.OWN},
        "kubeadmConfigPatches": [yaml.safe_dump(patch) for patch in _patches(world)],
        "nodes": [{"role": "control-plane", "image": nodeimage.name(world), "extraPortMappings": ports}],
    }


def _patches(world: World) -> list[dict[str, Any]]:
    kubeadm = "kubeadm.k8s.io/v1beta4"
    # Nothing in the lab outlives a power cut, so etcd need not wait for the disk.
    etcd = {"local": {"extraArgs": [{"name": "unsafe-no-fsync", "value": "true"}]}}
    kubelet: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Hosts with control groups of version 1 are still about; on version 2 this says nothing.
        "failCgroupV1": False,
    }
    patches = [{"apiVersion": kubeadm, "kind": "ClusterConfiguration", "etcd": etcd}, kubelet]
    if world is World.OWN:
        # These two name files of images/node/rootfs; the host of the third may not run systemd.
        patches.append({"apiVersion": kubeadm, "kind": "InitConfiguration", "patches": {"directory": "/kind/patches"}})
        kubelet["resolvConf"] = "/etc/kubernetes/resolv.conf"
        kubelet["cgroupDriver"] = "cgroupfs"
    return patches


@dataclass(frozen=True)
class _Cluster:
    tools: Toolbox
    name: str = "cluster"
    why: str = "a Kubernetes cluster of one node, by kind"
    seconds: float = 30

    @property
    def needs(self) -> Sequence[str]:
        kubectl = "build-kubectl" if self.tools.world is World.USER else "build-kube"
        return ("engine", "build-kind", kubectl, "node-image")

    def is_done(self) -> bool:
        return self._stamp().is_set() and is_ready(self.tools)

    def run(self) -> None:
        layout, log = self.tools.layout, self.tools.layout.log(self.name)
        delete(self.tools)
        refuse_taken_ports(layout)
        if self.tools.world is World.OWN:
            self._create_network(log)
        self.tools.kind(
            *("create", "cluster", "--config", "-", "--kubeconfig", layout.kubeconfig, "--wait", "5m"),
            stdin=yaml.safe_dump(self._configuration()),
            log=log,
        )
        self._wait_for_names(log)
        self._stamp().set()

    def _configuration(self) -> dict[str, Any]:
        return configuration(self.tools.layout, self.tools.world)

    def _stamp(self) -> Stamp:
        return Stamp(_record(self.tools.layout), digest(yaml.safe_dump(self._configuration())))

    def _create_network(self, log: Path) -> None:
        """The network before kind makes it, so that its interface has a name by which it can be removed."""
        bridge = f"com.docker.network.bridge.name={self.tools.layout.bridge}"
        self.tools.docker("network", "create", "--opt", bridge, self.tools.layout.name, log=log)

    def _wait_for_names(self, log: Path) -> None:
        """A pod that starts before CoreDNS does finds no Service, and many never look again."""
        self.tools.kubectl(
            *("rollout", "status", "deployment/coredns", "--namespace", "kube-system", "--timeout", "300s"), log=log
        )


def _record(layout: Layout) -> Path:
    """Says what the cluster was made from."""
    return layout.state / "cluster"


def refuse_taken_ports(layout: Layout) -> None:
    """Say which program's port is in the way, where Docker would say much less.

    Raises:
        LabError: a port for Kafka is taken.
    """
    for broker in range(BROKERS):
        port = layout.kafka_host_port(broker)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as taken:
                raise LabError(
                    f"Another program listens on 127.0.0.1:{port}, where the lab wants to publish Kafka",
                    "End that program, or set SIDESTREAM_LAB_KAFKA_PORT to the first of three free ports.",
                ) from taken
