"""Writes that happen only when they change something: objects, status and finalizers."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import Any, Final

from sidestream.api.labels import APPLIED_HASH
from sidestream.kube.fields import owned_by, says_the_same
from sidestream.kube.port import KubeApi, Object, Resource

_REMEMBERED_OBJECTS: Final = 20_000


class _Memo:
    """What the API server made of objects that it does not keep as written (such as `1000m` of CPU, kept as `1`).

    Per uid: the hash of the object as desired and the hash of the server's version of the same fields. Forgetting is
    harmless: the next `ensure` writes once more and changes nothing.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def knows(self, uid: str, desired_hash: str, kept_hash: str) -> bool:
        return self._entries.get(uid) == (desired_hash, kept_hash)

    def remember(self, uid: str, desired_hash: str, kept_hash: str) -> None:
        self._entries[uid] = (desired_hash, kept_hash)
        self._entries.move_to_end(uid)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


_memo = _Memo(_REMEMBERED_OBJECTS)


def canonical_hash(value: Any) -> str:
    """SHA-256 of the JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


async def ensure(
    api: KubeApi, resource: Resource, desired: Object, live: Object | None, manager: str
) -> tuple[Object, bool]:
    """Bring the object to `desired` by server-side apply, unless it is there already.

    `live` is the object as just read, None when it is missing. Returns the live object and whether it was written.
    Fields of others stay; fields that `manager` applied earlier and no longer desires go.
    """
    desired_hash = canonical_hash(desired)
    if live is not None and _is_as_desired(desired, desired_hash, live):
        return live, False
    written = await api.apply(resource, _with_hash(desired, desired_hash), manager=manager)
    kept = _kept(desired, written)
    if kept != desired:
        _memo.remember(written["metadata"]["uid"], desired_hash, canonical_hash(kept))
    return written, True


async def ensure_status(
    api: KubeApi, resource: Resource, live: Object, status: dict[str, Any], manager: str, *, guarded: bool = False
) -> bool:
    """Make `status` all that `manager` says about the status of `live`; returns whether it was written.

    What the manager said earlier and `status` lacks is taken back; what other managers say stays. `guarded` writes only
    over the very version that was read: for a record that must not be overwritten by somebody who knows less, such as
    a leader that was replaced. Where several managers share a status it would make them wait for each other.

    Raises:
        ConflictError: the object is gone, or has changed and the write is guarded.
    """
    owned = owned_by(live, manager, subresource="status").get("f:status", {})
    if not status and not owned:
        return False
    if status and owned and says_the_same(status, live.get("status", {}), owned):
        return False
    metadata = live["metadata"]
    kept = ("name", "namespace", "resourceVersion") if guarded else ("name", "namespace")
    identity = {key: metadata[key] for key in kept if metadata.get(key)}
    await api.apply_status(
        resource,
        {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": identity, "status": status},
        manager=manager,
    )
    return True


async def ensure_finalizer(api: KubeApi, resource: Resource, live: Object, finalizer: str) -> tuple[Object, bool]:
    """Put `finalizer` on the object before the first effect; returns the live object and whether it was written.

    Raises:
        ConflictError: the object changed since it was read.
    """
    finalizers = live["metadata"].get("finalizers", [])
    if finalizer in finalizers:
        return live, False
    return await _write_finalizers(api, resource, live, [*finalizers, finalizer]), True


async def remove_finalizer(api: KubeApi, resource: Resource, live: Object, finalizer: str) -> tuple[Object, bool]:
    """Take `finalizer` off the object after the last effect; returns the live object and whether it was written.

    Raises:
        ConflictError: the object changed since it was read.
    """
    finalizers = live["metadata"].get("finalizers", [])
    if finalizer not in finalizers:
        return live, False
    return await _write_finalizers(api, resource, live, [item for item in finalizers if item != finalizer]), True


async def _write_finalizers(api: KubeApi, resource: Resource, live: Object, finalizers: list[str]) -> Object:
    metadata = live["metadata"]
    operations: list[Object] = [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ]
    return await api.patch(resource, metadata.get("namespace", ""), metadata["name"], operations)


def _is_as_desired(desired: Object, desired_hash: str, live: Object) -> bool:
    if live["metadata"].get("annotations", {}).get(APPLIED_HASH) != desired_hash:
        return False
    kept = _kept(desired, live)
    return bool(kept == desired) or _memo.knows(live["metadata"]["uid"], desired_hash, canonical_hash(kept))


def _with_hash(desired: Object, desired_hash: str) -> Object:
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH: desired_hash}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def _kept(desired: Any, live: Any) -> Any:
    """The part of `live` that `desired` speaks of; equal to `desired` when the server keeps it as written."""
    if desired == live:
        return live
    match desired, live:
        case dict(), dict():
            return {key: _kept(value, live[key]) for key, value in desired.items() if key in live}
        case list(), list() if len(desired) == len(live):
            return [_kept(*pair) for pair in zip(desired, live, strict=True)]
        case _:
            return live
