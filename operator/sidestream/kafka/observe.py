"""Reads what one step of a hand-off decides on: the fork's group and offsets, its topics, its pods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from sidestream.api.kafka import KafkaConsumer, KafkaRoute, Phase
from sidestream.api.labels import BASELINE, SANDBOX, TEMPLATE
from sidestream.kafka import groups, handback
from sidestream.kafka.port import Group, KafkaAdmin, Topic, TopicPartition
from sidestream.kafka.steps import Observed
from sidestream.kube.port import KAFKA_CONSUMERS, PODS, KubeApi, Object

_OVER: Final = ("Succeeded", "Failed")


async def observe(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, now: datetime) -> Observed:
    """What the next step of `route` needs.

    Always: the cluster and the fork's group. Pending, Creating: topics, offsets of the baseline, ends of the log; what
    the group has committed at all, and whose baseline group it is. Preparing, Active: topics, and of a group without
    members its offsets and pods. Draining: offsets, and the end of the log once it is time for that. Drained, Deleting:
    pods, and whose baseline group it is.
    """
    name = route.status.group.name if route.status.group is not None else route.spec.fork_group
    cluster, group = await asyncio.gather(admin.cluster(), admin.group(name))
    base = Observed(cluster.id, group)
    match route.status.phase:
        case Phase.PENDING | Phase.CREATING:
            return await _before(api, admin, route, base)
        case Phase.PREPARING | Phase.ACTIVE:
            return await _while_serving(api, admin, route, base)
        case Phase.DRAINING:
            return await _while_draining(admin, route, base, now)
        case Phase.DRAINED | Phase.DELETING:
            pods = await _pods(api, route)
            return replace(base, pods=tuple(sorted(pods)), taken=await _baseline_groups(api))


async def _before(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, base: Observed) -> Observed:
    topics = await admin.topics(route.spec.topics)
    own = {} if base.group.is_absent else await admin.committed(base.group.name)
    seen = replace(base, topics=topics, own=own, taken=await _baseline_groups(api))
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
        seen = await _with_pods(api, admin, route, seen)
    return await _with_ends(admin, route, seen) if is_changed or is_lost else seen


async def _while_draining(admin: KafkaAdmin, route: KafkaRoute, base: Observed, now: datetime) -> Observed:
    if handback.needs_until(route, now):
        # a topic that is gone has nothing left to work off
        topics = await admin.topics(route.spec.topics)
        return replace(base, topics=topics, latest=await admin.latest(_partitions(topics)))
    until = groups.from_status(route.status.until)
    return replace(base, own=await admin.committed(base.group.name, until.keys()))


async def _with_ends(admin: KafkaAdmin, route: KafkaRoute, seen: Observed) -> Observed:
    """Add the baseline's offsets and both ends of the log. The baseline's offsets first: they must not be ahead."""
    partitions = _partitions(seen.topics)
    baseline = await admin.committed(route.spec.baseline_group, partitions)
    earliest, latest = await asyncio.gather(admin.earliest(partitions), admin.latest(partitions))
    return replace(seen, baseline=baseline, earliest=earliest, latest=latest)


async def _with_pods(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, seen: Observed) -> Observed:
    """Add the fork's pods, and which of them ended up in the baseline's group."""
    pods = await _pods(api, route)
    strays: Mapping[str, str] = {}
    if pods:
        baseline = await admin.group(route.spec.baseline_group)
        strays = _in_group(pods, baseline)
    return replace(seen, pods=tuple(sorted(pods)), strays=strays)


async def _pods(api: KubeApi, route: KafkaRoute) -> Mapping[str, Object]:
    """The fork's pods by name, without those whose containers will never run again."""
    labels = f"{SANDBOX}={route.spec.sandbox},{BASELINE}={route.spec.deployment}"
    pods = await api.list(PODS, route.metadata.namespace, labels=labels)
    return {pod["metadata"]["name"]: pod for pod in pods if pod.get("status", {}).get("phase") not in _OVER}


def _in_group(pods: Mapping[str, Object], group: Group) -> dict[str, str]:
    """The pods that are in the group, each with the mark of its template.

    A pod in the node's network has the node's address, by which nobody can tell it from the baseline's own.
    """
    hosts = {member.host for member in group.members}
    return {
        name: (pod["metadata"].get("annotations") or {}).get(TEMPLATE, "")
        for name, pod in sorted(pods.items())
        if pod.get("status", {}).get("podIP") in hosts and not pod["spec"].get("hostNetwork")
    }


async def _baseline_groups(api: KubeApi) -> Mapping[str, str]:
    """The KafkaConsumer of each baseline group, whatever its cluster: two KafkaClusters may be one and the same."""
    consumers = [KafkaConsumer.from_json(raw) for raw in await api.list(KAFKA_CONSUMERS)]
    return {consumer.spec.group: consumer.metadata.key for consumer in consumers}


def _partitions(topics: Mapping[str, Topic | None]) -> frozenset[TopicPartition]:
    return groups.partitions_of(topic for topic in topics.values() if topic is not None)
