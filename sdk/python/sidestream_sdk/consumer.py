"""`SandboxConsumer`: `confluent_kafka.Consumer` that gives the application only the records that are its own.

Methods, messages, callbacks and commits are the base class's; foreign records never come out of `poll` and `consume`
and are committed past. What differs, and why:

- The consumer group is joined once a mapping is there (and, in a fork, once its group was placed): until then
  `subscribe` is remembered and `poll` waits. A member that could not decide would hold partitions and deliver nothing.
- `consume` returns what it has as soon as one of its reads brought a record of ours, be it less than asked for, so
  that no rebalance comes between reading a record and handing it out.
- A `poll` may go on for up to 10 ms past its timeout while it skips: `poll(0)` in an event loop would otherwise pass
  over one foreign record a turn.
"""

from __future__ import annotations

import logging
import math
import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from sidestream_sdk.filter import RecordFilter
from sidestream_sdk.identity import Identity
from sidestream_sdk.mapping import MappingClient
from sidestream_sdk.ownership import Mapping as ConsumerMapping
from sidestream_sdk.ownership import why_not_join
from sidestream_sdk.progress import Place, SkipProgress, next_offsets
from sidestream_sdk.settings import CommitSettings, with_earliest
from sidestream_sdk.subscription import RebalanceCallback, check_subscription, rebalance_callbacks
from sidestream_sdk.tally import REGISTRY, ConsumerTally, export_metrics

logger = logging.getLogger("sidestream_sdk")

SKIP_GRACE_SECONDS: Final = 0.010
PROGRESS_SECONDS: Final = 1.0
"""How often skipped records are committed past where librdkafka does not do it by itself."""


