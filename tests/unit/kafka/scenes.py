"""KafkaRoutes and observations as the hand-off's tests speak of them: alice's fork of `fulfilment` on one topic."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from builders import EPOCH, Modifier, annotated, deleting, having, in_phase, kafka_route
from sidestream.api.kafka import KafkaRoute
from sidestream.api.times import format_micro_time
from sidestream.kafka.port import Group, GroupState, Member, Position, Topic, TopicPartition
from sidestream.kafka.steps import Observed

TOPIC = "orders.created"
GROUP = "fulfilment.sbx.alice"
BASELINE = "fulfilment"
CLUSTER = "cluster-1"

P0, P1, P2 = (TopicPartition(TOPIC, number) for number in range(3))

ABSENT = Group(GROUP, GroupState.ABSENT)
EMPTY = Group(GROUP, GroupState.EMPTY)
JOINED = Group(GROUP, GroupState.STABLE, (Member("m", "c", "10.0.0.9"),))
REBALANCING = replace(JOINED, state=GroupState.PREPARING_REBALANCE)
UNNAMED = replace(JOINED, state=GroupState.UNKNOWN)


def at(*offsets: int) -> dict[TopicPartition, Position]:
    """Positions on the topic's partitions."""
    return {TopicPartition(TOPIC, number): Position(offset) for number, offset in enumerate(offsets)}


def ends(*offsets: int) -> dict[TopicPartition, int]:
    return {TopicPartition(TOPIC, number): offset for number, offset in enumerate(offsets)}


def topic(id_: str = "topic-1", partitions: int = 2) -> Topic:
    return Topic(TOPIC, id_, partitions)


def observed(**changes: Any) -> Observed:
    """No group yet; the baseline is at 5 and 7 of logs from 0 to 10."""
    plain = Observed(
        CLUSTER,
        ABSENT,
        topics={TOPIC: topic()},
        baseline=at(5, 7),
        earliest=ends(0, 0),
        latest=ends(10, 10),
    )
    return replace(plain, **changes)


def listed(*offsets: int) -> list[dict[str, Any]]:
    """Offsets as a status lists them."""
    return [{"topic": TOPIC, "partition": number, "offset": offset} for number, offset in enumerate(offsets)]


def recorded(*, topic_id: str = "topic-1", start: tuple[int, ...] = (5, 7), cluster: str = CLUSTER) -> Modifier:
    """The status as it is from Creating on."""

    def modify(obj: dict[str, Any]) -> None:
        obj.setdefault("status", {}).update(
            group={"name": GROUP, "clusterId": cluster, "state": "Absent", "members": 0},
            topics=[{"name": TOPIC, "id": topic_id, "partitions": len(start)}],
            start=listed(*start),
        )

    return modify


def until(*offsets: int) -> Modifier:
    return having("status.until", listed(*offsets))


def was_ready(status: str, seconds_ago: float = 0.0) -> Modifier:
    since = format_micro_time(EPOCH - timedelta(seconds=seconds_ago))
    condition = {"type": "Ready", "status": status, "reason": "Active", "lastTransitionTime": since}
    return having("status.conditions", [condition])


def phase(name: str, seconds_ago: float = 0.0) -> Modifier:
    """In this phase since so many seconds before EPOCH."""
    return in_phase(name, since=format_micro_time(EPOCH - timedelta(seconds=seconds_ago)))


def route(*modifiers: Modifier) -> KafkaRoute:
    return KafkaRoute.from_json(kafka_route("fulfilment-orders-alice", *modifiers))


def gone(*modifiers: Modifier) -> KafkaRoute:
    """The route, asked to go."""
    return route(*modifiers, deleting())


def discarded() -> Modifier:
    return annotated({"sidestream.dev/force-cleanup": "discard"})
