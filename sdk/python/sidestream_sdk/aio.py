"""`AsyncSandboxConsumer`: `SandboxConsumer` for asyncio, with the methods of `confluent_kafka.aio.AIOConsumer`.

It is built on SandboxConsumer and a thread of its own, not on AIOConsumer: that one makes a plain consumer, calls it
from changing threads, and drops the record that a `poll` reads after it was cancelled. What differs here, and why:

- Every call is made on one thread, in order, so that what the SDK notes of partitions needs no locks.
- A read whose `await` was cancelled stops soon; what it brought is handed out by the next one. It does not count as
  handed out before, be it for commits, `position` or `close`: what librdkafka would store as it reads is stored here.
- `consume` returns what it has as soon as one read brought a record, also without a mapping service.
- A callback that is a coroutine function runs on the loop and is given this consumer; a plain function runs on the
  thread, where it may take its time, and is given the SandboxConsumer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from sidestream_sdk.callbacks import LoopCallbacks
from sidestream_sdk.consumer import BATCH_LOOK_SECONDS, LOOK_SECONDS, SandboxConsumer
from sidestream_sdk.identity import Identity
from sidestream_sdk.mapping import MappingClient
from sidestream_sdk.plain import place_of
from sidestream_sdk.progress import Place
from sidestream_sdk.settings import CommitSettings
from sidestream_sdk.subscription import rebalance_callbacks
from sidestream_sdk.unread import HandedOut, Read, Unread
from sidestream_sdk.worker import Worker

T = TypeVar("T")

_CONFIGURED: Final = ("on_commit", "error_cb", "stats_cb", "throttle_cb")
"""Callbacks in the configuration that may be coroutine functions."""


class AsyncSandboxConsumer:
    """To be made while the event loop runs that it is used on; parameters as of SandboxConsumer.

    A call whose `await` is cancelled is made all the same; only reads are broken off.
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
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(f"sidestream-consumer-{settings.get('group.id', '')}")
        self._stores = CommitSettings.of(settings).auto_store
        if self._stores:
            settings["enable.auto.offset.store"] = False
        self._callbacks = LoopCallbacks(self._worker, self._loop)
        for name in _CONFIGURED:
            if name in settings:
                settings[name] = self._callbacks.wrapped(settings[name])
        self._consumer = SandboxConsumer(settings, identity=identity, mapping=mapping)
        self._turn = asyncio.Lock()
        self._read: Read | None = None
        self._unread = Unread()
        self._handed_out = HandedOut()
        self._closing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        """Nothing happens yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    # --- records

    async def poll(self, timeout: float | None = -1) -> Message | None:  # noqa: ASYNC109 - as the base class's
        """As SandboxConsumer's."""
        consumer = self._consumer

        def poll(wait: float) -> list[Message]:
            message = consumer.poll(wait)
            return [] if message is None else [message]

        taken = await self._take(1, Read(poll, LOOK_SECONDS, timeout))
        return taken[0] if taken else None

    async def consume(self, num_messages: int = 1, timeout: float | None = -1) -> list[Message]:  # noqa: ASYNC109
        """As SandboxConsumer's."""
        consumer = self._consumer
        if num_messages == 0:
            timeout = 0
        return await self._take(
            num_messages, Read(lambda wait: consumer.consume(num_messages, wait), BATCH_LOOK_SECONDS, timeout)
        )

    async def _take(self, most: int, read: Read) -> list[Message]:
        self._callbacks.refuse_within()
        async with self._turn:
            while True:
                taken = self._unread.take(most)
                if taken or read.is_done:
                    self._handed_out.add(taken)
                    return taken
                if self._read is None:
                    read.result = self._submit(read.make, nests=False)
                    self._read = read
                await self._finish(self._read)

    async def _finish(self, read: Read) -> None:
        """Wait for a read; it stays the one in progress until what it brought is in safe hands."""
        try:
            brought = await asyncio.shield(read.result)
        except asyncio.CancelledError:
            read.is_unwanted = True
            raise
        except BaseException:
            self._read = None
            raise
        self._read = None
        self._unread.add(brought)

    async def _collect(self) -> None:
        """What a cancelled read brings counts as unread from here on."""
        read = self._read
        if read is not None and not self._turn.locked() and not self._callbacks.are_running:
            async with self._turn:
                await asyncio.wait([read.result])
                if read.result.exception() is None:
                    self._read = None
                    self._unread.add(read.result.result())

    async def _give_back(self, places: Iterable[Place] | None = None) -> None:
        """What was not handed out of these partitions (None: of all) is to be read again, should they stay."""
        await self._collect()
        firsts = self._unread.drop(places)
        if firsts:
            await self._call(self._seek_back, firsts)

    def _seek_back(self, firsts: list[TopicPartition]) -> None:
        for first in firsts:
            # one that was taken away since has nothing to be read again
            with suppress(KafkaException):
                self._consumer.seek(first)

    # --- partitions

    async def subscribe(self, topics: list[str], *args: Any, **callbacks: Any) -> None:
        """As SandboxConsumer's; callbacks may be coroutine functions."""
        self._callbacks.refuse_within()
        wrapped = {
            name: self._callbacks.wrapped(callback, consumer=self)
            for name, callback in rebalance_callbacks(args, callbacks).items()
        }
        await self._give_back()
        await self._call(self._consumer.subscribe, topics, nests=False, **wrapped)

    async def unsubscribe(self) -> None:
        """As SandboxConsumer's."""
        self._callbacks.refuse_within()
        await self._give_back()
        await self._call(self._consumer.unsubscribe, nests=False)

    async def assign(self, partitions: list[TopicPartition]) -> None:
        """As SandboxConsumer's."""
        await self._collect()
        self._unread.drop()
        await self._call(self._consumer.assign, partitions)

    async def unassign(self) -> None:
        """As SandboxConsumer's."""
        await self._collect()
        self._unread.drop()
        await self._call(self._consumer.unassign)

    async def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As SandboxConsumer's."""
        await self._call(self._consumer.incremental_assign, partitions)

    async def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """As SandboxConsumer's."""
        await self._collect()
        self._unread.drop(map(place_of, partitions))
        await self._call(self._consumer.incremental_unassign, partitions)

    async def assignment(self) -> list[TopicPartition]:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.assignment)

    async def pause(self, partitions: list[TopicPartition]) -> None:
        """As SandboxConsumer's."""
        await self._give_back(map(place_of, partitions))
        await self._call(self._consumer.pause, partitions)

    async def resume(self, partitions: list[TopicPartition]) -> None:
        """As SandboxConsumer's."""
        await self._call(self._consumer.resume, partitions)

    async def seek(self, partition: TopicPartition) -> None:
        """As SandboxConsumer's."""
        await self._collect()
        self._unread.drop([place_of(partition)])
        await self._call(self._consumer.seek, partition)

    async def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """As SandboxConsumer's: behind the last record that was handed out."""
        await self._collect()
        return self._unread.before(await self._call(self._consumer.position, partitions))

    # --- commits

    async def commit(self, *args: Any, **keywords: Any) -> Any:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.commit, *args, **keywords)

    async def store_offsets(self, *args: Any, **keywords: Any) -> None:
        """As SandboxConsumer's."""
        if self._stores and self._closing is None:
            reason = "StoreOffsets failed: Local: Invalid argument or configuration"
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG, reason))  # noqa: SLF001 - as librdkafka says it
        await self._call(self._consumer.store_offsets, *args, **keywords)

    async def committed(self, *args: Any, **keywords: Any) -> list[TopicPartition]:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.committed, *args, **keywords)

    # --- questions

    async def consumer_group_metadata(self) -> Any:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.consumer_group_metadata)

    async def get_watermark_offsets(self, *args: Any, **keywords: Any) -> Any:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.get_watermark_offsets, *args, **keywords)

    async def offsets_for_times(self, *args: Any, **keywords: Any) -> list[TopicPartition]:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.offsets_for_times, *args, **keywords)

    async def list_topics(self, *args: Any, **keywords: Any) -> Any:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.list_topics, *args, **keywords)

    async def memberid(self) -> Any:
        """As SandboxConsumer's."""
        return await self._call(self._consumer.memberid)

    async def set_sasl_credentials(self, *args: Any, **keywords: Any) -> None:
        """As SandboxConsumer's."""
        await self._call(self._consumer.set_sasl_credentials, *args, **keywords)

    # --- the end

    async def close(self) -> None:
        """As SandboxConsumer's; a read in progress ends first, and what it brings comes again to the group."""
        self._callbacks.refuse_within()
        if self._closing is None:
            if self._read is not None:
                self._read.is_unwanted = True
            self._closing = self._submit(self._consumer.close, nests=False, is_last=True)
        await asyncio.shield(self._closing)

    # --- the thread

    async def _call(self, call: Callable[..., T], *args: Any, nests: bool = True, **keywords: Any) -> T:
        return await asyncio.shield(self._submit(lambda: call(*args, **keywords), nests=nests))

    def _submit(self, call: Callable[[], T], *, nests: bool, is_last: bool = False) -> asyncio.Future[T]:
        offsets = self._handed_out.take() if self._stores else []

        def make() -> T:
            if offsets:
                self._store(offsets)
            return call()

        return asyncio.wrap_future(self._worker.submit(make, nests=nests, is_last=is_last), loop=self._loop)

    def _store(self, offsets: list[TopicPartition]) -> None:
        # where all of them were taken away since, their next owner handles these records again
        with suppress(KafkaException):
            self._consumer.store_offsets(offsets=offsets)
