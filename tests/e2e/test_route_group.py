"""A RouteGroup's key reaches the forks of all its members, over Kafka and over HTTP, and goes without a trace."""

import re
import threading
import time
from collections.abc import Iterator

import pytest
import yaml

from e2e.place import Place
from sidestream.kube.port import KAFKA_ROUTES, ROUTE_GROUPS, SANDBOXES, Object
from sidestream_demo import shop as shop_place
from sidestream_demo.cluster import Cluster, condition_of, is_condition
from sidestream_demo.environment import Environment
from sidestream_demo.forward import PortForward
from sidestream_demo.kafka import Kafka
from sidestream_demo.process import wait_until
from sidestream_demo.release import REPOSITORY
from sidestream_demo.shop import Shop
from sidestream_demo.traffic import Hop, place_order

KEY = "release-42"
EXAMPLE = REPOSITORY / "examples/shop/manifests/routegroup-release-42.yaml"
READY_SECONDS = 120.0
GIVEN_BACK_SECONDS = 60.0

TELLING = [
    "python",
    "-c",
    """
import json, os, signal, sys
from sidestream_sdk import SandboxConsumer
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
config = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "group.id": os.environ["KAFKA_GROUP_ID"],
          "auto.offset.reset": "earliest", "session.timeout.ms": 6000}
consumer = SandboxConsumer(config)
consumer.subscribe([os.environ["KAFKA_TOPIC"]])
try:
    while True:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            print("handled", json.loads(message.value())["n"], flush=True)
finally:
    consumer.close()
""",
]
"""A consumer that writes into its log which records it handled."""


def handled(place: Place, deployment: str) -> set[int]:
    """The numbers of the records that the pod of a Deployment has handled."""
    log = place.cluster.kubectl("logs", "--namespace", place.namespace, f"deployment/{deployment}", "--tail=-1")
    return {int(number) for number in re.findall(r"^handled (\d+)$", log, re.MULTILINE)}


def until_handled(place: Place, deployment: str, numbers: set[int]) -> None:
    """Wait until it has handled these records and no others."""
    wait_until(lambda: handled(place, deployment) == numbers, 30, f"{deployment} to handle {numbers}")


def claimed(place: Place, route: str) -> set[str]:
    """The keys that a KafkaRoute has claims on."""
    status = place.cluster.read(KAFKA_ROUTES, place.namespace, route).get("status", {})
    return {claim["key"] for claim in status.get("claims", ())}


def keys(place: Place, sandbox: str) -> list[str]:
    found: list[str] = place.cluster.read(SANDBOXES, place.namespace, sandbox)["status"]["routingKeys"]
    return found


class Stream(threading.Thread):
    """Records with numbers of their own, of these tenants in turn, until it is ended."""

    def __init__(self, kafka: Kafka, topic: str, tenants: tuple[str | None, ...]) -> None:
        super().__init__(daemon=True)
        self._writer = kafka.writer(topic)
        self._tenants = tenants
        self._over = threading.Event()
        self.tenants: dict[int, str | None] = {}

    def run(self) -> None:
        while not self._over.is_set():
            number = len(self.tenants)
            tenant = self._tenants[number % len(self._tenants)]
            self._writer.write({"n": number}, {} if tenant is None else {"baggage": f"tenant={tenant}"})
            self.tenants[number] = tenant
            time.sleep(0.02)

    def end(self) -> None:
        self._over.set()
        self.join()
        self._writer.finish()


@pytest.fixture
def members(place: Place) -> dict[str, str]:
    """Alice's fork of worker and bob's of packer, both Ready; the topic of each Deployment."""
    topics = {name: place.deploy_consumer(name, topic=f"{name}.in", command=TELLING) for name in ("worker", "packer")}
    place.sandbox("alice", "worker")
    place.sandbox("bob", "packer")
    place.ready("alice")
    place.ready("bob")
    return topics


def test_its_records_reach_the_forks_of_both_members(place: Place, members: dict[str, str]) -> None:
    place.route_group(KEY, "alice", "bob")
    group = place.until(ROUTE_GROUPS, KEY, is_condition("Ready"), READY_SECONDS)
    assert group["status"]["members"] == [{"sandbox": "alice", "ready": "True"}, {"sandbox": "bob", "ready": "True"}]
    assert condition_of(group, "Conflict")["status"] == "False"
    assert (keys(place, "alice"), keys(place, "bob")) == (["alice", KEY], ["bob", KEY])
    for topic in members.values():
        for number, tenant in enumerate((KEY, "alice", "bob", "carol")):
            place.kafka.produce(topic, {"n": number}, {"baggage": f"tenant={tenant}"})
    forks = {"worker": ("worker-alice", {0, 1}), "packer": ("packer-bob", {0, 2})}
    for deployment, (fork, meant) in forks.items():
        rest = {0, 1, 2, 3} - meant
        until_handled(place, fork, meant)
        until_handled(place, deployment, rest)


