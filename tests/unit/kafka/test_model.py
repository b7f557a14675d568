"""Random schedules on the product's own rules: no record lost, none handled by both; every rule that is dropped shows.

`make schedules` runs 20,000 of them. A failure names its seed, which runs the same schedule again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sidestream.kafka import departure, fencing, placement, takeback
from sidestream.kafka.port import Position
from sidestream_sdk import fences
from sidestream_sdk.fences import Due
from sidestream_sdk.notes import Kind
from unit.kafka.model import Rules, World

SCHEDULES = int(os.environ.get("SIDESTREAM_SCHEDULES", "200"))
MOST_TRIES = 400
"""Schedules within which a mutation has to show; most do in the first ten."""


def check(world: World) -> None:
    assert world.lost() == []
    assert world.by_both() == []
    assert world.is_over, [(route.status.phase, route.status.claims) for route in world.routes]


def in_chunks(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", in_chunks(SCHEDULES, 50), ids=lambda seeds: f"from {seeds.start}")
def test_no_record_is_lost_and_none_handled_by_both(seeds: range) -> None:
    for seed in seeds:
        try:
            check(World(seed, Rules()).run())
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def test_a_schedule_is_the_same_each_time() -> None:
    first, second = (World(7, Rules()).run() for _ in range(2))
    assert first.handled == second.handled
    assert first.version == second.version


def test_forks_handle_a_good_part_of_the_records() -> None:
    handled = [
        owner for seed in range(20) for owners in World(seed, Rules()).run().handled.values() for owner in owners
    ]
    assert 0.2 < sum(".sbx." in owner for owner in handled) / len(handled) < 0.8


Mutation = Callable[[pytest.MonkeyPatch], Rules]


def fence_at_the_position(patch: pytest.MonkeyPatch) -> Rules:
    number = fences.acknowledged

    def mutant(asked: Due, *, position: int, end: int | None) -> int:
        return position if asked.kind is Kind.FROM else number(asked, position=position, end=end)

    patch.setattr(fences, "acknowledged", mutant)
    return Rules()


def no_version_rule(_: pytest.MonkeyPatch) -> Rules:
    return Rules(version_rule=False)


def no_aware_step(patch: pytest.MonkeyPatch) -> Rules:
    claimed, spread = fencing.claimed, fencing.spread
    patch.setattr(fencing, "claimed", lambda uid, key, places, _, now: claimed(uid, key, places, "Ask", now))
    patch.setattr(fencing, "spread", lambda claims, places, _: spread(claims, places, "Ask"))
    return Rules()


def acknowledging_commits_the_position(_: pytest.MonkeyPatch) -> Rules:
    return Rules(acknowledges_committed=False)


def new_partitions_are_fenced_at_0(patch: pytest.MonkeyPatch) -> Rules:
    spread = fencing.spread

    def mutant(claims: fencing.Claims, places: Any, state: Any) -> fencing.Claims:
        return tuple(
            claim.model_copy(
                update={
                    "fences": tuple(
                        fence.model_copy(update={"state": "From", "begin": 0})
                        if fence.state == "Aware" and fence.partition > 1
                        else fence
                        for fence in claim.fences
                    )
                }
            )
            for claim in spread(claims, places, state)
        )

    patch.setattr(fencing, "spread", mutant)
    return Rules()


def unlisted_partitions_are_acknowledged(patch: pytest.MonkeyPatch) -> Rules:
    due = fences.due

    def mutant(changes: Any, partition: int, notes: Any, *, sandbox: str | None) -> Iterator[Due]:
        yield from due(changes, partition, notes, sandbox=sandbox)
        for change in changes:
            is_unlisted = change.phase == "Active" and partition not in change.partitions
            if sandbox is None and is_unlisted and notes.find(change.id, Kind.FROM) is None:
                yield Due(change.id, Kind.FROM)

    patch.setattr(fences, "due", mutant)
    return Rules()


def notes_are_dropped_early(_: pytest.MonkeyPatch) -> Rules:
    return Rules(keeps_notes=False)


def no_version_in_the_seed(patch: pytest.MonkeyPatch) -> Rules:
    place = placement.place

    def mutant(route: Any, observed: Any, positions: Any) -> Any:
        return place(route, observed, {item: Position(at.offset) for item, at in positions.items()})

    patch.setattr(placement, "place", mutant)
    return Rules()


def the_fork_does_not_hold(patch: pytest.MonkeyPatch) -> Rules:
    verdict = fences._fork_verdict
    patch.setattr(fences, "_fork_verdict", lambda item, offset: verdict(replace(item, hold=None), offset))
    return Rules()


def the_fork_is_not_drained(patch: pytest.MonkeyPatch) -> Rules:
    patch.setattr(fencing, "remaining", lambda *_: {})
    return Rules()


def a_change_goes_before_the_baseline_is_past_it(patch: pytest.MonkeyPatch) -> Rules:
    patch.setattr(takeback, "_await_baseline", lambda route, *_: departure.released(route))
    return Rules()


MUTATIONS: tuple[Mutation, ...] = (
    fence_at_the_position,
    no_version_rule,
    no_aware_step,
    acknowledging_commits_the_position,
    new_partitions_are_fenced_at_0,
    unlisted_partitions_are_acknowledged,
    notes_are_dropped_early,
    no_version_in_the_seed,
    the_fork_does_not_hold,
    the_fork_is_not_drained,
    a_change_goes_before_the_baseline_is_past_it,
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_rule_that_is_dropped_shows(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = mutation(monkeypatch)
    for seed in range(MOST_TRIES):
        world = World(seed, rules).run()
        if world.lost() or world.by_both():
            return
    raise AssertionError("nothing showed")
