"""Which changes of a route become an Event."""

from __future__ import annotations

import pytest

from builders import FakeClock
from fakes.kube import FakeKubeApi
from sidestream.api.sandbox import RouteStatus
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import EVENTS
from sidestream.routing.announce import announce
from sidestream.routing.proof import Evidence, Proof
from sidestream.routing.results import GONE_ANYWAY_SECONDS, State
from sidestream.routing.tenants import Standing
from unit.routing.test_results import plan_of, progress_of, row, verdict

CASES: dict[str, tuple[Standing, State | None, State | None, Evidence, list[tuple[str, str]]]] = {
    "programmed": (Standing.ROUTED, "Pending", "Programmed", Evidence.PROVEN, [("Normal", "x")]),
    "programmed at once": (Standing.ROUTED, None, "Programmed", Evidence.PROVEN, [("Normal", "x")]),
    "still programmed": (Standing.ROUTED, "Programmed", "Programmed", Evidence.PROVEN, []),
    "refused": (Standing.REFUSED, None, "Refused", Evidence.PROVEN, [("Warning", "x")]),
    "still refused": (Standing.REFUSED, "Refused", "Refused", Evidence.PROVEN, []),
    "written": (Standing.ROUTED, "Pending", "Written", Evidence.NOT_YET, []),
    "gone": (Standing.LEAVING, "Programmed", None, Evidence.PROVEN, []),
    "given up": (Standing.LEAVING, "Written", None, Evidence.NOT_YET, [("Warning", "RouteGoneUnconfirmed")]),
    "gone unseen": (Standing.LEAVING, "Written", None, Evidence.UNKNOWN, []),
}


@pytest.mark.parametrize(("standing", "before", "after", "evidence", "events"), CASES.values(), ids=CASES)
async def test_an_event_tells_of(
    standing: Standing,
    before: State | None,
    after: State | None,
    evidence: Evidence,
    events: list[tuple[str, str]],
) -> None:
    api = FakeKubeApi()
    only = verdict(standing, before)
    progress = progress_of(plan_of(only), Proof(evidence), GONE_ANYWAY_SECONDS)
    now: RouteStatus | None = None if after is None else row(after)
    await announce(EventRecorder(api, FakeClock()), progress, only, now)
    assert [(item["type"], item["reason"]) for item in api.stored(EVENTS).values()] == events


async def test_the_event_names_every_key_whose_requests_go_to_the_fork() -> None:
    api = FakeKubeApi()
    only = verdict(Standing.ROUTED, None, keys=("release", "alice"))
    await announce(
        EventRecorder(api, FakeClock()),
        progress_of(plan_of(only), Proof(Evidence.PROVEN), None),
        only,
        row("Programmed"),
    )
    (event,) = api.stored(EVENTS).values()
    assert event["note"] == "Requests of tenant alice and release to service orders now go to the fork"
