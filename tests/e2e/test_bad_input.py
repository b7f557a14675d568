"""What a user gets wrong is told in a condition, mends itself when the cause goes, and never blocks deletion."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.place import CONSUMER, MAPPING_URL, STUBBORN_CONSUMER, Place
from sidestream.kube.port import (
    DEPLOYMENTS,
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    SANDBOXES,
    SERVICES,
    Object,
)
from sidestream_demo.cluster import Cluster, RefusedError, is_condition
from sidestream_demo.environment import Environment
from sidestream_demo.release import CRDS

VIRTUAL_SERVICE_CRD = "virtualservices.networking.istio.io"

Workloads = list[Object]


def refused_and_deletable(place: Place, type_: str, reason: str, *deployments: str, **spec: Any) -> str:
    """Apply the Sandbox `alice`, see it refused, see it deletable, apply it again; returns the condition's sentence."""
    place.sandbox("alice", *deployments, **spec)
    sentence = place.refused(SANDBOXES, "alice", type_, reason)
    assert len(sentence.split()) > len(reason.split()), "a sentence, not a code"
    place.delete("alice")
    place.gone("alice", timeout=30)
    place.sandbox("alice", *deployments, **spec)
    assert place.refused(SANDBOXES, "alice", type_, reason) == sentence
    assert place.refused(SANDBOXES, "alice", "Ready", reason)
    return sentence


def test_unknown_baseline(place: Place) -> None:
    sentence = refused_and_deletable(place, "Accepted", "BaselineNotFound", "web")
    assert "web" in sentence
    place.deploy("web")
    place.ready("alice")


def test_unknown_container(place: Place) -> None:
    baseline = place.deploy("web")
    workloads = [{"deployment": "web", "containers": [{"name": "helper", "env": [{"name": "A", "value": "1"}]}]}]
    sentence = refused_and_deletable(place, "Accepted", "ContainerNotFound", workloads=workloads)
    assert "helper" in sentence
    assert "app" in sentence, "it names the containers that there are"
    helper = baseline["spec"]["template"]["spec"]["containers"][0] | {"name": "helper", "command": ["sleep", "9999"]}
    add = {"op": "add", "path": "/spec/template/spec/containers/-", "value": helper | {"ports": []}}
    place.cluster.patch(DEPLOYMENTS, place.namespace, "web", [add])
    place.ready("alice")


def test_two_sandboxes_of_one_tenant_on_one_workload(place: Place) -> None:
    # Of two that are made within one second the first by name counts as the older: the holder has to be that, too.
    place.deploy("web")
    place.sandbox("aaron", "web", routingKey="team")
    place.ready("aaron")
    sentence = refused_and_deletable(place, "Accepted", "WorkloadTaken", "web", routingKey="team")
    assert "aaron" in sentence
    place.cluster.wait(SANDBOXES, place.namespace, "aaron", is_condition("Ready"), timeout=10)
    assert not place.made_for("alice")
    place.delete("aaron")
    place.ready("alice")


def test_two_tenants_on_one_workload_are_no_mistake(place: Place) -> None:
    place.deploy("web")
    place.sandbox("bob", "web")
    place.sandbox("alice", "web")
    place.ready("bob")
    place.ready("alice")


@pytest.mark.parametrize("key", ["Alice", "alice_1", "-alice", "a.b", "a" * 41])
def test_a_key_that_is_no_dns_label_is_refused_at_once(place: Place, key: str) -> None:
    with pytest.raises(RefusedError, match=r"spec\.routingKey") as refused:
        place.sandbox("alice", "web", routingKey=key)
    assert refused.value.status == 422


def test_a_name_that_cannot_be_a_key_asks_for_one(place: Place) -> None:
    with pytest.raises(RefusedError, match=r"spec\.routingKey"):
        place.sandbox("alice.of.team.a", "web")
    place.deploy("web")
    place.sandbox("alice.of.team.a", "web", routingKey="alice")
    place.ready("alice.of.team.a")