class SandboxConsumer(Consumer):
    """Drop-in for `confluent_kafka.Consumer`.

    `config` and keywords are the base class's. `identity` is who this process is (default: by environment variables;
    without SIDESTREAM_MAPPING_URL it is the plain consumer). `mapping` is a client to share between consumers of one
    workload; by default each has its own, started here and closed with the consumer.

    Raises:
        ValueError: the environment is only half set; the text says which variable.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        /,
        *,
        identity: Identity | None = None,
        mapping: MappingClient | None = None,
        **keywords: Any,
    ) -> None:
        settings = {**(config or {}), **keywords}
        who = mapping.identity if mapping is not None else identity or Identity.from_env(os.environ)
        self._filter: RecordFilter | None = None
        self._progress: SkipProgress | None = None
        if who is None:
            super().__init__(settings)
            return
        if who.sandbox is not None:
            settings = _fork_settings(settings, who.sandbox)
        super().__init__(settings)
        self._commit_settings = CommitSettings.of(settings)
        self._sandbox = who.sandbox
        self._client = mapping if mapping is not None else MappingClient(who)
        self._owns_client = mapping is None
        self._tally = ConsumerTally(self._commit_settings.group, self._client.age)
        self._progress = SkipProgress() if self._commit_settings.needs_help else None
        self._filter = RecordFilter(sandbox=who.sandbox, tally=self._tally, progress=self._progress)
        # Looked up once, and not bound: a bound method would keep this object alive until the garbage collector comes.
        self._read = super(SandboxConsumer, type(self)).poll
        self._stored: dict[Place, int] = {}
        self._progress_due = 0.0 if self._progress is not None else math.inf
        self._admitted = False
        self._waiting_for = ""
        self._subscription: Callable[[], None] | None = None
        REGISTRY.add(self._tally)
        export_metrics()
        self._finish = weakref.finalize(self, _finish, self._tally, self._client, close_client=self._owns_client)
        self._client.start()

    # --- records

    def poll(self, timeout: float | None = -1) -> Message | None:  # noqa: C901 - calls would cost more than they do
        """The next record of ours, an event or error as of the base class, or None after `timeout` seconds."""
        records = self._filter
        wait = -1 if timeout is None else timeout
        if records is None:
            return super().poll(wait)
        now = time.monotonic()
        deadline = None if wait < 0 else now + wait
        if not self._admitted:
            return SandboxConsumer.poll(self, _remaining(deadline)) if self._admit(deadline) else None
        read, client = self._read, self._client
        while True:
            if now >= self._progress_due:
                self._commit_progress()
            message = read(self, wait)
            if message is None or message.error() is not None:
                return message
            if client.mapping is not records.mapping:
                self._update(records)
            if records.takes(message):
                return message
            now = time.monotonic()
            if deadline is not None:
                wait = deadline - now
                if wait < 0:
                    if wait < -SKIP_GRACE_SECONDS:
                        return None
                    wait = 0

    def consume(self, num_messages: int = 1, timeout: float | None = -1) -> list[Message]:
        """Up to `num_messages` records of ours, events and errors; the empty list after `timeout` seconds."""
        records = self._filter
        if records is None:
            return super().consume(num_messages, _seconds(timeout))
        deadline = _deadline(timeout)
        if not self._admitted and not self._admit(deadline):
            return []
        while True:
            self._commit_progress()
            batch = super().consume(num_messages, _remaining(deadline))
            self._update(records)
            came = bool(batch)
            ours = records.own(batch)
            if ours or not came or (deadline is not None and time.monotonic() > deadline + SKIP_GRACE_SECONDS):
                return ours

    def _update(self, records: RecordFilter) -> None:
        mapping = self._client.mapping
        if mapping is not None and mapping is not records.mapping:
            records.update(mapping)

    # --- joining the group

    def subscribe(self, topics: list[str], *args: Any, **callbacks: Any) -> None:
        """As the base class's; takes effect in the first `poll` after a mapping was read."""
        if self._filter is None:
            super().subscribe(topics, *args, **callbacks)
            return
        named = rebalance_callbacks(args, callbacks)
        if self._progress is not None:
            named["on_revoke"] = self._forgetting(named.get("on_revoke"))
            if "on_lost" in named:
                named["on_lost"] = self._forgetting(named["on_lost"])
        join = super().subscribe
        if self._admitted:
            join(topics, **named)
        else:
            check_subscription(topics, named)
            self._subscription = lambda: join(topics, **named)

    def unsubscribe(self) -> None:
        """As the base class's."""
        if self._filter is not None:
            self._subscription = None
        super().unsubscribe()

    def _admit(self, deadline: float | None) -> bool:
        mapping = self._client.wait_for(self._may_join, _remaining(deadline) if deadline is not None else None)
        if mapping is None:
            return False
        self._admitted = True
        if self._subscription is not None:
            subscribe, self._subscription = self._subscription, None
            subscribe()
        return True

    def _may_join(self, mapping: ConsumerMapping) -> bool:
        reason = why_not_join(mapping, sandbox=self._sandbox, group=self._commit_settings.group)
        if reason is not None and reason != self._waiting_for:
            self._waiting_for = reason
            logger.warning("Consumer %s does not join its group yet: %s.", mapping.consumer, reason)
        return reason is None

    # --- committing past skipped records

    def commit(self, *args: Any, **keywords: Any) -> Any:
        """As the base class's."""
        result = super().commit(*args, **keywords)
        if self._progress is not None:
            places = next_offsets(args, keywords)
            if places is not None:
                self._acknowledge(places)
            elif self._commit_settings.auto_store:
                self._progress.acknowledged_all()
            else:
                self._acknowledge(self._stored)
                self._stored.clear()
        return result

    def store_offsets(self, *args: Any, **keywords: Any) -> None:
        """As the base class's."""
        super().store_offsets(*args, **keywords)
        if self._progress is None:
            return
        places = next_offsets(args, keywords) or {}
        if self._commit_settings.auto_commit:
            self._acknowledge(places)
        else:
            self._stored.update(places)

    def seek(self, partition: TopicPartition) -> None:
        """As the base class's."""
        super().seek(partition)
        if self._progress is not None:
            self._progress.forget([(partition.topic, partition.partition)])

    def _acknowledge(self, places: Mapping[Place, int]) -> None:
        if self._progress is not None:
            for place, offset in places.items():
                self._progress.acknowledged(place, offset)

    def _commit_progress(self, *, now: bool = False) -> None:
        if self._progress is None:
            return
        moment = time.monotonic()
        if moment < self._progress_due and not now:
            return
        self._progress_due = moment + PROGRESS_SECONDS
        due = self._progress.take_due()
        if not due:
            return
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in due]
        try:
            if self._commit_settings.auto_commit:
                super().store_offsets(offsets=offsets)
            else:
                super().commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # A partition may have been taken away since; its next owner skips these records again.
            logger.debug("Skipped records could not be committed past: %s", error)

    def _forgetting(self, callback: RebalanceCallback | None) -> RebalanceCallback:
        def forget(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._commit_progress(now=True)
            if callback is not None:
                callback(consumer, partitions)
            if self._progress is not None:
                self._progress.forget((partition.topic, partition.partition) for partition in partitions)

        return forget

    # --- the end

    def close(self) -> None:
        """As the base class's; also stops reading the mapping."""
        if self._filter is not None:
            self._finish()
            # Nothing waits for a mapping any more: the base class says that it is closed.
            self._admitted = True
        super().close()

    def __exit__(self, *exc: object) -> None:
        """Close; the base class's own would call its own `close` past ours."""
        self.close()


def _finish(tally: ConsumerTally, client: MappingClient, *, close_client: bool) -> None:
    REGISTRY.close(tally)
    if close_client:
        client.close()


def _fork_settings(settings: dict[str, Any], sandbox: str) -> dict[str, Any]:
    changed, previous = with_earliest(settings)
    if previous is not None:
        logger.info("Fork of Sandbox %s: auto.offset.reset is earliest instead of %s.", sandbox, previous)
    return changed


def _seconds(timeout: float | None) -> float:
    return -1 if timeout is None else timeout


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None or timeout < 0 else time.monotonic() + timeout


def _remaining(deadline: float | None) -> float:
    return -1 if deadline is None else max(deadline - time.monotonic(), 0.0)
