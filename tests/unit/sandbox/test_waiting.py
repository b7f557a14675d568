from __future__ import annotations

from typing import Any

import pytest

from builders import deleting, deployment, generation, having, pod
from sidestream.kube.port import Object
from sidestream.sandbox.waiting import wait_of

ROLLED_OUT = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
NOT_YET = {**ROLLED_OUT, "readyReplicas": 0, "availableReplicas": 0}
PATIENCE = "waits for its pods to become ready"


def fork(status: dict[str, Any], *modifiers: Any) -> Object:
    return deployment("orders-alice", having("status", status), *modifiers)


def told(type_: str, status: str, message: str = "") -> dict[str, Any]:
    return {**NOT_YET, "conditions": [{"type": type_, "status": status, "reason": "R", "message": message}]}


def container(state: dict[str, Any], **fields: Any) -> Object:
    status = {"name": "app", "image": "orders:pr-42", "ready": False, "state": state, **fields}
    return pod("p", having("status.containerStatuses", [status]))


def waiting(reason: str, message: str = "", **fields: Any) -> Object:
    return container({"waiting": {"reason": reason, "message": message}}, **fields)


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(fork(ROLLED_OUT), None, id="rolled out"),
        pytest.param(fork({"observedGeneration": 1}, having("spec.replicas", 0)), None, id="no pods wanted"),
        pytest.param(fork(ROLLED_OUT, generation(2)), PATIENCE, id="the newest template not yet seen"),
        pytest.param(fork({}), PATIENCE, id="no status yet"),
        pytest.param(fork({**ROLLED_OUT, "updatedReplicas": 0}), PATIENCE, id="only old pods"),
        pytest.param(fork({**ROLLED_OUT, "replicas": 2}), PATIENCE, id="old pods left"),
        pytest.param(fork(NOT_YET), PATIENCE, id="not available"),
        pytest.param(
            fork(told("ReplicaFailure", "True", 'pods "orders-alice-7d-x2" is forbidden: exceeded quota: small.')),
            "cannot make its pods: exceeded quota: small",
            id="pods are refused",
        ),
        pytest.param(
            fork(told("Progressing", "False", 'ReplicaSet "orders-alice-7d" has timed out progressing.')),
            'does not get ready: ReplicaSet "orders-alice-7d" has timed out progressing',
            id="the roll-out is late",
        ),
        pytest.param(fork(told("Progressing", "False")), "does not get ready: R", id="a condition without a message"),
    ],
)
def test_the_deployment_says_what_it_waits_for(item: Object, expected: str | None) -> None:
    assert wait_of(item, []) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            waiting("ImagePullBackOff", "Back-off pulling image"),
            "cannot pull image orders:pr-42 of container app",
            id="image pull back-off",
        ),
        pytest.param(
            waiting("ErrImagePull", "not found"),
            "cannot pull image orders:pr-42 of container app",
            id="same while pulling",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "back-off 40s", lastState=ended(1)),
            "has a container app that keeps ending (Error, exit code 1); see its log",
            id="crash loop",
        ),
        pytest.param(
            container({"running": {}}, lastState=ended(137, "OOMKilled")),
            "has a container app that keeps ending (OOMKilled, exit code 137); see its log",
            id="same while it runs again",
        ),
        pytest.param(
            container(ended(2)),
            "has a container app that keeps ending (Error, exit code 2); see its log",
            id="just ended",
        ),
        pytest.param(container({"running": {}}, ready=True, lastState=ended(1)), PATIENCE, id="recovered"),
        pytest.param(
            waiting("CreateContainerConfigError", 'configmap "x" not found'),
            'cannot start container app: configmap "x" not found',
            id="configuration missing",
        ),
        pytest.param(waiting("ContainerCreating"), PATIENCE, id="starting"),
        pytest.param(container({"running": {}}), PATIENCE, id="running and not ready"),
        pytest.param(
            pod("p", having("status.conditions", [{"type": "PodScheduled", "status": "False"}])),
            "waits for a node that can take its pods; kubectl describe pod says what they need",
            id="no node",
        ),
        pytest.param(
            pod("p", having("status.initContainerStatuses", [{"name": "migrate", "state": ended(1), "ready": False}])),
            "has a container migrate that keeps ending (Error, exit code 1); see its log",
            id="an init container",
        ),
        pytest.param(pod("p", deleting(), *[having("status.containerStatuses", [])]), PATIENCE, id="a pod that goes"),
    ],
)
def test_pods_say_what_they_wait_for(found: Object, expected: str) -> None:
    assert wait_of(fork(NOT_YET), [found]) == expected


def test_words_do_not_change_while_the_cause_stays() -> None:
    turns = [waiting("ErrImagePull", "1"), waiting("ImagePullBackOff", "2"), waiting("ErrImagePull", "3")]
    assert len({wait_of(fork(NOT_YET), [item]) for item in turns}) == 1
    turns = [waiting("CrashLoopBackOff", f"back-off {s}s", lastState=ended(1), restartCount=s) for s in (10, 20, 40)]
    assert len({wait_of(fork(NOT_YET), [item]) for item in [*turns, container(ended(1))]}) == 1
