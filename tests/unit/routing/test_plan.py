"""What the objects of an entry should be, and what proxies are to confirm of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidestream.api.conditions import Reason
from sidestream.kube.port import VIRTUAL_SERVICES
from sidestream.routing.plan import Plan, claims_of, missing, parts_for, refused
from sidestream.routing.tenants import Standing
from unit.routing.test_results import DOOR, MESH, part, plan_of, row, verdict
from unit.routing.things import virtual_service

MADE = part("made", "alice")


def plan(**changes: object) -> Plan:
    return replace(plan_of(verdict(Standing.ROUTED, None), MADE), **changes)  # type: ignore[arg-type]


def claimed(found: Plan, *departing: str) -> list[tuple[str, str | None]]:
    return [(claim.name, claim.config_hash) for claim in claims_of(found, departing)]


def test_all_that_is_wanted_is_claimed_at_the_doors() -> None:
    (claim,) = claims_of(plan(), ())
    assert (claim.name, claim.config_hash, claim.doors) == ("made", "0" * 20, (DOOR,))


def test_a_part_without_a_probe_can_be_asked_for_nowhere() -> None:
    mute = replace(MADE, probe=None)
    (claim,) = claims_of(plan(parts={mute.ident: mute}), ())
    assert (claim.doors, claim.why_unprovable) == ((), "a VirtualService cannot answer a probe")


def test_what_was_deleted_is_claimed_to_be_gone_unless_it_is_there_again() -> None:
    assert claimed(plan(), "old") == [("made", "0" * 20), ("old", None)]
    assert claimed(plan(), "made") == [("made", "0" * 20)]
    held = {(VIRTUAL_SERVICES, "shop", "old"): virtual_service("old")}
    assert claimed(plan(held=held), "old") == [("made", "0" * 20)]


@pytest.mark.parametrize(
    ("standing", "state", "is_missing"),
    [
        (Standing.LEAVING, "Programmed", True),
        (Standing.LEAVING, "Written", True),
        (Standing.WAITING, "Programmed", True),
        (Standing.REFUSED, "Programmed", True),
        (Standing.UNROUTED, "Programmed", True),
        (Standing.LEAVING, "Pending", True),
        (Standing.LEAVING, "Refused", True),
        (Standing.ROUTED, "Programmed", False),
    ],
)
def test_so_is_what_rows_name_and_is_there_no_more(standing: Standing, state: str, *, is_missing: bool) -> None:
    found = plan(verdicts=(replace(verdict(standing, None), row=row(state, "a, made")),))  # type: ignore[arg-type]
    assert missing(found) == ({"a"} if is_missing else set())
    assert (("a", None) in claimed(found)) is is_missing


def test_a_tenant_depends_on_its_own_objects_and_on_those_of_earlier_stages_that_are_everybodys() -> None:
    parts = [
        part("guard"),
        part("alices", "alice", stage=1),
        part("bobs", "bob", stage=0),
        part("beside", stage=1),
        part("after", stage=2),
    ]
    only = verdict(Standing.ROUTED, None)
    assert [item.name for item in parts_for(plan_of(only, *parts), only)] == ["alices", "guard"]


def test_a_refusal_for_all_leaves_nothing_to_write() -> None:
    found = refused(plan(), Reason.ROUTE_CONFLICT, "no")
    (only,) = found.verdicts
    assert found.parts == {}
    assert (only.standing, only.reason, only.message, only.keys) == (
        Standing.REFUSED,
        Reason.ROUTE_CONFLICT,
        "no",
        frozenset(),
    )


def test_a_refusal_for_some_leaves_all_objects_and_the_others() -> None:
    found = refused(plan(), Reason.ROUTE_CONFLICT, "no", frozenset({"bob"}))
    assert found == plan()
    found = refused(plan(), Reason.ROUTE_CONFLICT, "no", frozenset({"alice", "bob"}))
    assert found.verdicts[0].standing is Standing.REFUSED
    assert found.parts == plan().parts


@pytest.mark.parametrize("standing", [Standing.WAITING, Standing.LEAVING, Standing.UNROUTED])
def test_who_is_not_routed_is_not_refused(standing: Standing) -> None:
    found = plan(verdicts=(verdict(standing, "Programmed"),))
    assert refused(found, Reason.ROUTE_CONFLICT, "no").verdicts == found.verdicts


def test_what_is_held_and_not_wanted_has_to_go() -> None:
    held = {(VIRTUAL_SERVICES, "shop", name): virtual_service(name) for name in ("made", "old")}
    assert plan(held=held).unwanted == ((VIRTUAL_SERVICES, "shop", "old"),)
    assert Plan(MESH, held=held).unwanted == tuple(held)
