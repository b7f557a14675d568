"""Reconciles a KafkaCluster: keeps its worker up to date and shows whether the cluster answers."""

from __future__ import annotations

from typing import Final

from sidestream.api.conditions import ConditionType, Reason, condition, merge_conditions
from sidestream.api.kafka import KafkaCluster, KafkaClusterStatus
from sidestream.api.times import format_time
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.problems import KAFKA_PROBLEMS, KafkaProblem, Patience, problem
from sidestream.kafka.statuses import is_news, write_status
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import KAFKA_CLUSTERS, KubeApi, Object
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome

CHECK_SECONDS: Final = 30.0
"""How often a cluster that answers is asked, and its Secrets are read."""

_BROKEN_SECONDS: Final = 2.0


class KafkaClusterReconciler:
    """Fills the status of one KafkaCluster. The object's events wake those who wait for the cluster."""

    name = "kafkacluster"

    def __init__(self, api: KubeApi, events: EventRecorder, clock: Clock, clusters: KafkaClusters) -> None:
        self._api = api
        self._events = events
        self._clock = clock
        self._clusters = clusters
        self._patience = Patience(clock)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Ask the cluster who it is and write what changed."""
        started = self._clock.monotonic()
        status = KafkaClusterStatus()
        error: KafkaProblem | None = None
        try:
            admin = await self._clusters.refresh(key.name)
            found = await admin.cluster()
            status = KafkaClusterStatus(cluster_id=found.id, brokers=found.brokers)
        except KAFKA_PROBLEMS as raised:
            error = raised
            wait = self._patience.wait_for(key, raised, started)
            if wait is not None:
                return Outcome(wait)
        else:
            self._patience.over(key)
        live = await self._api.get(KAFKA_CLUSTERS, "", key.name)
        if live is None:
            self._patience.over(key)
            return Outcome()
        wrote = await self._write(live, status, error)
        return Outcome(CHECK_SECONDS if error is None else _BROKEN_SECONDS, wrote)

    async def _write(self, live: Object, status: KafkaClusterStatus, error: KafkaProblem | None) -> bool:
        cluster = KafkaCluster.from_json(live)
        if error is None:
            servers = ", ".join(cluster.spec.bootstrap_servers)
            reachable = condition(
                ConditionType.REACHABLE, "True", Reason.REACHABLE, f"The cluster answers at {servers}"
            )
        else:
            # what it was when it last answered stays in the status
            status = cluster.status
            found = problem(error)
            reachable = condition(ConditionType.REACHABLE, "False", found.reason, found.message)
        generation = cluster.metadata.generation
        now = format_time(self._clock.now())
        conditions = merge_conditions(cluster.status.conditions, [reachable], generation=generation, now=now)
        status = status.model_copy(update={"observed_generation": generation, "conditions": conditions})
        wrote = await write_status(self._api, KAFKA_CLUSTERS, live, status)
        if error is not None and is_news(cluster.status.conditions, reachable):
            await self._events.record(KAFKA_CLUSTERS, live, "Warning", reachable.reason, reachable.message)
        return wrote
