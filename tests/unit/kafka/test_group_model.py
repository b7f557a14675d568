"""A RouteGroup's key under random schedules: it comes and goes on forks that live, and no record is lost or doubled."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from sidestream.api.kafka import KafkaRoute
from sidestream.kafka import fenced, fencing, takeback
from sidestream.kafka.steps import Observed
from unit.kafka.group_model import GROUP_KEY, GroupWorld
from unit.kafka.model import Rules, World

SCHEDULES = int(os.environ.get("SIDESTREAM_SCHEDULES", "200"))
MOST_TRIES = 400
RARE = 388
"""The first schedule in which two forks claim at one moment; most mutations show in the first ten."""

SIZE = 50


def check(world: World) -> None:
    assert world.lost() == []
    assert world.by_both() == []
    assert world.is_over, [(route.status.phase, route.status.claims) for route in world.routes]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("start", range(0, SCHEDULES, SIZE), ids="from {}".format)
def test_no_record_is_lost_and_none_handled_by_two_versions(start: int) -> None:
    for seed in range(start, min(start + SIZE, SCHEDULES)):
        try:
            check(GroupWorld(seed, Rules()).run())
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def test_both_forks_handle_records_of_the_group() -> None:
    handled: dict[str, int] = {}
    for seed in range(40):
        world = GroupWorld(seed, Rules()).run()
        for (partition, offset), groups in world.handled.items():
            if world.log[partition][offset] == GROUP_KEY:
                for group in groups:
                    handled[group] = handled.get(group, 0) + 1
    assert min(handled[f"fulfilment.sbx.{name}"] for name in ("alice", "bob")) > 10
    assert handled["fulfilment"] > 10


Mutation = Callable[[pytest.MonkeyPatch], None]


def what_others_claim_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fenced, "other_claims", lambda *_: {})


def what_others_may_claim_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    def claimed(route: KafkaRoute, observed: Observed) -> dict[str, str]:
        others = (item for item in observed.others if item.metadata.uid != route.metadata.uid)
        return {claim.key: other.spec.sandbox for other in others for claim in other.status.claims}

    patch.setattr(fenced, "other_claims", claimed)


def a_key_that_is_gone_is_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(takeback, "given_back", lambda *_: ())


def a_key_that_joins_is_not_announced(patch: pytest.MonkeyPatch) -> None:
    claimed = fencing.claimed
    patch.setattr(fencing, "claimed", lambda uid, key, places, _, now: claimed(uid, key, places, "Ask", now))


MUTATIONS: tuple[Mutation, ...] = (
    what_others_claim_is_not_looked_at,
    what_others_may_claim_is_not_looked_at,
    a_key_that_is_gone_is_dropped,
    a_key_that_joins_is_not_announced,
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_rule_that_is_dropped_shows(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    first = RARE if mutation is what_others_may_claim_is_not_looked_at else 0
    for seed in range(first, first + MOST_TRIES):
        world = GroupWorld(seed, Rules()).run()
        if world.lost() or world.by_both():
            return
    raise AssertionError("nothing showed")
