"""Who is gathered for one entry: the forks that it may lead to, and whoever still has a row about it."""

from __future__ import annotations

from builders import deleting, forking, having, labelled, of_sandboxes, route_group, sandbox, service
from sidestream.api.labels import BASELINE
from sidestream.kube.port import DEPLOYMENTS, Object
from sidestream.routing.observe import Observed, observe
from unit.routing.plain_provider import STOREFRONT, PlainProvider, http_route, mesh_route
from unit.routing.things import fork_deployment, fork_service
from unit.routing.world import KEY, World


def seen(*objects: Object, key: object = KEY) -> Observed | None:
    world = World(*objects, providers=(PlainProvider(),))
    world.mirror.follow()
    return observe(key, world.mirror, world.mirror.index, world.mirror.providers)  # type: ignore[arg-type]


def members(found: Observed | None) -> dict[str, list[str]]:
    assert found is not None
    return {item.sandbox.metadata.name: [fork.host.name for fork in item.forks] for item in found.members}


ALICE = (sandbox("alice"), fork_service("alice"), fork_deployment("alice"))
ROW = having(
    "status.routes",
    [{"service": "orders", "entry": "mesh", "provider": "x", "mode": "x", "state": "Programmed", "reason": "x"}],
)


def test_where_nobody_forks_and_nothing_is_left_there_is_nothing_to_see() -> None:
    assert seen() is None
    assert seen(http_route("storefront", "web"), *ALICE, key=STOREFRONT) is None


def test_the_forks_of_the_service() -> None:
    found = seen(*ALICE)
    assert found is not None
    ((fork,),) = [item.forks for item in found.members]
    assert (fork.service.name, fork.host.name, fork.deployment) == ("orders", "orders-alice", "orders-alice")
    assert (fork.is_ready, fork.keys) == (True, ("alice",))


def test_the_forks_of_every_service_to_which_the_rules_lead() -> None:
    objects = (*ALICE, sandbox("bob", forking("web")), fork_service("bob", "web"), service("web"))
    assert members(seen(*objects, mesh_route("web"))) == {"alice": ["orders-alice"], "bob": ["web-bob"]}
    assert members(seen(*objects, http_route("storefront", "web"), key=STOREFRONT)) == {"bob": ["web-bob"]}


def test_who_has_a_row_about_the_entry_and_no_fork_any_more() -> None:
    found = seen(sandbox("alice", ROW))
    assert members(found) == {"alice": []}
    assert found is not None
    assert [row.service for row in found.members[0].rows] == ["orders"]


def test_rows_about_other_entries_are_none_of_its_business() -> None:
    raw = sandbox("alice", ROW)
    raw["status"]["routes"][0]["entry"] = "HTTPRoute shop/storefront"
    assert seen(raw) is None


def test_a_fork_service_in_deletion_counts_no_more() -> None:
    assert seen(sandbox("alice"), fork_service("alice", "orders", deleting())) is None


def test_a_fork_service_without_a_sandbox_counts_not_at_all() -> None:
    assert seen(fork_service("alice"), fork_deployment("alice")) is None


def test_a_fork_without_a_deployment_is_not_ready_and_called_by_its_services_name() -> None:
    found = seen(sandbox("alice"), fork_service("alice"))
    assert found is not None
    assert (found.members[0].forks[0].is_ready, found.members[0].forks[0].deployment) == (False, "orders-alice")


def test_a_fork_answers_to_the_keys_of_its_own_deployment() -> None:
    objects = (*ALICE, route_group("release", of_sandboxes("alice")))
    found = seen(*objects)
    assert found is not None
    assert found.members[0].forks[0].keys == ("alice", "release")
    canary = fork_service("alice", "orders", labelled({BASELINE: "orders-canary"}))
    assert members(seen(sandbox("alice"), canary)) == {"alice": ["orders-alice"]}
    unasked = seen(sandbox("alice"), canary)
    assert unasked is not None
    assert unasked.members[0].forks[0].keys == ()


def test_the_gateways_are_told_of_the_meshs_own_entry_alone() -> None:
    found = seen(*ALICE, http_route())
    assert found is not None
    assert found.gateways == (STOREFRONT,)
    edge = seen(*ALICE, http_route(), key=STOREFRONT)
    assert edge is not None
    assert edge.gateways == ()


def test_what_is_read_is_only_a_view() -> None:
    world = World(*ALICE, providers=(PlainProvider(),))
    world.mirror.follow()
    world.api.remove(DEPLOYMENTS, "orders-alice")
    assert observe(KEY, world.mirror, world.mirror.index, world.mirror.providers) is not None
    assert world.api.requests == []
