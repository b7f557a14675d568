"""What goes, in which order, and what is waited for."""

from __future__ import annotations

import pytest

from builders import (
    conditioned,
    deleting,
    deployment,
    finalized,
    having,
    pod,
    sandbox,
    selecting,
    service,
)
from sidestream.api.labels import BASELINE_SERVICE, FINALIZER, FORCE_CLEANUP
from sidestream.kube.port import Object
from sidestream.sandbox.plan import Plan
from sidestream.sandbox.removal import Removal, Stage
from sidestream.sandbox.status import farewell_conditions
from unit.sandbox.scenes import (
    BILLING,
    CONSUMING,
    FULFILMENT,
    GONE,
    LEFT_SERVICE,
    RUNNING,
    WITHDRAWN,
    entry,
    fork,
    fork_service,
    going,
    ours,
    planned,
    route,
    routed,
    said,
    seen,
    targets,
    with_entry,
)
from unit.sandbox.scenes_live import FENCED


@pytest.mark.parametrize(
    ("item", "left", "written", "deleted", "condition"),
    [
        pytest.param(
            with_entry(GONE),
            [fork(), LEFT_SERVICE],
            ["services/orders-alice"],
            [],
            ("RoutesReady", "Waits until no proxy routes to the forks of Service orders any more"),
            id="routes first: the Service is withdrawn",
        ),
        pytest.param(
            with_entry(GONE),
            [fork(), WITHDRAWN],
            [],
            [],
            ("RoutesReady", "Waits until no proxy routes to the forks of Service orders any more"),
            id="the entry is still there: wait",
        ),
        pytest.param(
            with_entry(GONE),
            [fork()],
            [],
            [],
            ("RoutesReady", "Waits until no proxy routes to the forks of Service orders any more"),
            id="somebody deleted the Service, but it is still routed: wait",
        ),
        pytest.param(
            GONE,
            [fork(), WITHDRAWN, route("Active", ours("orders"))],
            [],
            ["kafkaroutes/fulfilment-orders-alice"],
            ("KafkaReady", "KafkaRoute fulfilment-orders-alice has not been looked at yet"),
            id="then the hand-off",
        ),
        pytest.param(
            GONE,
            [fork(), WITHDRAWN, route("Draining", ours("orders"), deleting(), finalized(FINALIZER))],
            [],
            [],
            ("KafkaReady", "KafkaRoute fulfilment-orders-alice is being given back"),
            id="it drains: wait",
        ),
        pytest.param(
            GONE,
            [fork(), WITHDRAWN, route("Drained", ours("orders"), deleting(), finalized(FINALIZER))],
            [],
            ["deployments/orders-alice", "services/orders-alice"],
            ("WorkloadsReady", "Waits until the pods of Deployment orders-alice are gone"),
            id="then the fork",
        ),
        pytest.param(
            GONE,
            [pod("p", ours()), route("Drained", ours("orders"), deleting(), finalized(FINALIZER))],
            [],
            [],
            ("WorkloadsReady", "Waits until the pods of Deployment orders-alice are gone"),
            id="pods are left: wait",
        ),
        pytest.param(
            GONE,
            [
                route(
                    "Deleting", ours("orders"), deleting(), finalized(FINALIZER), conditioned("Ready", "True", "Active")
                )
            ],
            [],
            [],
            ("KafkaReady", "KafkaRoute fulfilment-orders-alice is being given back"),
            id="then the group",
        ),
    ],
)
def test_a_workload_that_is_no_longer_wanted_goes_in_order(
    item: Object, left: list[Object], written: list[str], deleted: list[str], condition: tuple[str, str]
) -> None:
    wanted = {"deployments/billing-alice"}
    result = planned(BILLING, fork("billing-alice"), *left, item)
    assert [target for target in targets(result.writes) if target not in wanted] == written
    assert targets(result.deletes) == deleted
    assert said(result, condition[0])[0] == "False"
    assert said(result, condition[0])[2] == condition[1]


