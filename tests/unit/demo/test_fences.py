"""The fences that the demo reads from a KafkaRoute."""

import pytest

from sidestream.api.kafka import ClaimStatus, FenceStatus, KafkaRouteStatus
from sidestream.kube.port import Object
from sidestream_demo.errors import BrokenPromiseError
from sidestream_demo.fences import Fence, check_begun, fences_of

TOPIC = "orders.created"
ASKED = Fence("alice", TOPIC, 0, "Ask", begin=None, hold=None, until=None)
BEGUN = Fence("alice", TOPIC, 0, "From", begin=7, hold=None, until=None)
GIVEN_BACK = Fence("alice", TOPIC, 1, "Until", begin=5, hold=8, until=9)


def route(*fences: FenceStatus) -> Object:
    status = KafkaRouteStatus(claims=(ClaimStatus(id="c1", key="alice", fences=fences),))
    return {"metadata": {"name": "fulfilment-alice"}, "status": status.to_json()}


def test_fences_are_read_as_the_operator_writes_them() -> None:
    written = route(
        FenceStatus(topic=TOPIC, partition=0, state="From", begin=7),
        FenceStatus(topic=TOPIC, partition=1, state="Until", begin=5, hold=8, until=9),
    )
    assert fences_of(written) == (BEGUN, GIVEN_BACK)


@pytest.mark.parametrize("found", [None, {}, {"status": {}}, route()], ids=["no route", "new", "no claim", "no fence"])
def test_a_route_without_fences_has_none(found: Object | None) -> None:
    assert fences_of(found) == ()


def test_a_hand_off_has_begun_when_every_partition_says_from_where() -> None:
    check_begun([BEGUN, GIVEN_BACK], "alice", TOPIC, 2)


@pytest.mark.parametrize(
    "fences",
    [
        pytest.param([], id="none"),
        pytest.param([ASKED, GIVEN_BACK], id="a partition that was only asked for"),
        pytest.param([GIVEN_BACK], id="a partition without a fence"),
        pytest.param([Fence("bob", TOPIC, 0, "From", 7, None, None), GIVEN_BACK], id="of another tenant"),
    ],
)
def test_a_partition_that_does_not_is_a_broken_promise(fences: list[Fence]) -> None:
    with pytest.raises(BrokenPromiseError, match=f"partition 0 of {TOPIC}"):
        check_begun(fences, "alice", TOPIC, 2)
