"""`FakeKafka`: a Kafka cluster in memory, with the rules of a real one as `admin_contract` checks them on both.

`FakeKafkaAdmin` is the `KafkaAdmin` of it; its errors come from the product's own translation of Kafka's codes.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

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
from sidestream.kafka.translation import OVERTAKEN, Cause, Deed, Endpoint, Failure, translate
from sidestream_sdk.baggage import HeaderRules

ENDPOINT = Endpoint("main", "kafka:9092")

METADATA_BYTES = 4095
"""What a broker takes by default: less than `offset.metadata.max.bytes`, which counts UTF-16 units in truth."""


@dataclass
class FakeTopic:
    id: str
    logs: list[tuple[int, int]]
    """Per partition the earliest and the latest offset."""
    keys: dict[tuple[int, int], str] = field(default_factory=dict)
    """The tenant keys of records, by partition and offset; most have none."""


@dataclass
class FakeGroup:
    offsets: dict[TopicPartition, Position] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    state: GroupState = GroupState.STABLE
    """What it is called while it has members."""


class FakeKafka:
    """The cluster; its methods are what producers, consumers and people with a console do."""

    def __init__(self, cluster_id: str = "cluster-1") -> None:
        self.cluster_id = cluster_id
        self.topics: dict[str, FakeTopic] = {}
        self.groups: dict[str, FakeGroup] = {}
        self.failure: Failure | None = None
        self.scan_limit = 50_000
        """Offsets that one scan passes in each partition."""
        self._transactions: dict[TopicPartition, int] = {}
        self._ids = itertools.count(1)

    def create_topic(self, name: str, *logs: tuple[int, int]) -> None:
        self.topics[name] = FakeTopic(f"topic-{next(self._ids)}", list(logs or [(0, 0)]))

    def delete_topic(self, name: str) -> None:
        """Offsets of a deleted topic go from all groups."""
        del self.topics[name]
        for group in self.groups.values():
            group.offsets = {item: position for item, position in group.offsets.items() if item.topic != name}

    def add_partition(self, name: str, earliest: int = 0, latest: int = 0) -> None:
        self.topics[name].logs.append((earliest, latest))

    def produce(self, topic: str, partition: int = 0, count: int = 1, *, key: str | None = None) -> None:
        """Records of one tenant, or of none."""
        found = self.topics[topic]
        earliest, latest = found.logs[partition]
        found.logs[partition] = (earliest, latest + count)
        if key is not None:
            found.keys.update({(partition, offset): key for offset in range(latest, latest + count)})

    def trim(self, topic: str, partition: int, earliest: int) -> None:
        """What was before is gone."""
        logs = self.topics[topic].logs
        logs[partition] = (earliest, logs[partition][1])

    def begin(self, topic: str, partition: int = 0) -> None:
        """A transaction: what is produced from now on is not committed yet."""
        self._transactions[TopicPartition(topic, partition)] = self.topics[topic].logs[partition][1]

    def end(self, topic: str, partition: int = 0, *, is_committed: bool = True) -> None:
        """The transaction is over; its marker takes an offset."""
        begun, keys = self._transactions.pop(TopicPartition(topic, partition)), self.topics[topic].keys
        if not is_committed:
            for place in [place for place in keys if place[0] == partition and place[1] >= begun]:
                del keys[place]
        self.produce(topic, partition)

    def stable(self, item: TopicPartition) -> int:
        """The last stable offset: from there on it is open what becomes of the records."""
        return self._transactions.get(item, self.topics[item.topic].logs[item.partition][1])

    def join(self, group: str, host: str = "10.0.0.1", partitions: Iterable[TopicPartition] = ()) -> str:
        """A consumer joins, making the group when it is missing, and has these partitions; returns its member id."""
        member = Member(f"member-{next(self._ids)}", "consumer", host, partitions=frozenset(partitions))
        self.groups.setdefault(group, FakeGroup()).members[member.id] = member
        return member.id

    def leave(self, group: str, member: str | None = None) -> None:
        """One member leaves, or all."""
        members = self.groups[group].members
        for gone in [member] if member is not None else list(members):
            del members[gone]

    def commit(
        self, group: str, topic: str, partition: int, offset: int, epoch: int | None = 0, *, metadata: str = ""
    ) -> None:
        found = self.groups.setdefault(group, FakeGroup())
        found.offsets[TopicPartition(topic, partition)] = Position(offset, epoch, metadata)

    def catch_up(self, group: str) -> None:
        """The group commits the end of every partition that it has an offset of."""
        for item in self.groups[group].offsets:
            self.commit(group, item.topic, item.partition, self.topics[item.topic].logs[item.partition][1])

    def expire(self, group: str) -> None:
        """The offsets are older than the broker keeps them."""
        del self.groups[group]

    def offsets(self, group: str) -> dict[str, int]:
        """Committed offsets as `topic/partition: offset`."""
        found = self.groups[group].offsets if group in self.groups else {}
        return {f"{item.topic}/{item.partition}": position.offset for item, position in sorted(found.items())}

    def fail(self, name: str, cause: Cause = Cause.UNKNOWN) -> None:
        """Every call fails with this code, until `mend`."""
        self.failure = Failure(name, f"Broker: {name}", cause)

    def mend(self) -> None:
        self.failure = None


class FakeKafkaAdmin:
    """`KafkaAdmin` of a FakeKafka; notes the calls that change something."""

    def __init__(self, kafka: FakeKafka, endpoint: Endpoint = ENDPOINT, config: ClientConfig | None = None) -> None:
        self.kafka = kafka
        self.endpoint = endpoint
        self.config = config
        self.effects: list[str] = []
        self.headers: list[HeaderRules] = []
        """What scans looked by; here records have their keys without headers."""
        self.is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True

    async def cluster(self) -> Cluster:
        self._check(Deed("describe itself", "Describe"))
        return Cluster(self.kafka.cluster_id, 1)

    async def topics(self, names: Collection[str]) -> Mapping[str, Topic | None]:
        self._check(Deed("describe topics", "Describe", topics=tuple(names)))
        return {name: self._topic(name) for name in names}

    async def group(self, name: str) -> Group:
        self._check(Deed(f"describe consumer group {name}", "Describe", name))
        found = self.kafka.groups.get(name)
        if found is None:
            return Group(name, GroupState.ABSENT)
        return Group(name, found.state if found.members else GroupState.EMPTY, tuple(found.members.values()))

    async def group_names(self) -> frozenset[str]:
        self._check(Deed("list consumer groups", "Describe"))
        return frozenset(self.kafka.groups)

    async def committed(self, group: str, partitions: Collection[TopicPartition] | None = None) -> Positions:
        self._check(Deed(f"read the offsets of consumer group {group}", "Describe", group))
        offsets = self.kafka.groups[group].offsets if group in self.kafka.groups else {}
        return {item: position for item, position in offsets.items() if partitions is None or item in partitions}

    async def earliest(self, partitions: Collection[TopicPartition]) -> Offsets:
        return {item: self._log(item)[0] for item in partitions}

    async def latest(self, partitions: Collection[TopicPartition]) -> Offsets:
        return {item: self._log(item)[1] for item in partitions}

    async def place(self, group: str, positions: Positions, *, over: Positions | None = None) -> None:
        deed = Deed(f"place consumer group {group}", "Read", group)
        self._check(deed)
        found = self.kafka.groups.get(group)
        if over is not None and _kept(over) != _kept(await self.committed(group, positions.keys())):
            raise translate(Failure(OVERTAKEN), self.endpoint, deed)
        if found is not None and found.members:
            raise translate(Failure("UNKNOWN_MEMBER_ID"), self.endpoint, deed)
        if any(len(position.metadata.encode()) > METADATA_BYTES for position in positions.values()):
            raise translate(Failure("OFFSET_METADATA_TOO_LARGE"), self.endpoint, deed)
        self.effects.append(f"place {group}")
        known = {item: position for item, position in positions.items() if self._has(item)}
        if known:
            self.kafka.groups.setdefault(group, FakeGroup()).offsets.update(known)
        if known.keys() != positions.keys():
            raise translate(Failure("UNKNOWN_TOPIC_OR_PART"), self.endpoint, deed)

    async def scan(
        self, ranges: Mapping[TopicPartition, tuple[int, int]], header: HeaderRules, keys: Collection[str]
    ) -> Mapping[TopicPartition, Scanned]:
        self.headers.append(header)
        return {item: self._scan(item, begin, end, keys) for item, (begin, end) in ranges.items()}

    async def delete_group(self, group: str) -> None:
        deed = Deed(f"delete consumer group {group}", "Delete", group)
        self._check(deed)
        found = self.kafka.groups.get(group)
        if found is not None and found.members:
            raise translate(Failure("NON_EMPTY_GROUP"), self.endpoint, deed)
        self.effects.append(f"delete {group}")
        self.kafka.groups.pop(group, None)

    def _check(self, deed: Deed) -> None:
        if self.kafka.failure is not None:
            raise translate(self.kafka.failure, self.endpoint, deed)

    def _topic(self, name: str) -> Topic | None:
        found = self.kafka.topics.get(name)
        return None if found is None else Topic(name, found.id, len(found.logs))

    def _has(self, item: TopicPartition) -> bool:
        found = self.kafka.topics.get(item.topic)
        return found is not None and item.partition < len(found.logs)

    def _scan(self, item: TopicPartition, begin: int, end: int, keys: Collection[str]) -> Scanned:
        earliest, _ = self._log(item)
        found = self.kafka.topics[item.topic].keys
        start = min(max(begin, earliest), end)
        stop = max(start, min(end, self.kafka.stable(item), start + self.kafka.scan_limit))
        wanted = (offset for offset in range(start, stop) if found.get((item.partition, offset)) in keys)
        offset = next(wanted, None)
        return Scanned(stop, found=False) if offset is None else Scanned(offset, found=True)

    def _log(self, item: TopicPartition) -> tuple[int, int]:
        deed = Deed(f"tell the offsets of topic {item.topic}", "Describe", topics=(item.topic,))
        self._check(deed)
        if not self._has(item):
            raise translate(Failure("_NOENT"), self.endpoint, deed)
        return self.kafka.topics[item.topic].logs[item.partition]


def _kept(positions: Positions) -> dict[TopicPartition, tuple[int, str]]:
    return {item: (position.offset, position.metadata) for item, position in positions.items()}
