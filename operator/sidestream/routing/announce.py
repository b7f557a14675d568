"""Events and log lines for what has become of a Sandbox's route."""

from __future__ import annotations

import structlog

from sidestream.api.sandbox import RouteStatus
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import SANDBOXES
from sidestream.routing.proof import Evidence
from sidestream.routing.results import Progress
from sidestream.routing.tenants import Standing, Verdict

_log = structlog.get_logger(__name__)


async def announce(events: EventRecorder, progress: Progress, verdict: Verdict, row: RouteStatus | None) -> None:
    """Tell of a row that has been written, when its state is another than before."""
    member, service = verdict.member, verdict.service.name
    before = "" if verdict.row is None else verdict.row.state
    after = "" if row is None else row.state
    if before == after:
        return
    _log.info("route changed", sandbox=member.sandbox.metadata.key, service=service, before=before, after=after)
    if row is None:
        if verdict.standing is Standing.LEAVING and progress.of(verdict).proof.evidence is Evidence.NOT_YET:
            note = f"Gave up waiting until no proxy has the route of service {service} any more; is the mesh running?"
            await events.record(SANDBOXES, member.raw, "Warning", "RouteGoneUnconfirmed", note)
    elif row.state == "Refused":
        await events.record(SANDBOXES, member.raw, "Warning", row.reason, row.message)
    elif row.state == "Programmed":
        keys = " and ".join(sorted(verdict.keys))
        note = f"Requests of tenant {keys} to service {service} now go to the fork"
        await events.record(SANDBOXES, member.raw, "Normal", row.reason, note)
