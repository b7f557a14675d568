"""What keeps a fork's placed group where it belongs, apart from the phases of the hand-off; pure.

Each check looks at one thing that may have changed outside: the fork's pods, the topics, the group's offsets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import KafkaRoute, TopicStatus
from sidestream.api.times import format_time, parse_time
from sidestream.kafka import groups
from sidestream.kafka.port import Position, Topic, TopicPartition
from sidestream.kafka.steps import (
    BUSY_SECONDS,
    REFUSED_SECONDS,
    News,
    NewsReason,
    Observed,
    Place,
    Step,
    group_name,
    last_ready,
    ready,
    seen,
)
from sidestream_sdk.notes import Notes

_REFRESH_SECONDS: Final = 24 * 3600.0
"""Brokers forget the offsets of a group without members after seven days, by default."""


def upkeep(route: KafkaRoute, observed: Observed, now: datetime) -> Step | None:
    """The first thing to be put right about a group that stands, None when all is as it should be."""
    for check in (_strays, missing_topic, changed_topics, _lost_offsets):
        step = check(route, observed)
        if step is not None:
            return step
    return _aging_offsets(route, observed, now)


def missing_topic(route: KafkaRoute, observed: Observed) -> Step | None:
    """Wait where a topic does not exist."""
    missing = sorted(name for name in route.spec.topics if observed.topics.get(name) is None)
    if not missing:
        return None
    message = f"Topic {missing[0]} does not exist on KafkaCluster {route.spec.cluster}"
    condition = ready("False", Reason.TOPIC_NOT_FOUND, message)
    return Step(seen(route.status, observed.group), condition, look_after=REFUSED_SECONDS)


def changed_topics(route: KafkaRoute, observed: Observed) -> Step | None:
    """Record topics that are new to the consumer, were made anew or have grown, and where their partitions start.

    On a topic that the route had already, the baseline has left the tenant's records alone from the first one on.
    """
    topics = topics_of(observed)
    current_topics = listed(topics)
    if current_topics == route.status.topics:
        return None
    known = {topic.name: topic.id for topic in route.status.topics}
    anew = recreated(route, topics)
    start = {item: offset for item, offset in groups.from_status(route.status.start).items() if item.topic not in anew}
    current = groups.partitions_of(topics)
    first = {item: Position(observed.earliest[item]) for item in current if item.topic in known}
    fresh = first | start_positions([topic for topic in topics if topic.name not in known], observed)
    start = {item: start.get(item, fresh[item].offset) for item in current}
    status = route.status.model_copy(update={"topics": current_topics, "start": groups.to_status(start)})
    return Step(status, last_ready(route), news=tuple(told_anew(route, name) for name in anew), look_after=0)


def recreated(route: KafkaRoute, topics: Iterable[Topic]) -> list[str]:
    """Those of the topics that are others of the same name than the route knows."""
    known = {topic.name: topic.id for topic in route.status.topics}
    return [topic.name for topic in topics if known.get(topic.name, topic.id) != topic.id]


def topics_of(observed: Observed) -> list[Topic]:
    """The topics that exist, by name."""
    return sorted((topic for topic in observed.topics.values() if topic is not None), key=lambda topic: topic.name)


def listed(topics: Iterable[Topic]) -> tuple[TopicStatus, ...]:
    """Topics as a status lists them."""
    return tuple(TopicStatus(name=topic.name, id=topic.id, partitions=topic.partitions) for topic in topics)


def start_positions(topics: Iterable[Topic], observed: Observed) -> dict[TopicPartition, Position]:
    """Where the fork starts on the partitions of these topics."""
    return groups.start_positions(groups.partitions_of(topics), observed.baseline, observed.earliest, observed.latest)


def strayed(route: KafkaRoute) -> Condition:
    """The condition of a fork whose pods joined the baseline's group."""
    message = (
        f"Pods of {route.spec.fork} joined the baseline's consumer group {route.spec.baseline_group} instead of "
        f"{group_name(route)}, so none may run until they change: the program must take its group from groupEnv of "
        f"KafkaConsumer {route.spec.consumer}"
    )
    return ready("False", Reason.FORK_IN_BASELINE_GROUP, message)


def _strays(route: KafkaRoute, observed: Observed) -> Step | None:
    """Record which pods must not run: those that take records from the baseline, in its own group.

    The Sandbox stops the fork as long as its template is that of such pods.
    """
    if not observed.strays:
        return None
    mark = next(iter(observed.strays.values()))
    status = seen(route.status, observed.group).model_copy(update={"barred": mark or None})
    return Step(status, strayed(route), look_after=BUSY_SECONDS)


def _lost_offsets(route: KafkaRoute, observed: Observed) -> Step | None:
    """Place again what expired or was deleted while nobody was in the group, where the fork had started.

    It reads again what it had read before: nobody else has read what came since.
    """
    if observed.group.has_members:
        return None
    seed = Notes().at(observed.version, observed.epoch).encode() if observed.epoch else ""
    start = {item: Position(offset, metadata=seed) for item, offset in groups.from_status(route.status.start).items()}
    lost = start.keys() - observed.own.keys()
    if not lost:
        return None
    name = group_name(route)
    told = f"Consumer group {name} was gone; created it again where it had started, so records may be handled again"
    return Step(
        seen(route.status, observed.group),
        last_ready(route),
        effect=Place(name, _placed_again(lost, start, observed)),
        news=(News("Warning", NewsReason.GROUP_RECREATED, told),) if observed.group.is_absent else (),
    )


def _placed_again(
    lost: Collection[TopicPartition], start: Mapping[TopicPartition, Position], observed: Observed
) -> dict[TopicPartition, Position]:
    found = groups.start_positions(lost, start, observed.earliest, observed.latest)
    return {item: replace(position, metadata=start[item].metadata) for item, position in found.items()}


def _aging_offsets(route: KafkaRoute, observed: Observed, now: datetime) -> Step | None:
    """Commit again, once a day, where a group without members stands, before the broker forgets it."""
    since = route.status.refreshed_at or route.status.phase_since
    if observed.group.has_members or since is None or (now - parse_time(since)).total_seconds() < _REFRESH_SECONDS:
        return None
    status = route.status.model_copy(update={"refreshed_at": format_time(now)})
    return Step(seen(status, observed.group), last_ready(route), effect=Place(group_name(route), dict(observed.own)))


def told_anew(route: KafkaRoute, topic: str) -> News:
    """That a topic was made anew."""
    told = f"Topic {topic} was deleted and created again: consumer group {group_name(route)} starts over on it"
    return News("Warning", NewsReason.TOPIC_RECREATED, told)
