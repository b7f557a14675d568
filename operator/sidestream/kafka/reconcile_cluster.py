"""Reconciles a KafkaCluster: keeps its worker up to date, shows whether it answers and what was left behind on it."""

from __future__ import annotations

from typing import Final

import structlog

from sidestream.api.conditions import ConditionType, Reason, condition, merge_conditions
from sidestream.api.kafka import MOST_LEFT_BEHIND, KafkaCluster, KafkaClusterStatus
from sidestream.api.times import format_time
from sidestream.kafka import metrics
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.leftbehind import find_left_behind
from sidestream.kafka.port import KafkaAdmin
from sidestream.kafka.problems import KAFKA_PROBLEMS, KafkaProblem, Patience, problem
from sidestream.kafka.statuses import is_news, write_status
from sidestream.kafka.steps import NewsReason
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import KAFKA_CLUSTERS, KubeApi, Object
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome

CHECK_SECONDS: Final = 30.0
"""How often a cluster that answers is asked, and its Secrets are read."""

_BROKEN_SECONDS: Final = 2.0

LOOK_SECONDS: Final = 300.0
"""How often groups are looked for that were left behind: the one question whose answer grows with the cluster."""

_log = structlog.get_logger(__name__)


class KafkaClusterReconciler:
    """Fills the status of one KafkaCluster. The object's events wake those who wait for the cluster."""

    name = "kafkacluster"

    def __init__(self, api: KubeApi, events: EventRecorder, clock: Clock, clusters: KafkaClusters) -> None:
        self._api = api
        self._events = events
        self._clock = clock
        self._clusters = clusters
        self._patience = Patience(clock)
        self._looked: dict[str, float] = {}

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Ask the cluster who it is and write what changed."""
        started = self._clock.monotonic()
        status = KafkaClusterStatus()
        error: KafkaProblem | None = None
        admin: KafkaAdmin | None = None
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
            self._looked.pop(key.name, None)
            return Outcome()
        cluster = KafkaCluster.from_json(live)
        if error is None and admin is not None:
            status = status.model_copy(update={"left_behind": await self._left_behind(live, cluster, admin)})
        wrote = await self._write(live, cluster, status, error)
        return Outcome(CHECK_SECONDS if error is None else _BROKEN_SECONDS, wrote)

    async def _left_behind(self, live: Object, cluster: KafkaCluster, admin: KafkaAdmin) -> tuple[str, ...]:
        """What the status lists, looked up anew now and then; what is new on it is told."""
        before, name, now = cluster.status.left_behind, cluster.metadata.name, self._clock.monotonic()
        if now - self._looked.get(name, float("-inf")) < LOOK_SECONDS:
            return before
        try:
            found = await find_left_behind(self._api, admin, cluster)
        except KAFKA_PROBLEMS as error:
            _log.info("cannot look for groups that were left behind", cluster=name, error=str(error))
            return before
        self._looked[name] = now
        metrics.LEFT_BEHIND.labels(name).set(len(found))
        listed = found[:MOST_LEFT_BEHIND]
        if news := sorted(set(listed) - set(before)):
            text = (
                f"Named like groups of forks, but no KafkaRoute knows them: {', '.join(news)}; delete them if nobody "
                "uses them"
            )
            await self._events.record(KAFKA_CLUSTERS, live, "Warning", NewsReason.GROUPS_LEFT_BEHIND, text)
        return listed

    async def _write(
        self, live: Object, cluster: KafkaCluster, status: KafkaClusterStatus, error: KafkaProblem | None
    ) -> bool:
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
