"""`KubeApi` on the wire, in raw JSON so that fields this package does not know survive."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Literal

from sidestream.errors import ConflictError, KubeError, NotServedError, SidestreamError
from sidestream.kube.errors import ExpiredError, error_of_answer
from sidestream.kube.port import Object, Resource
from sidestream.kube.reflector import Keep, WatchEvent, whole
from sidestream.kube.transport import Call, Transport, open_transport

Objects = list[Object]

_NOT_FOUND: Final = 404
_INTERNAL_ERROR: Final = 500
_PAGE: Final = "500"
_WATCH_SECONDS: Final = "290"
"""How long the API server keeps a watch open; renewing one costs nothing."""
_UPDATE: Final = (("fieldManager", "sidestream"),)
"""Query of writes that are no server-side apply: finalizers, Leases, Events."""
_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"


class AioKubeApi:
    """Implements `KubeApi` and `WatchableApi`; made by `connect`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `KubeApi`."""
        try:
            return await self._transport.send(Call("get", "GET", resource, namespace, name))
        except KubeError as error:
            if _is_missing(error):
                return None
            raise

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "") -> Objects:
        """See `KubeApi`."""
        items, _ = await self.list_versioned(resource, namespace, labels=labels)
        return items

    async def list_versioned(
        self, resource: Resource, namespace: str = "", *, labels: str = "", keep: Keep = whole
    ) -> tuple[Objects, str]:
        """See `WatchableApi`."""
        call = Call("list", "GET", resource, namespace, query=_selecting(labels))
        try:
            return await self._list_pages(replace(call, query=(*call.query, ("limit", _PAGE))), keep)
        except ExpiredError:
            # the snapshot behind the pages was compacted away on the way: a single page has no such limit
            return await self._list_pages(call, keep)

    async def apply(self, resource: Resource, obj: Object, *, manager: str, force: bool = True) -> Object:
        """See `KubeApi`."""
        query = (("fieldManager", manager), ("force", str(force).lower()))
        return await self._transport.send(_patching("apply", resource, obj, query, _APPLY))

    async def apply_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        """See `KubeApi`. An object that is gone is a ConflictError: it was there when it was read."""
        query = (("fieldManager", manager), ("force", "true"))
        call = _patching("apply", resource, obj, query, _APPLY)
        return await self._write_existing(replace(call, subresource="status"))

    async def patch(self, resource: Resource, namespace: str, name: str, operations: Sequence[Object]) -> Object:
        """See `KubeApi`. A failed `test` and an object that is gone are ConflictErrors."""
        body = [*operations]
        return await self._write_existing(
            Call("patch", "PATCH", resource, namespace, name, query=_UPDATE, body=body, content_type=_JSON_PATCH)
        )

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
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._transport.send(Call("delete", "DELETE", resource, namespace, name, body=options))
        except ConflictError:
            # the only precondition is the uid: that very object is gone already
            if uid is None:
                raise
        except KubeError as error:
            if not _is_missing(error):
                raise

    async def create(self, resource: Resource, obj: Object) -> Object:
        """See `KubeApi`."""
        namespace = obj["metadata"].get("namespace", "")
        call = Call("create", "POST", resource, namespace, query=_UPDATE, body=obj)
        return await self._transport.send(call)

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """See `KubeApi`. An object that is gone is a ConflictError."""
        metadata = obj["metadata"]
        return await self._write_existing(
            Call("replace", "PUT", resource, metadata.get("namespace", ""), metadata["name"], query=_UPDATE, body=obj)
        )

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """See `WatchableApi`."""
        query = (
            *_selecting(labels),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", _WATCH_SECONDS),
            ("resourceVersion", resource_version),
        )
        call = Call("watch", "GET", resource, namespace, query=query)
        async for line in self._transport.stream(call):
            if line["type"] == "ERROR":
                raise _error_of_status(call, line["object"])
            yield WatchEvent(line["type"], _typed(resource, line["object"]))

    async def _list_pages(self, call: Call, keep: Keep) -> tuple[Objects, str]:
        items: Objects = []
        query = call.query
        while True:
            page = await self._transport.send(replace(call, query=query))
            items += (keep(_typed(call.resource, item)) for item in page.get("items") or ())
            token = page["metadata"].get("continue")
            if not token:
                return items, page["metadata"]["resourceVersion"]
            query = (*call.query, ("continue", token))

    async def _write_existing(self, call: Call) -> Object:
        try:
            return await self._transport.send(call)
        except KubeError as error:
            if _is_missing(error):
                raise ConflictError(f"cannot {call.attempt}: it is gone") from error
            raise


@asynccontextmanager
async def connect(kubeconfig: str | None = None, context: str | None = None) -> AsyncIterator[AioKubeApi]:
    """The API server that the Pod runs in, or that a kubeconfig names; see `open_transport`."""
    async with open_transport(kubeconfig, context) as transport:
        yield AioKubeApi(transport)


def _selecting(labels: str) -> tuple[tuple[str, str], ...]:
    return (("labelSelector", labels),) if labels else ()


def _patching(
    verb: str, resource: Resource, obj: Object, query: tuple[tuple[str, str], ...], content_type: str
) -> Call:
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    return Call(verb, "PATCH", resource, namespace, name, query=query, body=obj, content_type=content_type)


def _is_missing(error: KubeError) -> bool:
    return error.status == _NOT_FOUND and not isinstance(error, NotServedError)


def _typed(resource: Resource, item: Any) -> Object:
    """The item with its kind, which the API server leaves out within a list."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}


def _error_of_status(call: Call, status: Object) -> SidestreamError:
    code = int(status.get("code") or _INTERNAL_ERROR)
    return error_of_answer(attempt=call.attempt, status=code, headers={}, body=json.dumps(status).encode())