def test_a_patch_that_does_not_apply(place: Place) -> None:
    place.deploy("web")
    operation = {"op": "remove", "path": "/spec/template/metadata/annotations/debug"}
    workloads = [{"deployment": "web", "patch": {"type": "JSON", "value": [operation]}}]
    sentence = refused_and_deletable(place, "Accepted", "PatchFailed", workloads=workloads)
    assert "web" in sentence
    annotated = {"spec": {"template": {"metadata": {"annotations": {"debug": "on"}}}}}
    place.cluster.patch(DEPLOYMENTS, place.namespace, "web", annotated)
    place.ready("alice")
    fork = place.cluster.read(DEPLOYMENTS, place.namespace, "web-alice")
    assert "debug" not in fork["spec"]["template"]["metadata"].get("annotations", {})


def test_a_patch_that_makes_no_deployment(place: Place) -> None:
    place.deploy("web")
    broken = {"spec": {"template": {"spec": {"containers": [{"name": "app", "imagePullPolicy": "Sometimes"}]}}}}
    workloads: Workloads = [{"deployment": "web", "patch": {"type": "Strategic", "value": broken}}]
    sentence = refused_and_deletable(place, "Accepted", "ForkRejected", workloads=workloads)
    assert "imagePullPolicy" in sentence
    place.sandbox("alice", "web")
    place.ready("alice")


class TestKafka:
    @pytest.fixture
    def worker(self, place: Place) -> str:
        """A baseline that consumes, without a KafkaCluster, KafkaConsumer or topic."""
        env = {
            "KAFKA_BOOTSTRAP": place.kafka_inside,
            "KAFKA_GROUP_ID": place.group("worker"),
            "KAFKA_TOPIC": f"{place.namespace}.jobs",
            "SIDESTREAM_MAPPING_URL": MAPPING_URL,
            "SIDESTREAM_CONSUMER": f"{place.namespace}/worker",
        }
        place.deploy("worker", command=CONSUMER, env=env)
        return env["KAFKA_TOPIC"]

    def test_unreachable_kafka(self, place: Place, worker: str) -> None:
        place.topic("jobs")
        place.declare_cluster("nobody.invalid:9092")
        place.declare_consumer("worker", worker)
        told = place.refused(KAFKA_CLUSTERS, place.namespace, "Reachable", "ClusterUnreachable")
        assert "nobody.invalid:9092" in told
        sentence = refused_and_deletable(place, "KafkaReady", "ClusterUnreachable", "worker")
        assert place.namespace in sentence
        place.declare_cluster(place.kafka_inside)
        place.ready("alice")
        assert place.kafka.group(place.fork_group("worker", "alice"))

    def test_unknown_cluster(self, place: Place, worker: str) -> None:
        place.topic("jobs")
        place.declare_consumer("worker", worker)
        sentence = refused_and_deletable(place, "KafkaReady", "ClusterNotFound", "worker")
        assert place.namespace in sentence
        place.declare_cluster(place.kafka_inside)
        place.ready("alice")

    def test_a_topic_that_does_not_exist(self, place: Place, worker: str) -> None:
        place.declare_cluster(place.kafka_inside)
        place.declare_consumer("worker", worker)
        sentence = refused_and_deletable(place, "KafkaReady", "TopicNotFound", "worker")
        assert worker in sentence
        assert not place.kafka.group(place.fork_group("worker", "alice"))
        place.topic("jobs")
        place.ready("alice")

    def test_a_consumer_that_names_no_deployment(self, place: Place) -> None:
        topic = place.topic("jobs")
        place.declare_cluster(place.kafka_inside)
        place.declare_consumer("nobody", topic)
        assert "nobody" in place.refused(KAFKA_CONSUMERS, "nobody", "Accepted", "DeploymentNotFound")
        place.deploy("nobody")
        place.until(KAFKA_CONSUMERS, "nobody", is_condition("Accepted"))

    def test_a_fork_that_joins_the_baselines_group_is_stopped(self, place: Place) -> None:
        group, topic = place.group("stubborn"), place.topic("jobs")
        place.declare_cluster(place.kafka_inside)
        place.declare_consumer("stubborn", topic, coordination="Polling")
        env = {
            "KAFKA_BOOTSTRAP": place.kafka_inside,
            "KAFKA_GROUP_ID": group,
            "KAFKA_TOPIC": topic,
            "MY_GROUP": group,
            "GROUP_FROM": "MY_GROUP",
        }
        place.deploy("stubborn", command=STUBBORN_CONSUMER, env=env)
        sentence = refused_and_deletable(place, "KafkaReady", "ForkInBaselineGroup", "stubborn")
        assert group in sentence
        place.until(DEPLOYMENTS, "stubborn-alice", lambda fork: fork is not None and fork["spec"]["replicas"] == 0)
        place.until_members(group, 1)
        mended = {"env": [{"name": "GROUP_FROM", "value": "KAFKA_GROUP_ID"}]}
        place.sandbox("alice", workloads=[{"deployment": "stubborn", "containers": [mended]}])
        place.ready("alice")
        place.until_members(place.fork_group("stubborn", "alice"), 1)

    def test_a_baseline_that_does_not_use_the_sdk(self, place: Place) -> None:
        topic = place.topic("jobs")
        place.declare_cluster(place.kafka_inside)
        place.declare_consumer("worker", topic)
        env = {
            "KAFKA_BOOTSTRAP": place.kafka_inside,
            "KAFKA_GROUP_ID": place.group("worker"),
            "KAFKA_TOPIC": topic,
            "GROUP_FROM": "KAFKA_GROUP_ID",
        }
        place.deploy("worker", command=STUBBORN_CONSUMER, env=env)
        sentence = refused_and_deletable(place, "KafkaReady", "BaselineWithoutSdk", "worker")
        assert "SIDESTREAM_MAPPING_URL" in sentence
        place.declare_consumer("worker", topic, coordination="Polling")
        place.ready("alice")

    def test_a_group_that_somebody_else_made_is_never_touched(self, place: Place, worker: str) -> None:
        topic = place.topic("jobs")
        place.declare_cluster(place.kafka_inside)
        place.declare_consumer("worker", worker)
        foreign = place.fork_group("worker", "alice")
        place.kafka.commit(foreign, topic, {0: 0, 1: 0})
        sentence = refused_and_deletable(place, "KafkaReady", "GroupExists", "worker")
        assert foreign in sentence
        assert place.kafka.group(foreign), "the group outlived the Sandbox that was deleted"
        place.kafka.delete_groups({foreign})
        place.ready("alice")


