"""How a deleted route ends when its Sandbox changes its mind, or its fork has more than one consumer."""

from __future__ import annotations

from typing import Any

import pytest

from builders import EPOCH, claiming, deleting, fence, having, kafka_route
from fakes.kube import FakeKubeApi
from sidestream.kafka import takeback
from sidestream.kafka.look import unfinished
from sidestream.kafka.steps import Delete
from unit.kafka.scenes import EMPTY, JOINED, at, ends, gone, observed, phase, recorded, route

LEFT = claiming("c1", "alice", {0: fence("Until", 5, 8, 9)})
LATE = 16 * 60.0


def drain(policy: str) -> Any:
    return having("spec.drain", {"policy": policy, "timeout": "15m"})


def told(**fields: bool) -> list[Any]:
    return [having(f"status.{name}", value) for name, value in fields.items()]


@pytest.mark.parametrize(
    ("policy", "before", "expected"),
    [
        pytest.param("Wait", {}, ("Draining", True, False), id="wait: said once"),
        pytest.param("Wait", {"overdue": True}, ("Draining", True, False), id="wait: waiting"),
        pytest.param("Handback", {}, ("Draining", True, True), id="handback"),
        pytest.param("Handback", {"overdue": True}, ("Draining", True, True), id="handback after a wait"),
        pytest.param("Discard", {}, ("Drained", True, False), id="discard"),
        pytest.param("Discard", {"overdue": True}, ("Drained", True, False), id="discard after a wait"),
        pytest.param(
            "Discard", {"overdue": True, "handback": True}, ("Drained", True, True), id="discard after a handback"
        ),
        pytest.param("Wait", {"overdue": True, "handback": True}, ("Draining", True, True), id="no way back"),
    ],
)
def test_a_fork_that_is_late_ends_as_its_sandbox_says_by_now(
    policy: str, before: dict[str, bool], expected: tuple[str, bool, bool]
) -> None:
    late = gone(recorded(), LEFT, phase("Draining", LATE), drain(policy), *told(**before))
    status = takeback.plan(late, observed(group=JOINED, own=at(6, 7), latest=ends(9, 9)), EPOCH).status
    assert (str(status.phase), status.overdue, status.handback) == expected


@pytest.mark.parametrize("before", [{"overdue": True}, {"overdue": True, "handback": True}])
def test_what_became_of_a_late_fork_is_told_once(before: dict[str, bool]) -> None:
    policy = "Handback" if before.get("handback") else "Wait"
    late = gone(recorded(), LEFT, phase("Draining", LATE), drain(policy), *told(**before))
    step = takeback.plan(late, observed(group=JOINED, own=at(6, 7), latest=ends(9, 9)), EPOCH)
    assert step.news == ()


@pytest.mark.parametrize("name", ["Drained", "Deleting"])
def test_a_group_stays_while_the_fork_may_have_to_run_for_another(name: str) -> None:
    ending = gone(recorded(), LEFT, phase(name))
    seen = observed(group=EMPTY, own=at(9, 7), unfinished=("fulfilment-returns-alice",))
    step = takeback.plan(ending, seen, EPOCH)
    assert (step.status.phase, step.effect) == (name, None)
    assert step.ready.message == (
        "Consumer group fulfilment.sbx.alice is deleted when fulfilment-alice is through with KafkaRoute "
        "fulfilment-returns-alice too"
    )
    alone = takeback.plan(ending, observed(group=EMPTY, own=at(9, 7)), EPOCH)
    assert (str(alone.status.phase), alone.effect) == (
        ("Deleting", None) if name == "Drained" else ("Deleting", Delete("fulfilment.sbx.alice"))
    )


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param([phase("Draining"), deleting()], True, id="it drains"),
        pytest.param([phase("Active"), deleting()], True, id="it has just been deleted"),
        pytest.param([phase("Drained"), deleting()], False, id="it is through"),
        pytest.param([phase("Retiring"), deleting()], False, id="its group is gone"),
        pytest.param([phase("Active")], False, id="it stays: the fork stops for this one first"),
        pytest.param([phase("Draining"), deleting(), having("spec.fork", "x")], False, id="another fork's"),
    ],
)
async def test_who_else_the_fork_still_works_for(other: list[Any], *, expected: bool) -> None:
    mine = kafka_route("fulfilment-orders-alice", phase("Drained"), deleting())
    api = FakeKubeApi(mine, kafka_route("fulfilment-returns-alice", *other))
    found = await unfinished(api, route(phase("Drained"), deleting()))
    assert found == (("fulfilment-returns-alice",) if expected else ())
