"""What benchmarks share: the shop in a cluster with Sidestream installed, one Sandbox's life, our kinds alone.

The last is for benchmarks that run Sidestream's programs as processes on this machine.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from rich.console import Console

from sidestream.kube.port import KAFKA_CLUSTERS, NAMESPACES, SANDBOXES, Object
from sidestream_demo.cluster import Cluster, is_condition
from sidestream_demo.environment import Environment, program
from sidestream_demo.errors import DemoError
from sidestream_demo.kafka import Kafka
from sidestream_demo.release import CRDS, REPOSITORY, Release, adoptable
from sidestream_demo.shop import KAFKA_CLUSTER, NAMESPACE, Shop

SECONDS = 60.0


@contextmanager
def installed_shop(environment: Environment, console: Console, *, seconds: float) -> Iterator[Shop]:
    """The shop, once the operator has met its KafkaCluster; taken away again, and with it what was not there before."""
    with environment.cluster() as cluster:
        console.print("Installing Sidestream and the shop (about 1 minute) ...")
        images = environment.images()
        release = Release(cluster, program("helm"), images["operator"])
        was_installed = release.is_installed()
        release.install()
        shop = Shop(cluster, Kafka(environment.kafka_bootstrap), images["shop"], environment.kafka_inside(cluster))
        shop.remove_sandbox()
        shop.deploy()
        try:
            reachable = is_condition("Reachable")
            cluster.wait(KAFKA_CLUSTERS, "", KAFKA_CLUSTER, reachable, timeout=seconds, what="Reachable")
            yield shop
        finally:
            shop.remove()
        if not was_installed:
            release.uninstall()


def live(cluster: Cluster, name: str, deployment: str, *, seconds: float) -> tuple[float, float]:
    """Make a Sandbox that forks a Deployment of the shop, and delete it when it is Ready.

    Returns the seconds from apply to Ready, and from its deletion until it is gone.
    """
    sandbox: Object = {
        "apiVersion": SANDBOXES.api_version,
        "kind": SANDBOXES.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"workloads": [{"deployment": deployment}]},
    }
    begin = time.monotonic()
    cluster.apply(SANDBOXES, sandbox)
    cluster.wait(SANDBOXES, NAMESPACE, name, is_condition("Ready"), timeout=seconds, what="Ready")
    ready = time.monotonic()
    cluster.delete(SANDBOXES, NAMESPACE, name)
    cluster.wait_gone(SANDBOXES, NAMESPACE, name, timeout=seconds)
    return ready - begin, time.monotonic() - ready


def refuse_release(cluster: Cluster) -> None:
    """Raise DemoError where Sidestream is installed."""
    if Release(cluster, program("helm"), ":").is_installed():
        raise DemoError(
            "Sidestream is installed in this cluster: its operator would work on the benchmark's objects. "
            "Uninstall it with `helm uninstall sidestream --namespace sidestream-system`."
        )


@contextmanager
def definitions(cluster: Cluster) -> Iterator[None]:
    """Our kinds; those that were not there go again."""
    added = []
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        definition: Object = yaml.safe_load(path.read_text())
        if cluster.get(CRDS, "", definition["metadata"]["name"]) is None:
            added.append(definition["metadata"]["name"])
            cluster.apply(CRDS, adoptable(definition))
    try:
        for name in added:
            cluster.wait(CRDS, "", name, is_condition("Established"), timeout=SECONDS, what="established")
        yield
    finally:
        for name in added:
            cluster.delete(CRDS, "", name)
        for name in added:
            cluster.wait_gone(CRDS, "", name, timeout=SECONDS)


@contextmanager
def namespace(cluster: Cluster, name: str) -> Iterator[None]:
    """A namespace that goes again with all that is in it."""
    cluster.apply(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield
    finally:
        cluster.delete(NAMESPACES, "", name)
        cluster.wait_gone(NAMESPACES, "", name, timeout=SECONDS)
