"""`FakeWatchableApi`: lists what a test puts into it and sends what a test tells it, for each kind by itself."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence

from builders import settle
from sidestream.errors import NotServedError
from sidestream.kube.port import Object, Resource
from sidestream.kube.reflector import Keep, WatchEvent, whole


class FakeWatchableApi:
    """A kind of `unserved` is refused until it is taken out of there."""

    def __init__(self, objects: dict[Resource, list[Object]] | None = None) -> None:
        self.objects: dict[Resource, list[Object]] = defaultdict(list, objects or {})
        self.unserved: set[Resource] = set()
        self.selectors: dict[Resource, str] = {}
        self.listed: list[Resource] = []
        self._events: dict[Resource, asyncio.Queue[WatchEvent | Exception]] = defaultdict(asyncio.Queue)

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        assert namespace == ""
        self.listed.append(resource)
        self.selectors[resource] = labels
        self._refuse_unserved(resource)
        return [keep(item) for item in self.objects[resource]], "100"

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        assert (namespace, labels) == ("", self.selectors[resource])
        assert resource_version
        while True:
            item = await self._events[resource].get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def send(self, resource: Resource, *items: WatchEvent | Exception) -> None:
        """Let the kind's watch tell this, or end by an exception."""
        for item in items:
            self._events[resource].put_nowait(item)
        await settle()

    async def unserve(self, resource: Resource) -> None:
        """Take the kind's definition away while it is watched."""
        self.unserved.add(resource)
        await self.send(resource, NotServedError(f"{resource.kind} is not served", status=404))

    def _refuse_unserved(self, resource: Resource) -> None:
        if resource in self.unserved:
            raise NotServedError(f"{resource.kind} is not served", status=404)
