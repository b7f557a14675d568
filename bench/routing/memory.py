"""An API server in memory: it keeps objects as JSON text, so that who uses it pays for coding and decoding as usual.

It neither validates nor merges more than the operator's own writes need, and is read by watches as a real one is.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from sidestream.errors import ConflictError, NotServedError
from sidestream.kube.port import Object, Resource
from sidestream.kube.reflector import Keep, WatchEvent, whole

Key = tuple[str, str]


class MemoryApi:
    """Implements `KubeApi` and `WatchableApi` for the kinds that it is made with; all others are not served."""

    def __init__(self, *served: Resource) -> None:
        self.writes: list[tuple[str, Resource, str]] = []
        """Verb, kind and name of every write since somebody emptied the list."""
        self.served_seconds = 0.0
        """CPU time of what in a cluster is the API server's work."""
        self._texts: dict[Resource, dict[Key, bytes]] = {resource: {} for resource in served}
        self._watches: dict[Resource, list[asyncio.Queue[bytes]]] = {resource: [] for resource in served}
        self._version = 0

    def put(self, resource: Resource, obj: Object) -> None:
        """Keep an object as a user or a controller would have it."""
        self._version += 1
        key = _key(obj)
        text = self._texts[resource].get(key)
        old: Object = {} if text is None else json.loads(text)
        metadata = {
            "uid": f"uid-{self._version}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
            **old.get("metadata", {}),
            **obj["metadata"],
            "resourceVersion": str(self._version),
        }
        self._keep(resource, key, {**obj, "metadata": metadata}, "ADDED" if text is None else "MODIFIED")

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Sequence[Object], str]:
        """See `WatchableApi`."""
        del namespace, labels
        texts = self._of(resource).values()
        return [keep(json.loads(text)) for text in texts], str(self._version)

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """See `WatchableApi`."""
        del namespace, labels, resource_version
        self._of(resource)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watches[resource].append(queue)
        while True:
            line = json.loads(await queue.get())
            yield WatchEvent(line["type"], line["object"])

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `KubeApi`."""
        text = self._of(resource).get((namespace, name))
        return None if text is None else json.loads(text)

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Object]:
        """See `KubeApi`."""
        items, _ = await self.list_versioned(resource, namespace, labels=labels)
        return list(items)

    async def apply(self, resource: Resource, obj: Object, *, manager: str, force: bool = True) -> Object:
        """See `KubeApi`."""
        del manager, force
        request = json.dumps(obj).encode()
        with self._serving():
            self.writes.append(("apply", resource, obj["metadata"]["name"]))
            self.put(resource, json.loads(request))
        return self._read(resource, _key(obj))

    async def apply_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        """See `KubeApi`; a manager's list of rows takes the place of the rows that it wrote before."""
        request = json.dumps(obj).encode()
        key = _key(obj)
        if key not in self._of(resource):
            raise ConflictError(f"{resource.kind} {key[1]} is gone")
        with self._serving():
            self.writes.append(("apply_status", resource, obj["metadata"]["name"]))
            self._take_status(resource, key, json.loads(request)["status"], manager)
        return self._read(resource, key)

    async def patch(self, resource: Resource, namespace: str, name: str, operations: Sequence[Object]) -> Object:
        """Not needed."""
        raise NotImplementedError

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        """See `KubeApi`."""
        del uid, propagation
        self.writes.append(("delete", resource, name))
        self.remove(resource, namespace, name)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Let an object be gone."""
        text = self._of(resource).pop((namespace, name), None)
        if text is not None:
            self._tell(resource, text, "DELETED")

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Events are taken and thrown away."""
        self.writes.append(("create", resource, obj["metadata"]["name"]))
        return obj

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Not needed."""
        raise NotImplementedError

    def _take_status(self, resource: Resource, key: Key, said: Object, manager: str) -> None:
        live = self._read(resource, key)
        rows = said.get("routes", [])
        mine = {(row["service"], row["entry"]) for row in rows}
        others = [row for row in live.get("status", {}).get("routes", []) if (row["service"], row["entry"]) not in mine]
        live["status"] = {**live.get("status", {}), "routes": [*others, *rows]}
        fields = [entry for entry in live["metadata"].get("managedFields", []) if entry["manager"] != manager]
        live["metadata"]["managedFields"] = [*fields, _managed(manager, rows)]
        self.put(resource, live)

    @contextmanager
    def _serving(self) -> Iterator[None]:
        """Who does this in a cluster is the API server."""
        begin = time.process_time()
        try:
            yield
        finally:
            self.served_seconds += time.process_time() - begin

    def _of(self, resource: Resource) -> dict[Key, bytes]:
        if resource not in self._texts:
            raise NotServedError(f"{resource.kind} is not served", status=404)
        return self._texts[resource]

    def _read(self, resource: Resource, key: Key) -> Object:
        obj: Object = json.loads(self._texts[resource][key])
        return obj

    def _keep(self, resource: Resource, key: Key, obj: Object, type_: str) -> None:
        text = json.dumps(obj).encode()
        self._texts[resource][key] = text
        self._tell(resource, text, type_)

    def _tell(self, resource: Resource, text: bytes, type_: str) -> None:
        line = b'{"type":"' + type_.encode() + b'","object":' + text + b"}"
        for queue in self._watches[resource]:
            queue.put_nowait(line)


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _managed(manager: str, rows: Sequence[Object]) -> Object:
    owned: dict[str, Any] = {
        "k:" + json.dumps({"entry": row["entry"], "service": row["service"]}, separators=(",", ":")): {
            ".": {},
            **{f"f:{name}": {} for name in row},
        }
        for row in rows
    }
    fields = {"f:status": {"f:routes": owned}}
    return {"manager": manager, "operation": "Apply", "subresource": "status", "fieldsV1": fields}
