"""The cluster of KUBECONFIG with the release in it, installed by helm as users do, and a place for each test."""

import re
import secrets
from collections.abc import Iterator

import pytest

from e2e.faults import Broker, Operator
from e2e.node import Node
from e2e.place import Place
from sidestream.kube.port import KAFKA_CLUSTERS, KAFKA_ROUTES, NAMESPACES, SANDBOXES
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment, program
from sidestream_demo.kafka import Kafka
from sidestream_demo.release import Release

ROUTE_SECONDS = 60.0


@pytest.fixture(scope="session")
def environment() -> Environment:
    return Environment.from_variables()


@pytest.fixture(scope="session")
def cluster(environment: Environment) -> Iterator[Cluster]:
    with environment.cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(environment: Environment) -> Kafka:
    return Kafka(environment.kafka_bootstrap)


@pytest.fixture(scope="session")
def images(environment: Environment) -> dict[str, str]:
    return environment.images()


@pytest.fixture(scope="session", autouse=True)
def release(cluster: Cluster, images: dict[str, str]) -> Iterator[Release]:
    release = Release(cluster, program("helm"), images["operator"])
    was_installed = release.is_installed()
    release.install()
    yield release
    if not was_installed:
        let_routes_go(cluster)
        release.uninstall()


def let_routes_go(cluster: Cluster) -> None:
    """Nobody takes the finalizer off a KafkaRoute any more when the operator is gone."""
    for route in cluster.objects(KAFKA_ROUTES):
        metadata = route["metadata"]
        cluster.wait_gone(KAFKA_ROUTES, metadata["namespace"], metadata["name"], timeout=ROUTE_SECONDS)


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    environment: Environment,
    cluster: Cluster,
    kafka: Kafka,
    images: dict[str, str],
) -> Iterator[Place]:
    """A namespace that goes after the test, with its Sandboxes, topics and groups."""
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:24].strip("-")
    namespace = f"{slug}-{secrets.token_hex(2)}"
    cluster.apply(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    place = Place(cluster, kafka, namespace, images["shop"], environment.kafka_inside(cluster))
    yield place
    leave(place)


def leave(place: Place) -> None:
    """Take a place away; a Sandbox that does not go is an error of the test that made it."""
    cluster = place.cluster
    names = [item["metadata"]["name"] for item in cluster.objects(SANDBOXES, place.namespace)]
    for name in names:
        place.delete(name)
    for name in names:
        place.gone(name)
    cluster.delete(NAMESPACES, "", place.namespace)
    for name in place.clusters:
        cluster.delete(KAFKA_CLUSTERS, "", name)
    for topic in place.topics:
        place.kafka.delete_topic(topic)
    place.kafka.delete_groups({name for name in place.kafka.group_names() if name.startswith(f"{place.namespace}.")})


@pytest.fixture(scope="session")
def node(environment: Environment, cluster: Cluster, images: dict[str, str]) -> Iterator[Node]:
    if not environment.is_lab:
        pytest.skip("signals processes on the node: only in the lab's own cluster")
    node = Node(cluster, images["shop"])
    node.start()
    yield node
    node.stop()


@pytest.fixture
def operator(cluster: Cluster, node: Node) -> Iterator[Operator]:
    operator = Operator(cluster, node)
    yield operator
    operator.wait()


@pytest.fixture
def broker(node: Node, kafka: Kafka) -> Broker:
    return Broker(node, kafka)
