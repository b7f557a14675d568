"""What becomes of a fork while it works off records: nothing, but for what its KafkaRoutes ask."""

from __future__ import annotations

from typing import Any

import pytest

from builders import (
    Modifier,
    deleting,
    deployment,
    finalized,
    having,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    labelled,
    sandbox,
    service,
)
from sidestream.api.labels import APPLIED_HASH, FINALIZER, TEMPLATE
from sidestream.kube.port import DEPLOYMENTS, Object
from sidestream.sandbox.draining import draining_forks
from sidestream.sandbox.fork import template_mark
from unit.sandbox.scenes import CONSUMING, FULFILMENT, KAFKA_SANDBOX, fork, going, planned, route, seen, targets
from unit.sandbox.scenes_live import FENCED

GROUP = {"name": "KAFKA_GROUP_ID", "value": "fulfilment.sbx.alice"}
RETURNS = {"name": "RETURNS_GROUP", "value": "returns.sbx.alice"}
TOLD = {"name": "SIDESTREAM_SANDBOX", "value": "alice"}
HALTED = having("status.halted", value=True)
STRANDED = having("status.stranded", value=True)
HANDBACK = having("status.handback", value=True)


def leaving(*modifiers: Modifier, phase: str = "Draining") -> Object:
    """Alice's hand-off on its way back."""
    return route(phase, FENCED, deleting(), finalized(FINALIZER), *modifiers)


def other(phase: str, *modifiers: Modifier) -> Object:
    """The hand-off of a second consumer of the same Deployment."""
    item = kafka_route(
        "fulfilment-returns-alice",
        labelled(route("Active")["metadata"]["labels"]),
        having("spec.consumer", "fulfilment-returns"),
        having("spec.forkGroup", "returns.sbx.alice"),
        having("status.phase", phase),
        FENCED,
    )
    for modify in modifiers:
        modify(item)
    return item


def running(replicas: int = 1, env: list[Object] | None = None, *modifiers: Modifier) -> Object:
    """The fork as it was written, with an image of its own and `replicas` pods."""
    container = {"name": "app", "image": "pr:1", "env": [GROUP, RETURNS, TOLD] if env is None else env}
    return fork(
        "fulfilment-alice",
        having("spec.replicas", replicas),
        having("spec.template.spec", {"containers": [container, {"name": "extra", "image": "x:1"}]}),
        having("spec.template.metadata.annotations", {TEMPLATE: "before", "note": "kept"}),
        having("metadata.annotations", {APPLIED_HASH: "h", "deployment.kubernetes.io/revision": "3", "note": "kept"}),
        *modifiers,
    )


BASELINE = deployment("fulfilment", having("spec.template.spec.terminationGracePeriodSeconds", 7))


def written(*objects: Object) -> Object | None:
    """The fork as it has to be written, None when it stays."""
    found = draining_forks(seen(*objects, *CONSUMING[1:], KAFKA_SANDBOX), lambda _: True)
    assert [resource for resource, _ in found] == [DEPLOYMENTS] * len(found)
    return found[0][1] if found else None


@pytest.mark.parametrize(
    ("routes", "live", "expected"),
    [
        pytest.param([leaving()], 2, None, id="it works on: not touched"),
        pytest.param([leaving(HALTED, phase="Freezing")], 2, 0, id="it does not say where it holds: stopped"),
        pytest.param([leaving(STRANDED)], 0, 1, id="records are left and it was stopped: one pod"),
        pytest.param([leaving(STRANDED)], 3, 3, id="records are left and it has its pods: as many"),
        pytest.param([leaving(HANDBACK)], 0, 1, id="the baseline's pods take over: one at least"),
        pytest.param([leaving(HANDBACK)], 3, 3, id="the baseline's pods take over: as many"),
        pytest.param([leaving(STRANDED), other("Freezing", deleting(), HALTED)], 3, 0, id="one of two is halted"),
        pytest.param([leaving(STRANDED), other("Draining", deleting())], 0, 1, id="one of two is stranded"),
        pytest.param([leaving(phase="Drained"), other("Draining", deleting(), STRANDED)], 0, 1, id="one is through"),
        pytest.param([leaving(phase="Deleting"), other("Draining", deleting(), STRANDED)], 0, None, id="a group goes"),
        pytest.param([leaving(phase="Retiring"), other("Draining", deleting(), HANDBACK)], 0, None, id="one is gone"),
        pytest.param([leaving(STRANDED, phase="Drained")], 3, None, id="through: what it asked is over"),
        pytest.param([leaving(STRANDED, phase="Retiring")], 3, None, id="retiring: what it asked is over"),
        pytest.param([route("Active", FENCED, STRANDED)], 0, None, id="not on its way back"),
        pytest.param([other("Draining", deleting(), STRANDED, having("spec.fork", "x"))], 0, None, id="another fork's"),
    ],
)
def test_a_fork_has_the_pods_that_its_routes_ask_for(routes: list[Object], live: int, expected: int | None) -> None:
    found = written(BASELINE, running(live), *routes)
    assert (None if found is None else found["spec"]["replicas"]) == expected


