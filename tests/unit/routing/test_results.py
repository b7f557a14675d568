"""What a Sandbox's status says of its route, by standing, proof and time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import having, sandbox
from sidestream.api.conditions import Reason
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.kube.port import HTTP_ROUTES, VIRTUAL_SERVICES, Object
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.observe import Fork, Member
from sidestream.routing.plan import Plan, missing
from sidestream.routing.proof import NO_PROBER, Evidence, Proof
from sidestream.routing.providers.provider import Part, Probe
from sidestream.routing.results import (
    GONE_ANYWAY_SECONDS,
    GONE_UNSEEN_SECONDS,
    GRACE_SECONDS,
    Known,
    Progress,
    State,
    first_row,
    is_gone,
    look_again,
    next_row,
)
from sidestream.routing.tenants import Standing, Verdict
from unit.routing.things import ORDERS, ORDERS_FQDN

PROVEN = Proof(Evidence.PROVEN)
NOT_YET = Proof(Evidence.NOT_YET)
AWAY = Proof(Evidence.UNKNOWN, "the prober at http://prober does not answer")

MESH = EntryKey(EntryKind.MESH, "shop", "orders")
NAME = "sidestream-orders"
DOOR = Door(ORDERS_FQDN, 80, ORDERS_FQDN)


def row(state: State, objects: str = NAME) -> RouteStatus:
    return RouteStatus(
        service="orders", provider="VirtualService", mode="Owned", object=objects, state=state, reason="x"
    )


def verdict(standing: Standing, state: State | None, *, keys: tuple[str, ...] = ("alice",)) -> Verdict:
    raw = sandbox("alice", having("metadata.generation", 3))
    before = None if state is None else row(state, NAME if state in ("Written", "Programmed") else "")
    fork = Fork(ORDERS, ORDERS, "orders-alice", is_ready=True, keys=keys)
    member = Member(raw, Sandbox.from_json(raw), (fork,), () if before is None else (before,))
    routed = frozenset(keys) if standing is Standing.ROUTED else frozenset[str]()
    return Verdict(member, ORDERS, standing, before, routed, Reason.FORK_NOT_READY, "Not ready")


def part(name: str = NAME, *keys: str, stage: int = 0) -> Part:
    obj = {"metadata": {"name": name, "namespace": "shop"}, "spec": {}}
    return Part(VIRTUAL_SERVICES, obj, Probe(name, "0" * 20), frozenset(keys), stage)


def plan_of(
    only: Verdict, *parts: Part, doors: tuple[Door, ...] = (DOOR,), finding: str = "", source: str | None = None
) -> Plan:
    routed = only.standing is Standing.ROUTED
    found = parts or ((part(NAME, *only.keys),) if routed else ())
    entry = Entry(MESH, Mode.OVERLAY, (), frozenset([ORDERS]), source, why="that is why")
    return Plan(
        key=MESH,
        provider="VirtualService",
        entry=entry,
        parts={item.ident: item for item in found},
        verdicts=(only,),
        doors=doors,
        why_unprovable="nobody comes there",
        finding=finding,
    )


def progress_of(plan: Plan, proof: Proof, waited: float | None, *names: str, is_complete: bool = True) -> Progress:
    return Progress(plan, {name: Known(proof, waited) for name in names or (NAME,)}, is_complete)


def row_of(standing: Standing, before: State | None, proof: Proof, waited: float | None) -> RouteStatus | None:
    only = verdict(standing, before)
    return next_row(progress_of(plan_of(only), proof, waited), only)


def told(*conditions: tuple[str, str]) -> Object:
    """Our HTTPRoute as its controller sees it."""
    found = [{"type": type_, "status": status, "observedGeneration": 1} for type_, status in conditions]
    parents = [{"controllerName": "mesh", "conditions": found}] if found else []
    metadata = {"name": NAME, "namespace": "shop", "generation": 1}
    return {"kind": "HTTPRoute", "metadata": metadata, "status": {"parents": parents}}


ACCEPTANCE: dict[str, tuple[Object, Proof, float, Reason]] = {
    "accepted and proven": (told(("Accepted", "True")), PROVEN, 0.0, Reason.PROGRAMMED),
    "proven, but in part": (told(("PartiallyInvalid", "True")), PROVEN, 0.0, Reason.ROUTE_NOT_ACCEPTED),
    "refused": (told(("Accepted", "False")), NOT_YET, 0.0, Reason.ROUTE_NOT_ACCEPTED),
    "nobody has said anything yet": (told(), NOT_YET, 1.0, Reason.PENDING),
    "nobody says anything": (told(), NOT_YET, GRACE_SECONDS, Reason.ROUTE_NOT_ACCEPTED),
    "nobody says anything, but it works": (told(), PROVEN, GRACE_SECONDS, Reason.PROGRAMMED),
}


@pytest.mark.parametrize(("live", "proof", "waited", "reason"), ACCEPTANCE.values(), ids=ACCEPTANCE)
def test_a_controllers_word_counts(live: Object, proof: Proof, waited: float, reason: Reason) -> None:
    only = verdict(Standing.ROUTED, "Written")
    mine = replace(part(NAME, "alice"), resource=HTTP_ROUTES)
    plan = replace(plan_of(only, mine), held={mine.ident: live})
    found = next_row(progress_of(plan, proof, waited), only)
    assert found is not None
    assert (found.state == "Programmed", found.reason) == (reason is Reason.PROGRAMMED, reason)


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
    found = row_of(Standing.ROUTED, before, proof, waited)
    assert found is not None
    assert (found.state, found.reason) == after
    assert (found.provider, found.mode, found.object) == ("VirtualService", "Overlay", NAME)
    assert found.observed_generation == 3


def test_a_route_that_is_written_says_why_so_and_over_what() -> None:
    only = verdict(Standing.ROUTED, None)
    found = next_row(progress_of(plan_of(only, source="shop/theirs", finding="a port"), PROVEN, None), only)
    assert found is not None
    assert (found.choice, found.source, found.message) == ("that is why", "shop/theirs", "a port")


def test_without_a_door_it_says_why_nobody_can_be_asked() -> None:
    only = verdict(Standing.ROUTED, None)
    found = next_row(Progress(plan_of(only, doors=())), only)
    assert found is not None
    assert (found.state, found.reason) == ("Written", Reason.NOT_VERIFIED)
    assert found.message.endswith("is not known: nobody comes there")


# --- several objects

SEVERAL: dict[str, tuple[dict[str, Known], tuple[str, Reason]]] = {
    "all": ({"a": Known(PROVEN), "b": Known(PROVEN), "guard": Known(PROVEN)}, ("Programmed", Reason.PROGRAMMED)),
    "one not yet": ({"a": Known(PROVEN), "b": Known(NOT_YET, 1.0)}, ("Written", Reason.PENDING)),
    "one unknown": (
        {"a": Known(AWAY, 1.0), "b": Known(PROVEN), "guard": Known(PROVEN)},
        ("Written", Reason.NOT_VERIFIED),
    ),
    "not yet is worse than unknown": (
        {"a": Known(AWAY, 1.0), "b": Known(NOT_YET, 0.0), "guard": Known(PROVEN)},
        ("Written", Reason.PENDING),
    ),
    "what comes before is not proven": (
        {"a": Known(PROVEN), "b": Known(PROVEN), "guard": Known(NOT_YET, 1.0)},
        ("Written", Reason.PENDING),
    ),
    "one is not even written": ({"a": Known(PROVEN), "guard": Known(PROVEN)}, ("Written", Reason.PENDING)),
    "somebody else's does not count": (
        {"a": Known(PROVEN), "b": Known(PROVEN), "guard": Known(PROVEN), "other": Known(NOT_YET, 99.0)},
        ("Programmed", Reason.PROGRAMMED),
    ),
    "what comes after does not count": (
        {"a": Known(PROVEN), "b": Known(PROVEN), "guard": Known(PROVEN), "last": Known(NOT_YET, 99.0)},
        ("Programmed", Reason.PROGRAMMED),
    ),
}
PARTS = (
    part("guard"),
    part("a", "alice", stage=1),
    part("b", "alice", "release", stage=1),
    part("other", "bob", stage=1),
    part("last", stage=2),
)


@pytest.mark.parametrize(("known", "after"), SEVERAL.values(), ids=SEVERAL)
def test_a_route_is_as_far_as_the_last_of_its_objects(known: dict[str, Known], after: tuple[str, Reason]) -> None:
    only = verdict(Standing.ROUTED, None, keys=("alice", "release"))
    found = next_row(Progress(plan_of(only, *PARTS), known), only)
    assert found is not None
    assert (found.state, found.reason) == after
    assert found.object == "a, b"


def test_the_longest_wait_among_them_ends_the_grace() -> None:
    only = verdict(Standing.ROUTED, "Programmed")
    parts = (part("a", "alice"), part("b", "alice"))
    for longest, state in ((GRACE_SECONDS - 1, "Programmed"), (GRACE_SECONDS, "Written")):
        known = {"a": Known(NOT_YET, longest), "b": Known(NOT_YET, 0.0)}
        found = next_row(Progress(plan_of(only, *parts), known), only)
        assert found is not None
        assert found.state == state


# --- leaving

LEAVING: dict[str, tuple[State, Proof, float | None, bool]] = {
    "proven gone": ("Programmed", PROVEN, None, True),
    "still in some proxy": ("Programmed", NOT_YET, 0.1, False),
    "still in some proxy after a minute": ("Written", NOT_YET, GONE_ANYWAY_SECONDS, True),
    "prober away, just now": ("Programmed", AWAY, 0.0, False),
    "prober away, after the bounded wait": ("Written", AWAY, GONE_UNSEEN_SECONDS, True),
    "no prober, after the bounded wait": ("Written", NO_PROBER, GONE_UNSEEN_SECONDS, True),
    "was not written yet": ("Pending", NOT_YET, None, True),
    "was refused": ("Refused", AWAY, None, True),
    "was unrouted": ("Unrouted", NOT_YET, None, True),
}


@pytest.mark.parametrize(("before", "proof", "waited", "gone"), LEAVING.values(), ids=LEAVING)
def test_a_leaving_sandbox(before: State, proof: Proof, waited: float | None, *, gone: bool) -> None:
    found = row_of(Standing.LEAVING, before, proof, waited)
    assert (found is None) is gone
    if found is not None:
        assert (found.state, found.reason) == ("Written", Reason.DELETING)
        assert found.observed_generation == 3


def test_a_leaving_sandbox_waits_for_every_object_of_its_row() -> None:
    only = replace(verdict(Standing.LEAVING, None), row=row("Programmed", "a, b"))
    plan = plan_of(only)
    assert not is_gone(Progress(plan, {"a": Known(PROVEN), "b": Known(NOT_YET, 1.0)}), only)
    assert is_gone(Progress(plan, {"a": Known(PROVEN), "b": Known(PROVEN)}), only)


def test_a_leaving_sandbox_waits_for_nothing_that_nobody_has_claimed() -> None:
    only = verdict(Standing.LEAVING, "Programmed")
    assert next_row(Progress(plan_of(only)), only) is None


# --- without a route

WITHOUT: dict[str, tuple[Standing, str]] = {
    "waiting": (Standing.WAITING, "Pending"),
    "refused": (Standing.REFUSED, "Refused"),
    "unrouted": (Standing.UNROUTED, "Unrouted"),
}


@pytest.mark.parametrize(("standing", "state"), WITHOUT.values(), ids=WITHOUT)
@pytest.mark.parametrize("before", [None, "Programmed"])
def test_a_sandbox_without_a_route(standing: Standing, state: str, before: State | None) -> None:
    found = row_of(standing, before, PROVEN, None)
    assert found is not None
    assert (found.state, found.reason, found.message) == (state, Reason.FORK_NOT_READY, "Not ready")
    assert (found.provider, found.mode, found.object) == ("None", "None", "")


LINGERING: dict[str, tuple[Known | None, bool, str]] = {
    "gone": (Known(PROVEN), False, ""),
    "gone, and asked for no more": (None, False, ""),
    "still in some proxy": (Known(NOT_YET, 1.0), False, NAME),
    "still in some proxy after a minute": (Known(NOT_YET, GONE_ANYWAY_SECONDS), False, ""),
    "nobody to ask, just now": (Known(AWAY, 0.0), False, NAME),
    "not deleted yet": (None, True, NAME),
    "there for others, and known to be without it": (Known(PROVEN), True, ""),
}


@pytest.mark.parametrize(("known", "is_there", "named"), LINGERING.values(), ids=LINGERING)
@pytest.mark.parametrize(("standing", "state"), WITHOUT.values(), ids=WITHOUT)
def test_a_route_that_ends_is_named_until_no_proxy_has_it(
    standing: Standing, state: str, known: Known | None, named: str, *, is_there: bool
) -> None:
    only = verdict(standing, "Programmed")
    plan = plan_of(only)
    if is_there:
        plan = replace(plan, held={part().ident: part().obj})
    found = next_row(Progress(plan, {} if known is None else {NAME: known}), only)
    assert found is not None
    assert (found.state, found.object) == (state, named)
    assert (found.provider, found.mode) == (("VirtualService", "Owned") if named else ("None", "None"))


@pytest.mark.parametrize(("before", "standing"), [("Pending", Standing.WAITING), ("Refused", Standing.REFUSED)])
def test_a_sandbox_that_leaves_waits_for_a_route_that_had_ended_just_before(before: State, standing: Standing) -> None:
    only = replace(verdict(standing, None), row=row(before))
    assert missing(plan_of(only)) == {NAME}
    leaving = replace(only, standing=Standing.LEAVING)
    assert not is_gone(Progress(plan_of(leaving), {NAME: Known(NOT_YET, 1.0)}), leaving)
    assert is_gone(Progress(plan_of(leaving), {NAME: Known(PROVEN)}), leaving)


def test_the_row_before_the_first_route_is_written_once() -> None:
    first = verdict(Standing.ROUTED, None)
    found = first_row(plan_of(first), first)
    assert found is not None
    assert (found.state, found.object) == ("Pending", "")
    for other in (
        verdict(Standing.ROUTED, "Pending"),
        verdict(Standing.WAITING, None),
        verdict(Standing.REFUSED, None),
    ):
        assert first_row(plan_of(other), other) is None


def test_only_the_row_of_the_meshs_own_entry_names_the_gateways() -> None:
    only = verdict(Standing.ROUTED, None)
    edge = EntryKey(EntryKind.HTTP_ROUTE, "web", "edge")
    plan = replace(plan_of(only), gateways=(edge,))
    mesh = next_row(progress_of(plan, PROVEN, None), only)
    assert mesh is not None
    assert (mesh.entry, mesh.gateways) == ("mesh", ("HTTPRoute web/edge",))
    at_edge = next_row(progress_of(replace(plan, key=edge), PROVEN, None), only)
    assert at_edge is not None
    assert (at_edge.entry, at_edge.gateways) == ("HTTPRoute web/edge", ())


# --- when to look again

AGAIN: dict[str, tuple[Standing, Proof, float | None, bool, float | None]] = {
    "proven": (Standing.ROUTED, PROVEN, None, True, 30.0),
    "young": (Standing.ROUTED, NOT_YET, 1.0, True, 0.5),
    "older": (Standing.ROUTED, NOT_YET, 11.0, True, 5.0),
    "old": (Standing.ROUTED, NOT_YET, 61.0, True, 30.0),
    "prober away": (Standing.ROUTED, AWAY, 6.0, True, 5.0),
    "prober away for long": (Standing.ROUTED, AWAY, 61.0, True, 30.0),
    "prober away since it was proven": (Standing.ROUTED, AWAY, None, True, 5.0),
    "no prober": (Standing.ROUTED, NO_PROBER, 6.0, False, 30.0),
    "leaving without a prober": (Standing.LEAVING, NO_PROBER, 1.0, False, 4.0),
    "leaving, prober away": (Standing.LEAVING, AWAY, 4.9, True, 0.5),
}


@pytest.mark.parametrize(("standing", "proof", "waited", "has_prober", "seconds"), AGAIN.values(), ids=AGAIN)
def test_it_looks_again(
    standing: Standing, proof: Proof, waited: float | None, *, has_prober: bool, seconds: float | None
) -> None:
    progress = progress_of(plan_of(verdict(standing, "Written")), proof, waited)
    assert look_again(progress, has_prober=has_prober) == seconds


def test_it_looks_again_soon_while_objects_of_later_stages_are_held_back() -> None:
    progress = progress_of(plan_of(verdict(Standing.ROUTED, "Written")), PROVEN, None, is_complete=False)
    assert look_again(progress, has_prober=True) == 0.5


def test_it_does_not_look_again_where_nothing_is() -> None:
    assert look_again(Progress(Plan(MESH)), has_prober=True) is None


# --- what may go on

SETTLED: dict[str, tuple[Known, bool]] = {
    "proven": (Known(PROVEN), True),
    "proven a while ago": (Known(PROVEN, 99.0), True),
    "not yet": (Known(NOT_YET, 99.0), False),
    "nothing said so far": (Known(), False),
    "nobody to ask, just now": (Known(AWAY, 0.0), False),
    "nobody to ask, for long": (Known(AWAY, GONE_UNSEEN_SECONDS), True),
    "nobody to ask any more, after it was proven": (Known(AWAY, None), True),
}


@pytest.mark.parametrize(("known", "is_settled"), SETTLED.values(), ids=SETTLED)
def test_what_depends_on_an_object_goes_on(known: Known, *, is_settled: bool) -> None:
    assert known.is_settled is is_settled


@pytest.mark.parametrize("standing", [Standing.ROUTED, Standing.WAITING, Standing.REFUSED, Standing.UNROUTED])
def test_a_row_that_stays_as_it_is_is_the_very_object_of_before(standing: Standing) -> None:
    first = verdict(standing, None)
    told = next_row(progress_of(plan_of(first), PROVEN, None, NAME), first)
    assert told is not None
    again = replace(first, row=RouteStatus.model_validate(told.to_json()))
    assert next_row(progress_of(plan_of(again), PROVEN, None, NAME), again) is again.row
    changed = plan_of(again, finding="something has been found")
    if standing is Standing.ROUTED:
        assert next_row(progress_of(changed, PROVEN, None, NAME), again) != again.row
