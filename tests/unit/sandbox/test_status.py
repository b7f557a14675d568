"""What a Sandbox's status says of its hand-offs."""

from __future__ import annotations

from typing import Any

import pytest

from builders import claiming, deleting, fence, finalized, having
from sidestream.api.labels import FINALIZER
from unit.sandbox.scenes import CONSUMING, KAFKA_SANDBOX, RUNNING, planned, route
from unit.sandbox.scenes_live import FENCED

TOPICS = having(
    "status.topics", [{"name": "orders.created", "id": "a", "partitions": 3}, {"name": "x", "id": "b", "partitions": 2}]
)
GOING = (deleting(), finalized(FINALIZER))


def claims(*states: str, key: str = "alice", id_: str = "c1") -> Any:
    return claiming(id_, key, {number: fence(state) for number, state in enumerate(states)})


@pytest.mark.parametrize(
    ("phase", "modifiers", "pending"),
    [
        pytest.param("Pending", [], 0, id="nothing asked yet"),
        pytest.param("Preparing", [claims("Ask", "From", "Ask")], 2, id="the baseline is asked"),
        pytest.param("Active", [claims("From", "From", "From")], 0, id="the fork has them"),
        pytest.param("Active", [claims("From", "Aware", "From")], 1, id="a partition is added"),
        pytest.param(
            "Active",
            [claims("From", "From", "From"), claims("Ask", "Aware", "From", key="bob", id_="c2")],
            2,
            id="a key is added",
        ),
        pytest.param(
            "Preparing",
            [claims("Ask", "Ask", "Ask"), claims("Ask", "Ask", "Ask", key="bob", id_="c2")],
            3,
            id="a partition counts once, however many keys it has",
        ),
        pytest.param(
            "Active",
            [claims("From", "From"), claims("Freeze", "Until", key="carol", id_="c2")],
            1,
            id="a key that is taken away has to end",
        ),
        pytest.param("Freezing", [*GOING, claims("Freeze", "Hold", "Until")], 2, id="on its way back"),
        pytest.param("Freezing", [*GOING, claims("From", "Ask")], 2, id="just deleted"),
        pytest.param("Draining", [*GOING, claims("Until", "Until")], 0, id="draining: settled"),
        pytest.param("Retiring", [*GOING, claims("Retire", "Until")], 0, id="retiring: settled"),
    ],
)
def test_partitions_that_somebody_has_yet_to_answer_for_are_pending(
    phase: str, modifiers: list[Any], pending: int
) -> None:
    keys = having("spec.keys", ["alice", "bob"])
    result = planned(*CONSUMING, RUNNING, route(phase, FENCED, keys, TOPICS, *modifiers), KAFKA_SANDBOX)
    assert result.status is not None
    (told,) = result.status.kafka
    assert (told.consumer, told.group, told.phase) == ("fulfilment-orders", "fulfilment.sbx.alice", phase)
    assert (told.partitions, told.pending) == (5, pending)


def test_the_group_is_the_one_that_is_recorded() -> None:
    recorded = route("Active", having("status.group", {"name": "recorded"}))
    result = planned(*CONSUMING, RUNNING, recorded, KAFKA_SANDBOX)
    assert result.status is not None
    assert [item.group for item in result.status.kafka] == ["recorded"]
