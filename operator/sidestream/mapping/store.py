"""The live copy of the objects that answers are made of, and whether it may be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog
from pydantic import ValidationError

from sidestream.api.base import Model
from sidestream.api.kafka import KafkaConsumer, KafkaRoute
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, SANDBOXES, Object, Resource
from sidestream.kube.reflector import Change, Reflector, WatchableApi
from sidestream.mapping.answers import Header
from sidestream.mapping.snapshot import Snapshot
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey

STALE_SECONDS: Final = 120.0
"""A watch that has been silent for so long is not trusted: the API server sends a bookmark about once a minute."""

M = TypeVar("M", bound=Model)

_log = structlog.get_logger(__name__)


@dataclass
class _Copy(Generic[M]):
    """The parsed objects of one kind, each parsed once when it changes."""

    reflector: Reflector
    parsed: dict[ObjectKey, M]


class MappingStore:
    """Keeps its copy while `run` runs; `snapshot` is made anew only after a change."""

    def __init__(self, api: WatchableApi, clock: Clock, *, header: Header) -> None:
        self._api = api
        self._clock = clock
        self._header = header
        self._snapshot: Snapshot | None = None
        self._consumers = self._copy(KAFKA_CONSUMERS, KafkaConsumer.from_json)
        self._routes = self._copy(KAFKA_ROUTES, KafkaRoute.from_json)
        self._sandboxes = self._copy(SANDBOXES, Sandbox.from_json)

    @property
    def snapshot(self) -> Snapshot | None:
        """All answers as of now; None before every kind was listed for the first time."""
        if not all(copy.reflector.synced.is_set() for copy in self._copies):
            return None
        if self._snapshot is None:
            self._snapshot = Snapshot(
                consumers=self._consumers.parsed.values(),
                routes=self._routes.parsed.values(),
                sandboxes=self._sandboxes.parsed.values(),
                header=self._header,
            )
        return self._snapshot

    def why_not_ready(self) -> str | None:
        """A sentence on what is missing, None when answers are complete and fresh."""
        for copy in self._copies:
            plural = copy.reflector.resource.plural
            if not copy.reflector.synced.is_set():
                return f"{plural} have not been listed yet"
            if copy.reflector.last_event_age > STALE_SECONDS:
                return f"the watch of {plural} has been silent for more than {STALE_SECONDS:.0f} s"
        return None

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            for copy in self._copies:
                group.create_task(copy.reflector.run(), name=f"watch {copy.reflector.resource.plural}")

    @property
    def _copies(self) -> tuple[_Copy[Any], ...]:
        return (self._consumers, self._routes, self._sandboxes)

    def _copy(self, resource: Resource, parse: Callable[[Object], M]) -> _Copy[M]:
        parsed: dict[ObjectKey, M] = {}

        def take(change: Change) -> None:
            self._snapshot = None
            parsed.pop(change.key, None)
            if change.type == "DELETED":
                return
            try:
                parsed[change.key] = parse(change.object)
            except ValidationError as error:
                _log.error(
                    "object cannot be read and is left out of the mapping",
                    kind=resource.kind,
                    object=str(change.key),
                    error=str(error),
                )

        return _Copy(Reflector(self._api, resource, self._clock, on_change=take), parsed)
