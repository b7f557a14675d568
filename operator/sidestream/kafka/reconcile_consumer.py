"""Reconciles a KafkaConsumer: checks what it names and shows the baseline's group. It changes nothing in Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sidestream.api.conditions import Condition, ConditionType, Reason, condition, merge_conditions
from sidestream.api.kafka import KafkaConsumer, KafkaRoute, Phase
from sidestream.api.times import format_time
from sidestream.errors import InvalidInputError
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.port import Group
from sidestream.kafka.problems import BROKEN_SECONDS, KAFKA_PROBLEMS, Patience, problem
from sidestream.kafka.statuses import is_news, write_status
from sidestream.kafka.steps import RECHECK_SECONDS
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import DEPLOYMENTS, KAFKA_CONSUMERS, KAFKA_ROUTES, KubeApi, Object
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome

_TAKING: Final = (Phase.PREPARING, Phase.ACTIVE, Phase.DRAINING)
"""Phases in which a KafkaRoute takes records of the baseline's topics."""


@dataclass(frozen=True)
class _Seen:
    group: Group
    partitions: int


class KafkaConsumerReconciler:
    """Fills the status of one KafkaConsumer."""

    name = "kafkaconsumer"

    def __init__(self, api: KubeApi, events: EventRecorder, clock: Clock, clusters: KafkaClusters) -> None:
        self._api = api
        self._events = events
        self._clock = clock
        self._clusters = clusters
        self._patience = Patience(clock)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Look and write what changed."""
        live = await self._api.get(KAFKA_CONSUMERS, key.namespace, key.name)
        if live is None or "deletionTimestamp" in live["metadata"]:
            self._patience.over(key)
            return Outcome()
        consumer = KafkaConsumer.from_json(live)
        started = self._clock.monotonic()
        try:
            seen = await self._look(consumer)
        except KAFKA_PROBLEMS as error:
            wait = self._patience.wait_for(key, error, started)
            if wait is not None:
                return Outcome(wait)
            told = problem(error)
            accepted = condition(ConditionType.ACCEPTED, told.status, told.reason, told.message)
            # of the group stays what was last seen
            return Outcome(BROKEN_SECONDS, await self._write(live, consumer, accepted, {}))
        self._patience.over(key)
        accepted = condition(ConditionType.ACCEPTED, "True", Reason.ACCEPTED, f"Its group is {consumer.spec.group}")
        found = {
            "group_state": str(seen.group.state),
            "members": len(seen.group.members),
            "partitions": seen.partitions,
        }
        return Outcome(RECHECK_SECONDS, await self._write(live, consumer, accepted, found))

    async def _write(self, live: Object, consumer: KafkaConsumer, accepted: Condition, found: dict[str, Any]) -> bool:
        before, generation = consumer.status.conditions, consumer.metadata.generation
        now = format_time(self._clock.now())
        fields = {
            **found,
            "observed_generation": generation,
            "tenants": await self._tenants(consumer),
            "conditions": merge_conditions(before, [accepted], generation=generation, now=now),
        }
        wrote = await write_status(self._api, KAFKA_CONSUMERS, live, consumer.status.model_copy(update=fields))
        if accepted.status != "True" and is_news(before, accepted):
            await self._events.record(KAFKA_CONSUMERS, live, "Warning", accepted.reason, accepted.message)
        return wrote

    async def _look(self, consumer: KafkaConsumer) -> _Seen:
        """The baseline's group and partitions; raises what stands in the way, the nearest to the user first."""
        spec, namespace = consumer.spec, consumer.metadata.namespace
        if await self._api.get(DEPLOYMENTS, namespace, spec.deployment) is None:
            raise InvalidInputError(
                Reason.DEPLOYMENT_NOT_FOUND, f"Deployment {spec.deployment} does not exist in namespace {namespace}"
            )
        admin = await self._clusters.admin(spec.cluster)
        topics = await admin.topics(spec.topics)
        missing = sorted(name for name, topic in topics.items() if topic is None)
        if missing:
            raise InvalidInputError(
                Reason.TOPIC_NOT_FOUND, f"Topic {missing[0]} does not exist on KafkaCluster {spec.cluster}"
            )
        group = await admin.group(spec.group)
        return _Seen(group, sum(topic.partitions for topic in topics.values() if topic is not None))

    async def _tenants(self, consumer: KafkaConsumer) -> int:
        routes = [KafkaRoute.from_json(raw) for raw in await self._api.list(KAFKA_ROUTES, consumer.metadata.namespace)]
        own = (route for route in routes if route.spec.consumer == consumer.metadata.name)
        return sum(route.status.phase in _TAKING for route in own)
