"""The live copy of the objects that answers are made of, and whether it may be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from pydantic import ValidationError

from sidestream.api.base import Model
from sidestream.api.kafka import KafkaConsumer, KafkaRoute
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, SANDBOXES, Object, Resource
from sidestream.kube.reflector import Change, Keep, Reflector, WatchableApi
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Directory, Workload
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey

STALE_SECONDS: Final = 120.0
"""A watch that has been silent for so long is not trusted: the API server sends a bookmark about once a minute."""

_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")

M = TypeVar("M", bound=Model)

_log = structlog.get_logger(__name__)


def _nobody_listens(_: Workload) -> None:
    """Where changes go that nobody waits for."""


class MappingStore:
    """Keeps its copy while `run` runs; each object is parsed once when it changes."""

    def __init__(self, api: WatchableApi, clock: Clock, *, header: Header) -> None:
        self._api = api
        self._clock = clock
        self._directory = Directory(header)
        self._on_change: Callable[[Workload], None] = _nobody_listens
        self._reflectors = (
            self._reflector(KAFKA_CONSUMERS, KafkaConsumer.from_json, self._directory.put_consumer, _keeping()),
            self._reflector(KAFKA_ROUTES, KafkaRoute.from_json, self._directory.put_route, _keeping("phase")),
            self._reflector(
                SANDBOXES,
                Sandbox.from_json,
                self._directory.put_sandbox,
                _keeping("conditions", "workloads", "routes"),
            ),
        )

    @property
    def directory(self) -> Directory | None:
        """All answers as of now; None before every kind was listed for the first time."""
        return self._directory if all(reflector.synced.is_set() for reflector in self._reflectors) else None

    def etag(self, workload: Workload) -> str | None:
        """The ETag of a workload's answer as of now; None when there is no answer."""
        encoded = self._directory.consumer(workload)
        return None if encoded is None else encoded.etag

    def why_not_ready(self) -> str | None:
        """A sentence on what is missing, None when answers are complete and fresh."""
        for reflector in self._reflectors:
            plural = reflector.resource.plural
            if not reflector.synced.is_set():
                return f"{plural} have not been listed yet"
            if reflector.last_event_age > STALE_SECONDS:
                return f"the watch of {plural} has been silent for more than {STALE_SECONDS:.0f} s"
        return None

    async def run(self, on_change: Callable[[Workload], None] = _nobody_listens) -> None:
        """Watch for ever; `on_change` gets each workload whose answer may have changed, and must not block or raise."""
        self._on_change = on_change
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name=f"watch {reflector.resource.plural}")

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


def _keeping(*status: str) -> Keep:
    """Identity, spec and these fields of the status: offsets of every partition would be most of the memory."""

    def keep(obj: Object) -> Object:
        found = obj.get("status") or {}
        kept: Object = {name: obj[name] for name in ("apiVersion", "kind", "spec") if name in obj}
        metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
        return {**kept, "metadata": metadata, "status": {name: found[name] for name in status if name in found}}

    return keep


def _parsed(change: Change, parse: Callable[[Object], M]) -> M | None:
    """The object as it is now, None when it is gone or cannot be read."""
    if change.type == "DELETED":
        return None
    try:
        return parse(change.object)
    except ValidationError as error:
        _log.error(
            "object cannot be read and is left out of the mapping",
            kind=change.object["kind"],
            object=str(change.key),
            error=str(error),
        )
        return None
