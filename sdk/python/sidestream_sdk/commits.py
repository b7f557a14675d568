"""What a consumer commits: the base class's offsets, with each partition's notes as their metadata.

Where the application leaves committing to the client, this is what commits, as librdkafka's own commits carry no
metadata: everything that was handed out before, once in an interval, from within `poll` and `consume`. Nobody commits
past a record that is held back.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from sidestream_sdk.committed import after, error_of, is_too_large, shown, what_of
from sidestream_sdk.holding import Holding
from sidestream_sdk.notes import Notes
from sidestream_sdk.partitions import Partitions
from sidestream_sdk.plain import Plain, partition_at, place_of
from sidestream_sdk.progress import Place
from sidestream_sdk.settings import CommitSettings

logger = logging.getLogger("sidestream_sdk")

CommitCallback = Callable[[KafkaError | None, list[TopicPartition]], None]

_MOST_SENT: Final = 64
"""How many commits of our own may be without an answer; a client that loses answers must not fill the memory."""

_NAMES: Final = ("message", "offsets", "async", "asynchronous")
_OWN_FAULTS: Final = frozenset(
    {
        KafkaError._NO_OFFSET,  # noqa: SLF001 - librdkafka's own codes are named so
        KafkaError._STATE,  # noqa: SLF001
        KafkaError._INVALID_ARG,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
    }
)
"""Errors that say nothing of whether this member may still commit."""


class Commits:
    """One consumer's; `callback` is the application's `on_commit`."""

    def __init__(
        self,
        plain: Plain,
        partitions: Partitions,
        holding: Holding[Message],
        settings: CommitSettings,
        callback: CommitCallback | None,
    ) -> None:
        self.due = 0.0 if settings.auto_commit else math.inf
        """When to commit next."""
        self.failing_since: float | None = None
        """When the first of the last commits failed; None while they work."""
        self._plain = plain
        self._partitions = partitions
        self._holding = holding
        self._settings = settings
        self._callback = callback
        self._sent: deque[frozenset[tuple[Place, int, str]]] = deque(maxlen=_MOST_SENT)

    # --- as the application asks

    def commit(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> list[TopicPartition] | None:
        """The base class's `commit`, its arguments as they were given."""
        given = {**dict(zip(_NAMES, args, strict=False)), **keywords}
        message, offsets = given.pop("message", None), given.pop("offsets", None)
        if message is None and offsets is None:
            self._store_all()
        elif offsets is None and isinstance(message, Message) and message.error() is None:
            given["offsets"] = self.with_notes([after(message)])
        elif (
            message is None and isinstance(offsets, list) and all(isinstance(item, TopicPartition) for item in offsets)
        ):
            given["offsets"] = self.with_notes(offsets)
        else:
            return self._plain.commit(*args, **keywords)
        return self._committed(self._plain.commit, given)

    def store(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """The base class's `store_offsets`, its arguments as they were given."""
        self._plain.store_offsets(*args, **keywords)
        if self._settings.auto_store:
            reason = "StoreOffsets failed: Local: Invalid argument or configuration"
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG, reason))  # noqa: SLF001 - as librdkafka says it
        given = {**dict(zip(_NAMES, args, strict=False)), **keywords}
        message, offsets = given.get("message"), given.get("offsets")
        self.remember(offsets or [] if message is None else [after(message)])

    def remember(self, offsets: Iterable[TopicPartition]) -> None:
        """So far the application is."""
        for item in offsets:
            partition = self._partitions.get(place_of(item))
            if partition is not None:
                partition.stored = item

    def keep_reached(self) -> None:
        """Reading goes on elsewhere: keep how far the application was."""
        if self._settings.auto_store:
            self.remember(self._reached().values())

    def with_notes(self, offsets: Iterable[TopicPartition]) -> list[TopicPartition]:
        """The same with the partitions' notes; the application's own metadata goes into them.

        Raises:
            KafkaException: the notes of a partition that is not assigned cannot be read.
        """
        return [self._with_notes(item) for item in offsets]

    def position(self, item: TopicPartition) -> TopicPartition:
        """A position as the application may commit it, be it in a transaction of its producer."""
        place = place_of(item)
        partition = self._partitions.get(place)
        if item.error is not None or partition is None:
            return item
        first = self._holding.first(place)
        offset = item.offset if first is None else first.offset() or 0
        text = self._partitions.fitting(replace(self._partitions.current(place, partition), app=""))
        return partition_at(place, offset, metadata=text, leader_epoch=item.leader_epoch)

    def told(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The `on_commit` of the base class: how a commit that nobody waited for went."""
        self._note(error, partitions)
        answered = what_of(partitions)
        if answered in self._sent:
            self._sent.remove(answered)
        elif self._callback is not None:
            self._callback(error, shown(partitions))

    # --- by itself

    def commit_due(self, now: float) -> None:
        """Commit what was handed out since last time, without waiting."""
        self.due = now + self._settings.interval
        changed = self._changed(self._how_far())
        if changed:
            self._try(changed, asynchronous=True)
            for item in changed:
                partition = self._partitions.get(place_of(item))
                if partition is not None:
                    partition.committed = item.offset

    def hurry(self, ends: Mapping[Place, int], now: float) -> None:
        """Commit at once what is past such an end: a hand-off waits for that."""
        if self._settings.auto_commit and any(
            place in ends and item.offset >= ends[place] for place, item in self._how_far().items()
        ):
            self.due = now

    def how_far(self, places: Collection[Place]) -> list[TopicPartition]:
        """What is to be committed when these partitions go; nothing where the application commits.

        As with librdkafka, an application that turned back is taken at its word then, and only then.
        """
        if not self._settings.auto_commit:
            return []
        offsets = {place: item for place, item in self._how_far().items() if place in places}
        return [
            item for place, item in offsets.items() if self._can_keep_notes(place) and not self._is_known(place, item)
        ]

    def commit_last(self, offsets: list[TopicPartition]) -> None:
        """Commit before partitions go; what fails is handled again by their next owner."""
        still = [item for item in offsets if self._partitions.get(place_of(item)) is not None]
        if still:
            result = self._try(still, asynchronous=False)
            if result is not None and self._callback is not None:
                self._callback(None, shown(result))

    def skipped(self, offsets: list[TopicPartition]) -> None:
        """Records up to here are acknowledged or not the application's."""
        if self._settings.auto_commit:
            self.remember(offsets)
        else:
            self._try(offsets, asynchronous=True)

    def send(self, offsets: list[TopicPartition]) -> KafkaError | None:
        """Commit exactly this without waiting, which is none of the application's `on_commit`; the error at once."""
        # before the call, as nothing says that the answer comes after it
        self._sent.append(what_of(offsets))
        try:
            self._committed(self._plain.commit, {"offsets": offsets, "asynchronous": True})
        except KafkaException as error:
            return error_of(error)
        return None

    def reached(self, place: Place) -> TopicPartition | None:
        """The next offset of a partition that is not decided; None where none is known."""
        return self._reached([place]).get(place)

    # ---

    def _try(self, offsets: list[TopicPartition], *, asynchronous: bool) -> list[TopicPartition] | None:
        try:
            given = {"offsets": self.with_notes(offsets), "asynchronous": asynchronous}
            return self._committed(self._plain.commit, given)
        except KafkaException as error:
            # A partition may have been taken away since; its next owner handles, or skips, these records again.
            logger.debug("Could not commit: %s", error)
            return None

    def _committed(
        self, commit: Callable[..., list[TopicPartition] | None], given: dict[str, Any]
    ) -> list[TopicPartition] | None:
        try:
            result = commit(**given)
        except KafkaException as error:
            self._note(error_of(error), given.get("offsets", []))
            raise
        if result is None:
            return None
        self._note(None, result)
        return shown(result)

    def _note(self, error: KafkaError | None, partitions: Iterable[TopicPartition]) -> None:
        if error is None:
            self.failing_since = None
        elif error.code() not in _OWN_FAULTS and self.failing_since is None:
            self.failing_since = time.monotonic()
        partitions = list(partitions)
        if any(is_too_large(reason) for reason in (error, *(item.error for item in partitions))):
            self._partitions.shrink()
        for item in partitions:
            partition = self._partitions.get(place_of(item))
            if partition is None or item.offset < 0:
                continue
            if error is None and item.error is None:
                partition.committed = item.offset
            elif partition.committed == item.offset:
                partition.committed = -1

    def _reached(self, places: Collection[Place] | None = None) -> dict[Place, TopicPartition]:
        """Where reading stands, or the first record that is held."""
        asked = self._partitions.places() if places is None else places
        found = self._plain.positions(asked) if asked else {}
        for place in asked:
            first = self._holding.first(place)
            if first is not None:
                found[place] = partition_at(place, first.offset() or 0, leader_epoch=first.leader_epoch())
        return found

    def _how_far(self) -> dict[Place, TopicPartition]:
        stored = {place: item.stored for place, item in self._partitions.items() if item.stored is not None}
        return {**stored, **self._reached()} if self._settings.auto_store else stored

    def _changed(self, offsets: dict[Place, TopicPartition]) -> list[TopicPartition]:
        """What of these this consumer has not committed, and can without wiping out the partition's notes."""
        return [item for place, item in offsets.items() if self._can_keep_notes(place) and self._is_news(place, item)]

    def _can_keep_notes(self, place: Place) -> bool:
        partition = self._partitions.get(place)
        return partition is not None and partition.notes is not None

    def _is_known(self, place: Place, item: TopicPartition) -> bool:
        partition = self._partitions.get(place)
        return partition is not None and item.offset == partition.committed

    def _is_news(self, place: Place, item: TopicPartition) -> bool:
        partition = self._partitions.get(place)
        return partition is not None and item.offset > partition.committed

    def _store_all(self) -> None:
        """For a commit of everything: what is stored has the metadata of the time it was stored at."""
        offsets = [item for place, item in self._how_far().items() if self._is_news(place, item)]
        if offsets:
            self._plain.store_offsets(offsets=self.with_notes(offsets))

    def _with_notes(self, item: TopicPartition) -> TopicPartition:
        place = place_of(item)
        app = Notes.parse(item.metadata).app
        partition = self._partitions.get(place)
        if partition is not None and partition.notes is not None:
            text = self._partitions.write(place, app)
        else:
            text = replace(self._read(place), app=app).encode()
        return partition_at(place, item.offset, metadata=text, leader_epoch=item.leader_epoch)

    def _read(self, place: Place) -> Notes:
        found = self._plain.committed([place]).get(place)
        if found is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Commit failed: what is committed cannot be read"))  # noqa: SLF001
        return Notes.parse(found.metadata)
