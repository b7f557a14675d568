from __future__ import annotations

from typing import Any

import pytest

from builders import FakeClock, having, kafka_cluster, kafka_consumer, kafka_route
from fakes.kube import FakeKubeApi
from sidestream.kafka.clusters import Connection, KafkaClusters
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.reconcile_cluster import LOOK_SECONDS, KafkaClusterReconciler
from sidestream.kafka.translation import Cause, Endpoint
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import EVENTS, KAFKA_CLUSTERS
from sidestream.runtime.reconcile import ObjectKey, Outcome
from unit.kafka.fake_admin import FakeKafka, FakeKafkaAdmin

KEY = ObjectKey("", "main")


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kafka = FakeKafka()
        self.api = FakeKubeApi(kafka_cluster())
        self.connections: list[FakeKafkaAdmin] = []
        self.seconds_per_call = 0.0
        clusters = KafkaClusters(self.api, "sidestream-system", self.connect)
        self.reconciler = KafkaClusterReconciler(self.api, EventRecorder(self.api, self.clock), self.clock, clusters)

    def connect(self, endpoint: Endpoint, config: ClientConfig) -> Connection:
        self.connections.append(FakeKafkaAdmin(self.kafka, endpoint, config))
        self.clock.move(self.seconds_per_call)
        return self.connections[-1]

    async def reconcile(self) -> Outcome:
        return await self.reconciler.reconcile(KEY)

    @property
    def status(self) -> dict[str, Any]:
        live = self.api.live(KAFKA_CLUSTERS, "main")
        assert live is not None
        status: dict[str, Any] = live["status"]
        return status

    @property
    def reachable(self) -> tuple[str, str]:
        condition = self.status["conditions"][0]
        return condition["status"], condition["reason"]

    @property
    def told(self) -> list[str]:
        return sorted(event["reason"] for event in self.api.stored(EVENTS).values())


async def test_a_cluster_that_answers_is_reachable_and_named() -> None:
    scene = Scene()
    outcome = await scene.reconcile()
    assert scene.reachable == ("True", "Reachable")
    assert (scene.status["clusterId"], scene.status["brokers"]) == ("cluster-1", 1)
    assert outcome == Outcome(30.0, changed=True)
    assert scene.told == []


async def test_nothing_is_written_when_nothing_has_changed() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.api.forget_requests()
    assert await scene.reconcile() == Outcome(30.0, changed=False)
    assert scene.api.writes == []


@pytest.mark.parametrize(
    ("code", "cause", "reason", "words"),
    [
        ("_TIMED_OUT", Cause.CONNECT, "ClusterUnreachable", "does not answer at kafka:9092"),
        ("_TIMED_OUT", Cause.AUTHENTICATION, "Unauthorized", "rejects the operator's credentials"),
        ("CLUSTER_AUTHORIZATION_FAILED", Cause.UNKNOWN, "Unauthorized", "needs Describe on the cluster"),
        ("UNSUPPORTED_VERSION", Cause.UNKNOWN, "ClusterInvalid", "UNSUPPORTED_VERSION"),
    ],
)
async def test_a_cluster_in_trouble_says_so_once_and_recovers(code: str, cause: Cause, reason: str, words: str) -> None:
    scene = Scene()
    await scene.reconcile()
    scene.kafka.fail(code, cause)
    await scene.reconcile()
    scene.clock.move(3.0)
    outcome = await scene.reconcile()
    assert scene.reachable == ("False", reason)
    assert words in scene.status["conditions"][0]["message"]
    assert scene.status["clusterId"] == "cluster-1", "what was last seen stays"
    assert outcome.requeue_after == pytest.approx(2.0)
    scene.api.forget_requests()
    await scene.reconcile()
    assert scene.api.writes == []
    assert scene.told == [reason]
    scene.kafka.mend()
    await scene.reconcile()
    assert scene.reachable == ("True", "Reachable")


async def test_a_call_that_waited_its_whole_deadline_in_vain_is_news_at_once() -> None:
    scene = Scene()
    scene.kafka.fail("_TIMED_OUT", Cause.CONNECT)
    scene.seconds_per_call = 3.5
    await scene.reconcile()
    assert scene.reachable == ("False", "ClusterUnreachable")


async def test_a_missing_secret_is_said() -> None:
    scene = Scene()
    scene.api.seed(kafka_cluster("main", having("spec.propertiesFrom", [{"secret": "kafka"}])))
    await scene.reconcile()
    assert scene.reachable == ("False", "SecretNotFound")


async def test_a_changed_cluster_is_asked_at_its_new_address() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.api.seed(kafka_cluster("main", having("spec.bootstrapServers", ["other:9092"])))
    await scene.reconcile()
    assert [connection.endpoint.bootstrap for connection in scene.connections] == ["kafka:9092", "other:9092"]
    assert "other:9092" in scene.status["conditions"][0]["message"]


async def test_a_cluster_that_is_gone_ends_its_connection() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.api.remove(KAFKA_CLUSTERS, "main")
    assert await scene.reconcile() == Outcome()
    assert [connection.is_closed for connection in scene.connections] == [True]


def with_leftovers() -> Scene:
    """The groups of a baseline, of a fork that is known, and of one that nobody knows."""
    scene = Scene()
    scene.api.seed(kafka_consumer())
    scene.api.seed(kafka_route())
    for group in ("fulfilment", "fulfilment.sbx.alice", "fulfilment.sbx.bob"):
        scene.kafka.join(group)
    return scene


async def test_a_group_that_no_route_knows_is_listed_and_told_once() -> None:
    scene = with_leftovers()
    await scene.reconcile()
    assert scene.status["leftBehind"] == ["fulfilment.sbx.bob"]
    scene.clock.move(LOOK_SECONDS)
    await scene.reconcile()
    assert scene.told == ["GroupsLeftBehind"]
    assert scene.connections[0].effects == [], "nothing is deleted that was not proven to be ours"


async def test_groups_are_listed_now_and_then_and_forgotten_when_they_are_gone() -> None:
    scene = with_leftovers()
    await scene.reconcile()
    del scene.kafka.groups["fulfilment.sbx.bob"]
    await scene.reconcile()
    assert scene.status["leftBehind"] == ["fulfilment.sbx.bob"]
    scene.clock.move(LOOK_SECONDS)
    await scene.reconcile()
    assert "leftBehind" not in scene.status or scene.status["leftBehind"] == []


async def test_a_status_lists_no_more_groups_than_fit() -> None:
    scene = with_leftovers()
    for number in range(60):
        scene.kafka.join(f"fulfilment.sbx.old-{number}")
    await scene.reconcile()
    assert len(scene.status["leftBehind"]) == 50
