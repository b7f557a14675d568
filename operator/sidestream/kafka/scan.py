"""Looks into ranges of partitions for records that somebody waits for; the worker's side of `KafkaAdmin.scan`.

The consumer is assigned its partitions: it is in no group, commits nothing and leaves nothing behind. It reads what is
committed: a record of an aborted transaction is nobody's, one of an open transaction may become somebody's, so a range
is passed no further than the last stable offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from sidestream_sdk.baggage import Headers

GROUP: Final = "sidestream-operator-scan"
"""The library insists on a name, but no broker ever knows this group: nobody joins it, or commits for it."""

LIMIT: Final = 50_000
"""Records that a call reads, give or take a batch: about a second of a processor."""

Place = tuple[str, int]
"""Topic and partition."""

_SETTINGS: Final = {
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    # the end tells what no record does: that markers, aborted records and gaps were passed
    "enable.partition.eof": "true",
    "isolation.level": "read_committed",
    # an end is told when a fetch comes back empty
    "fetch.wait.max.ms": "50",
    # what was fetched and not read by the end of a call is fetched again by the next
    "queued.max.messages.kbytes": "8192",
}

_END: Final = "_PARTITION_EOF"
_BATCH: Final = 1000
_POLL_SECONDS: Final = 0.05
_SPARE_SECONDS: Final = 0.5
"""Left for closing and answering: a call that is out of time would say nothing of how far it got."""


@dataclass
class Search:
    """How far the search of one partition is: everything below `reached` was looked at, but not below `begin`.

    It is over at `stop`: the end of the range, or the last stable offset if that is lower.
    """

    reached: int
    end: int
    stop: int
    found: bool = False

    @classmethod
    def of(cls, begin: int, end: int, *, earliest: int, stable: int) -> Search:
        """Where to begin and stop in a log that starts at `earliest`; what is below is gone, and so is nobody's."""
        return cls(reached=min(max(begin, earliest), end), end=end, stop=min(end, stable))

    @property
    def is_over(self) -> bool:
        """Whether a consumer could find nothing more now."""
        return self.found or self.reached >= self.stop

    def pass_to(self, offset: int) -> None:
        """Nothing was found below `offset`."""
        self.reached = max(self.reached, min(offset, self.end))

    def look_at(self, offset: int, *, is_wanted: bool) -> None:
        """A record; everything between the one before and this one is no record."""
        self.pass_to(offset)
        if offset >= self.end or offset < self.reached:
            return
        self.found = is_wanted
        if not is_wanted:
            self.pass_to(offset + 1)


def scan(
    config: Mapping[str, Any],
    searches: Mapping[Place, Search],
    is_wanted: Callable[[Headers | None], bool],
    left: Callable[[], float],
) -> None:
    """Take every search on as far as the seconds `left` and the limit of records allow.

    Raises:
        KafkaException: the cluster refused.
        TimeoutError: no broker said anything of any partition.
    """
    pending = {place: search for place, search in searches.items() if not search.is_over}
    if not pending:
        return
    consumer = Consumer({**config, **_SETTINGS})
    try:
        consumer.assign([TopicPartition(*place, search.reached) for place, search in pending.items()])
        _run(consumer, pending, is_wanted, left)
    finally:
        consumer.close()


def _run(
    consumer: Consumer,
    pending: dict[Place, Search],
    is_wanted: Callable[[Headers | None], bool],
    left: Callable[[], float],
) -> None:
    read = heard = 0
    while pending and read < LIMIT and left() > _SPARE_SECONDS:
        batch = consumer.consume(_BATCH, _POLL_SECONDS)
        read += len(batch)
        heard += _look_through(batch, pending, is_wanted)
        done = [place for place, search in pending.items() if search.is_over]
        for place in done:
            del pending[place]
        consumer.pause([TopicPartition(*place) for place in done])
    if not heard:
        raise TimeoutError


def _look_through(
    batch: Iterable[Message], pending: Mapping[Place, Search], is_wanted: Callable[[Headers | None], bool]
) -> int:
    """Returns how many of them were about a pending partition."""
    heard = 0
    for message in batch:
        topic, partition, offset, error = message.topic(), message.partition(), message.offset(), message.error()
        if error is not None and error.name() != _END:
            if topic is not None:
                raise KafkaException(error)
            continue  # about the group, which is none of ours: we may not even be allowed to find it
        search = pending.get((topic or "", -1 if partition is None else partition))
        if search is None or offset is None:
            continue
        heard += 1
        if error is not None:
            search.pass_to(offset)
        elif not search.is_over:
            search.look_at(offset, is_wanted=is_wanted(message.headers()))
    return heard
