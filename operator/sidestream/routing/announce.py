"""Events and log lines for what has become of a Sandbox's route."""

from __future__ import annotations

import structlog

from sidestream.api.sandbox import RouteStatus
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import SANDBOXES
from sidestream.routing.entries import EntryKind
from sidestream.routing.proof import Evidence
from sidestream.routing.results import Progress
from sidestream.routing.tenants import Standing, Verdict

_log = structlog.get_logger(__name__)


async def announce(events: EventRecorder, progress: Progress, verdict: Verdict, row: RouteStatus | None) -> None:
    """Tell of a row that has been written, when its state is another than before."""
    member, route = verdict.member, _route(progress, verdict)
    before = "" if verdict.row is None else verdict.row.state
    after = "" if row is None else row.state
    if before == after:
        return
    _log.info("route changed", sandbox=member.sandbox.metadata.key, route=route, before=before, after=after)
    if row is None:
        if verdict.standing is Standing.LEAVING and progress.of(verdict).proof.evidence is Evidence.NOT_YET:
            note = f"Gave up waiting until no proxy has the route of {route} any more; is the mesh running?"
            await events.record(SANDBOXES, member.raw, "Warning", "RouteGoneUnconfirmed", note)
    elif row.state == "Refused":
        await events.record(SANDBOXES, member.raw, "Warning", row.reason, row.message)
    elif row.state == "Programmed":
        keys = " and ".join(sorted(verdict.keys))
        note = f"Requests of tenant {keys} to {route} now go to the fork"
        if progress.plan.key.kind is EntryKind.PREVIEW:
            note = f"Requests to {route} are tenant {keys}'s now"
        await events.record(SANDBOXES, member.raw, "Normal", row.reason, note)


def _route(progress: Progress, verdict: Verdict) -> str:
    """What a route is called for users."""
    return "the preview" if progress.plan.key.kind is EntryKind.PREVIEW else f"service {verdict.service.name}"
