"""A Sandbox with a preview: its conditions, and what waits until no proxy has the preview any more."""

from __future__ import annotations

from typing import Any

import pytest

from builders import deployment, finalized, generation, having, sandbox
from sidestream.api.labels import FINALIZER
from sidestream.kube.port import Object
from sidestream.sandbox.status import status_json
from unit.sandbox.scenes import (
    BASELINE_OBJECTS,
    BILLING,
    GONE,
    WITHDRAWN,
    entry,
    fork,
    fork_service,
    going,
    planned,
    routed,
    said,
    targets,
)

HOST = "alice.preview.example.com"
WISH = having("spec.preview", {"gateway": {"kind": "IstioGateway", "name": "main"}, "host": HOST})
PROGRAMMED = entry("Programmed", "Programmed")


def told(state: str, reason: str, message: str = "", *, of: int = 1, services: tuple[str, ...] = ()) -> Any:
    """For `sandbox`: what the routing reconciler says of the preview."""
    row = {"state": state, "reason": reason, "message": message, "observedGeneration": of}
    return having("status.preview", {**row, **({"services": list(services)} if services else {})})


@pytest.mark.parametrize(
    ("modifiers", "expected"),
    [
        pytest.param((), ("False", "Pending", "The route of the preview is being made"), id="nothing is said yet"),
        pytest.param(
            (told("Programmed", "Programmed", of=1), generation(2), routed({**PROGRAMMED, "observedGeneration": 2})),
            ("False", "Pending", "The route of the preview is being made"),
            id="what was said of an earlier spec",
        ),
        pytest.param(
            (told("Programmed", "Programmed"),), ("True", "Programmed", "All routes are in the proxies"), id="proven"
        ),
        pytest.param(
            (told("Written", "NotVerified", "no prober runs"),),
            ("Unknown", "NotVerified", f"Preview {HOST}: no prober runs"),
            id="nobody can be asked",
        ),
        pytest.param(
            (told("Refused", "RouteConflict", "the host is used"),),
            ("False", "RouteConflict", f"Preview {HOST}: the host is used"),
            id="refused",
        ),
        pytest.param(
            (told("Pending", "ForkNotReady", "no pod"),),
            ("False", "ForkNotReady", f"Preview {HOST}: no pod"),
            id="waiting",
        ),
    ],
)
def test_routes_are_ready_when_the_preview_is(modifiers: tuple[Any, ...], expected: tuple[str, str, str]) -> None:
    result = planned(*BASELINE_OBJECTS, fork(), fork_service(), sandbox("alice", WISH, routed(PROGRAMMED), *modifiers))
    assert said(result, "RoutesReady") == expected


def test_a_preview_counts_where_no_service_leads_to_a_fork() -> None:
    result = planned(deployment(), fork(), sandbox("alice", WISH))
    assert said(result, "RoutesReady")[:2] == ("False", "Pending")
    result = planned(deployment(), fork(), sandbox("alice", WISH, told("Programmed", "Programmed")))
    assert said(result, "RoutesReady")[:2] == ("True", "Programmed")


def test_the_sandboxs_own_status_says_nothing_of_the_preview() -> None:
    result = planned(*BASELINE_OBJECTS, sandbox("alice", WISH, told("Programmed", "Programmed")))
    assert result.status is not None
    assert "preview" not in status_json(result.status)


@pytest.mark.parametrize(
    ("services", "sentence"),
    [
        (("orders",), "Waits until no proxy routes to the forks of Service orders any more"),
        ((), "Waits until no proxy has the preview any more"),
    ],
)
def test_a_deletion_waits_for_the_preview(services: tuple[str, ...], sentence: str) -> None:
    result = planned(fork(), fork_service(), going(WISH, told("Written", "Deleting", services=services)))
    assert result.deletes == ()
    assert said(result, "Ready") == ("False", "Deleting", sentence)
    assert targets(planned(fork(), fork_service(), going(WISH)).deletes) != []


def test_a_workload_that_goes_waits_while_the_preview_leads_to_its_fork() -> None:
    def left(item: Object) -> list[str]:
        return targets(planned(BILLING, fork("billing-alice"), fork(), WITHDRAWN, item).deletes)

    leading = sandbox(
        "alice", having("spec", GONE["spec"]), finalized(FINALIZER), told("Programmed", "x", services=("orders",))
    )
    assert left(leading) == []
    through = sandbox("alice", having("spec", GONE["spec"]), finalized(FINALIZER), told("Programmed", "x"))
    assert "services/orders-alice" in left(through)


def test_a_suspended_sandbox_runs_its_forks_until_the_preview_is_gone() -> None:
    suspended = having("spec.suspended", value=True)
    held = planned(*BASELINE_OBJECTS, fork(), WITHDRAWN, sandbox("alice", WISH, suspended, told("Written", "Deleting")))
    assert said(held, "RoutesReady")[0] == "False"
    assert [effect.obj["spec"]["replicas"] for effect in held.writes if effect.obj["kind"] == "Deployment"] == [1]
    free = planned(*BASELINE_OBJECTS, fork(), sandbox("alice", WISH, suspended))
    assert said(free, "RoutesReady")[:2] == ("True", "NotApplicable")
    assert [effect.obj["spec"]["replicas"] for effect in free.writes if effect.obj["kind"] == "Deployment"] == [0]