def test_a_service_that_leads_to_the_baseline_no_more_loses_its_stand_in() -> None:
    other = service("orders", selecting({"app": "elsewhere"}))
    routed_sandbox = sandbox("alice", finalized(FINALIZER), routed(entry("Programmed", "Programmed")))
    first = planned(deployment(), other, fork(), fork_service(), routed_sandbox)
    withdrawn = next(effect.obj for effect in first.writes if effect.obj["kind"] == "Service")
    assert BASELINE_SERVICE not in withdrawn["metadata"]["labels"]
    assert first.deletes == ()
    second = planned(deployment(), other, fork(), WITHDRAWN, sandbox("alice", finalized(FINALIZER)))
    assert targets(second.deletes) == ["services/orders-alice"]


@pytest.mark.parametrize(
    ("item", "left", "deleted", "ready"),
    [
        pytest.param(
            going(routed(entry("Programmed", "Programmed"))),
            [fork(), fork_service(), route("Active")],
            [],
            ("Deleting", "Waits until no proxy routes to the forks of Service orders any more"),
            id="routes first",
        ),
        pytest.param(
            going(),
            [fork(), fork_service(), route("Active")],
            ["kafkaroutes/fulfilment-orders-alice"],
            ("Draining", "Waits until the fork has worked off the records of KafkaRoute fulfilment-orders-alice"),
            id="then hand-offs",
        ),
        pytest.param(
            going(),
            [
                fork(),
                route("Draining", deleting(), conditioned("Ready", "False", "ClusterUnreachable", "no broker answers")),
            ],
            [],
            ("ClusterUnreachable", "no broker answers"),
            id="Kafka is away: wait and say so",
        ),
        pytest.param(
            going(),
            [fork(), fork_service(), route("Drained", deleting(), finalized(FINALIZER))],
            ["deployments/orders-alice", "services/orders-alice"],
            ("Deleting", "Waits until the pods of Deployment orders-alice are gone"),
            id="then forks and Services",
        ),
        pytest.param(
            going(),
            [fork("orders-alice", deleting(), finalized("foregroundDeletion")), pod("p", ours())],
            [],
            ("Deleting", "Waits until the pods of Deployment orders-alice are gone"),
            id="pods are left: wait",
        ),
        pytest.param(
            going(),
            [route("Deleting", deleting(), finalized(FINALIZER))],
            [],
            ("Deleting", "Waits until the consumer group of KafkaRoute fulfilment-orders-alice is deleted"),
            id="then groups",
        ),
    ],
)
def test_a_sandbox_is_deleted_in_order(
    item: Object, left: list[Object], deleted: list[str], ready: tuple[str, str]
) -> None:
    result = planned(*left, item)
    assert targets(result.deletes) == deleted
    assert said(result, "Ready") == ("False", *ready)
    assert result.finalizer == "keep"
    assert [news.reason for news in result.news] == ["Deleting"]


RETIRING = route("Retiring", FENCED, deleting(), finalized(FINALIZER))


def test_a_sandbox_does_not_wait_for_a_hand_off_that_only_the_baseline_has_to_pass() -> None:
    result = planned(RETIRING, going())
    assert (result.finalizer, result.writes, result.deletes) == ("remove", (), ())
    assert [news.reason for news in result.news] == ["Deleted"]


@pytest.mark.parametrize(
    ("left", "ready"),
    [
        pytest.param(
            [fork("fulfilment-alice")], "Waits until the pods of Deployment fulfilment-alice are gone", id="a fork"
        ),
        pytest.param(
            [route("Draining", FENCED, having("metadata.name", "other"), deleting(), finalized(FINALIZER))],
            "Waits until the fork has worked off the records of KafkaRoute other",
            id="a hand-off that drains",
        ),
        pytest.param(
            [route("Deleting", FENCED, having("metadata.name", "other"), deleting(), finalized(FINALIZER))],
            "Waits until the consumer group of KafkaRoute other is deleted",
            id="a group that is not deleted",
        ),
    ],
)
def test_all_but_a_hand_off_that_retires_is_waited_for(left: list[Object], ready: str) -> None:
    result = planned(RETIRING, *left, going())
    assert result.finalizer == "keep"
    assert said(result, "Ready")[2] == ready


