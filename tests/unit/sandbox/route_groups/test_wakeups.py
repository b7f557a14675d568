from __future__ import annotations

from typing import Any

import pytest

from builders import (
    deleting,
    forking,
    having,
    in_namespace,
    labelled,
    of_labels,
    of_sandboxes,
    route_group,
    routing_key,
    sandbox,
)
from sidestream.runtime.reconcile import ObjectKey
from sidestream.sandbox.route_groups.wakeups import RouteGroupWakeups
from sidestream.sandbox.wakeups import SandboxWakeups


@pytest.fixture
def wakeups() -> RouteGroupWakeups:
    """Red ones are members of `red`, alice is one of `named`; `elsewhere` is another namespace's."""
    found = RouteGroupWakeups()
    found.of_sandbox(sandbox("alice"))
    found.of_sandbox(sandbox("bob", labelled({"team": "red"})))
    found.of_group(route_group("red", of_labels({"team": "red"})))
    found.of_group(route_group("named", of_sandboxes("alice")))
    found.of_group(route_group("elsewhere", of_sandboxes("alice"), in_namespace("other")))
    return found


def names(keys: Any) -> list[str]:
    return sorted(key.name for key in keys)


def test_a_sandbox_wakes_the_groups_that_it_is_or_was_in(wakeups: RouteGroupWakeups) -> None:
    assert names(wakeups.of_sandbox(sandbox("alice"))) == ["named"]
    assert names(wakeups.of_sandbox(sandbox("alice", labelled({"team": "red"})))) == ["named", "red"]
    assert names(wakeups.of_sandbox(sandbox("alice"))) == ["named", "red"]
    assert names(wakeups.of_sandbox(sandbox("alice"), gone=True)) == ["named"]
    assert names(wakeups.of_sandbox(sandbox("carol"))) == []


def test_a_sandbox_wakes_the_groups_of_its_own_key_and_those_of_one_key_wake_each_other(
    wakeups: RouteGroupWakeups,
) -> None:
    assert names(wakeups.of_sandbox(sandbox("carol", routing_key("red")))) == ["red"]
    twin = route_group("twin", having("spec.routingKey", "red"), of_sandboxes("nobody"))
    assert names(wakeups.of_group(twin)[0]) == ["red", "twin"]
    assert names(wakeups.of_sandbox(sandbox("bob", labelled({"team": "red"})))) == ["red", "twin"]
    assert names(wakeups.of_group(twin, gone=True)[0]) == ["red"]


def test_a_group_wakes_those_that_are_or_were_its_members_when_its_spec_is_news(wakeups: RouteGroupWakeups) -> None:
    groups, members = wakeups.of_group(route_group("named", of_sandboxes("bob")))
    assert (names(groups), names(members)) == (["named"], ["alice", "bob"])
    groups, members = wakeups.of_group(route_group("named", of_sandboxes("bob"), having("status.memberCount", 1)))
    assert (names(groups), names(members)) == (["named"], [])
    assert names(wakeups.of_group(route_group("named", of_sandboxes("bob"), deleting()))[1]) == ["bob"]
    assert names(wakeups.of_group(route_group("named", of_sandboxes("bob")), gone=True)[1]) == []
    assert names(wakeups.of_group(route_group("red", of_labels({"team": "red"})), gone=True)[1]) == ["bob"]


def test_all_groups_are_woken_at_a_resync(wakeups: RouteGroupWakeups) -> None:
    assert wakeups.all_keys() == {
        ObjectKey("shop", "red"),
        ObjectKey("shop", "named"),
        ObjectKey("other", "elsewhere"),
    }


def test_members_wake_with_those_that_fork_what_they_fork() -> None:
    known = SandboxWakeups()
    known.of_sandbox(sandbox("alice", forking("orders")))
    known.of_sandbox(sandbox("bob", forking("orders", "stock")))
    known.of_sandbox(sandbox("carol", forking("stock")))
    known.of_sandbox(sandbox("dave", forking("orders"), in_namespace("other")))
    assert known.with_rivals({ObjectKey("shop", "alice")}) == {ObjectKey("shop", "alice"), ObjectKey("shop", "bob")}
    assert names(known.with_rivals({ObjectKey("shop", "alice"), ObjectKey("shop", "new")})) == ["alice", "bob", "new"]
    assert known.with_rivals(set()) == set()