def test_deleted_amid_records_each_is_handled_by_one_version(place: Place, members: dict[str, str]) -> None:
    stream = Stream(place.kafka, members["worker"], (KEY, "alice", None))
    stream.start()
    try:
        time.sleep(1)
        place.route_group(KEY, "alice", "bob")
        place.until(ROUTE_GROUPS, KEY, is_condition("Ready"), READY_SECONDS)
        time.sleep(2)
        place.cluster.delete(ROUTE_GROUPS, place.namespace, KEY)
        wait_until(lambda: claimed(place, "worker-alice") == {"alice"}, GIVEN_BACK_SECONDS, f"{KEY} to be given back")
        time.sleep(1)
    finally:
        stream.end()

    def is_all_handled() -> bool:
        return handled(place, "worker") | handled(place, "worker-alice") == stream.tenants.keys()

    wait_until(is_all_handled, 30, "every record to be handled")
    fork, baseline = handled(place, "worker-alice"), handled(place, "worker")
    assert fork & baseline == set(), "none by both"
    of = {
        tenant: {number for number, one in stream.tenants.items() if one == tenant} for tenant in (KEY, "alice", None)
    }
    assert of["alice"] <= fork
    assert of[None] <= baseline
    assert of[KEY] & fork, "the fork had some of the group's"
    assert of[KEY] & baseline, "before and after the baseline had them"
    assert place.cluster.read(SANDBOXES, place.namespace, "alice")["status"]["routingKeys"] == ["alice"]
    assert condition_of(place.ready("alice"), "KafkaReady")["status"] == "True"


def test_of_two_members_with_forks_of_one_deployment_the_older_serves(place: Place) -> None:
    place.deploy_consumer("worker", topic="worker.in", command=TELLING)
    place.sandbox("alice", "worker")
    place.ready("alice")
    place.sandbox("bob", "worker")
    place.ready("bob")
    place.route_group(KEY, "alice", "bob")
    group = place.until(ROUTE_GROUPS, KEY, is_condition("Conflict", "True", "WorkloadTaken"), READY_SECONDS)
    assert "Sandboxes alice and bob both fork Deployment worker" in condition_of(group, "Conflict")["message"]
    wait_until(lambda: claimed(place, "worker-alice") == {"alice", KEY}, 30, f"alice's fork to have {KEY}")
    place.ready("bob")
    assert keys(place, "bob") == ["bob"]
    place.delete("alice")
    wait_until(lambda: claimed(place, "worker-bob") == {"bob", KEY}, READY_SECONDS, f"bob's fork to have {KEY}")
    place.gone("alice")
    place.cluster.delete(ROUTE_GROUPS, place.namespace, KEY)


@pytest.fixture
def shop(environment: Environment, cluster: Cluster, kafka: Kafka, images: dict[str, str]) -> Iterator[Shop]:
    """The shop with a fork of orders by alice and one of fulfilment by bob."""
    shop = Shop(cluster, kafka, images["shop"], environment.kafka_inside(cluster))
    shop.deploy()
    try:
        for name, deployment in (("alice", "orders"), ("bob", "fulfilment")):
            cluster.apply(SANDBOXES, labelled_sandbox(name, deployment))
        yield shop
    finally:
        for name in ("alice", "bob"):
            cluster.delete(SANDBOXES, shop_place.NAMESPACE, name)
        for name in ("alice", "bob"):
            cluster.wait_gone(SANDBOXES, shop_place.NAMESPACE, name, timeout=shop_place.DELETION_SECONDS)
        shop.remove()


def labelled_sandbox(name: str, deployment: str) -> Object:
    container = {"name": "app", "env": [{"name": "VERSION", "value": name}]}
    return {
        "apiVersion": SANDBOXES.api_version,
        "kind": SANDBOXES.kind,
        "metadata": {"name": name, "namespace": shop_place.NAMESPACE, "labels": {"release": "42"}},
        "spec": {"workloads": [{"deployment": deployment, "containers": [container]}]},
    }


def test_its_requests_and_the_records_they_lead_to_go_through_the_forks_of_both(shop: Shop) -> None:
    shop.cluster.apply(ROUTE_GROUPS, yaml.safe_load(EXAMPLE.read_text()))
    shop.cluster.wait(ROUTE_GROUPS, shop_place.NAMESPACE, KEY, is_condition("Ready"), timeout=READY_SECONDS)
    ways = {
        KEY: ("baseline", "alice", "bob", "baseline"),
        "alice": ("baseline", "alice", "baseline", "baseline"),
        "bob": ("baseline", "baseline", "bob", "baseline"),
        None: ("baseline",) * 4,
    }
    with PortForward(shop.cluster, shop_place.NAMESPACE, "service/storefront", 8080) as storefront:
        for tenant, versions in ways.items():
            trip = place_order(storefront, tenant)
            assert trip.hops == tuple(map(Hop, shop_place.SERVICES, versions)), tenant
