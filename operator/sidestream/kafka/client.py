"""`KafkaAdmin` by way of a worker process: what goes through the pipe, and how each call is named to users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

from sidestream.kafka.config import ClientConfig
from sidestream.kafka.port import (
    Cluster,
    Group,
    GroupState,
    Member,
    Offsets,
    Position,
    Positions,
    Scanned,
    Topic,
    TopicPartition,
)
from sidestream.kafka.process import COMMAND
from sidestream.kafka.supervisor import Supervisor, Timing
from sidestream.kafka.translation import Deed, Endpoint, topics_text
from sidestream_sdk.baggage import HeaderRules


class Caller(Protocol):
    """Runs verbs somewhere else; raises the errors of `KafkaAdmin`."""

    async def call(self, verb: str, args: Mapping[str, Any], deed: Deed) -> Any:
        """The verb's result as JSON."""
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...


class WorkerAdmin:
    """`KafkaAdmin` over a `Caller`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        config: ClientConfig,
        *,
        command: Sequence[str] = COMMAND,
        timing: Timing | None = None,
    ) -> Self:
        """Start a supervised worker; nothing is known of the cluster before the first call."""
        supervisor = Supervisor(endpoint, config, command=command, timing=timing)
        supervisor.start()
        return cls(supervisor)

    async def aclose(self) -> None:
        """End the worker."""
        await self._caller.aclose()

    async def cluster(self) -> Cluster:
        """See `KafkaAdmin.cluster`."""
        found = await self._caller.call("cluster", {}, Deed("describe itself", "Describe"))
        return Cluster(id=found["id"], brokers=found["brokers"])

    async def topics(self, names: Collection[str]) -> Mapping[str, Topic | None]:
        """See `KafkaAdmin.topics`."""
        topics = tuple(sorted(names))
        deed = Deed(f"describe {topics_text(topics)}", "Describe", topics=topics)
        found = await self._caller.call("topics", {"names": sorted(names)}, deed)
        return {
            name: None if item is None else Topic(name, item["id"], item["partitions"]) for name, item in found.items()
        }

    async def group(self, name: str) -> Group:
        """See `KafkaAdmin.group`."""
        deed = Deed(f"describe consumer group {name}", "Describe", name)
        found = await self._caller.call("group", {"group": name}, deed)
        members = tuple(
            Member(
                item["id"],
                item["client"],
                item["host"].removeprefix("/"),
                item["instance"],
                frozenset(TopicPartition(*row) for row in item["partitions"]),
            )
            for item in found["members"]
        )
        return Group(name, GroupState(found["state"]), members)

    async def group_names(self) -> frozenset[str]:
        """See `KafkaAdmin.group_names`."""
        deed = Deed("list consumer groups", "Describe")
        return frozenset(await self._caller.call("group_names", {}, deed))

    async def committed(self, group: str, partitions: Collection[TopicPartition] | None = None) -> Positions:
        """See `KafkaAdmin.committed`."""
        if partitions is not None and not partitions:
            return {}
        topics = _topics(partitions or ())
        deed = Deed(f"read the offsets of consumer group {group}", "Describe", group, topics)
        asked = None if partitions is None else _rows(partitions)
        rows = await self._caller.call("committed", {"group": group, "partitions": asked}, deed)
        return {TopicPartition(*row[:2]): Position(*row[2:]) for row in rows}

    async def earliest(self, partitions: Collection[TopicPartition]) -> Offsets:
        """See `KafkaAdmin.earliest`."""
        return await self._ends("earliest", partitions)

    async def latest(self, partitions: Collection[TopicPartition]) -> Offsets:
        """See `KafkaAdmin.latest`."""
        return await self._ends("latest", partitions)

    async def place(self, group: str, positions: Positions, *, over: Positions | None = None) -> None:
        """See `KafkaAdmin.place`."""
        deed = Deed(f"place consumer group {group}", "Read", group, _topics(positions))
        known = None if over is None else _placed(over)
        await self._caller.call("place", {"group": group, "positions": _placed(positions), "over": known}, deed)

    async def scan(
        self, ranges: Mapping[TopicPartition, tuple[int, int]], header: HeaderRules, keys: Collection[str]
    ) -> Mapping[TopicPartition, Scanned]:
        """See `KafkaAdmin.scan`."""
        if not ranges:
            return {}
        topics = _topics(ranges)
        args = {
            "ranges": [[item.topic, item.partition, *ends] for item, ends in sorted(ranges.items())],
            "header": {"mode": header.mode, "baggageKeys": list(header.baggage_keys), "name": header.name},
            "keys": sorted(keys),
        }
        rows = await self._caller.call("scan", args, Deed(f"read {topics_text(topics)}", "Read", topics=topics))
        return {TopicPartition(topic, number): Scanned(offset, found) for topic, number, offset, found in rows}

    async def delete_group(self, group: str) -> None:
        """See `KafkaAdmin.delete_group`."""
        deed = Deed(f"delete consumer group {group}", "Delete", group)
        await self._caller.call("delete", {"group": group}, deed)

    async def _ends(self, end: str, partitions: Collection[TopicPartition]) -> Offsets:
        if not partitions:
            return {}
        topics = _topics(partitions)
        deed = Deed(f"tell the offsets of {topics_text(topics)}", "Describe", topics=topics)
        rows = await self._caller.call("ends", {"partitions": _rows(partitions), "end": end}, deed)
        return {TopicPartition(topic, number): offset for topic, number, offset in rows}


def _rows(partitions: Collection[TopicPartition]) -> list[list[str | int]]:
    return [[item.topic, item.partition] for item in sorted(partitions)]


def _placed(positions: Positions) -> list[list[str | int | None]]:
    return [
        [item.topic, item.partition, position.offset, position.leader_epoch, position.metadata]
        for item, position in sorted(positions.items())
    ]


def _topics(partitions: Iterable[TopicPartition]) -> tuple[str, ...]:
    return tuple(sorted({item.topic for item in partitions}))
