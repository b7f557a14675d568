from __future__ import annotations

import base64

import pytest

from builders import having, kafka_cluster, thing
from fakes.kube import FakeKubeApi
from sidestream.errors import InvalidInputError
from sidestream.kafka.clusters import Connection, KafkaClusters
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.translation import Endpoint
from sidestream.kube.port import KAFKA_CLUSTERS, SECRETS, Object
from unit.kafka.fake_admin import FakeKafka, FakeKafkaAdmin

NAMESPACE = "sidestream-system"
WITH_SECRET = having("spec.propertiesFrom", [{"secret": "kafka"}])


def secret(value: str = "one") -> Object:
    encoded = base64.b64encode(value.encode()).decode()
    return thing(SECRETS, "kafka", {"data": {"sasl.password": encoded}}, having("metadata.namespace", NAMESPACE))


class Scene:
    def __init__(self, *objects: Object) -> None:
        self.api = FakeKubeApi(*objects)
        self.connections: list[FakeKafkaAdmin] = []
        self.clusters = KafkaClusters(self.api, NAMESPACE, self.connect)

    def connect(self, endpoint: Endpoint, config: ClientConfig) -> Connection:
        self.connections.append(FakeKafkaAdmin(FakeKafka(), endpoint, config))
        return self.connections[-1]

    @property
    def closed(self) -> list[bool]:
        return [connection.is_closed for connection in self.connections]


async def test_everybody_shares_one_connection_to_a_cluster() -> None:
    scene = Scene(kafka_cluster())
    first = await scene.clusters.admin("main")
    assert await scene.clusters.admin("main") is first
    assert await scene.clusters.refresh("main") is first
    assert scene.closed == [False]
    assert scene.connections[0].endpoint == Endpoint("main", "kafka:9092")


async def test_taking_what_is_there_asks_the_api_server_nothing() -> None:
    scene = Scene(kafka_cluster())
    await scene.clusters.admin("main")
    scene.api.forget_requests()
    await scene.clusters.admin("main")
    assert scene.api.requests == []


async def test_a_changed_spec_gets_a_new_connection_and_ends_the_old_one() -> None:
    scene = Scene(kafka_cluster())
    await scene.clusters.admin("main")
    scene.api.seed(kafka_cluster("main", having("spec.bootstrapServers", ["other:9092"])))
    await scene.clusters.refresh("main")
    assert scene.closed == [True, False]
    assert await scene.clusters.admin("main") is scene.connections[1]


async def test_a_changed_secret_gets_a_new_connection() -> None:
    scene = Scene(kafka_cluster("main", WITH_SECRET), secret("one"))
    await scene.clusters.admin("main")
    scene.api.seed(secret("two"))
    await scene.clusters.refresh("main")
    assert scene.closed == [True, False]
    config = scene.connections[1].config
    assert config is not None
    assert config.properties["sasl.password"] == "two"


async def test_another_status_is_no_other_configuration() -> None:
    scene = Scene(kafka_cluster())
    await scene.clusters.admin("main")
    scene.api.seed(kafka_cluster("main", having("status.brokers", 3), having("spec.groupName", "{group}-{sandbox}")))
    await scene.clusters.refresh("main")
    assert scene.closed == [False]


async def test_a_cluster_that_is_gone_is_not_found_and_its_connection_ended() -> None:
    scene = Scene(kafka_cluster())
    await scene.clusters.admin("main")
    scene.api.remove(KAFKA_CLUSTERS, "main")
    for look in (scene.clusters.refresh, scene.clusters.admin):
        with pytest.raises(InvalidInputError, match="KafkaCluster main does not exist") as caught:
            await look("main")
        assert caught.value.reason == "ClusterNotFound"
    assert scene.closed == [True]


async def test_a_missing_secret_names_itself_and_where_it_should_be() -> None:
    scene = Scene(kafka_cluster("main", WITH_SECRET))
    with pytest.raises(
        InvalidInputError, match=f"Secret kafka, which does not exist in namespace {NAMESPACE}"
    ) as caught:
        await scene.clusters.admin("main")
    assert caught.value.reason == "SecretNotFound"


async def test_a_secret_that_vanishes_stops_new_work_but_not_deletions() -> None:
    scene = Scene(kafka_cluster("main", WITH_SECRET), secret())
    first = await scene.clusters.admin("main")
    scene.api.remove(SECRETS, "kafka", NAMESPACE)
    with pytest.raises(InvalidInputError):
        await scene.clusters.refresh("main")
    with pytest.raises(InvalidInputError):
        await scene.clusters.admin("main")
    assert await scene.clusters.admin("main", last_good=True) is first
    scene.api.seed(secret())
    assert await scene.clusters.refresh("main") is first
    assert await scene.clusters.admin("main") is first


async def test_a_cluster_that_was_never_good_has_no_last_good() -> None:
    scene = Scene(kafka_cluster("main", having("spec.properties", {"plugin.library.paths": "x"})))
    with pytest.raises(InvalidInputError):
        await scene.clusters.admin("main", last_good=True)


async def test_all_connections_end_with_the_registry() -> None:
    scene = Scene(kafka_cluster("main"), kafka_cluster("other"))
    async with scene.clusters as clusters:
        await clusters.admin("main")
        await clusters.admin("other")
    assert scene.closed == [True, True]
