from __future__ import annotations

import base64

import pytest

from builders import Modifier, having, kafka_cluster
from sidestream.api.kafka import KafkaCluster
from sidestream.errors import InvalidInputError
from sidestream.kafka.config import FORBIDDEN, ClientConfig, client_config


def cluster(*modifiers: Modifier) -> KafkaCluster:
    return KafkaCluster.from_json(kafka_cluster("main", *modifiers))


def properties(**values: str) -> Modifier:
    return having("spec.properties", {key.replace("_", "."): value for key, value in values.items()})


def from_secrets(*names: str) -> Modifier:
    return having("spec.propertiesFrom", [{"secret": name} for name in names])


def data(**values: str) -> dict[str, str]:
    return {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}


def test_a_plain_cluster_needs_its_servers_only() -> None:
    config = client_config(cluster(having("spec.bootstrapServers", ["a:9092", "b:9092"])), {})
    assert config.properties == {"bootstrap.servers": "a:9092,b:9092"}


def test_secrets_win_over_the_spec_and_later_ones_over_earlier_ones() -> None:
    subject = cluster(properties(sasl_username="spec", client_id="spec"), from_secrets("one", "two"))
    secrets = {"one": data(sasl_username="one", sasl_password="one"), "two": data(sasl_password="two")}
    assert client_config(subject, secrets).properties == {
        "bootstrap.servers": "kafka:9092",
        "client.id": "spec",
        "sasl.username": "one",
        "sasl.password": "two",
    }


@pytest.mark.parametrize("key", [*sorted(FORBIDDEN), "bootstrap.servers", "metadata.broker.list"])
@pytest.mark.parametrize("is_secret", [False, True], ids=["in the spec", "in a secret"])
def test_a_property_is_refused(key: str, *, is_secret: bool) -> None:
    value = base64.b64encode(b"x").decode()
    subject = cluster(from_secrets("one") if is_secret else having("spec.properties", {key: "x"}))
    with pytest.raises(InvalidInputError, match=f"KafkaCluster main: property {key}") as caught:
        client_config(subject, {"one": {key: value}})
    assert caught.value.reason == "ClusterInvalid"


@pytest.mark.parametrize("value", ["not base64!", base64.b64encode(b"\xff\xfe").decode()])
def test_a_secret_that_is_no_text_names_its_key_but_not_its_value(value: str) -> None:
    with pytest.raises(InvalidInputError, match=r"key sasl\.password of Secret one") as caught:
        client_config(cluster(from_secrets("one")), {"one": {"sasl.password": value}})
    assert value not in str(caught.value)


def test_a_configuration_never_shows_its_values() -> None:
    config = client_config(cluster(from_secrets("one")), {"one": data(sasl_password="s3cret")})
    assert "s3cret" not in repr(config)
    assert config.redact('Invalid value "s3cret" for x') == 'Invalid value "***" for x'


def test_equal_configurations_are_equal_whatever_the_order() -> None:
    one = ClientConfig({"a": "1", "b": "2"}, frozenset({"1"}))
    assert one == ClientConfig({"b": "2", "a": "1"}, frozenset({"1"}))
    assert one != ClientConfig({"a": "1", "b": "3"}, frozenset({"1"}))
