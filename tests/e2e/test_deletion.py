"""After a Sandbox's deletion nothing of it is left, whatever was away meanwhile."""

import pytest

from e2e.faults import Broker, Operator
from e2e.place import Place
from sidestream.kube.port import DEPLOYMENTS, KAFKA_ROUTES, SANDBOXES, Object
from sidestream_demo.cluster import condition_of, is_condition
from sidestream_demo.process import wait_until


@pytest.fixture
def alice(place: Place) -> Place:
    """A Ready Sandbox that forks a web server behind a Service and a consumer."""
    place.deploy("web")
    place.expose("web")
    place.deploy_consumer("worker")
    place.sandbox("alice", "web", "worker")
    place.ready("alice")
    assert place.kafka.group(place.fork_group("worker", "alice"))
    return place


def assert_nothing_left(place: Place) -> None:
    wait_until(lambda: not place.made(), 30, f"nothing to be left of {place.made()}")
    assert place.fork_group("worker", "alice") not in place.kafka.group_names()
    assert place.group("worker") in place.kafka.group_names(), "the baseline's group is not ours to delete"


def test_leaves_nothing(alice: Place) -> None:
    baseline = alice.cluster.read(DEPLOYMENTS, alice.namespace, "web")
    alice.delete("alice")
    alice.gone("alice")
    assert_nothing_left(alice)
    assert alice.cluster.read(DEPLOYMENTS, alice.namespace, "web")["spec"] == baseline["spec"]


def test_works_when_the_operator_was_down_meanwhile(alice: Place, operator: Operator) -> None:
    with operator.away():
        alice.delete("alice")
        found = alice.cluster.read(SANDBOXES, alice.namespace, "alice")
        assert found["metadata"]["finalizers"], "nobody lets go of it unseen"
        assert alice.kafka.group(alice.fork_group("worker", "alice"))
    alice.gone("alice")
    assert_nothing_left(alice)


def test_waits_for_kafka_says_so_and_completes_when_it_is_back(alice: Place, broker: Broker) -> None:
    with broker.frozen():
        alice.delete("alice")
        told = alice.until(SANDBOXES, "alice", is_condition("KafkaReady", "False", "ClusterUnreachable"), 90)
        assert alice.namespace in condition_of(told, "KafkaReady")["message"], "it names the KafkaCluster"
        route = alice.cluster.read(KAFKA_ROUTES, alice.namespace, "worker-alice")
        assert route["metadata"]["finalizers"]
    alice.gone("alice")
    assert_nothing_left(alice)


def test_may_be_forced_without_kafka_and_says_what_is_left(alice: Place, broker: Broker) -> None:
    with broker.frozen():
        discard: Object = {"metadata": {"annotations": {"sidestream.dev/force-cleanup": "discard"}}}
        alice.cluster.patch(SANDBOXES, alice.namespace, "alice", discard)
        alice.delete("alice")
        alice.gone("alice")
    wait_until(lambda: not alice.made(), 10, "nothing to be left in the cluster")


def test_works_when_the_baselines_are_already_gone(alice: Place) -> None:
    for name in ("web", "worker"):
        alice.cluster.delete(DEPLOYMENTS, alice.namespace, name, propagation="Foreground")
        alice.cluster.wait_gone(DEPLOYMENTS, alice.namespace, name, timeout=60)
    alice.delete("alice")
    alice.gone("alice")
    assert_nothing_left(alice)


def test_leaves_nothing_under_polling(place: Place) -> None:
    place.deploy_consumer("worker", coordination="Polling")
    place.sandbox("alice", "worker")
    place.ready("alice")
    place.delete("alice")
    place.gone("alice")
    assert_nothing_left(place)


def test_a_fork_without_pods_goes_too_when_none_of_its_tenants_records_is_left(place: Place) -> None:
    place.deploy_consumer("worker")
    place.sandbox("alice", "worker")
    place.ready("alice")
    place.sandbox("alice", workloads=[{"deployment": "worker", "replicas": 0}])
    place.until_members(place.fork_group("worker", "alice"), 0)
    place.kafka.produce(place.topics[0], {"order": "somebody else's"}, {"baggage": "tenant=bob"})
    place.delete("alice")
    place.gone("alice")
    assert_nothing_left(place)


def test_a_suspended_sandbox_leaves_nothing_running_and_comes_back(place: Place) -> None:
    place.deploy_consumer("worker")
    place.sandbox("alice", "worker")
    place.ready("alice")
    place.sandbox("alice", "worker", suspended=True)
    place.cluster.wait_gone(KAFKA_ROUTES, place.namespace, "worker-alice", timeout=60)
    place.until(DEPLOYMENTS, "worker-alice", lambda fork: fork is not None and fork["spec"]["replicas"] == 0)
    assert place.fork_group("worker", "alice") not in place.kafka.group_names()
    place.sandbox("alice", "worker", suspended=False)
    place.ready("alice")


def test_an_expired_sandbox_goes_by_itself_in_the_same_order(place: Place) -> None:
    place.deploy_consumer("worker")
    place.sandbox("alice", "worker", lifetime={"ttl": "15s"})
    place.ready("alice")
    place.gone("alice")
    assert_nothing_left(place)
