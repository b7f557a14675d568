"""The live copy of the objects that answers are made of, and whether it may be trusted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from sidestream.api.kafka import KafkaConsumer
from sidestream.api.sandbox import Sandbox
from sidestream.errors import SidestreamError
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, SANDBOXES, Object, Resource
from sidestream.kube.reflector import Change, Keep, Reflector, WatchableApi
from sidestream.mapping.answers import Header
from sidestream.mapping.claims import version_of
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.keeping import keep_route, keeping, read_claim
from sidestream.runtime.clock import Clock
from sidestream.runtime.queue import Backoff
from sidestream.runtime.reconcile import ObjectKey

STALE_SECONDS: Final = 120.0
"""A watch that has been silent for so long is not trusted: the API server sends a bookmark about once a minute."""

M = TypeVar("M")

_log = structlog.get_logger(__name__)


def _nobody_listens(_: Workload) -> None:
    """Where changes go that nobody waits for."""


class MappingStore:
    """Keeps its copy while `run` runs; each object is parsed once when it changes. `epoch` asks for the cluster's."""

    def __init__(self, api: WatchableApi, clock: Clock, *, header: Header, epoch: Callable[[], Awaitable[str]]) -> None:
        self._api = api
        self._clock = clock
        self._ask_epoch = epoch
        self._why_no_epoch = "the namespace that tells this cluster from others has not been read yet"
        self._backoff = Backoff(first=1.0, second=2.0, longest=30.0)
        self._directory = Directory(header)
        self._on_change: Callable[[Workload], None] = _nobody_listens
        self._routes = self._reflector(KAFKA_ROUTES, read_claim, self._directory.put_route, keep_route)
        self._reflectors = (
            self._reflector(KAFKA_CONSUMERS, KafkaConsumer.from_json, self._directory.put_consumer, keeping()),
            self._routes,
            self._reflector(
                SANDBOXES,
                Sandbox.from_json,
                self._directory.put_sandbox,
                keeping("conditions", "routingKeys", "workloads", "routes"),
            ),
        )

    @property
    def directory(self) -> Directory | None:
        """All answers as of now; None before they were complete for the first time."""
        return self._directory if self._why_incomplete() is None else None

    @property
    def version(self) -> int:
        """The resourceVersion up to which every KafkaRoute is in the answers; 0 before there are any."""
        return version_of(self._routes.version) or 0

    def etag(self, workload: Workload) -> str | None:
        """The ETag of a workload's answer as of now; None when there is no answer."""
        encoded = self._directory.consumer(workload)
        return None if encoded is None else encoded.etag

    def why_not_ready(self) -> str | None:
        """A sentence on what is missing, None when answers are complete and fresh."""
        fault = self._why_incomplete()
        if fault is not None:
            return fault
        for reflector in self._reflectors:
            if reflector.last_event_age > STALE_SECONDS:
                return f"the watch of {reflector.resource.plural} has been silent for more than {STALE_SECONDS:.0f} s"
        return None

    async def run(self, on_change: Callable[[Workload], None] = _nobody_listens) -> None:
        """Watch for ever; `on_change` gets each workload whose answer may have changed, and must not block or raise."""
        self._on_change = on_change
        self._directory.epoch = await self._read_epoch()
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"watch {reflector.resource.plural}")

    def _why_incomplete(self) -> str | None:
        if not self._directory.epoch:
            return self._why_no_epoch
        for reflector in self._reflectors:
            if not reflector.synced.is_set():
                return f"{reflector.resource.plural} have not been listed yet"
        if version_of(self._routes.version) is None:
            return (
                f"the API server counts versions of {self._routes.resource.plural} as {self._routes.version!r}, which "
                "is no number, so which of two mappings is the newer one cannot be told"
            )
        return None

    async def _read_epoch(self) -> str:
        failures = 0
        while True:
            try:
                return await self._ask_epoch()
            except SidestreamError as error:
                failures += 1
                self._why_no_epoch = f"the namespace that tells this cluster from others cannot be read: {error}"
                seconds = self._backoff.delay(failures, random.random())  # noqa: S311 - jitter, no secret
                _log.warning("epoch is unknown, will try again", error=str(error), seconds=seconds)
                await self._clock.sleep(seconds)

    def _reflector(
        self,
        resource: Resource,
        parse: Callable[[Object], M],
        put: Callable[[ObjectKey, M | None], set[Workload]],
        keep: Keep,
    ) -> Reflector:
        def take(change: Change) -> None:
            for workload in put(change.key, _parsed(change, parse)):
                self._on_change(workload)

        return Reflector(self._api, resource, self._clock, on_change=take, keep=keep)


def _parsed(change: Change, parse: Callable[[Object], M]) -> M | None:
    """The object as it is now, None when it is gone or cannot be read."""
    if change.type == "DELETED":
        return None
    try:
        return parse(change.object)
    except ValueError as error:
        _log.error(
            "object cannot be read and is left out of the mapping",
            kind=change.object["kind"],
            object=str(change.key),
            error=str(error),
        )
        return None