def test_a_hand_off_that_retires_and_was_not_deleted_is_deleted_first() -> None:
    result = planned(route("Retiring", FENCED), going())
    assert result.finalizer == "keep"
    assert targets(result.deletes) == ["kafkaroutes/fulfilment-orders-alice"]


DRAIN = {"policy": "Handback", "timeout": "1m"}
LEAVING = (FENCED, deleting(), finalized(FINALIZER))


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(going(having("spec.drain", DRAIN)), id="the Sandbox goes"),
        pytest.param(
            sandbox(
                "alice",
                FULFILMENT,
                having("spec.drain", DRAIN),
                having("spec.suspended", value=True),
                finalized(FINALIZER),
            ),
            id="it is suspended",
        ),
        pytest.param(sandbox("alice", having("spec.drain", DRAIN), finalized(FINALIZER)), id="the workload goes"),
    ],
)
def test_a_drain_policy_that_changes_reaches_a_hand_off_on_its_way_back(item: Object) -> None:
    live = route("Draining", *LEAVING)
    result = planned(*CONSUMING, deployment(), RUNNING, live, item)
    (told,) = (effect.obj for effect in result.writes if effect.obj["kind"] == "KafkaRoute")
    assert told["spec"] == {**live["spec"], "drain": DRAIN}
    assert told["metadata"]["uid"] == live["metadata"]["uid"]
    assert FORCE_CLEANUP not in told["metadata"]["annotations"]
    same = planned(*CONSUMING, deployment(), RUNNING, {**live, "spec": told["spec"]}, item)
    assert "kafkaroutes/fulfilment-orders-alice" not in targets(same.writes)


def test_force_cleanup_is_an_answer_of_a_deletion_only() -> None:
    item = sandbox("alice", having("metadata.annotations", {FORCE_CLEANUP: "discard"}), finalized(FINALIZER))
    result = planned(*CONSUMING, deployment(), RUNNING, route("Draining", *LEAVING), item)
    assert "kafkaroutes/fulfilment-orders-alice" not in targets(result.writes)


def test_the_finalizer_goes_when_nothing_is_left() -> None:
    result = planned(going())
    assert result.finalizer == "remove"
    assert result.status is None
    assert [news.reason for news in result.news] == ["Deleted"]


def test_a_sandbox_in_deletion_that_is_no_longer_ours_to_hold_is_left_alone() -> None:
    assert planned(fork(), sandbox("alice", deleting(), finalized("somebody/else"))) == Plan()


def test_force_cleanup_is_handed_on_to_the_kafka_routes() -> None:
    answer = having("metadata.annotations", {FORCE_CLEANUP: "discard"})
    result = planned(route("Active"), going(answer))
    (forced,) = (effect.obj for effect in result.writes)
    assert forced["metadata"]["annotations"][FORCE_CLEANUP] == "discard"
    assert forced["metadata"]["uid"] == "uid-kafkaroutes-fulfilment-orders-alice"
    assert forced["spec"] == {**route("Active")["spec"], "drain": {"policy": "Wait", "timeout": "15m"}}
    assert targets(result.deletes) == ["kafkaroutes/fulfilment-orders-alice"]


@pytest.mark.parametrize(
    ("stage", "sentences"),
    [
        (Stage.DRAIN, ("The forks go when no route and no record needs them", "Waits until the fork has worked off")),
        (Stage.PODS, ("Waits until the pods of Deployment", "The consumers' records are given back")),
        (Stage.GROUPS, ("The forks are gone", "Waits until the consumer group of KafkaRoute")),
    ],
)
def test_no_condition_goes_back_to_the_sentence_of_an_earlier_step(stage: Stage, sentences: tuple[str, str]) -> None:
    told = {item.type: item.message for item in farewell_conditions(seen(GONE), Removal(stage=stage, names=("it",)))}
    assert told["WorkloadsReady"].startswith(sentences[0])
    assert told["KafkaReady"].startswith(sentences[1])
