from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.mapping_server import change_json, mapping_json
from sidestream_sdk.ownership import Change, Mapping, TopicMapping, lists, rule_of, takes, why_not_join

PHASES = ["Pending", "Creating", "Preparing", "Active", "Draining", "Drained", "Deleting", "Unheard"]
names = st.sampled_from(["alice", "bob", "carol"])
changes = st.builds(
    Change, id=names, sandbox=names, keys=st.frozensets(names), group=names, phase=st.sampled_from(PHASES)
)
topics = st.builds(TopicMapping, group=st.just("fulfilment"), changes=st.lists(changes, max_size=5).map(tuple))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(topic=st.none() | topics, key=st.none() | names, sandbox=st.none() | names)
def test_the_prepared_rule_decides_as_the_definition_does(
    topic: TopicMapping | None, key: str | None, sandbox: str | None
) -> None:
    assert rule_of(topic, sandbox=sandbox).takes(key) == takes(topic, sandbox=sandbox, key=key)


@given(topic=st.none() | topics, key=st.none() | names)
def test_every_record_is_taken_by_somebody(topic: TopicMapping | None, key: str | None) -> None:
    sides = [None, "alice", "bob", "carol"]

    assert any(takes(topic, sandbox=side, key=key) for side in sides)


@given(topic=topics, key=st.none() | names)
def test_outside_draining_one_claim_has_one_taker(topic: TopicMapping, key: str | None) -> None:
    settled = TopicMapping(topic.group, tuple(change for change in topic.changes[:1] if change.phase != "Draining"))
    sides = [None, "alice", "bob", "carol"]

    assert sum(takes(settled, sandbox=side, key=key) for side in sides) == 1


def test_a_mapping_is_read_as_the_service_writes_it() -> None:
    mapping = Mapping.from_json({**mapping_json(change_json("alice", "Preparing"), poll_interval=2), "later": 1})

    assert mapping.consumer == "shop/fulfilment"
    assert mapping.poll_interval == 2.0
    assert mapping.topics["orders.created"].group == "fulfilment"
    assert mapping.topics["orders.created"].changes == (
        Change("fulfilment-alice", "alice", frozenset({"alice"}), "fulfilment.sbx.alice", "Preparing"),
    )


@given(raw=anything)
def test_anything_else_is_a_value_error(raw: object) -> None:
    with pytest.raises(ValueError, match="must"):
        Mapping.from_json(raw)


def paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(path for key, child in children for path in paths(child, (*at, key)))]


GOOD = mapping_json(change_json())


@given(path=st.sampled_from(paths(GOOD)), wrong=anything)
def test_a_mapping_with_one_wrong_field_is_read_or_refused_as_a_value_error(path: tuple[Any, ...], wrong: Any) -> None:
    raw: Any = {"root": copy.deepcopy(GOOD)}
    node, last = raw, "root"
    for step in path:
        node, last = node[last], step
    node[last] = wrong

    with suppress(ValueError):
        Mapping.from_json(raw["root"])


@pytest.mark.parametrize("interval", [0, -1, 3601, float("nan"), float("inf"), "5"])
def test_a_poll_interval_that_would_never_or_always_poll_is_refused(interval: float) -> None:
    raw = json.loads(json.dumps({**mapping_json(), "pollIntervalSeconds": interval}))

    with pytest.raises(ValueError, match="pollIntervalSeconds"):
        Mapping.from_json(raw)


def test_a_fork_knows_whether_the_mapping_speaks_of_it() -> None:
    mapping = Mapping.from_json(mapping_json(change_json("alice", "Deleting")))

    assert lists(mapping, "alice")
    assert not lists(mapping, "bob")


def test_why_a_fork_does_not_join_is_told_to_its_owner() -> None:
    mapping = Mapping.from_json(mapping_json(change_json("alice", "Creating"), change_json("bob")))

    assert why_not_join(mapping, sandbox="alice", group="g") == "the hand-off to Sandbox alice stands at Creating"
    assert why_not_join(mapping, sandbox="carol", group="g") == "the hand-off to Sandbox carol stands at nothing"
    assert "groupEnv" in (why_not_join(mapping, sandbox="bob", group="fulfilment") or "")