@pytest.mark.parametrize(("asked", "replicas"), [(HALTED, 0), (STRANDED, 2)])
def test_nothing_but_the_number_of_pods_changes(asked: Modifier, replicas: int) -> None:
    live = running(2)
    found = written(BASELINE, live, leaving(asked))
    assert found is not None
    assert found["spec"] == {**live["spec"], "replicas": replicas}
    assert found["metadata"]["annotations"]["note"] == "kept"


@pytest.mark.parametrize("asked", [HALTED, STRANDED, HANDBACK])
def test_notes_of_the_last_write_and_of_kubernetes_are_not_written_again(asked: Modifier) -> None:
    found = written(BASELINE, running(), leaving(asked))
    assert found is not None
    assert found["metadata"]["annotations"].keys().isdisjoint({APPLIED_HASH, "deployment.kubernetes.io/revision"})


def test_the_baselines_pods_run_in_the_forks_group_under_the_forks_labels() -> None:
    live = running(2, [GROUP, TOLD])
    found = written(BASELINE, live, leaving(HANDBACK))
    assert found is not None
    template = found["spec"]["template"]
    assert template["spec"] == {
        "containers": [
            {"name": "app", "image": "fulfilment:1", "ports": [{"containerPort": 8080}], "env": [GROUP, TOLD]}
        ],
        "terminationGracePeriodSeconds": 7,
    }
    assert template["metadata"]["labels"] == live["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"] == live["spec"]["selector"]
    assert template["metadata"]["annotations"] == {"note": "kept", TEMPLATE: template_mark(found)}
    assert template_mark(found) not in {"", "before"}


def test_the_baselines_pods_are_taken_in_a_form_that_server_side_apply_accepts() -> None:
    twice = {"containerPort": 8080, "protocol": "TCP"}
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    container = {"name": "app", "image": "fulfilment:2", "ports": [twice, twice], "env": env}
    pod_spec = {"containers": [container], "imagePullSecrets": [{"name": "s"}, {"name": "s"}]}
    baseline = deployment("fulfilment", having("spec.template.spec", pod_spec))
    found = written(baseline, running(1, [GROUP, TOLD]), leaving(HANDBACK))
    assert found is not None
    (app,) = found["spec"]["template"]["spec"]["containers"]
    assert app["ports"] == [twice]
    assert app["env"] == [{"name": "A", "value": "2"}, GROUP, TOLD]
    assert found["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "s"}]


def test_the_baselines_pods_keep_ids_of_their_own() -> None:
    own = {"name": "INSTANCE_ID", "value": "fulfilment-0.sbx.alice"}
    env = [{"name": "INSTANCE_ID", "value": "fulfilment-0"}, {"name": "OTHER", "value": "x"}]
    container = {"name": "app", "image": "fulfilment:1", "env": env}
    baseline = deployment("fulfilment", having("spec.template.spec", {"containers": [container]}))
    found = written(baseline, running(1, [GROUP, TOLD, own, {"name": "FORKS", "value": "y"}]), leaving(HANDBACK))
    assert found is not None
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [own, env[1], GROUP, TOLD]


def test_what_is_written_for_the_baselines_pods_is_the_same_once_it_is_there() -> None:
    first = written(BASELINE, running(), leaving(HANDBACK))
    assert first is not None
    assert written(BASELINE, {**first, "status": {}}, leaving(HANDBACK)) == first


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(other("Active"), id="a consumer that stays"),
        pytest.param(other("Draining", deleting()), id="a consumer that leaves"),
        pytest.param(other("Drained", deleting()), id="a consumer that is through"),
    ],
)
def test_the_baselines_pods_are_told_the_group_of_every_consumer(second: Object) -> None:
    found = written(BASELINE, running(), leaving(HANDBACK), second)
    assert found is not None
    assert RETURNS in found["spec"]["template"]["spec"]["containers"][0]["env"]


def test_the_baselines_pods_are_told_the_group_that_is_recorded() -> None:
    recorded = leaving(HANDBACK, having("status.group", {"name": "recorded"}))
    found = written(BASELINE, running(1, [{**GROUP, "value": "recorded"}, TOLD]), recorded)
    assert found is not None
    assert {**GROUP, "value": "recorded"} in found["spec"]["template"]["spec"]["containers"][0]["env"]


@pytest.mark.parametrize(
    ("baseline", "live", "routes"),
    [
        pytest.param(
            deployment("fulfilment", having("spec.template.spec.containers", [{"name": "renamed", "image": "i"}])),
            running(0),
            [leaving(HANDBACK, STRANDED)],
            id="the baseline has no container of this name any more",
        ),
        pytest.param(deployment("x"), running(0), [leaving(HANDBACK, STRANDED)], id="the baseline is gone"),
    ],
)
def test_no_pod_of_the_baseline_runs_that_would_join_the_baselines_own_group(
    baseline: Object, live: Object, routes: list[Object]
) -> None:
    found = written(baseline, live, *routes)
    assert found is not None
    assert found["spec"]["template"] == live["spec"]["template"]
    assert found["spec"]["replicas"] == 1


