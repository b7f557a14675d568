"""Which consumer groups of a cluster look like a fork's although no KafkaRoute knows them.

They are told and never deleted: without a record nobody can prove that they were ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sidestream.api.kafka import KafkaCluster, KafkaConsumer
from sidestream.api.names import fork_group_pattern
from sidestream.kafka.port import KafkaAdmin
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, KubeApi


async def find_left_behind(api: KubeApi, admin: KafkaAdmin, cluster: KafkaCluster) -> tuple[str, ...]:
    """Look at the cluster and at what is known of it; see `left_behind`.

    Routes are read before and after the groups: one that comes or goes meanwhile is in either list.
    """
    consumers = [KafkaConsumer.from_json(raw) for raw in await api.list(KAFKA_CONSUMERS)]
    fork_groups = await _fork_groups(api)
    names = await admin.group_names()
    fork_groups |= await _fork_groups(api)
    return left_behind(names, cluster, consumers, fork_groups)


def left_behind(
    names: Collection[str], cluster: KafkaCluster, consumers: Collection[KafkaConsumer], fork_groups: Iterable[str]
) -> tuple[str, ...]:
    """Those of the groups that are named like a fork's of one of the consumers, sorted, less those that are known.

    Known are `fork_groups`, those of KafkaRoutes, and the baselines' own, whatever their cluster: two KafkaClusters may
    be one.
    """
    known = {consumer.spec.group for consumer in consumers}.union(fork_groups)
    patterns = [
        fork_group_pattern(cluster.spec.group_name, group=consumer.spec.group, namespace=consumer.metadata.namespace)
        for consumer in consumers
        if consumer.spec.cluster == cluster.metadata.name
    ]
    return tuple(
        sorted(name for name in names if name not in known and any(item and item.fullmatch(name) for item in patterns))
    )


async def _fork_groups(api: KubeApi) -> set[str]:
    """Unparsed, because the offsets of every partition of every tenant are no business of ours."""
    return {raw["spec"]["forkGroup"] for raw in await api.list(KAFKA_ROUTES)}
