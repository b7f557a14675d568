"""What several observations of a hand-off have in common: the fork's pods, baseline groups, partitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sidestream.api.kafka import KafkaConsumer, KafkaRoute, Phase
from sidestream.api.labels import BASELINE, SANDBOX, TEMPLATE
from sidestream.kafka import groups
from sidestream.kafka.port import Group, KafkaAdmin, Topic, TopicPartition
from sidestream.kafka.steps import Observed
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, PODS, KubeApi, Object

_OVER: Final = ("Succeeded", "Failed")
_THROUGH: Final = frozenset({Phase.DRAINED, Phase.DELETING, Phase.RETIRING})


async def with_pods(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, seen: Observed) -> Observed:
    """Add the fork's pods, and which of them ended up in the baseline's group."""
    pods = await fork_pods(api, route)
    strays: Mapping[str, str] = {}
    if pods:
        baseline = await admin.group(route.spec.baseline_group)
        strays = _in_group(pods, baseline)
    return replace(seen, pods=tuple(sorted(pods)), strays=strays)


async def fork_pods(api: KubeApi, route: KafkaRoute) -> Mapping[str, Object]:
    """The fork's pods by name, without those whose containers will never run again."""
    labels = f"{SANDBOX}={route.spec.sandbox},{BASELINE}={route.spec.deployment}"
    pods = await api.list(PODS, route.metadata.namespace, labels=labels)
    return {pod["metadata"]["name"]: pod for pod in pods if pod.get("status", {}).get("phase") not in _OVER}


async def unfinished(api: KubeApi, route: KafkaRoute) -> tuple[str, ...]:
    """The fork's other KafkaRoutes on their way back for which its pods may still have to run, by name."""
    found = [KafkaRoute.from_json(raw) for raw in await api.list(KAFKA_ROUTES, route.metadata.namespace)]
    names = (
        item.metadata.name
        for item in found
        if item.metadata.uid != route.metadata.uid
        and item.spec.fork == route.spec.fork
        and item.is_deleting
        and item.status.phase not in _THROUGH
    )
    return tuple(sorted(names))


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


async def baseline_groups(api: KubeApi) -> Mapping[str, str]:
    """The KafkaConsumer of each baseline group, whatever its cluster: two KafkaClusters may be one and the same."""
    consumers = [KafkaConsumer.from_json(raw) for raw in await api.list(KAFKA_CONSUMERS)]
    return {consumer.spec.group: consumer.metadata.key for consumer in consumers}


def partitions_of(topics: Mapping[str, Topic | None]) -> frozenset[TopicPartition]:
    """The partitions of those topics that exist."""
    return groups.partitions_of(topic for topic in topics.values() if topic is not None)