@pytest.mark.parametrize("asked", [HANDBACK, STRANDED])
@pytest.mark.parametrize(
    ("env", "routes"),
    [
        pytest.param([TOLD], [], id="it is told no group"),
        pytest.param([GROUP, TOLD], [other("Active")], id="it is not told that of a second consumer"),
    ],
)
def test_a_fork_that_is_not_told_every_group_does_not_run(
    env: list[Object], routes: list[Object], asked: Modifier
) -> None:
    assert written(BASELINE, running(0, env), leaving(asked), *routes) is None


def test_pods_that_joined_the_baselines_group_do_not_run_again() -> None:
    barred = leaving(STRANDED, having("status.barred", "before"))
    assert written(BASELINE, running(0), barred) is None


def test_a_fork_that_somebody_is_deleting_is_left_alone() -> None:
    assert written(BASELINE, running(0, None, deleting(), finalized("x")), leaving(STRANDED)) is None


@pytest.mark.parametrize("asked", [HALTED, STRANDED, HANDBACK])
def test_a_fork_is_written_once_in_every_plan(asked: Modifier) -> None:
    live = [BASELINE, kafka_cluster(), kafka_consumer("fulfilment-orders", FENCED), running(2), leaving(asked)]
    asleep = sandbox("alice", FULFILMENT, having("spec.suspended", value=True), finalized(FINALIZER))
    without = sandbox("alice", finalized(FINALIZER))
    for item in (KAFKA_SANDBOX, asleep, without, going()):
        result = planned(*live, deployment(), item)
        assert targets(result.writes).count("deployments/fulfilment-alice") == 1


LOST: list[Any] = [
    pytest.param([leaving(STRANDED)], ["deployments/fulfilment-alice"], id="records are left: made again"),
    pytest.param([leaving(HANDBACK)], ["deployments/fulfilment-alice"], id="handed back: made again"),
    pytest.param([leaving()], [], id="nobody knows yet whether records are left"),
    pytest.param([leaving(STRANDED, phase="Drained")], [], id="through"),
    pytest.param([leaving(STRANDED), other("Draining", deleting())], [], id="a group that it could not be told"),
]


@pytest.mark.parametrize(("routes", "expected"), LOST)
def test_a_fork_that_was_deleted_although_records_are_left_is_made_again(
    routes: list[Object], expected: list[str]
) -> None:
    consumer = kafka_consumer("fulfilment-orders", FENCED)
    result = planned(BASELINE, kafka_cluster(), consumer, *routes, going(FULFILMENT))
    assert targets(result.writes) == expected
    for effect in result.writes:
        env = effect.obj["spec"]["template"]["spec"]["containers"][0]["env"]
        assert effect.obj["spec"]["replicas"] == 1
        assert {"name": "KAFKA_GROUP_ID", "value": "fulfilment.sbx.alice"} in env


def test_a_lost_fork_stays_out_of_selectors_when_it_is_made_again() -> None:
    consumer = kafka_consumer("fulfilment-orders", FENCED)
    front = service("front", having("spec.selector", {"app": "fulfilment"}))
    result = planned(BASELINE, front, kafka_cluster(), consumer, leaving(STRANDED), going(FULFILMENT))
    (effect,) = result.writes
    assert effect.obj["spec"]["template"]["metadata"]["labels"]["app"] != "fulfilment"


def test_a_lost_fork_is_not_made_again_while_another_of_its_groups_is_going() -> None:
    returns = kafka_consumer(
        "fulfilment-returns", FENCED, having("spec.groupEnv", {"name": "RETURNS_GROUP", "container": "app"})
    )
    consumers = [kafka_cluster(), kafka_consumer("fulfilment-orders", FENCED), returns]
    for phase, is_made in (("Draining", True), ("Drained", True), ("Deleting", False), ("Retiring", False)):
        result = planned(BASELINE, *consumers, leaving(STRANDED), other(phase, deleting()), going(FULFILMENT))
        assert bool(result.writes) is is_made, phase


ASLEEP = sandbox("alice", FULFILMENT, having("spec.suspended", value=True), finalized(FINALIZER))


@pytest.mark.parametrize(
    ("item", "consumers", "expected"),
    [
        pytest.param(KAFKA_SANDBOX, [kafka_consumer("fulfilment-orders", FENCED)], (1, True), id="it is kept"),
        pytest.param(ASLEEP, [kafka_consumer("fulfilment-orders", FENCED)], (0, True), id="it is suspended"),
        pytest.param(KAFKA_SANDBOX, [], (0, False), id="its consumer is gone: nobody knows how to tell the group"),
    ],
)
def test_a_lost_fork_of_a_sandbox_that_stays_runs_in_its_group_only(
    item: Object, consumers: list[Object], expected: tuple[int, bool]
) -> None:
    result = planned(BASELINE, kafka_cluster(), *consumers, leaving(STRANDED), item)
    (made,) = (effect.obj["spec"] for effect in result.writes)
    assert (made["replicas"], GROUP in made["template"]["spec"]["containers"][0]["env"]) == expected
