"""A consumer whose partitions, pauses and commits the SDK keeps an eye on; to the application the base class's."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from sidestream_sdk.committed import shown
from sidestream_sdk.member import Member
from sidestream_sdk.plain import place_of
from sidestream_sdk.progress import Place, next_offsets
from sidestream_sdk.rebalance import Rebalances


class TrackedConsumer(Consumer):
    """`config` is the base class's; with `member` None this is the base class."""

    _rebalances: Rebalances

    def __init__(self, config: dict[str, Any], member: Member | None) -> None:
        super().__init__(config)
        self._member = member

    # --- partitions

    def assign(self, partitions: list[TopicPartition]) -> None:
        """As the base class's."""
        if self._member is None:
            super().assign(partitions)
            return
        self._leave(self._member.places())
        self._member.removed(self._member.places())
        super().assign(self._arriving(partitions))

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As the base class's."""
        super().incremental_assign(partitions if self._member is None else self._arriving(partitions))

    def unassign(self) -> None:
        """As the base class's."""
        places = self._member.places() if self._member is not None else []
        self._leave(places)
        super().unassign()
        self._gone(places)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """As the base class's."""
        places = [place_of(item) for item in partitions]
        self._leave(places)
        super().incremental_unassign(partitions)
        self._gone(places)

    def pause(self, partitions: list[TopicPartition]) -> None:
        """As the base class's."""
        super().pause(partitions)
        if self._member is not None:
            self._member.paused(partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        """As the base class's; a partition with held records is read on once they were handed out."""
        super().resume(partitions if self._member is None else self._member.resumed(partitions))

    def seek(self, partition: TopicPartition) -> None:
        """As the base class's."""
        if self._member is not None:
            self._member.commits.keep_reached()
        super().seek(partition)
        if self._member is not None:
            self._member.sought(place_of(partition))

    # --- commits

    def commit(self, *args: Any, **keywords: Any) -> Any:
        """As the base class's; with each partition's notes as metadata."""
        if self._member is None:
            return super().commit(*args, **keywords)
        result = self._member.commits.commit(args, keywords)
        self._member.committed(next_offsets(args, keywords))
        return result

    def store_offsets(self, *args: Any, **keywords: Any) -> None:
        """As the base class's."""
        if self._member is None:
            super().store_offsets(*args, **keywords)
            return
        self._member.commits.store(args, keywords)
        self._member.stored(next_offsets(args, keywords) or {})

    def committed(self, *args: Any, **keywords: Any) -> list[TopicPartition]:
        """As the base class's; of the metadata, what the application wrote."""
        found = super().committed(*args, **keywords)
        return found if self._member is None else shown(found)

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """As the base class's, with metadata that belongs into the commit of these offsets.

        A producer's transaction has to commit just these, `send_offsets_to_transaction(consumer.position(...), ...)`:
        other offsets would come without it.
        """
        found = super().position(partitions)
        return found if self._member is None else [self._member.commits.position(item) for item in found]

    # ---

    def _arriving(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        member = self._member
        if member is None or not isinstance(partitions, list):
            return partitions  # type: ignore[return-value]  # the base class says what is wrong with it
        if self._rebalances.is_running:
            self._rebalances.is_assigned = True
        else:
            member.is_assigned_by_hand = True
        return member.added(partitions)

    def _leave(self, places: Collection[Place]) -> None:
        if self._member is not None and places:
            self._member.leave(places)

    def _gone(self, places: Collection[Place]) -> None:
        if self._member is not None:
            self._member.removed(places)
