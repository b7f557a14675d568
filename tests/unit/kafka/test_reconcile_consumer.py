from __future__ import annotations

from typing import Any

import pytest

from builders import FakeClock, deployment, having, in_phase, kafka_cluster, kafka_consumer, kafka_route
from fakes.kube import FakeKubeApi
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.reconcile_consumer import KafkaConsumerReconciler
from sidestream.kafka.translation import Cause
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import DEPLOYMENTS, EVENTS, KAFKA_CLUSTERS, KAFKA_CONSUMERS
from sidestream.runtime.reconcile import ObjectKey, Outcome
from unit.kafka.fake_admin import FakeKafka, FakeKafkaAdmin
from unit.kafka.scenes import BASELINE, TOPIC

KEY = ObjectKey("shop", "fulfilment-orders")


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kafka = FakeKafka()
        self.kafka.create_topic(TOPIC, (0, 10), (0, 10), (0, 10))
        self.kafka.join(BASELINE)
        self.kafka.join(BASELINE)
        self.api = FakeKubeApi(kafka_cluster(), kafka_consumer(), deployment("fulfilment"))
        clusters = KafkaClusters(self.api, "sidestream-system", lambda e, c: FakeKafkaAdmin(self.kafka, e, c))
        events = EventRecorder(self.api, self.clock)
        self.reconciler = KafkaConsumerReconciler(self.api, events, self.clock, clusters)

    async def reconcile(self) -> Outcome:
        return await self.reconciler.reconcile(KEY)

    @property
    def status(self) -> dict[str, Any]:
        live = self.api.live(KAFKA_CONSUMERS, KEY.name)
        assert live is not None
        status: dict[str, Any] = live["status"]
        return status

    @property
    def accepted(self) -> tuple[str, str]:
        condition = self.status["conditions"][0]
        return condition["status"], condition["reason"]

    @property
    def told(self) -> list[str]:
        return sorted(event["reason"] for event in self.api.stored(EVENTS).values())


async def test_the_baselines_group_is_shown() -> None:
    scene = Scene()
    await scene.reconcile()
    assert scene.accepted == ("True", "Accepted")
    shown = {name: scene.status[name] for name in ("groupState", "members", "partitions", "tenants")}
    assert shown == {"groupState": "Stable", "members": 2, "partitions": 3, "tenants": 0}
    assert scene.status["observedGeneration"] == 1
    assert scene.told == []


async def test_routes_that_take_records_are_counted() -> None:
    scene = Scene()
    for phase in ("Pending", "Creating", "Preparing", "Active", "Draining", "Drained", "Deleting"):
        scene.api.seed(kafka_route(f"route-{phase.lower()}", in_phase(phase)))
    scene.api.seed(kafka_route("other", in_phase("Active"), having("spec.consumer", "other")))
    await scene.reconcile()
    assert scene.status["tenants"] == 3


async def test_nothing_is_written_when_nothing_has_changed() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.api.forget_requests()
    scene.kafka.produce(TOPIC)
    scene.kafka.commit(BASELINE, TOPIC, 0, 9)
    outcome = await scene.reconcile()
    assert scene.api.writes == []
    assert (outcome.changed, outcome.requeue_after) == (False, 30.0)


@pytest.mark.parametrize("reason", ["DeploymentNotFound", "ClusterNotFound", "TopicNotFound", "Unauthorized"])
async def test_a_consumer_is_refused_told_once_and_recovers_from(reason: str) -> None:
    scene = Scene()
    lost = scene.api.live(DEPLOYMENTS, "fulfilment"), scene.api.live(KAFKA_CLUSTERS, "main")
    match reason:
        case "DeploymentNotFound":
            scene.api.remove(DEPLOYMENTS, "fulfilment")
        case "ClusterNotFound":
            scene.api.remove(KAFKA_CLUSTERS, "main")
        case "TopicNotFound":
            scene.kafka.delete_topic(TOPIC)
        case _:
            scene.kafka.fail("TOPIC_AUTHORIZATION_FAILED")
    await scene.reconcile()
    assert scene.accepted == ("False", reason)
    scene.api.forget_requests()
    await scene.reconcile()
    assert scene.api.writes == []
    assert scene.told == [reason]
    for obj in lost:
        assert obj is not None
        scene.api.seed(obj)
    scene.kafka.create_topic(TOPIC)
    scene.kafka.mend()
    await scene.reconcile()
    assert scene.accepted == ("True", "Accepted")


async def test_an_outage_makes_it_unknown_and_keeps_what_was_last_seen() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.kafka.fail("_TIMED_OUT", Cause.CONNECT)
    scene.api.forget_requests()
    await scene.reconcile()
    assert scene.api.writes == [], "a short outage is no news"
    scene.clock.move(3.0)
    await scene.reconcile()
    assert scene.accepted == ("Unknown", "ClusterUnreachable")
    assert (scene.status["groupState"], scene.status["members"]) == ("Stable", 2)


async def test_a_group_that_does_not_exist_yet_is_shown_as_absent() -> None:
    scene = Scene()
    scene.kafka.expire(BASELINE)
    await scene.reconcile()
    assert scene.accepted == ("True", "Accepted")
    assert (scene.status["groupState"], scene.status["members"]) == ("Absent", 0)


async def test_a_consumer_that_is_gone_is_no_trouble() -> None:
    scene = Scene()
    scene.api.remove(KAFKA_CONSUMERS, KEY.name)
    assert await scene.reconcile() == Outcome()
