"""Where trials take place: the operator and the mapping service as processes on this machine, on a real cluster.

They are the product's own programs of this checkout. What runs in the cluster are only our kinds, so that no image
has to be built and members, which are processes here too, reach the mapping service.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.replica import free_port, replica, running
from bench.report import FOLDER
from bench.stage import definitions, namespace, refuse_release
from sidestream.kube.port import KAFKA_CLUSTERS, KAFKA_ROUTES, Object
from sidestream_demo.cluster import Cluster, is_condition
from sidestream_demo.environment import Environment
from sidestream_demo.errors import DemoError
from sidestream_demo.kafka import Kafka

NAMESPACE = "sidestream-bench"
KAFKA_CLUSTER = "sidestream-bench"
SECONDS = 60.0


@dataclass(frozen=True)
class Place:
    """A cluster and a Kafka that Sidestream works on; `folder` is for what members and programs write."""

    cluster: Cluster
    kafka: Kafka
    mapping_url: str
    folder: Path


@contextmanager
def sidestream_at_work(environment: Environment, cluster: Cluster) -> Iterator[Place]:
    """Start it, and leave the cluster as it was."""
    refuse_release(cluster)
    folder = FOLDER.absolute() / "handoff"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with definitions(cluster), namespace(cluster, NAMESPACE), _operator(environment, folder):
        cluster.apply(KAFKA_CLUSTERS, _kafka_cluster(environment.kafka_bootstrap))
        try:
            reachable = is_condition("Reachable")
            cluster.wait(KAFKA_CLUSTERS, "", KAFKA_CLUSTER, reachable, timeout=SECONDS, what="Reachable")
            with replica(environment.kubeconfig) as mapping:
                yield Place(cluster, Kafka(environment.kafka_bootstrap), mapping.url, folder)
        finally:
            _let_routes_go(cluster)
            cluster.delete(KAFKA_CLUSTERS, "", KAFKA_CLUSTER)


@contextmanager
def _operator(environment: Environment, folder: Path) -> Iterator[None]:
    variables = {**os.environ, "KUBECONFIG": str(environment.kubeconfig), "SIDESTREAM_LOG_FORMAT": "console"}
    options = ("--namespace", NAMESPACE, "--http-port", str(free_port()))
    with running("sidestream", "operator", *options, environment=variables, log=folder / "operator.log"):
        yield


def _let_routes_go(cluster: Cluster) -> None:
    """Delete what is left of a trial that failed, whether or not the operator still does its part of it."""
    names = [route["metadata"]["name"] for route in cluster.objects(KAFKA_ROUTES, NAMESPACE)]
    for name in names:
        cluster.delete(KAFKA_ROUTES, NAMESPACE, name)
    for name in names:
        with suppress(DemoError):
            cluster.wait_gone(KAFKA_ROUTES, NAMESPACE, name, timeout=SECONDS / 2)
        if cluster.get(KAFKA_ROUTES, NAMESPACE, name) is not None:
            cluster.patch(KAFKA_ROUTES, NAMESPACE, name, {"metadata": {"finalizers": None}})


def _kafka_cluster(bootstrap: str) -> Object:
    return {
        "apiVersion": KAFKA_CLUSTERS.api_version,
        "kind": KAFKA_CLUSTERS.kind,
        "metadata": {"name": KAFKA_CLUSTER},
        "spec": {"bootstrapServers": [bootstrap]},
    }
