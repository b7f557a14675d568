"""What the SDK asks of the plain consumer that it is built on, past its own overrides."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from sidestream_sdk.progress import Place

NO_OFFSET: Final = -1001
READ_SECONDS: Final = 2.0
"""How long a question to the broker may hold up a `poll`; it is asked again later."""


class Plain(Protocol):
    """See `PlainConsumer`; all may raise KafkaException."""

    def commit(self, *args: Any, **keywords: Any) -> list[TopicPartition] | None:
        """The base class's `commit`."""
        ...

    def store_offsets(self, *args: Any, **keywords: Any) -> None:
        """The base class's `store_offsets`."""
        ...

    def committed(self, places: Collection[Place]) -> dict[Place, TopicPartition]:
        """What the group has committed on these partitions; those that could not be read are missing."""
        ...

    def positions(self, places: Collection[Place]) -> dict[Place, TopicPartition]:
        """The offset after the last record that was read; partitions without one are missing."""
        ...

    def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """The end of the log just now; those that could not be read are missing."""
        ...

    def beginnings(self, places: Collection[Place]) -> dict[Place, int]:
        """The first offset there is; those that could not be read are missing."""
        ...

    def pause(self, places: Iterable[Place]) -> None:
        """Read no further."""
        ...

    def resume(self, places: Iterable[Place]) -> None:
        """Read on."""
        ...


class PlainConsumer:
    """`Plain` over the base class's methods; does not keep the consumer alive."""

    def __init__(self, consumer: Consumer) -> None:
        self._ref = weakref.ref(consumer)

    def commit(self, *args: Any, **keywords: Any) -> list[TopicPartition] | None:
        """See `Plain`."""
        result: list[TopicPartition] | None = Consumer.commit(self._consumer, *args, **keywords)
        return result

    def store_offsets(self, *args: Any, **keywords: Any) -> None:
        """See `Plain`."""
        Consumer.store_offsets(self._consumer, *args, **keywords)

    def committed(self, places: Collection[Place]) -> dict[Place, TopicPartition]:
        """See `Plain`."""
        return _found(Consumer.committed(self._consumer, _partitions(places), READ_SECONDS))

    def positions(self, places: Collection[Place]) -> dict[Place, TopicPartition]:
        """See `Plain`."""
        found = _found(Consumer.position(self._consumer, _partitions(places)))
        return {place: item for place, item in found.items() if item.offset >= 0}

    def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """See `Plain`; one request a broker, where `get_watermark_offsets` waits for a fetch on each partition."""
        return self._offsets(places, OFFSET_END)

    def beginnings(self, places: Collection[Place]) -> dict[Place, int]:
        """See `Plain`."""
        return self._offsets(places, OFFSET_BEGINNING)

    def pause(self, places: Iterable[Place]) -> None:
        """See `Plain`."""
        Consumer.pause(self._consumer, _partitions(places))

    def resume(self, places: Iterable[Place]) -> None:
        """See `Plain`."""
        Consumer.resume(self._consumer, _partitions(places))

    def _offsets(self, places: Collection[Place], which: int) -> dict[Place, int]:
        return offsets_of(self._consumer, places, which, READ_SECONDS)

    @property
    def _consumer(self) -> Consumer:
        consumer = self._ref()
        if consumer is None:
            raise RuntimeError("the consumer is gone")
        return consumer


def offsets_of(consumer: Consumer, places: Collection[Place], which: int, seconds: float) -> dict[Place, int]:
    """The beginnings or ends of logs; those that could not be read are missing.

    Raises:
        KafkaException: none could be read within these seconds.
    """
    asked = _partitions(places, which)
    found = _found(Consumer.offsets_for_times(consumer, asked, seconds)) if asked else {}
    return {place: item.offset for place, item in found.items() if item.offset >= 0}


def partition_at(place: Place, offset: int, *, metadata: str = "", leader_epoch: int | None = None) -> TopicPartition:
    """A place with an offset; without what is empty, as nothing can be given for it."""
    more: dict[str, Any] = {}
    if metadata:
        more["metadata"] = metadata
    if leader_epoch is not None:
        more["leader_epoch"] = leader_epoch
    return TopicPartition(*place, offset, **more)


def place_of(partition: TopicPartition) -> Place:
    """The partition without its offset."""
    return partition.topic, partition.partition


def _partitions(places: Iterable[Place], offset: int = NO_OFFSET) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for topic, partition in places]


def _found(partitions: Iterable[TopicPartition]) -> dict[Place, TopicPartition]:
    return {place_of(item): item for item in partitions if item.error is None}
