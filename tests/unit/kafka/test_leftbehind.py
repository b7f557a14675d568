from __future__ import annotations

import pytest

from builders import having, in_namespace, kafka_cluster, kafka_consumer
from sidestream.api.kafka import KafkaCluster, KafkaConsumer
from sidestream.kafka.leftbehind import left_behind

CONSUMER = KafkaConsumer.from_json(kafka_consumer())
FORK_GROUPS = ["fulfilment.sbx.alice"]


def cluster(template: str = "{group}.sbx.{sandbox}", name: str = "main") -> KafkaCluster:
    return KafkaCluster.from_json(kafka_cluster(name, having("spec.groupName", template)))


@pytest.mark.parametrize(
    ("name", "is_left"),
    [
        pytest.param("fulfilment.sbx.bob", True, id="a fork's of nobody"),
        pytest.param("fulfilment.sbx.bob.laptop", True, id="a Sandbox with dots in its name"),
        pytest.param("fulfilment.sbx.alice", False, id="the group of a KafkaRoute"),
        pytest.param("fulfilment", False, id="the baseline's own"),
        pytest.param("fulfilment.sbx.", False, id="a name without a Sandbox"),
        pytest.param("fulfilment.sbx.Bob", False, id="a name that no Sandbox has"),
        pytest.param("fulfilmentXsbxXbob", False, id="a name that is alike to the eye of a pattern"),
        pytest.param("billing.sbx.bob", False, id="a fork's of a group that nobody declares"),
        pytest.param("old-fulfilment.sbx.bob", False, id="a name that ends like one"),
    ],
)
def test_left_behind_is(name: str, *, is_left: bool) -> None:
    assert left_behind([name], cluster(), [CONSUMER], FORK_GROUPS) == ((name,) if is_left else ())


@pytest.mark.parametrize("template", ["{sandbox}", "tests-{sandbox}", "{group}-fork", "{namespace}.{sandbox}"])
def test_nothing_is_concluded_from_names_that_do_not_tell_their_consumer_and_sandbox(template: str) -> None:
    assert left_behind(["bob", "tests-bob", "fulfilment-fork", "shop.bob"], cluster(template), [CONSUMER], []) == ()


def test_the_namespace_is_that_of_the_consumer() -> None:
    names = ["shop.fulfilment.bob", "test.fulfilment.bob", "else.fulfilment.bob"]
    consumers = [CONSUMER, KafkaConsumer.from_json(kafka_consumer("fulfilment-orders", in_namespace("test")))]
    found = left_behind(names, cluster("{namespace}.{group}.{sandbox}"), consumers, [])
    assert found == ("shop.fulfilment.bob", "test.fulfilment.bob")


def test_consumers_of_another_cluster_are_none_of_its_business() -> None:
    assert left_behind(["fulfilment.sbx.bob"], cluster(name="other"), [CONSUMER], []) == ()


def test_a_group_that_is_named_like_a_forks_but_is_a_baselines_own_is_known() -> None:
    other = KafkaConsumer.from_json(kafka_consumer("odd", having("spec.group", "fulfilment.sbx.bob")))
    assert left_behind(["fulfilment.sbx.bob"], cluster(), [CONSUMER, other], []) == ()
