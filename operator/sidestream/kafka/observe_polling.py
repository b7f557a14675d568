"""Reads what one step of a hand-off under `Polling` decides on: the fork's group and offsets, its topics, its pods."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka import groups, handback
from sidestream.kafka.look import baseline_groups, fork_pods, partitions_of, with_pods
from sidestream.kafka.port import KafkaAdmin
from sidestream.kafka.steps import Observed
from sidestream.kube.port import KubeApi


async def observe(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, base: Observed, now: datetime) -> Observed:
    """What the next step of `route` needs; `base` has the cluster and the fork's group.

    Pending, Creating: topics, offsets of the baseline, ends of the log; what the group has committed at all, and whose
    baseline group it is. Preparing, Active: topics, and of a group without members its offsets and pods. Draining:
    offsets, and the end of the log once it is time for that. Drained, Deleting: pods, and whose baseline group it is.
    """
    match route.status.phase:
        case Phase.PENDING | Phase.CREATING:
            return await _before(api, admin, route, base)
        case Phase.PREPARING | Phase.ACTIVE:
            return await _while_serving(api, admin, route, base)
        case Phase.DRAINED | Phase.DELETING:
            pods = await fork_pods(api, route)
            return replace(base, pods=tuple(sorted(pods)), taken=await baseline_groups(api))
        case _:
            return await _while_draining(admin, route, base, now)


async def _before(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, base: Observed) -> Observed:
    topics = await admin.topics(route.spec.topics)
    own = {} if base.group.is_absent else await admin.committed(base.group.name)
    seen = replace(base, topics=topics, own=own, taken=await baseline_groups(api))
    return await _with_ends(admin, route, seen)


async def _while_serving(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, base: Observed) -> Observed:
    topics = await admin.topics(route.spec.topics)
    start = groups.from_status(route.status.start)
    seen = replace(base, topics=topics)
    is_changed = {name: (topic.id, topic.partitions) for name, topic in topics.items() if topic is not None} != {
        topic.name: (topic.id, topic.partitions) for topic in route.status.topics
    }
    is_lost = False
    if not base.group.has_members:
        own = {} if base.group.is_absent else await admin.committed(base.group.name, start.keys())
        seen = replace(seen, own=own)
        is_lost = bool(start.keys() - own.keys())
    if not base.group.members:
        seen = await with_pods(api, admin, route, seen)
    return await _with_ends(admin, route, seen) if is_changed or is_lost else seen


async def _while_draining(admin: KafkaAdmin, route: KafkaRoute, base: Observed, now: datetime) -> Observed:
    if handback.needs_until(route, now):
        # a topic that is gone has nothing left to work off
        topics = await admin.topics(route.spec.topics)
        return replace(base, topics=topics, latest=await admin.latest(partitions_of(topics)))
    until = groups.from_status(route.status.until)
    return replace(base, own=await admin.committed(base.group.name, until.keys()))


async def _with_ends(admin: KafkaAdmin, route: KafkaRoute, seen: Observed) -> Observed:
    """Add the baseline's offsets and both ends of the log. The baseline's offsets first: they must not be ahead."""
    partitions = partitions_of(seen.topics)
    baseline = await admin.committed(route.spec.baseline_group, partitions)
    earliest, latest = await asyncio.gather(admin.earliest(partitions), admin.latest(partitions))
    return replace(seen, baseline=baseline, earliest=earliest, latest=latest)
