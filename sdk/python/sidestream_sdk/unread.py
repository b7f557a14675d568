"""Reading and handing out where they are two steps: a read, what nobody was given of it yet, and who was given what."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Message, TopicPartition

from sidestream_sdk.plain import partition_at, place_of
from sidestream_sdk.progress import Place


class Read:
    """One read, in short waits so that it can be broken off; `read` waits as long as it is told at most."""

    def __init__(self, read: Callable[[float], list[Message]], longest: float, timeout: float | None) -> None:
        self.result: asyncio.Future[list[Message]]
        self.is_unwanted = False
        """Nobody waits for it any more."""
        self.is_done = False
        self._read = read
        self._longest = longest
        self._deadline = None if timeout is None or timeout < 0 else time.monotonic() + timeout

    def make(self) -> list[Message]:
        """Read, on the thread."""
        try:
            while True:
                left = math.inf if self._deadline is None else self._deadline - time.monotonic()
                brought = self._read(max(min(left, self._longest), 0.0))
                if brought or self.is_unwanted or left <= self._longest:
                    return brought
        finally:
            self.is_done = True


class Unread:
    """What was read and not handed out, in order; events and errors among it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def add(self, messages: Iterable[Message]) -> None:
        """These were read."""
        self._messages.extend(messages)

    def take(self, most: int) -> list[Message]:
        """The next ones, which are handed out."""
        most = max(most, 0)
        taken, self._messages = self._messages[:most], self._messages[most:]
        return taken

    def drop(self, places: Iterable[Place] | None = None) -> list[TopicPartition]:
        """Forget the records of these partitions (None: of all); where each would have to be read again."""
        firsts = self._firsts()
        gone = set(firsts if places is None else places)
        self._messages = [item for item in self._messages if item.error() is not None or _place(item) not in gone]
        return [partition_at(place, offset) for place, offset in firsts.items() if place in gone]

    def before(self, positions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Positions in which these records do not count as read."""
        firsts = self._firsts()
        return [_at_most(item, firsts.get(place_of(item))) for item in positions]

    def _firsts(self) -> dict[Place, int]:
        firsts: dict[Place, int] = {}
        for message in self._messages:
            if message.error() is None:
                firsts.setdefault(_place(message), message.offset() or 0)
        return firsts


class HandedOut:
    """How far the application was given records since it was last asked for."""

    def __init__(self) -> None:
        self._next: dict[Place, TopicPartition] = {}

    def add(self, messages: Iterable[Message]) -> None:
        """These were handed out."""
        for message in messages:
            if message.error() is None:
                place = _place(message)
                offset = (message.offset() or 0) + 1
                self._next[place] = partition_at(place, offset, leader_epoch=message.leader_epoch())

    def take(self) -> list[TopicPartition]:
        """The next offsets, once."""
        taken, self._next = list(self._next.values()), {}
        return taken


def _place(message: Message) -> Place:
    return message.topic() or "", message.partition() or 0


def _at_most(item: TopicPartition, offset: int | None) -> TopicPartition:
    if offset is None or offset >= item.offset:
        return item
    return partition_at(place_of(item), offset, metadata=item.metadata or "", leader_epoch=item.leader_epoch)
