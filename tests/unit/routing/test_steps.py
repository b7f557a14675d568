"""In which order objects of several stages come and go: what others need comes first and goes last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import annotated, thing
from sidestream.kube.port import HTTP_ROUTES, VIRTUAL_SERVICES
from sidestream.routing import steps
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.plan import Plan
from sidestream.routing.providers.provider import Ident, Part, Probe
from sidestream.routing.steps import STAGE, IsSettled, Step, next_step, stage_of, staged

MESH = EntryKey(EntryKind.MESH, "shop", "orders")


def part(name: str, stage: int = 0, *keys: str) -> Part:
    return Part(VIRTUAL_SERVICES, thing(VIRTUAL_SERVICES, name, {"spec": {}}), Probe(name, "0"), frozenset(keys), stage)


def ident(name: str) -> Ident:
    return VIRTUAL_SERVICES, "shop", name


def plan_of(wanted: dict[str, int], held: dict[str, int]) -> Plan:
    """By name and stage: what is wanted, and what is there."""
    parts = [part(name, stage) for name, stage in wanted.items()]
    return Plan(
        MESH,
        parts={item.ident: item for item in parts},
        held={ident(name): staged(part(name, stage)) for name, stage in held.items()},
    )


def step_of(
    wanted: dict[str, int],
    held: dict[str, int] | None = None,
    departing: dict[str, int] | None = None,
    settled: str = "",
) -> tuple[list[str], list[str], bool]:
    step = next_step(plan_of(wanted, held or {}), departing or {}, lambda name: name in settled.split())
    return [item.name for item in step.writes], [name for _, _, name in step.deletes], step.is_last


Steps = tuple[list[str], list[str], bool]

CASES: dict[str, tuple[Steps, Steps]] = {
    "nothing at all": (step_of({}), ([], [], True)),
    "one stage is written at once": (step_of({"a": 0, "b": 0}), (["a", "b"], [], True)),
    "the guard comes first": (step_of({"t": 1, "guard": 0}), (["guard"], [], False)),
    "then the tenants": (step_of({"t": 1, "guard": 0}, settled="guard"), (["guard", "t"], [], True)),
    "all of a stage must be settled": (step_of({"g": 0, "h": 0, "t": 1}, settled="g"), (["g", "h"], [], False)),
    "stages may have gaps": (step_of({"g": 0, "t": 5, "u": 9}, settled="g"), (["g", "t"], [], False)),
    "the tenants go first": (step_of({}, {"guard": 0, "t": 1}), ([], ["t"], False)),
    "the guard waits for them to be gone": (step_of({}, {"guard": 0}, {"t": 1}), ([], [], False)),
    "and goes last": (step_of({}, {"guard": 0}, {"t": 1}, settled="t"), ([], ["guard"], True)),
    "nobody waits for one of the same stage": (step_of({}, {"u": 1}, {"t": 1}), ([], ["u"], True)),
    "nor for one of an earlier stage": (step_of({}, {"t": 1}, {"guard": 0}), ([], ["t"], True)),
    "one tenant goes while others stay": (
        step_of({"guard": 0, "u": 1}, {"guard": 0, "t": 1, "u": 1}, settled="guard"),
        (["guard", "u"], ["t"], True),
    ),
    "a guard that is changed holds no deletion up": (
        step_of({"guard": 0, "u": 1}, {"guard": 0, "t": 1}),
        (["guard"], ["t"], False),
    ),
}


@pytest.mark.parametrize(("found", "expected"), CASES.values(), ids=CASES)
def test_the_next_step(found: Steps, expected: Steps) -> None:
    assert found == expected


def test_objects_of_another_kind_take_their_place_all_at_once() -> None:
    wanted = [replace(part(name, stage), resource=HTTP_ROUTES) for name, stage in (("t", 1), ("guard", 0))]
    old = plan_of({}, {"root": 1, "shard": 0})
    step = next_step(replace(old, parts={item.ident: item for item in wanted}), {}, lambda _: False)
    assert [item.name for item in step.writes] == ["guard", "t"]
    assert {name for _, _, name in step.deletes} == {"root", "shard"}
    assert step.is_last


def test_an_object_says_its_stage_beside_what_it_says_anyway() -> None:
    plain = part("guard")
    assert staged(plain) is plain.obj
    later = Part(VIRTUAL_SERVICES, thing(VIRTUAL_SERVICES, "t", {"spec": {}}, annotated({"a": "b"})), stage=2)
    assert staged(later)["metadata"]["annotations"] == {"a": "b", STAGE: "2"}
    assert later.obj["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize(("text", "stage"), [("1", 1), ("0", 0), ("", 0), ("-1", 0), ("one", 0)])
def test_an_object_whose_stage_somebody_has_spoiled_counts_as_of_the_first(text: str, stage: int) -> None:
    assert stage_of(thing(VIRTUAL_SERVICES, "t", {}, annotated({STAGE: text}))) == stage
    assert stage_of(thing(VIRTUAL_SERVICES, "t", {})) == 0


# --- the property

stages = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3), max_size=6)


class Proxies:
    """What is in the API server, and what proxies have of it so far."""

    def __init__(self, wanted: dict[str, int], before: dict[str, int]) -> None:
        self.wanted = wanted
        self.stored = dict(before)
        self.proxied = dict(before)

    def catch_up(self, names: set[str]) -> None:
        for name in names:
            if name in self.stored:
                self.proxied[name] = self.stored[name]
            else:
                self.proxied.pop(name, None)

    def is_settled(self, name: str) -> bool:
        return (name in self.proxied) is (name in self.wanted)


def play(
    wanted: dict[str, int],
    before: dict[str, int],
    catching: list[set[str]],
    take: Callable[[Plan, dict[str, int], IsSettled], Step],
) -> Proxies:
    """Make `wanted` of `before`, proxies catching up with some objects after each step; checks the order all along."""
    proxies = Proxies(wanted, before)
    departing: dict[str, int] = {}
    for caught in [*catching, *[set("abcdefgh")] * 20]:
        step = take(plan_of(wanted, proxies.stored), departing, proxies.is_settled)
        for item in step.writes:
            if item.name not in proxies.stored:
                earlier = [name for name, stage in wanted.items() if stage < item.stage]
                assert all(name in proxies.proxied and name in proxies.stored for name in earlier), "written too early"
            proxies.stored[item.name] = item.stage
            departing.pop(item.name, None)
        for _, _, name in step.deletes:
            stage = proxies.stored.pop(name)
            departing[name] = stage
            left = [other for other, its in proxies.proxied.items() if its > stage and other not in wanted]
            assert left == [], "removed too early"
        proxies.catch_up(caught)
        departing = {name: stage for name, stage in departing.items() if not proxies.is_settled(name)}
    return proxies


scenes = st.tuples(stages, stages, st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=6)).map(
    # an object keeps its stage for as long as it is there
    lambda scene: ({name: scene[1].get(name, stage) for name, stage in scene[0].items()}, scene[1], scene[2])
)


@given(scenes)
def test_at_no_time_is_an_object_there_without_those_that_it_needs(
    scene: tuple[dict[str, int], dict[str, int], list[set[str]]],
) -> None:
    wanted, before, catching = scene
    end = play(wanted, before, catching, next_step)
    assert end.stored == wanted
    assert end.proxied == wanted


def _all_at_once(plan: Plan, departing: dict[str, int], is_settled: IsSettled) -> Step:
    del departing, is_settled
    return Step(tuple(plan.parts.values()), plan.unwanted, is_last=True)


def _never_waiting_for_departing(plan: Plan, departing: dict[str, int], is_settled: IsSettled) -> Step:
    del departing
    return next_step(plan, {}, is_settled)


def _everything_counts_as_settled(plan: Plan, departing: dict[str, int], is_settled: IsSettled) -> Step:
    del is_settled
    return next_step(plan, departing, lambda _: True)


BROKEN = [_all_at_once, _never_waiting_for_departing, _everything_counts_as_settled]


@pytest.mark.parametrize("broken", BROKEN, ids=[item.__name__.strip("_") for item in BROKEN])
def test_the_property_notices_an_order_that_is_broken(broken: Callable[..., Step]) -> None:
    with pytest.raises(AssertionError, match="too early"):
        _come_and_go(broken)


def _come_and_go(take: Callable[..., Step]) -> None:
    play({"a": 0, "b": 1}, {}, [set(), set()], take)
    play({}, {"a": 0, "b": 1}, [set(), set()], take)


def test_the_property_notices_a_stage_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "stage_of", lambda _: 0)
    with pytest.raises(AssertionError, match="too early"):
        play({}, {"a": 0, "b": 1}, [set()], next_step)
