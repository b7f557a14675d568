"""What a Sandbox's status says of its route, by standing, proof and time."""

from __future__ import annotations

import pytest

from builders import having, sandbox
from sidestream.api.conditions import Reason
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.routing.observe import Fork, Member
from sidestream.routing.plan import Plan, Standing, Verdict
from sidestream.routing.proof import NO_PROBER, Claim, Evidence, Proof
from sidestream.routing.providers.provider import Rendered
from sidestream.routing.results import (
    GONE_ANYWAY_SECONDS,
    GONE_UNSEEN_SECONDS,
    GRACE_SECONDS,
    Progress,
    State,
    look_again,
    next_entry,
)
from unit.routing.things import ORDERS, ORDERS_FQDN

PROVEN = Proof(Evidence.PROVEN)
NOT_YET = Proof(Evidence.NOT_YET)
AWAY = Proof(Evidence.UNKNOWN, "the prober at http://prober does not answer")


def verdict(standing: Standing, state: State | None) -> Verdict:
    entry = (
        None
        if state is None
        else RouteStatus(
            service="orders",
            provider="VirtualService",
            mode="Owned",
            object="sidestream-orders",
            state=state,
            reason="x",
        )
    )
    raw = sandbox("alice", having("metadata.generation", 3))
    member = Member(raw, Sandbox.from_json(raw), Fork(ORDERS, "orders-alice", is_ready=True), entry)
    return Verdict(member, standing, Reason.FORK_NOT_READY, "Not ready")


def plan_of(only: Verdict, *, source: str | None = None, claim: bool = True) -> Plan:
    rendered = (
        Rendered({"metadata": {"name": "sidestream-orders"}}, "hash") if only.standing is Standing.ROUTED else None
    )
    asked = Claim(ORDERS_FQDN, (80,), "hash") if claim else None
    return Plan("orders", "VirtualService", rendered, None, (only,), asked, source)


def entry_of(
    standing: Standing, before: State | None, proof: Proof, waited: float | None, *, claim: bool = True
) -> RouteStatus | None:
    only = verdict(standing, before)
    return next_entry(Progress(plan_of(only, claim=claim), proof, waited), only)


ROUTED: dict[str, tuple[State | None, Proof, float | None, tuple[str, Reason]]] = {
    "proven": (None, PROVEN, None, ("Programmed", Reason.PROGRAMMED)),
    "proven after a long time": ("Written", PROVEN, 99.0, ("Programmed", Reason.PROGRAMMED)),
    "written just now": (None, NOT_YET, 0.0, ("Written", Reason.PENDING)),
    "nobody to ask": (None, NO_PROBER, 0.0, ("Written", Reason.NOT_VERIFIED)),
    "somebody else's change is on its way": ("Programmed", NOT_YET, 1.0, ("Programmed", Reason.PROGRAMMED)),
    "a change does not arrive": ("Programmed", NOT_YET, GRACE_SECONDS, ("Written", Reason.PENDING)),
    "prober away, nothing changed": ("Programmed", AWAY, None, ("Programmed", Reason.PROGRAMMED)),
    "prober away after a change": ("Programmed", AWAY, GRACE_SECONDS, ("Written", Reason.NOT_VERIFIED)),
    "prober away from the start": ("Written", AWAY, 1.0, ("Written", Reason.NOT_VERIFIED)),
}


@pytest.mark.parametrize(("before", "proof", "waited", "after"), ROUTED.values(), ids=ROUTED)
def test_a_routed_sandbox(before: State | None, proof: Proof, waited: float | None, after: tuple[str, Reason]) -> None:
    entry = entry_of(Standing.ROUTED, before, proof, waited)
    assert entry is not None
    assert (entry.state, entry.reason) == after
    assert (entry.provider, entry.mode, entry.object) == ("VirtualService", "Owned", "sidestream-orders")
    assert entry.observed_generation == 3


LEAVING: dict[str, tuple[State, Proof, float | None, bool]] = {
    "proven gone": ("Programmed", PROVEN, None, True),
    "still in some proxy": ("Programmed", NOT_YET, 0.1, False),
    "still in some proxy after a minute": ("Written", NOT_YET, GONE_ANYWAY_SECONDS, True),
    "prober away, just now": ("Programmed", AWAY, 0.0, False),
    "prober away, after the bounded wait": ("Written", AWAY, GONE_UNSEEN_SECONDS, True),
    "no prober, after the bounded wait": ("Written", NO_PROBER, GONE_UNSEEN_SECONDS, True),
    "was never written": ("Pending", NOT_YET, None, True),
    "was refused": ("Refused", AWAY, None, True),
    "was pending when a change with it began": ("Pending", NOT_YET, 0.1, False),
}


@pytest.mark.parametrize(("before", "proof", "waited", "is_gone"), LEAVING.values(), ids=LEAVING)
def test_a_leaving_sandbox(before: State, proof: Proof, waited: float | None, *, is_gone: bool) -> None:
    entry = entry_of(Standing.LEAVING, before, proof, waited)
    assert (entry is None) is is_gone
    if entry is not None:
        assert (entry.state, entry.reason) == ("Written", Reason.DELETING)


def test_a_leaving_sandbox_waits_for_nothing_where_nothing_can_be_asked() -> None:
    assert entry_of(Standing.LEAVING, "Programmed", NOT_YET, 0.0, claim=False) is None


@pytest.mark.parametrize(
    ("standing", "state"), [(Standing.WAITING, "Pending"), (Standing.REFUSED, "Refused")], ids=["waiting", "refused"]
)
def test_a_sandbox_without_a_route(standing: Standing, state: str) -> None:
    entry = entry_of(standing, None, PROVEN, None)
    assert entry is not None
    assert (entry.state, entry.reason, entry.message) == (state, Reason.FORK_NOT_READY, "Not ready")
    assert (entry.provider, entry.mode, entry.object) == ("None", "None", "")


AGAIN: dict[str, tuple[Standing, Proof, float | None, bool, float | None]] = {
    "proven": (Standing.ROUTED, PROVEN, None, True, None),
    "young": (Standing.ROUTED, NOT_YET, 1.0, True, 0.5),
    "older": (Standing.ROUTED, NOT_YET, 11.0, True, 5.0),
    "old": (Standing.ROUTED, NOT_YET, 61.0, True, 30.0),
    "prober away": (Standing.ROUTED, AWAY, 1.0, True, 5.0),
    "no prober": (Standing.ROUTED, NO_PROBER, 1.0, False, None),
    "leaving without a prober": (Standing.LEAVING, NO_PROBER, 1.0, False, 4.0),
    "leaving, prober away": (Standing.LEAVING, AWAY, 4.9, True, 0.5),
}


@pytest.mark.parametrize(("standing", "proof", "waited", "has_prober", "seconds"), AGAIN.values(), ids=AGAIN)
def test_it_looks_again(
    standing: Standing, proof: Proof, waited: float | None, *, has_prober: bool, seconds: float | None
) -> None:
    progress = Progress(plan_of(verdict(standing, "Written")), proof, waited)
    assert look_again(progress, has_prober=has_prober) == seconds


def test_an_overlay_is_looked_at_again_for_namespaces_that_get_sidecars() -> None:
    progress = Progress(plan_of(verdict(Standing.ROUTED, "Programmed"), source="shop/orders"), PROVEN)
    assert look_again(progress, has_prober=True) == 30.0
