"""The shop's manifests: what a team writes so that its consumers can be forked under Fenced."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidestream.api.kafka import KafkaConsumer
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.api.tenancy import Tenancy

MANIFESTS = Path(__file__).parents[3] / "examples" / "shop" / "manifests"
OBJECTS: list[dict[str, Any]] = [
    item for path in sorted(MANIFESTS.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text())
]
CONSUMERS = [KafkaConsumer.from_json(item) for item in OBJECTS if item["kind"] == "KafkaConsumer"]


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: str(consumer.metadata.name))
def test_a_consumer_is_fenced_and_its_deployment_is_told_what_the_sdk_needs(consumer: KafkaConsumer) -> None:
    assert consumer.spec.coordination == "Fenced"
    (deployment,) = (
        item
        for item in OBJECTS
        if item["kind"] == "Deployment" and item["metadata"]["name"] == consumer.spec.deployment
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {item["name"]: item["value"] for item in container["env"]}
    assert told["SIDESTREAM_CONSUMER"] == f"{consumer.metadata.namespace}/{consumer.spec.deployment}"
    assert told["SIDESTREAM_MAPPING_URL"].startswith("http://sidestream-mapping.")
    assert told[consumer.spec.group_env.name] == consumer.spec.group


def test_the_route_group_is_one_that_alice_can_join() -> None:
    (group,) = (RouteGroup.from_json(item) for item in OBJECTS if item["kind"] == "RouteGroup")
    (alice,) = (item for item in OBJECTS if item["kind"] == "Sandbox" and "preview" not in item["spec"])
    joined = Sandbox.from_json({**alice, "metadata": {**alice["metadata"], "labels": {"release": "42"}}})
    assert Tenancy([joined], [group]).keys_of("alice", "fulfilment") == ("alice", group.spec.routing_key)
    assert Tenancy([Sandbox.from_json(alice)], [group]).keys_of("alice", "fulfilment") == ("alice",)


def test_there_is_a_consumer() -> None:
    assert CONSUMERS
