"""The hand-off of tenants' records between a baseline and its fork, as a pure state machine: `fenced` or `polling`.

Each step looks at what is and says what to record and then to do, so that it may be cut off anywhere and run again.
"""

from __future__ import annotations

from datetime import datetime

from sidestream.api.conditions import Reason
from sidestream.api.kafka import KafkaRoute
from sidestream.kafka import departure, fenced, polling
from sidestream.kafka.steps import REFUSED_SECONDS, Observed, Step, ready


def needs_kafka(route: KafkaRoute) -> bool:
    """Whether the next step has to look at Kafka at all; a deletion without anything recorded has not."""
    return not (route.is_deleting and departure.is_free(route))


def plan(route: KafkaRoute, observed: Observed | None, now: datetime) -> Step:
    """The next step; `observed` may be None when `needs_kafka` says so."""
    if observed is None:
        return departure.release_freely(route)
    other = _other_cluster(route, observed)
    if other is not None:
        return other
    match route.spec.coordination:
        case "Fenced":
            return fenced.plan(route, observed, now)
        case "Polling":
            return polling.plan(route, observed, now)


def _other_cluster(route: KafkaRoute, observed: Observed) -> Step | None:
    """On another cluster our group looks absent: nothing may be concluded from that."""
    group = route.status.group
    if group is None or group.cluster_id == observed.cluster_id:
        return None
    message = (
        f"KafkaCluster {route.spec.cluster} is now cluster {observed.cluster_id}, but consumer group {group.name} was "
        f"made on cluster {group.cluster_id}: let it name that cluster again"
    )
    return Step(route.status, ready("False", Reason.CLUSTER_INVALID, message), look_after=REFUSED_SECONDS)
