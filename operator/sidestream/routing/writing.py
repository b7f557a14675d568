"""Makes an entry's objects what the plan wants, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import structlog

from sidestream.api.conditions import Reason
from sidestream.api.labels import MANAGER_ROUTING
from sidestream.errors import InvalidInputError, KubeError
from sidestream.kube.apply import ensure
from sidestream.kube.port import KubeApi, Object, Resource
from sidestream.routing.ownership import is_ours
from sidestream.routing.plan import Plan, name_taken, refused
from sidestream.routing.providers.provider import Ident, Part
from sidestream.routing.steps import Step, stage_of, staged

_SETTLED: Final = 50_000
"""Objects that are remembered as written; forgetting one costs a comparison."""

_log = structlog.get_logger(__name__)


class Copy(Protocol):
    """The live copies, as far as a writer must keep them up with its own writes."""

    def learn(self, resource: Resource, obj: Object) -> None:
        """Take over what a write returned."""
        ...

    def forget(self, resource: Resource, obj: Object) -> None:
        """Take over a deletion."""
        ...


@dataclass(frozen=True)
class Written:
    """What came of a step: the plan, which says so where the API server refused, and what was deleted, with stages."""

    plan: Plan
    has_written: bool
    deleted: dict[str, int]


class Writer:
    """Writes through `api`; `copy` is told of every write."""

    def __init__(self, api: KubeApi, copy: Copy) -> None:
        self._api = api
        self._copy = copy
        self._settled: dict[Ident, tuple[Part, str]] = {}

    async def write(self, plan: Plan, step: Step) -> Written:
        """Take the step. Deletions come after all writes, so that what replaces an object is there before it goes."""
        has_written = False
        for part in step.writes:
            try:
                has_written |= await self._ensure(part, plan.held.get(part.ident))
            except (KubeError, InvalidInputError) as error:
                plan = refused(plan, _reason_of(error), error.message, part.keys or None)
                if not part.keys:
                    # what the others need is not there
                    break
        deleted = {ident[2]: stage_of(plan.held[ident]) for ident in step.deletes}
        for ident in step.deletes:
            await self._delete(ident, plan.held[ident])
        return Written(plan, has_written or bool(deleted), deleted)

    async def _ensure(self, part: Part, live: Object | None) -> bool:
        if part.patches is not None:
            return await self._patch(part, part.patches)
        if live is not None and self._is_settled(part, live):
            return False
        if live is None:
            # the copy may lag: what somebody else has made meanwhile must not be taken over
            live = await self._api.get(*part.ident)
            if live is not None and not is_ours(live):
                raise name_taken(part)
        desired = staged(part)
        written, has_written = await ensure(self._api, part.resource, desired, live, MANAGER_ROUTING)
        self._copy.learn(part.resource, written)
        if len(self._settled) >= _SETTLED:
            self._settled.clear()
        self._settled[part.ident] = (part, written["metadata"]["resourceVersion"])
        if has_written:
            _log.info("routes written", kind=part.resource.kind, namespace=part.ident[1], name=part.name)
        return has_written

    async def _patch(self, part: Part, live: Object) -> bool:
        """Change a user's object, which they have allowed, only if it still is as it was read.

        Raises:
            ConflictError: it has changed meanwhile.
        """
        before, after = live["spec"], part.obj["spec"]
        changed = [field for field in after if after[field] != before.get(field)]
        if not changed:
            return False
        metadata = live["metadata"]
        operations: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            *({"op": "add", "path": f"/spec/{field}", "value": after[field]} for field in changed),
        ]
        written = await self._api.patch(*part.ident, operations)
        self._copy.learn(part.resource, written)
        _log.info("a user's object patched", kind=part.resource.kind, namespace=part.ident[1], name=part.name)
        return True

    def _is_settled(self, part: Part, live: Object) -> bool:
        """Whether this very part was compared with this very version before: what stays the same is the same object."""
        known = self._settled.get(part.ident)
        return known is not None and known[0] is part and known[1] == live["metadata"]["resourceVersion"]

    async def _delete(self, ident: Ident, live: Object) -> None:
        await self._api.delete(*ident, uid=live["metadata"]["uid"])
        self._copy.forget(ident[0], live)
        self._settled.pop(ident, None)
        _log.info("routes removed", kind=ident[0].kind, namespace=ident[1], name=ident[2])


def _reason_of(error: KubeError | InvalidInputError) -> Reason:
    if isinstance(error, InvalidInputError):
        return Reason(error.reason)
    return Reason.UNAUTHORIZED if error.status == HTTPStatus.FORBIDDEN else Reason.ROUTE_CONFLICT
