"""A live local copy of all objects of one kind, for programs that look at many objects to answer one question.

It lags behind the API server by design. A reconciler that reads it must bear that, and must be woken by the copy's own
changes: an event that comes by another way may come before the copy has it (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol

import structlog

from sidestream.errors import NotServedError, SidestreamError
from sidestream.kube.errors import ExpiredError
from sidestream.kube.port import Object, Resource
from sidestream.runtime import metrics
from sidestream.runtime.clock import Clock
from sidestream.runtime.queue import Backoff
from sidestream.runtime.reconcile import ObjectKey

Keep = Callable[[Object], Object]
"""What of an object is worth its memory; identity and resourceVersion always are."""

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

UNSERVED_PAUSE: Final = 10.0
"""Seconds until a kind that is not served is asked for again: its definition may be installed any time."""

_log = structlog.get_logger(__name__)


def whole(obj: Object) -> Object:
    """`Keep` everything."""
    return obj


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch. A BOOKMARK carries only `metadata.resourceVersion`."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


@dataclass(frozen=True)
class Change:
    """A difference in the local copy; of a DELETED object its last known state."""

    type: ChangeType
    key: ObjectKey
    object: Object


class WatchableApi(Protocol):
    """What a reflector needs of the API server."""

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        """What `keep` keeps of all objects, and the resourceVersion to watch from."""
        ...

    def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncIterator[WatchEvent]:
        """What happens after `resource_version`; ends when the API server ends it.

        Raises:
            ExpiredError: the version is too old.
            TransientError: the connection is lost or has been silent for longer than bookmarks are apart.
        """
        ...


class Reflector:
    """Keeps the copy while `run` runs.

    `on_change` is called for every difference, during the first list too, and must not block or raise. It is given
    what `keep` keeps of an object, as nothing else stays in memory.
    """

    def __init__(
        self,
        api: WatchableApi,
        resource: Resource,
        clock: Clock,
        *,
        namespace: str = "",
        labels: str = "",
        on_change: Callable[[Change], None] | None = None,
        keep: Keep = whole,
        backoff: Backoff | None = None,
        may_be_unserved: bool = False,
    ) -> None:
        self.resource = resource
        self.is_served = True
        """False while the API server does not know the kind; only ever so where that was allowed for."""
        self.synced = asyncio.Event()
        """Set once the first list is in; it stays set, an old copy being better than none."""
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self._labels = labels
        self._on_change = on_change
        self._keep = keep
        self._may_be_unserved = may_be_unserved
        self._backoff = backoff or Backoff(first=1.0, second=2.0, longest=30.0)
        self._objects: dict[ObjectKey, Object] = {}
        self._version = ""
        self._must_list = True
        self._heard_at: float | None = None
        self._failures = 0

    @property
    def objects(self) -> Mapping[ObjectKey, Object]:
        """The copy, read-only; it changes only between turns of the event loop."""
        return MappingProxyType(self._objects)

    @property
    def version(self) -> str:
        """The resourceVersion up to which the copy has everything, by the last list, event or bookmark; "" before."""
        return self._version

    @property
    def last_event_age(self) -> float:
        """Seconds since the API server was last heard of; infinite before that. Bookmarks come every minute or so."""
        return float("inf") if self._heard_at is None else self._clock.monotonic() - self._heard_at

    async def run(self) -> None:
        """List, then watch, for ever; what fails is logged and tried again. Ends only by cancellation."""
        while True:
            try:
                if self._must_list:
                    await self._list()
                await self._watch()
            except ExpiredError:
                self._must_list = True
            except NotServedError as error:
                await self._wait_for_the_kind(error)
            except SidestreamError as error:
                await self._pause(error)

    async def _list(self) -> None:
        items, version = await self._api.list_versioned(
            self.resource, self._namespace, labels=self._labels, keep=self._keep
        )
        found = {_key(item): item for item in items}
        self.is_served = True
        # what vanished while no watch ran has no event: the difference tells
        for key in self._objects.keys() - found.keys():
            self._set(key, None)
        for key, item in found.items():
            self._set(key, item)
        self._version = version
        self._must_list = False
        self._heard()
        self.synced.set()

    def learn(self, obj: Object) -> None:
        """Take over what a write returned, without waiting for its event."""
        self._set(_key(obj), self._keep(obj))

    def forget(self, obj: Object) -> None:
        """Take over a deletion, without waiting for its event; a successor of the same name stays."""
        held = self._objects.get(_key(obj))
        if held is not None and held["metadata"]["uid"] == obj["metadata"]["uid"]:
            self._set(_key(obj), None)

    async def _wait_for_the_kind(self, error: NotServedError) -> None:
        self._must_list = True
        if not self._may_be_unserved:
            await self._pause(error)
            return
        if self.is_served:
            _log.info("kind is not served, will look again", resource=self.resource.plural, seconds=UNSERVED_PAUSE)
        self.is_served = False
        for key in list(self._objects):
            self._set(key, None)
        self.synced.set()
        await self._clock.sleep(UNSERVED_PAUSE)

    async def _watch(self) -> None:
        events = self._api.watch(self.resource, self._namespace, labels=self._labels, resource_version=self._version)
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                if event.type == "DELETED":
                    self.forget(event.object)
                elif event.type != "BOOKMARK":
                    self._set(_key(event.object), self._keep(event.object))
                self._version = event.object["metadata"]["resourceVersion"]
                self._heard()

    def _set(self, key: ObjectKey, new: Object | None) -> None:
        old = self._objects.get(key)
        if new is None:
            if old is not None:
                del self._objects[key]
                self._tell(Change("DELETED", key, old))
            return
        if old is not None and not _is_newer(new, old):
            return
        self._objects[key] = new
        if old is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
            self._tell(Change("DELETED", key, old))
            old = None
        self._tell(Change("ADDED" if old is None else "MODIFIED", key, new))

    def _tell(self, change: Change) -> None:
        if self._on_change is not None:
            self._on_change(change)

    def _heard(self) -> None:
        self._heard_at = self._clock.monotonic()
        self._failures = 0
        metrics.WATCH_LAST_EVENT.labels(self.resource.plural).set(self._clock.now().timestamp())

    async def _pause(self, error: SidestreamError) -> None:
        self._failures += 1
        seconds = self._backoff.delay(self._failures, random.random())  # noqa: S311 - jitter, no secret
        _log.warning("watch failed, will try again", resource=self.resource.plural, error=str(error), seconds=seconds)
        await self._clock.sleep(seconds)


def _is_newer(new: Object, old: Object) -> bool:
    """Whether `new` is another version than `old`, and none that a write of ours has overtaken meanwhile."""
    new_version, old_version = new["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"]
    if new["metadata"]["uid"] == old["metadata"]["uid"] and new_version.isdecimal() and old_version.isdecimal():
        return int(new_version) > int(old_version)
    return bool(new_version != old_version)


def _key(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])
