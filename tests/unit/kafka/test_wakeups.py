from __future__ import annotations

import pytest

from builders import (
    deployment,
    generation,
    having,
    in_namespace,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    labelled,
    pod,
)
from sidestream.api.labels import BASELINE, SANDBOX
from sidestream.kafka.wakeups import KafkaWakeups
from sidestream.kube.port import Object
from sidestream.runtime.reconcile import ObjectKey

ALICE, BOB = ObjectKey("shop", "fulfilment-orders-alice"), ObjectKey("shop", "fulfilment-orders-bob")
CONSUMER = ObjectKey("shop", "fulfilment-orders")


@pytest.fixture
def seen() -> KafkaWakeups:
    """Two routes of one consumer on one cluster, and strangers that share no name with them."""
    wakeups = KafkaWakeups()
    wakeups.of_route(kafka_route(ALICE.name), gone=False)
    wakeups.of_route(kafka_route(BOB.name, having("spec.sandbox", "bob")), gone=False)
    stranger = kafka_route("stranger", having("spec.cluster", "other"), having("spec.consumer", "other"))
    wakeups.of_route(having_all(stranger, sandbox="eve", deployment="other"), gone=False)
    wakeups.of_route(kafka_route(ALICE.name, in_namespace("elsewhere")), gone=False)
    wakeups.of_consumer(kafka_consumer(), gone=False)
    wakeups.of_consumer(
        kafka_consumer("stranger", having("spec.cluster", "other"), having("spec.deployment", "other")), gone=False
    )
    wakeups.of_cluster(kafka_cluster(), gone=False)
    return wakeups


def having_all(obj: Object, **spec: str) -> Object:
    obj["spec"].update(spec)
    return obj


def fork_pod(**labels: str) -> Object:
    return pod("p", labelled({SANDBOX: labels.get("sandbox", "alice"), BASELINE: labels.get("baseline", "fulfilment")}))


def test_an_object_wakes_its_own_key(seen: KafkaWakeups) -> None:
    assert seen.of_route(kafka_route(ALICE.name), gone=False) == {ALICE}
    assert seen.of_consumer(kafka_consumer(), gone=False) == {CONSUMER}
    assert seen.of_cluster(kafka_cluster(), gone=False) == {ObjectKey("", "main")}


def test_a_cluster_wakes_those_who_wait_for_it(seen: KafkaWakeups) -> None:
    elsewhere = ObjectKey("elsewhere", ALICE.name)
    assert seen.routes_of_cluster(kafka_cluster()) == {ALICE, BOB, elsewhere}
    assert seen.consumers_of_cluster(kafka_cluster()) == {CONSUMER}
    assert seen.routes_of_cluster(kafka_cluster("third")) == set()


def test_a_consumer_wakes_its_routes_and_a_route_its_consumer(seen: KafkaWakeups) -> None:
    assert seen.routes_of_consumer(kafka_consumer()) == {ALICE, BOB}
    assert seen.consumers_of_route(kafka_route(ALICE.name)) == {CONSUMER}


@pytest.mark.parametrize(
    ("subject", "woken"),
    [
        pytest.param(fork_pod(), {ALICE}, id="alice's fork"),
        pytest.param(fork_pod(sandbox="bob"), {BOB}, id="bob's fork"),
        pytest.param(fork_pod(baseline="orders"), set(), id="a fork of another deployment"),
        pytest.param(pod("p"), set(), id="a pod of nobody's fork"),
        pytest.param(pod("p", having("metadata.labels", None)), set(), id="a pod without labels"),
    ],
)
def test_a_pod_wakes_the_routes_of(subject: Object, woken: set[ObjectKey], seen: KafkaWakeups) -> None:
    assert seen.routes_of_pod(subject) == woken


@pytest.mark.parametrize(
    ("subject", "gone", "woken"),
    [
        pytest.param(deployment("fulfilment"), False, {CONSUMER}, id="comes"),
        pytest.param(deployment("fulfilment", generation(7)), True, {CONSUMER}, id="goes"),
        pytest.param(deployment("fulfilment", generation(7)), False, set(), id="changes"),
        pytest.param(deployment("orders"), False, set(), id="is another"),
        pytest.param(deployment("fulfilment", in_namespace("elsewhere")), False, set(), id="is elsewhere"),
    ],
)
def test_a_deployment_wakes_its_consumers_when_it(
    subject: Object, woken: set[ObjectKey], seen: KafkaWakeups, *, gone: bool
) -> None:
    assert seen.consumers_of_deployment(subject, gone=gone) == woken


def test_what_is_gone_is_woken_once_more_and_then_forgotten(seen: KafkaWakeups) -> None:
    assert seen.of_route(kafka_route(ALICE.name), gone=True) == {ALICE}
    assert seen.of_consumer(kafka_consumer(), gone=True) == {CONSUMER}
    assert seen.of_cluster(kafka_cluster(), gone=True) == {ObjectKey("", "main")}
    assert ALICE not in seen.all_routes()
    assert seen.all_consumers() == {ObjectKey("shop", "stranger")}
    assert seen.all_clusters() == set()
    assert seen.routes_of_pod(fork_pod()) == set()
    assert seen.of_route(kafka_route(ALICE.name), gone=True) == {ALICE}


def test_a_route_that_moves_to_another_cluster_is_remembered_there(seen: KafkaWakeups) -> None:
    seen.of_route(kafka_route(ALICE.name, having("spec.cluster", "other")), gone=False)
    assert ALICE not in seen.routes_of_cluster(kafka_cluster())
    assert ALICE in seen.routes_of_cluster(kafka_cluster("other"))


def test_half_an_object_is_no_trouble() -> None:
    wakeups = KafkaWakeups()
    bare = {"metadata": {"name": "x", "namespace": "shop"}}
    assert wakeups.of_route(bare, gone=False) == {ObjectKey("shop", "x")}
    assert wakeups.of_consumer(bare, gone=False) == {ObjectKey("shop", "x")}
