"""What a fork Deployment waits for, in plain words that stay the same while it waits; pure.

Pods' names, counts of restarts and back-off times change by themselves; they would make a status that is written
again and again, and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sidestream.kube.port import Object

_PULL_FAILURES: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
_UNREMARKABLE: Final = frozenset({"ContainerCreating", "PodInitializing", "CrashLoopBackOff"})
"""Starting, or told by how the container ended."""

_POD_IS_FORBIDDEN: Final = re.compile(r'^pods "[^"]*" is forbidden: ')


def wait_of(fork: Object, pods: Iterable[Object]) -> str | None:
    """The end of the sentence "Deployment x ...", None when it is rolled out and all its pods are available.

    `pods` are the fork's, as far as they are known.
    """
    refusal = _condition(fork, "ReplicaFailure", "True")
    if refusal is not None:
        return f"cannot make its pods: {_sentence(refusal)}"
    if is_rolled_out(fork):
        return None
    for wait in _pod_waits(pods):
        return wait
    late = _condition(fork, "Progressing", "False")
    if late is not None:
        return f"does not get ready: {_sentence(late)}"
    return "waits for its pods to become ready"


def is_rolled_out(fork: Object) -> bool:
    """Whether all wanted pods are of the newest template and available, and no others are left."""
    spec, status = fork["spec"], fork.get("status") or {}
    if status.get("observedGeneration", 0) < fork["metadata"].get("generation", 0):
        return False
    wanted = spec.get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return bool(
        updated >= wanted and status.get("replicas", 0) <= updated and status.get("availableReplicas", 0) >= updated
    )


def _pod_waits(pods: Iterable[Object]) -> Iterator[str]:
    """What keeps pods from running, the first reason of each pod; pods that merely start say nothing."""
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        status = pod.get("status") or {}
        if any(_is(item, "PodScheduled", "False") for item in status.get("conditions") or ()):
            yield "waits for a node that can take its pods; kubectl describe pod says what they need"
        statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        yield from filter(None, (_container_wait(item) for item in statuses))


def _container_wait(container: Object) -> str | None:
    name = container["name"]
    waiting: dict[str, Any] = (container.get("state") or {}).get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in _PULL_FAILURES:
        return f"cannot pull image {container.get('image') or ''} of container {name}"
    ended = _last_end(container)
    if ended is not None and not container.get("ready"):
        how = ended.get("reason") or "Error"
        return f"has a container {name} that keeps ending ({how}, exit code {ended.get('exitCode')}); see its log"
    if waiting and reason not in _UNREMARKABLE:
        return f"cannot start container {name}: {_sentence(waiting)}"
    return None


def _last_end(container: Object) -> dict[str, Any] | None:
    """How the container ended last time, when it did so in failure."""
    for field in ("state", "lastState"):
        ended: dict[str, Any] | None = (container.get(field) or {}).get("terminated")
        if ended is not None and ended.get("exitCode") != 0:
            return ended
    return None


def _condition(obj: Object, type_: str, status: str) -> Object | None:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if _is(item, type_, status)), None)


def _is(condition: Object, type_: str, status: str) -> bool:
    return condition.get("type") == type_ and condition.get("status") == status


def _sentence(said: Object) -> str:
    """What Kubernetes says of a condition or a state, without a full stop; its reason where it says nothing."""
    text = _POD_IS_FORBIDDEN.sub("", " ".join(str(said.get("message") or "").split())).rstrip(".")
    return text or str(said.get("reason") or "for an unknown reason")