@pytest.fixture
def without_virtual_services(environment: Environment, cluster: Cluster) -> Iterator[None]:
    """A cluster that serves no VirtualServices until `serve_virtual_services`; those that exist stay in its storage."""
    if not environment.is_lab:
        pytest.skip("turns Istio's resources off for a while: only in the lab's own cluster")
    serve_virtual_services(cluster, served=False)
    yield
    serve_virtual_services(cluster, served=True)


def serve_virtual_services(cluster: Cluster, *, served: bool) -> None:
    versions = cluster.read(CRDS, "", VIRTUAL_SERVICE_CRD)["spec"]["versions"]
    operations: list[Object] = [
        {"op": "replace", "path": f"/spec/versions/{index}/served", "value": served} for index in range(len(versions))
    ]
    cluster.patch(CRDS, "", VIRTUAL_SERVICE_CRD, operations)


@pytest.mark.usefixtures("without_virtual_services")
def test_istio_absent(place: Place) -> None:
    place.deploy("web")
    place.expose("web", **{"sidestream.dev/provider": "VirtualService"})
    sentence = refused_and_deletable(place, "RoutesReady", "MeshNotFound", "web")
    assert "VirtualService" in sentence
    serve_virtual_services(place.cluster, served=True)
    place.ready("alice")


def test_what_is_wrong_is_told_once_in_an_event(place: Place) -> None:
    place.sandbox("alice", "web")
    place.refused(SANDBOXES, "alice", "Accepted", "BaselineNotFound")
    place.expose("unrelated")
    place.cluster.delete(SERVICES, place.namespace, "unrelated")
    place.deploy("web")
    place.ready("alice")
    assert place.events("alice").count("BaselineNotFound") == 1
