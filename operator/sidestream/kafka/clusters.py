"""Which KafkaClusters we are connected to: one supervised worker each, restarted when its configuration changes.

The KafkaCluster's own reconciler refreshes (on events and every 30 s, which is how a changed Secret is noticed);
everybody else takes what is there, and connects only where nothing is there yet.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import structlog

from sidestream.api.conditions import Reason
from sidestream.api.kafka import KafkaCluster
from sidestream.errors import InvalidInputError
from sidestream.kafka.client import WorkerAdmin
from sidestream.kafka.config import ClientConfig, SecretData, client_config
from sidestream.kafka.port import KafkaAdmin
from sidestream.kafka.translation import Endpoint
from sidestream.kube.port import KAFKA_CLUSTERS, SECRETS, KubeApi

_log = structlog.get_logger(__name__)


class Connection(KafkaAdmin, Protocol):
    """A KafkaAdmin that holds something open."""

    async def aclose(self) -> None:
        """Let go of it; calls in flight fail."""
        ...


Connect = Callable[[Endpoint, ClientConfig], Connection]


@dataclass
class _Entry:
    """`fault`: why the KafkaCluster as it is now cannot be used; then `connection` is of its last good version."""

    config: ClientConfig
    connection: Connection
    fault: InvalidInputError | None = None


class KafkaClusters:
    """Connections by KafkaCluster. `namespace` is the operator's own, where the Secrets are."""

    def __init__(self, api: KubeApi, namespace: str, connect: Connect = WorkerAdmin.connect) -> None:
        self._api = api
        self._namespace = namespace
        self._connect = connect
        self._entries: dict[str, _Entry] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        """Nothing is connected before it is needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all workers."""
        await asyncio.gather(*(self._drop(name) for name in tuple(self._entries)))

    async def admin(self, name: str, *, last_good: bool = False) -> KafkaAdmin:
        """The connection to a KafkaCluster.

        With `last_good` a KafkaCluster that was broken since (a Secret is gone) does still: deletions go on.

        Raises:
            InvalidInputError: CLUSTER_NOT_FOUND, SECRET_NOT_FOUND or CLUSTER_INVALID.
        """
        entry = self._entries.get(name)
        if entry is None:
            return await self.refresh(name)
        if entry.fault is not None and not last_good:
            raise entry.fault
        return entry.connection

    async def refresh(self, name: str) -> KafkaAdmin:
        """The connection to a KafkaCluster as it and its Secrets are now.

        Raises:
            InvalidInputError: as `admin`; when the KafkaCluster is gone its worker is ended.
        """
        async with self._locks[name]:
            raw = await self._api.get(KAFKA_CLUSTERS, "", name)
            if raw is None:
                await self._drop(name)
                raise InvalidInputError(Reason.CLUSTER_NOT_FOUND, f"KafkaCluster {name} does not exist")
            cluster = KafkaCluster.from_json(raw)
            try:
                config = client_config(cluster, await self._secrets(cluster))
            except InvalidInputError as fault:
                if name in self._entries:
                    self._entries[name].fault = fault
                raise
            return await self._connected(cluster, config)

    async def _connected(self, cluster: KafkaCluster, config: ClientConfig) -> KafkaAdmin:
        name = cluster.metadata.name
        entry = self._entries.get(name)
        if entry is not None and entry.config == config:
            entry.fault = None
            return entry.connection
        if entry is not None:
            _log.info("kafka configuration changed, connecting anew", cluster=name)
            await self._drop(name)
        endpoint = Endpoint(name, ",".join(cluster.spec.bootstrap_servers))
        connection = self._connect(endpoint, config)
        self._entries[name] = _Entry(config, connection)
        return connection

    async def _secrets(self, cluster: KafkaCluster) -> dict[str, SecretData]:
        found: dict[str, SecretData] = {}
        for reference in cluster.spec.properties_from:
            secret = await self._api.get(SECRETS, self._namespace, reference.secret)
            if secret is None:
                raise InvalidInputError(
                    Reason.SECRET_NOT_FOUND,
                    f"KafkaCluster {cluster.metadata.name} takes properties from Secret {reference.secret}, which does "
                    f"not exist in namespace {self._namespace}",
                )
            found[reference.secret] = secret.get("data") or {}
        return found

    async def _drop(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            await entry.connection.aclose()
