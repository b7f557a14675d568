"""Lifetimes, snapshots, Events, times, and that a plan depends on nothing but what is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    EPOCH,
    conditioned,
    created,
    deleting,
    deployment,
    finalized,
    forking,
    generation,
    having,
    kafka_cluster,
    kafka_consumer,
    pod,
    routing_key,
    sandbox,
    selecting,
    service,
    thing,
    ttl,
)
from sidestream.api.labels import FINALIZER, FORCE_CLEANUP
from sidestream.kube.port import CONTROLLER_REVISIONS, DEPLOYMENTS, Object
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.plan import plan
from unit.sandbox.scenes import (
    BASELINE_OBJECTS,
    CONFIG,
    FULFILMENT,
    GONE,
    PINNED,
    WITHDRAWN,
    fork,
    fork_service,
    going,
    ours,
    planned,
    route,
    said,
    seen,
    targets,
    with_entry,
)
from unit.sandbox.scenes_live import FENCED


@pytest.mark.parametrize(
    ("lifetime", "moment", "expected"),
    [
        pytest.param(ttl("1h"), timedelta(minutes=50), 600.0, id="ten minutes left"),
        pytest.param(ttl("1h"), timedelta(seconds=3595), 5.0, id="five seconds left"),
        pytest.param(ttl("99999d"), timedelta(days=1), None, id="more than a hundred years"),
        pytest.param(having("spec.lifetime", None), timedelta(days=900), None, id="no lifetime"),
    ],
)
def test_it_looks_again_when_the_lifetime_ends(lifetime: Any, moment: timedelta, expected: float | None) -> None:
    result = plan(seen(deployment(), fork(), sandbox("alice", lifetime)), EPOCH + moment, CONFIG)
    assert result.requeue_after == expected


@pytest.mark.parametrize(
    ("lifetime", "last_change", "is_expired"),
    [
        pytest.param(ttl("1h"), "2026-01-01T00:00:00Z", True, id="created an hour ago"),
        pytest.param(ttl("61m"), "2026-01-01T00:00:00Z", False, id="created less than its lifetime ago"),
        pytest.param(ttl("1h", "LastChange"), "2026-01-01T00:30:00Z", False, id="changed half an hour ago"),
        pytest.param(ttl("1h", "LastChange"), "2026-01-01T00:00:00Z", True, id="not changed since an hour"),
    ],
)
def test_it_deletes_itself_at_the_end_of_its_lifetime(lifetime: Any, last_change: str, is_expired: bool) -> None:  # noqa: FBT001
    status = having("status", {"observedGeneration": 1, "lastChangedAt": last_change})
    item = sandbox("alice", lifetime, status, finalized(FINALIZER))
    result = plan(seen(*BASELINE_OBJECTS, fork(), item), EPOCH + timedelta(hours=1), CONFIG)
    assert result.is_expired is is_expired
    if is_expired:
        assert said(result, "Ready")[:2] == ("False", "Expired")
        assert [news.reason for news in result.news] == ["Expired"]
        assert result.writes == result.deletes == ()


def test_a_change_of_the_spec_renews_the_time_of_the_last_change() -> None:
    status = having("status", {"observedGeneration": 1, "lastChangedAt": "2026-01-01T00:00:00Z"})
    later = EPOCH + timedelta(hours=5)
    same = plan(seen(*BASELINE_OBJECTS, sandbox("alice", status, ttl("9h", "LastChange"))), later, CONFIG).status
    item = sandbox("alice", status, ttl("9h", "LastChange"), generation(2))
    changed = plan(seen(*BASELINE_OBJECTS, item), later, CONFIG).status
    assert same is not None
    assert changed is not None
    assert (same.last_changed_at, same.expires_at) == ("2026-01-01T00:00:00Z", "2026-01-01T09:00:00Z")
    assert (changed.last_changed_at, changed.expires_at) == ("2026-01-01T05:00:00Z", "2026-01-01T14:00:00Z")


def test_a_pinned_fork_is_rendered_from_its_snapshot() -> None:
    first = planned(*BASELINE_OBJECTS, sandbox("alice", PINNED))
    revision = next(effect.obj for effect in first.writes if effect.resource is CONTROLLER_REVISIONS)
    assert revision["data"]["spec"] == deployment()["spec"]
    kept = thing(CONTROLLER_REVISIONS, "orders-alice", revision, ours())
    kept["metadata"]["namespace"] = "shop"
    newer = deployment("orders", generation(9), having("spec.minReadySeconds", 5))
    second = planned(newer, service(), {**kept, "metadata": {**kept["metadata"], "uid": "r"}}, sandbox("alice", PINNED))
    made = next(effect.obj for effect in second.writes if effect.resource is DEPLOYMENTS)
    assert "minReadySeconds" not in made["spec"]
    assert made["metadata"]["annotations"]["sidestream.dev/baseline-generation"] == "1"
    assert "controllerrevisions/orders-alice" not in targets(second.writes)


def test_a_snapshot_goes_when_the_fork_follows_its_baseline_again() -> None:
    kept = thing(CONTROLLER_REVISIONS, "orders-alice", {"data": {}}, ours())
    result = planned(*BASELINE_OBJECTS, fork(), kept, sandbox())
    assert targets(result.deletes) == ["controllerrevisions/orders-alice"]


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        pytest.param(
            "True", fork("orders-alice", having("status", {})), [("Warning", "ForkNotReady")], id="no longer ready"
        ),
        pytest.param("False", fork(), [("Normal", "Ready")], id="ready"),
        pytest.param("True", fork(), [], id="still ready"),
        pytest.param("False", fork("orders-alice", having("status", {})), [], id="still not ready"),
    ],
)
def test_events_tell_of_transitions_only(before: str, after: Object, news: list[tuple[str, str]]) -> None:
    item = sandbox("alice", conditioned("Accepted", "True", "Accepted"), conditioned("Ready", before, "x"))
    result = planned(deployment(), after, item)
    assert [(told.type, told.reason) for told in result.news] == news


def test_times_of_conditions_move_only_with_their_status() -> None:
    item = sandbox("alice", conditioned("WorkloadsReady", "True", "x"), conditioned("RoutesReady", "False", "x"))
    later = EPOCH + timedelta(hours=1)
    result = plan(seen(deployment(), fork(), item), later, CONFIG)
    assert result.status is not None
    times = {found.type: found.last_transition_time for found in result.status.conditions}
    assert times["WorkloadsReady"] == "2026-01-01T00:00:00Z"
    assert times["RoutesReady"] == "2026-01-01T01:00:00Z"


def test_messages_have_no_time_in_them() -> None:
    first, second = (
        plan(
            seen(deployment(), fork("orders-alice", having("status", {})), sandbox()),
            EPOCH + timedelta(hours=h),
            CONFIG,
        )
        for h in (1, 2)
    )
    messages = [[found.message for found in result.status.conditions] for result in (first, second) if result.status]
    assert messages[0] == messages[1]


TOLD = having(
    "spec.template.spec.containers",
    [{"name": "app", "image": "i", "env": [{"name": "KAFKA_GROUP_ID", "value": "fulfilment.sbx.alice"}]}],
)

worlds = st.lists(
    st.sampled_from(
        [
            deployment(),
            deployment("fulfilment"),
            service(),
            service("web", selecting({"app": "orders"})),
            kafka_cluster(),
            kafka_consumer(),
            fork(),
            fork("fulfilment-alice"),
            fork_service(),
            WITHDRAWN,
            route("Active"),
            route("Drained", deleting(), finalized(FINALIZER)),
            *(
                route("Draining", FENCED, deleting(), finalized(FINALIZER), having(f"status.{asked}", value=True))
                for asked in ("halted", "stranded", "handback")
            ),
            route("Retiring", FENCED, deleting(), finalized(FINALIZER)),
            pod("p", ours()),
            sandbox("old", routing_key("alice"), created("2025-01-01T00:00:00Z")),
        ]
    ),
    unique_by=lambda item: (item["kind"], item["metadata"]["name"]),
)
sandboxes = st.sampled_from(
    [
        sandbox(),
        sandbox("alice", forking("orders", "fulfilment")),
        going(),
        sandbox("alice", PINNED),
        GONE,
        with_entry(GONE),
        sandbox("alice", forking("orders", "fulfilment"), having("spec.suspended", value=True)),
        sandbox("alice", forking("fulfilment"), having("spec.drain", {"policy": "Handback", "timeout": "1m"})),
        going(FULFILMENT, having("metadata.annotations", {FORCE_CLEANUP: "discard"})),
    ]
)


def shuffled(observed: Observed, random: Any) -> Observed:
    def anew(items: Any) -> list[Any]:
        return list(random.sample(list(items), len(items)))

    return replace(
        observed,
        objects={kind: dict(anew(items.items())) for kind, items in anew(observed.objects.items())},
        pods=tuple(anew(observed.pods)),
        others=tuple(anew(observed.others)),
        consumers=tuple(anew(observed.consumers)),
    )


@settings(deadline=None)
@given(worlds, sandboxes, st.randoms())
def test_the_plan_depends_on_nothing_but_what_is(world: list[Object], item: Object, random: Any) -> None:
    observed = seen(*world, item)
    assert plan(observed, EPOCH, CONFIG) == plan(shuffled(observed, random), EPOCH, CONFIG)


@settings(deadline=None)
@given(worlds, sandboxes)
def test_no_fork_goes_while_it_is_routed_or_its_hand_off_lives(world: list[Object], item: Object) -> None:
    result = planned(*world, item)
    alive = {found["metadata"]["name"] for found in world if found.get("status", {}).get("phase") == "Active"}
    if alive:
        assert "deployments/fulfilment-alice" not in targets(result.deletes)
    if item.get("status", {}).get("routes"):
        assert not [name for name in targets(result.deletes) if name.endswith("s/orders-alice")]


ENDINGS = [
    route(phase, FENCED, deleting(), finalized(FINALIZER), *(having(f"status.{name}", value=True) for name in asked))
    for phase, asked in (
        ("Active", ()),
        ("Freezing", ("halted",)),
        ("Draining", ("stranded",)),
        ("Draining", ("handback",)),
        ("Drained", ("stranded",)),
        ("Retiring", ()),
    )
]
OWNERS = [
    sandbox("alice", FULFILMENT),
    sandbox("alice", FULFILMENT, having("spec.suspended", value=True)),
    sandbox("alice", FULFILMENT, having("spec.drain", {"policy": "Handback", "timeout": "1m"})),
    sandbox("alice", finalized(FINALIZER)),
    going(FULFILMENT, having("spec.drain", {"policy": "Handback", "timeout": "1m"})),
    going(FULFILMENT, having("metadata.annotations", {FORCE_CLEANUP: "discard"})),
]


@pytest.mark.parametrize("forks", [[], [fork("fulfilment-alice", having("spec.replicas", 0), TOLD)]])
@pytest.mark.parametrize("ending", [*ENDINGS, route("Active", FENCED)])
@pytest.mark.parametrize("item", OWNERS)
def test_no_object_is_written_twice_nor_written_and_deleted_in_one_plan(
    item: Object, ending: Object, forks: list[Object]
) -> None:
    baselines = (deployment(), deployment("fulfilment"), kafka_cluster())
    result = planned(*baselines, kafka_consumer("fulfilment-orders", FENCED), *forks, ending, item)
    written, deleted = targets(result.writes), targets(result.deletes)
    assert len(set(written)) == len(written)
    assert len(set(deleted)) == len(deleted)
    is_forced = FORCE_CLEANUP in item["metadata"].get("annotations", {})
    assert set(written).isdisjoint(deleted) or is_forced
