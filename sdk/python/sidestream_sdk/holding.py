"""Records that cannot be decided yet, and everything that came after them: kept in order until they can be. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from sidestream_sdk.progress import Place


class Placed(Protocol):
    """What of a Kafka message is looked at here."""

    def topic(self) -> str | None:
        """The record's topic."""
        ...

    def partition(self) -> int | None:
        """The record's partition."""
        ...

    def offset(self) -> int | None:
        """The record's offset."""
        ...


M = TypeVar("M", bound=Placed)


class Holding(Generic[M]):
    """The held records of each partition, which partitions to read no further, and which the application paused.

    A partition with held records is paused until the last of them was handed out or skipped. To librdkafka a partition
    stays paused when it is taken away and given again, whoever paused it; so what was paused is remembered here too.
    """

    def __init__(self) -> None:
        self.ready: deque[Place] = deque()
        """Partitions whose first held record can be decided."""
        self.stopped: set[Place] = set()
        """Partitions that are read no further because they hold records, or held some when they were taken away."""
        self._held: dict[Place, deque[M]] = {}
        self._paused: set[Place] = set()

    def __contains__(self, place: Place) -> bool:
        """Whether records of the partition are held."""
        return place in self._held

    def places(self) -> list[Place]:
        """Partitions with held records."""
        return list(self._held)

    def add(self, record: M) -> None:
        """Hold the next record of its partition."""
        place = (record.topic() or "", record.partition() or 0)
        if place not in self._held:
            self._held[place] = deque()
        self._held[place].append(record)

    def first(self, place: Place) -> M | None:
        """The partition's first held record; None where none is held."""
        held = self._held.get(place)
        return held[0] if held else None

    def pop(self, place: Place) -> bool:
        """The first held record was decided: whether it was the last."""
        held = self._held[place]
        held.popleft()
        if not held:
            del self._held[place]
        return not held

    def drop(self, places: Iterable[Place]) -> None:
        """Forget what is held of these partitions: they were taken away, or are read anew."""
        for place in places:
            self._held.pop(place, None)
        self.ready = deque(place for place in self.ready if place in self._held)

    def pause(self, places: Iterable[Place]) -> None:
        """The application paused these partitions."""
        self._paused.update(places)

    def resume(self, places: Iterable[Place]) -> None:
        """The application resumed these partitions."""
        self._paused.difference_update(places)

    def is_paused(self, place: Place) -> bool:
        """Whether the application paused it."""
        return place in self._paused
