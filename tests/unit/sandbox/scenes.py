"""Observations and plans of Sandbox alice for tests of the pure part: what exists goes in, a plan comes out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from builders import (
    EPOCH,
    conditioned,
    deleting,
    deployment,
    finalized,
    forking,
    generation,
    having,
    in_phase,
    kafka_cluster,
    kafka_consumer,
    kafka_route,
    labelled,
    sandbox,
    service,
)
from fakes.kube import FakeKubeApi
from sidestream.api.conditions import find_condition
from sidestream.api.labels import BASELINE, BASELINE_SERVICE, FINALIZER, MANAGED_BY
from sidestream.api.labels import SANDBOX as SANDBOX_LABEL
from sidestream.kube.port import Object, Resource
from sidestream.sandbox.observe import observe
from sidestream.sandbox.observed import Observed
from sidestream.sandbox.plan import Plan, SandboxConfig, plan

CONFIG = SandboxConfig(waiting_seconds=10, refused_seconds=30)


def seen(*objects: Object) -> Observed:
    """What the reconciler of Sandbox alice observes when these objects exist."""
    found = asyncio.run(observe(FakeKubeApi(*objects), "shop", "alice"))
    assert found is not None
    return found


def planned(*objects: Object, rejections: dict[tuple[Resource, str], str] | None = None) -> Plan:
    return plan(replace(seen(*objects), rejections=rejections or {}), EPOCH, CONFIG)


def ours(baseline: str = "orders", sandbox_name: str = "alice", uid: str = "uid-sandboxes-alice") -> Any:
    """The labels and the owner of what was made for a Sandbox."""

    def modify(obj: Object) -> None:
        labelled({MANAGED_BY: "sidestream", SANDBOX_LABEL: sandbox_name, BASELINE: baseline})(obj)
        having("metadata.ownerReferences", [{"uid": uid, "controller": True}])(obj)

    return modify


def fork(name: str = "orders-alice", *modifiers: Any) -> Object:
    """A rolled-out fork."""
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    return deployment(name, ours(name.removesuffix("-alice")), having("status", status), *modifiers)


def route(phase: str, *modifiers: Any) -> Object:
    """Alice's KafkaRoute in a phase, with its group recorded."""
    group = having("status.group", {"name": "fulfilment.sbx.alice"})
    return kafka_route("fulfilment-orders-alice", ours("fulfilment"), in_phase(phase), group, *modifiers)


def fork_service(name: str = "orders", baseline: str = "orders") -> Object:
    return service(f"{name}-alice", ours(baseline), labelled({BASELINE_SERVICE: name}))


def entry(state: str, reason: str, message: str = "", *, seen_generation: int = 1, of: str = "orders") -> Object:
    return {
        "service": of,
        "provider": "VirtualService",
        "mode": "Owned",
        "state": state,
        "reason": reason,
        "message": message,
        "observedGeneration": seen_generation,
    }


def routed(*entries: Object) -> Any:
    return having("status.routes", list(entries))


def said(result: Plan, type_: str) -> tuple[str, str, str]:
    assert result.status is not None
    found = find_condition(result.status.conditions, type_)  # type: ignore[arg-type]
    assert found is not None
    return found.status, found.reason, found.message


def targets(effects: Any) -> list[str]:
    return [f"{effect.resource.plural}/{effect.obj['metadata']['name']}" for effect in effects]


BASELINE_OBJECTS = (deployment(), service())
CONSUMING = (deployment("fulfilment"), kafka_cluster(), kafka_consumer())
FULFILMENT = forking("fulfilment")
PINNED = having("spec.workloads", [{"deployment": "orders", "baselineUpdates": "Pin"}])


def ready_route(*modifiers: Any) -> Object:
    return route("Active", conditioned("Ready", "True", "Active"), *modifiers)


KAFKA_SANDBOX = sandbox("alice", FULFILMENT)
RUNNING = fork("fulfilment-alice")


GONE = sandbox("alice", forking("billing"), finalized(FINALIZER))
BILLING = deployment("billing")


def with_entry(item: Object) -> Object:
    return {**item, "status": {"routes": [entry("Programmed", "Programmed")]}}


LEFT_SERVICE = fork_service()
WITHDRAWN = service("orders-alice", ours())


def going(*modifiers: Any) -> Object:
    return sandbox("alice", deleting(), finalized(FINALIZER), generation(2), *modifiers)
