"""`SandboxConsumer`: `confluent_kafka.Consumer` that gives the application only the records that are its own.

Methods, messages, callbacks and commits are the base class's; foreign records never come out of `poll` and `consume`
and are committed past. What differs, and why:

- The consumer group is joined once a mapping is there (and, in a fork, once its group was placed): until then
  `subscribe` is remembered and `poll` waits. A member that could not decide would hold partitions and deliver nothing.
- `consume` returns what it has as soon as one of its reads brought a record of ours, be it less than asked for, so
  that no rebalance comes between reading a record and handing it out.
- A `poll` may go on for up to 10 ms past its timeout while it skips: `poll(0)` in an event loop would otherwise pass
  over one foreign record a turn.
- Automatic commits are made from within `poll`, `consume` and `close` and in rebalances, of what was handed out before:
  they carry metadata (see `notes`), which those of librdkafka cannot.
- A record that cannot be decided yet holds up its partition, and no other.
"""

from __future__ import annotations

import logging
import math
import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import Message

from sidestream_sdk.endreader import EndReader
from sidestream_sdk.ends import Ends
from sidestream_sdk.identity import Identity
from sidestream_sdk.mapping import MappingClient
from sidestream_sdk.member import Member
from sidestream_sdk.ownership import Mapping as ConsumerMapping
from sidestream_sdk.ownership import why_not_join
from sidestream_sdk.plain import PlainConsumer
from sidestream_sdk.rebalance import Rebalances
from sidestream_sdk.settings import CommitSettings, with_earliest, with_own_commits
from sidestream_sdk.subscription import check_subscription, rebalance_callbacks
from sidestream_sdk.tally import REGISTRY, ConsumerTally, export_metrics
from sidestream_sdk.tracked import TrackedConsumer

logger = logging.getLogger("sidestream_sdk")

SKIP_GRACE_SECONDS: Final = 0.010

LOOK_SECONDS: Final = 0.1
"""How long one read of `poll` waits at most, before it is looked whether the mapping changed."""

BATCH_LOOK_SECONDS: Final = 0.5
"""The same for `consume`, whose batches this makes smaller where records come slowly."""


class SandboxConsumer(TrackedConsumer):
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
        if who is None:
            super().__init__(settings, None)
            return
        if who.sandbox is not None:
            settings = _fork_settings(settings, who.sandbox)
        self._commit_settings = CommitSettings.of(settings)
        self._sandbox = who.sandbox
        self._client = mapping if mapping is not None else MappingClient(who)
        self._owns_client = mapping is None
        client = self._client
        self._tally = ConsumerTally(self._commit_settings.group, client.age, lambda: client.stale_answers)
        member = Member(
            PlainConsumer(self),
            client,
            self._commit_settings,
            self._tally,
            sandbox=who.sandbox,
            callback=settings.get("on_commit"),
            ends=Ends(EndReader(settings).read),
        )
        super().__init__({**with_own_commits(settings), "on_commit": member.told}, member)
        self._rebalances = Rebalances(member, is_incremental=self._commit_settings.is_incremental)
        # Looked up once, and not bound: a bound method would keep this object alive until the garbage collector comes.
        self._read = super(SandboxConsumer, type(self)).poll
        self._admitted = False
        self._waiting_for = ""
        self._subscription: Callable[[], None] | None = None
        REGISTRY.add(self._tally)
        export_metrics()
        self._finish = weakref.finalize(self, _finish, self._tally, self._client, close_client=self._owns_client)
        self._client.start()

    # --- records

    def poll(self, timeout: float | None = -1) -> Message | None:  # noqa: C901, PLR0912 - calls would cost more
        """The next record of ours, an event or error as of the base class, or None after `timeout` seconds."""
        member = self._member
        wait = -1 if timeout is None else timeout
        if member is None:
            return super().poll(wait)
        now = time.monotonic()
        deadline = math.inf if wait < 0 else now + wait
        if not self._admitted:
            return SandboxConsumer.poll(self, _remaining(deadline)) if self._admit(deadline) else None
        read, client, records, holding = self._read, self._client, member.records, member.holding
        soon = deadline - LOOK_SECONDS
        wait = LOOK_SECONDS if now < soon else deadline - now
        message: Message | None = None
        while True:
            if message is None and client.mapping is not records.mapping:
                member.adopt()
            if now >= member.due:
                member.turn(now)
            if holding.ready and (message := member.next_held()) is not None:
                return message
            message = read(self, wait)
            if message is not None:
                if message.error() is not None:
                    return message
                if client.mapping is not records.mapping:
                    member.adopt()
                taken = records.takes(message)
                if taken:
                    return message
                if taken is None:
                    member.pause_held()
            now = time.monotonic()
            if now >= soon:
                wait = deadline - now
                if wait < 0:
                    if message is None or wait < -SKIP_GRACE_SECONDS:
                        return None
                    wait = 0

    def consume(self, num_messages: int = 1, timeout: float | None = -1) -> list[Message]:
        """Up to `num_messages` records of ours, events and errors; the empty list after `timeout` seconds."""
        member = self._member
        if member is None:
            return super().consume(num_messages, _seconds(timeout))
        deadline = math.inf if timeout is None or timeout < 0 else time.monotonic() + timeout
        if not self._admitted and not self._admit(deadline):
            return []
        while True:
            now = time.monotonic()
            if now >= member.due or self._client.mapping is not member.records.mapping:
                member.turn(now)
            held = _take_held(member, num_messages)
            if held:
                return held
            batch = super().consume(num_messages, min(max(deadline - time.monotonic(), 0.0), BATCH_LOOK_SECONDS))
            member.adopt()
            came = bool(batch)
            ours = member.records.own(batch)
            member.pause_held()
            grace = SKIP_GRACE_SECONDS if came else 0.0
            if ours or not num_messages or time.monotonic() >= deadline + grace:
                return ours

    # --- joining the group

    def subscribe(self, topics: list[str], *args: Any, **callbacks: Any) -> None:
        """As the base class's; takes effect in the first `poll` after a mapping was read."""
        if self._member is None:
            super().subscribe(topics, *args, **callbacks)
            return
        named = rebalance_callbacks(args, callbacks)
        check_subscription(topics, named)
        join, around = super().subscribe, self._rebalances.around(named)
        if self._admitted:
            join(topics, **around)
        else:
            self._subscription = lambda: join(topics, **around)

    def unsubscribe(self) -> None:
        """As the base class's."""
        if self._member is not None:
            self._subscription = None
        super().unsubscribe()

    def _admit(self, deadline: float) -> bool:
        timeout = None if deadline == math.inf else _remaining(deadline)
        mapping = self._client.wait_for(self._may_join, timeout)
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

    # --- the end

    def close(self) -> None:
        """As the base class's; also stops reading the mapping."""
        if self._member is not None and self._finish.alive:
            self._finish()
            # Nothing waits for a mapping any more: the base class says that it is closed.
            self._admitted = True
            self._leave(self._member.places())
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


def _take_held(member: Member, most: int) -> list[Message]:
    taken: list[Message] = []
    while member.holding.ready and len(taken) < most and (message := member.next_held()) is not None:
        taken.append(message)
    return taken


def _seconds(timeout: float | None) -> float:
    return -1 if timeout is None else timeout


def _remaining(deadline: float) -> float:
    return -1 if deadline == math.inf else max(deadline - time.monotonic(), 0.0)
