"""How each Sandbox stands to an entry, and which tenants come of it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from builders import created, deleting, having, routing_key, sandbox
from sidestream.api.conditions import Reason
from sidestream.api.sandbox import RouteStatus, Sandbox
from sidestream.errors import InvalidInputError
from sidestream.routing.choice import Choice
from sidestream.routing.entries import Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.observe import Fork, Member, Observed
from sidestream.routing.table import StandIn, Tenant
from sidestream.routing.tenants import Routing, Standing, Verdict, tenants_of
from unit.routing.istio_things import host
from unit.routing.plain_provider import PlainProvider
from unit.routing.things import ORDERS

KEY = EntryKey(EntryKind.MESH, "shop", "orders")
LATER = created("2026-01-02T00:00:00Z")


def entry(*reaches: str, source: str | None = "shop/theirs") -> Entry:
    return Entry(KEY, Mode.BESIDE, (), frozenset(host(name) for name in reaches or ("orders",)), source)


def chosen(*reaches: str) -> Choice:
    found = entry(*reaches)
    return Choice(PlainProvider(), found, services=found.reaches)


def row(state: str, of: str = "orders") -> RouteStatus:
    return RouteStatus.model_validate(
        {"service": of, "provider": "HTTPRoute", "mode": "Beside", "object": "x", "state": state, "reason": "x"}
    )


def member(
    name: str = "alice",
    *modifiers: object,
    keys: tuple[str, ...] | None = None,
    services: tuple[str, ...] = ("orders",),
    ready: bool = True,
    rows: tuple[RouteStatus, ...] = (),
) -> Member:
    raw = sandbox(name, *modifiers)  # type: ignore[arg-type]
    answers = (name,) if keys is None else keys
    forks = tuple(
        Fork(host(service), host(f"{service}-{name}"), f"{service}-{name}", is_ready=ready, keys=answers)
        for service in services
    )
    return Member(raw, Sandbox.from_json(raw), forks, rows)


def routing(*members: Member, choice: Choice | None = None, destinations: Collection[ServiceHost] = ()) -> Routing:
    return tenants_of(Observed(KEY, choice or chosen(), members, ()), destinations)


def only(found: Routing) -> Verdict:
    (verdict,) = found.verdicts
    return verdict


def tenant(key: str, *pairs: tuple[str, str]) -> Tenant:
    return Tenant(key, tuple(StandIn(host(service), host(fork)) for service, fork in pairs))


def test_a_ready_fork_is_routed_by_all_its_keys() -> None:
    found = routing(member(keys=("alice", "release")))
    assert only(found).standing is Standing.ROUTED
    assert only(found).keys == {"alice", "release"}
    assert found.tenants == (tenant("alice", ("orders", "orders-alice")), tenant("release", ("orders", "orders-alice")))


def test_tenants_and_their_forks_are_sorted_whatever_the_order_of_members() -> None:
    web = member("bob", LATER, routing_key("a"), keys=("a",), services=("web", "cart"))
    members = [member("alice", routing_key("z"), keys=("z",)), web]
    choice = chosen("orders", "web", "cart")
    found = routing(*members, choice=choice)
    assert found.tenants == (
        tenant("a", ("cart", "cart-bob"), ("web", "web-bob")),
        tenant("z", ("orders", "orders-alice")),
    )
    assert routing(*reversed(members), choice=choice) == found


READINESS: dict[str, tuple[bool, str, str | None, bool, Standing, str]] = {
    "ready": (True, "Error", None, False, Standing.ROUTED, ""),
    "never ready": (False, "Error", None, False, Standing.WAITING, "has not had a ready pod yet"),
    "never ready, its row says so": (False, "Error", "Pending", False, Standing.WAITING, "has not had a ready pod yet"),
    "was refused so far": (False, "Error", "Refused", False, Standing.WAITING, "has not had a ready pod yet"),
    "has served, by its row": (False, "Error", "Programmed", False, Standing.ROUTED, ""),
    "may have served, by its row": (False, "Error", "Written", False, Standing.ROUTED, ""),
    "has served, by our own objects": (False, "Error", None, True, Standing.ROUTED, ""),
    "has served, and the baseline is to help": (
        False,
        "Baseline",
        "Programmed",
        True,
        Standing.WAITING,
        "has no ready pod",
    ),
    "ready, and the baseline would help": (True, "Baseline", "Programmed", True, Standing.ROUTED, ""),
}


@pytest.mark.parametrize(("ready", "policy", "state", "written", "standing", "text"), READINESS.values(), ids=READINESS)
def test_a_fork_without_pods(
    policy: str, state: str | None, standing: Standing, text: str, *, ready: bool, written: bool
) -> None:
    rows = () if state is None else (row(state),)
    who = member("alice", having("spec.onForkUnavailable", policy), ready=ready, rows=rows)
    verdict = only(routing(who, destinations=[host("orders-alice")] if written else []))
    assert verdict.standing is standing
    assert bool(verdict.keys) is (standing is Standing.ROUTED)
    if text:
        assert (verdict.reason, verdict.message) == (Reason.FORK_NOT_READY, f"Deployment orders-alice {text}")


def test_a_fork_without_keys_has_no_verdict() -> None:
    """Another Sandbox has its key for the Deployment."""
    assert routing(member(keys=())) == Routing((), ())


def test_a_row_of_a_fork_without_keys_leaves() -> None:
    verdict = only(routing(member(keys=(), rows=(row("Programmed"),))))
    assert (verdict.standing, verdict.service) == (Standing.LEAVING, ORDERS)


def test_a_sandbox_in_deletion_leaves_with_all_its_rows() -> None:
    who = member("alice", deleting(), services=("orders", "web"), rows=(row("Programmed"), row("Pending", "web")))
    found = routing(who, choice=chosen("orders", "web"))
    assert [(item.standing, item.service.name) for item in found.verdicts] == [
        (Standing.LEAVING, "orders"),
        (Standing.LEAVING, "web"),
    ]
    assert found.tenants == ()


def test_only_the_row_leaves_whose_service_is_forked_no_more() -> None:
    found = routing(member(rows=(row("Programmed"), row("Programmed", "web"))))
    assert [(item.standing, item.service.name) for item in found.verdicts] == [
        (Standing.ROUTED, "orders"),
        (Standing.LEAVING, "web"),
    ]


# --- what cannot be

REFUSAL = InvalidInputError(Reason.PORT_NOT_HTTP, "no HTTP")
REFUSED: dict[str, tuple[Choice, Reason, str]] = {
    "the choice says why": (Choice(refusal=REFUSAL, services=frozenset([ORDERS])), Reason.PORT_NOT_HTTP, "no HTTP"),
    "there is no such entry": (Choice(), Reason.ROUTE_CONFLICT, "Mesh shop/orders leads to service orders no more"),
    "the rules lead elsewhere": (
        chosen("web"),
        Reason.ROUTE_CONFLICT,
        "No rule of HTTPRoute shop/theirs leads to service orders, so no request can reach a fork of it",
    ),
}


@pytest.mark.parametrize(("choice", "reason", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_fork_is_refused_with_a_sentence(choice: Choice, reason: Reason, sentence: str) -> None:
    found = routing(member(), choice=choice)
    verdict = only(found)
    assert (verdict.standing, verdict.reason, verdict.message) == (Standing.REFUSED, reason, sentence)
    assert (verdict.keys, found.tenants) == (frozenset(), ())


def test_where_no_rules_are_wanted_that_is_said_before_all_else() -> None:
    choice = Choice(unrouted="nobody wants any", services=frozenset([ORDERS]))
    verdict = only(routing(member(ready=False), choice=choice))
    assert (verdict.standing, verdict.reason) == (Standing.UNROUTED, Reason.NOT_APPLICABLE)
    assert verdict.message == "nobody wants any"


@pytest.mark.parametrize("ready", [True, False])
def test_of_two_with_one_key_behind_one_service_the_older_has_it_even_before_it_is_ready(*, ready: bool) -> None:
    older = member("zoe", routing_key("red"), keys=("red",), ready=ready)
    newer = member("alice", LATER, routing_key("red"), keys=("red",))
    found = routing(newer, older)
    standings = {item.member.sandbox.metadata.name: item.standing for item in found.verdicts}
    assert standings == {"zoe": Standing.ROUTED if ready else Standing.WAITING, "alice": Standing.REFUSED}
    assert found.verdicts[1].message == (
        "Requests of tenant red to service orders already go to the fork of Sandbox zoe"
    )
    assert found.tenants == ((tenant("red", ("orders", "orders-zoe")),) if ready else ())


def test_a_groups_key_that_an_older_member_serves_is_left_out_of_a_newers() -> None:
    older = member("zoe", keys=("zoe", "release"))
    newer = member("alice", LATER, keys=("alice", "release"))
    found = routing(newer, older)
    assert {item.member.sandbox.metadata.name: item.keys for item in found.verdicts} == {
        "zoe": {"zoe", "release"},
        "alice": {"alice"},
    }
    assert tenant("release", ("orders", "orders-zoe")) in found.tenants


def test_one_key_may_have_forks_of_different_services_from_different_sandboxes() -> None:
    one = member("alice", routing_key("red"), keys=("red",))
    two = member("bob", LATER, routing_key("red"), keys=("red",), services=("web",))
    found = routing(one, two, choice=chosen("orders", "web"))
    assert found.tenants == (tenant("red", ("orders", "orders-alice"), ("web", "web-bob")),)
