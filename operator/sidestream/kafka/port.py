"""The seam between the Kafka domain and a Kafka cluster: what can be asked and done, and how the answers look."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sidestream_sdk.baggage import HeaderRules


@dataclass(frozen=True)
class Cluster:
    """A Kafka cluster as its brokers describe it."""

    id: str
    brokers: int


@dataclass(frozen=True)
class Topic:
    """A topic; one that was deleted and made again has another id."""

    name: str
    id: str
    partitions: int


@dataclass(frozen=True, order=True)
class TopicPartition:
    """One partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Position:
    """A committed offset: the next record that the group will read.

    `leader_epoch` lets a consumer notice that the log was cut behind its back; None where nobody recorded it.
    `metadata` is what the member wrote beside it.
    """

    offset: int
    leader_epoch: int | None = None
    metadata: str = ""


Positions = Mapping[TopicPartition, Position]
Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True)
class Scanned:
    """What a scan of a range came to: the offset of the first record that it looked for, or how far it got without."""

    offset: int
    found: bool


class GroupState(StrEnum):
    """States of consumer groups of both protocols, as users see them in status."""

    ABSENT = "Absent"
    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    UNKNOWN = "Unknown"
    """Assigning or Reconciling of the newer protocol, which the client library has no name for: it has members."""


@dataclass(frozen=True)
class Member:
    """A consumer in a group; `host` is the address that the broker sees, without the slash it puts before it."""

    id: str
    client_id: str
    host: str
    instance_id: str | None = None
    partitions: frozenset[TopicPartition] = frozenset()
    """What is assigned to it just now."""


@dataclass(frozen=True)
class Group:
    """A consumer group."""

    name: str
    state: GroupState
    members: tuple[Member, ...] = ()

    @property
    def is_absent(self) -> bool:
        """Whether the cluster knows no group of this name."""
        return self.state is GroupState.ABSENT

    @property
    def is_empty(self) -> bool:
        """Whether it exists and nobody is in it: the only state in which it can be placed or deleted."""
        return self.state is GroupState.EMPTY and not self.members

    @property
    def has_members(self) -> bool:
        """Whether somebody is, or may be, in it."""
        return not self.is_absent and not self.is_empty


class KafkaAdmin(Protocol):
    """What the Kafka domain does with one cluster. Every verb may be repeated; each has a deadline of its own.

    All raise `KafkaUnavailableError` while the cluster, a coordinator or our worker is away, and `KafkaError` when the
    cluster refuses for good.
    """

    async def cluster(self) -> Cluster:
        """Which cluster answers, and with how many brokers."""
        ...

    async def topics(self, names: Collection[str]) -> Mapping[str, Topic | None]:
        """The topics of these names; None for one that does not exist."""
        ...

    async def group(self, name: str) -> Group:
        """The group, in state ABSENT when there is none."""
        ...

    async def group_names(self) -> frozenset[str]:
        """The names of all groups that the operator may describe."""
        ...

    async def committed(self, group: str, partitions: Collection[TopicPartition] | None = None) -> Positions:
        """What the group has committed on these partitions (None: on all); one without a commit is left out."""
        ...

    async def earliest(self, partitions: Collection[TopicPartition]) -> Offsets:
        """The first offset that each partition still has."""
        ...

    async def latest(self, partitions: Collection[TopicPartition]) -> Offsets:
        """The offset after the last record (the high watermark) of each partition, open transactions included."""
        ...

    async def place(self, group: str, positions: Positions, *, over: Positions | None = None) -> None:
        """Commit these positions for a group without members, making the group when it is missing, and read them back.

        `over` is what the group is known to have committed on these partitions (one without a commit left out): if by
        now it is something else, nothing is committed.

        Raises:
            GroupBusyError: somebody is in the group, or was since `over` was read.
        """
        ...

    async def scan(
        self, ranges: Mapping[TopicPartition, tuple[int, int]], header: HeaderRules, keys: Collection[str]
    ) -> Mapping[TopicPartition, Scanned]:
        """Where the first record of one of these tenant keys is, within [begin, end) of each partition.

        A call reads for a limited time and so many records; the next one goes on from where it stopped. It does not go
        past an open transaction, whose records may become work. What the log does not have any more, and what never is
        a record (aborted, a transaction's marker), is nothing found. No group is joined or made for it.
        """
        ...

    async def delete_group(self, group: str) -> None:
        """Delete the group with its offsets; well, too, when there is none.

        Raises:
            GroupBusyError: somebody is in the group.
        """
        ...
