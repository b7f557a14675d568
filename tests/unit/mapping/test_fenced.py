"""What members under `Fenced` are told, and which version it has."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Modifier, claiming, fence, having, in_phase, kafka_consumer, kafka_route
from sidestream.api.kafka import FenceState, KafkaConsumer, Phase
from sidestream.config import HeaderSettings
from sidestream.kube.port import Object
from sidestream.mapping.answers import Header
from sidestream.mapping.claims import key_claims
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.keeping import keep_route, read_claim
from sidestream.runtime.reconcile import ObjectKey
from sidestream_sdk import fences
from sidestream_sdk.fences import Fence, FencedChange
from sidestream_sdk.ownership import Mapping, lists

FULFILMENT = Workload("shop", "fulfilment")
TOPIC = "orders.created"


def at(version: int, *modifiers: Modifier, phase: str = "Active") -> Object:
    """Alice's route as it is at this resourceVersion."""
    return kafka_route(
        "fulfilment-alice", in_phase(phase), having("metadata.resourceVersion", str(version)), *modifiers
    )


def fenced(*modifiers: Modifier) -> Modifier:
    """Coordination Fenced, without a claim unless a modifier adds one."""

    def modify(obj: Object) -> None:
        obj["spec"]["coordination"] = "Fenced"
        for change in modifiers:
            change(obj)

    return modify


def holding(*routes: Object) -> Directory:
    directory = Directory(Header.of(HeaderSettings()))
    directory.epoch = "2f1c9a07"
    directory.put_consumer(ObjectKey("shop", "c"), KafkaConsumer.from_json(kafka_consumer("c")))
    for route in routes:
        put(directory, route)
    return directory


def put(directory: Directory, route: Object) -> set[Workload]:
    return directory.put_route(ObjectKey("shop", route["metadata"]["name"]), read_claim(keep_route(route)))


def answer(directory: Directory) -> Any:
    encoded = directory.consumer(FULFILMENT)
    assert encoded is not None
    return json.loads(encoded.body)


def version(directory: Directory) -> int:
    return Mapping.from_json(answer(directory)).version


def etag(directory: Directory) -> str:
    encoded = directory.consumer(FULFILMENT)
    assert encoded is not None
    return encoded.etag


# --- the answer


def test_a_claim_is_a_change_with_its_fences_of_each_topic() -> None:
    route = at(
        7,
        claiming("c1", "alice", {0: fence("From", 10), 10: fence("Until", 10, 12, 15), 2: fence("Ask")}),
        claiming("c2", "release", {0: fence("Aware")}),
        claiming("c1", "alice", {0: fence("Hold", 3, 4)}, topic="orders.cancelled"),
        having("spec.topics", [TOPIC, "orders.cancelled"]),
    )

    taken = answer(holding(route))

    assert (taken["epoch"], taken["version"]) == ("2f1c9a07", 7)
    common = {"sandbox": "alice", "group": "fulfilment.sbx.alice", "phase": "Active"}
    assert taken["topics"] == {
        "orders.cancelled": {
            "group": "fulfilment",
            "changes": [],
            "fenced": [
                {"id": "c1", "key": "alice", "partitions": {"0": {"state": "Hold", "from": 3, "hold": 4}}, **common},
                {"id": "c2", "key": "release", "partitions": {}, **common},
            ],
        },
        TOPIC: {
            "group": "fulfilment",
            "changes": [],
            "fenced": [
                {
                    "id": "c1",
                    "key": "alice",
                    "partitions": {
                        "0": {"state": "From", "from": 10},
                        "2": {"state": "Ask"},
                        "10": {"state": "Until", "from": 10, "hold": 12, "until": 15},
                    },
                    **common,
                },
                {"id": "c2", "key": "release", "partitions": {"0": {"state": "Aware"}}, **common},
            ],
        },
    }


OFFSETS = st.none() | st.integers(0, 2**63 - 1)
FENCES = st.dictionaries(
    st.integers(0, 300), st.builds(Fence, st.sampled_from(list(fences.State)), OFFSETS, OFFSETS, OFFSETS), max_size=6
)


@given(claims=st.dictionaries(st.text("abc123", min_size=1, max_size=3), FENCES, min_size=1, max_size=4))
def test_the_sdk_reads_what_the_status_says(claims: dict[str, dict[int, Fence]]) -> None:
    modifiers = [
        claiming(
            name,
            f"key-{name}",
            {number: fence(str(item.state), item.begin, item.hold, item.until) for number, item in partitions.items()},
        )
        for name, partitions in claims.items()
    ]

    mapping = Mapping.from_json(answer(holding(at(1, *modifiers))))

    assert mapping.topics[TOPIC].fenced == tuple(
        FencedChange(name, "alice", f"key-{name}", "fulfilment.sbx.alice", "Active", partitions)
        for name, partitions in claims.items()
    )


def test_the_states_of_the_api_are_those_of_the_sdk() -> None:
    assert set(get_args(FenceState)) == set(fences.State)


def test_a_state_that_only_a_later_version_knows_reaches_consumers() -> None:
    mapping = Mapping.from_json(answer(holding(at(1, claiming("c1", "alice", {0: fence("Later", 10)})))))

    assert mapping.topics[TOPIC].fenced[0].partitions == {0: Fence(None, 10)}


def test_polled_and_fenced_changes_stand_beside_each_other() -> None:
    polled = kafka_route("fulfilment-bob", in_phase("Preparing"), having("spec.sandbox", "bob"))

    topic = answer(holding(polled, at(1, claiming("c1", "alice", {}))))["topics"][TOPIC]

    assert [(change["id"], change["phase"]) for change in topic["changes"]] == [("fulfilment-bob", "Preparing")]
    assert [change["id"] for change in topic["fenced"]] == ["c1"]


@pytest.mark.parametrize("phase", list(Phase))
def test_a_consumer_that_knows_nothing_of_fences_sees_no_change(phase: Phase) -> None:
    route = at(1, claiming("c1", "alice", {0: fence("From", 1)}), phase=phase)

    assert answer(holding(route))["topics"][TOPIC]["changes"] == []


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        pytest.param(
            at(1, fenced(having("spec.keys", ["b", "a"])), phase="Preparing"),
            [("fulfilment-alice", "a"), ("fulfilment-alice", "b")],
            id="without a claim",
        ),
        pytest.param(
            at(1, claiming("c1", "a", {0: fence("Ask")}), phase="Pending"), [("c1", "a")], id="not begun with its claim"
        ),
    ],
)
def test_a_fork_knows_that_it_is_known_before_anything_is_asked_of_anybody(
    route: Object, expected: list[tuple[str, str]]
) -> None:
    mapping = Mapping.from_json(answer(holding(route)))

    assert [(change.id, change.key) for change in mapping.topics[TOPIC].fenced] == expected
    assert all(change.partitions == {} for change in mapping.topics[TOPIC].fenced)
    assert lists(mapping, "alice")
    assert not lists(mapping, "bob")


def test_fences_on_a_topic_that_the_fork_does_not_read_any_more_still_count() -> None:
    route = at(1, claiming("c1", "alice", {0: fence("Retire", 1, 2, 3)}, topic="orders.old"))

    assert answer(holding(route))["topics"]["orders.old"]["fenced"][0]["partitions"]["0"]["until"] == 3


@pytest.mark.parametrize(
    "claims",
    [
        ["c1"],
        [{"id": "c1"}],
        [{"id": "c1", "key": "alice", "fences": [{"topic": "t", "partition": 0}]}],
        [{"id": "c1", "key": "alice", "fences": [{"topic": "t", "partition": 0, "state": "From", "from": 2**63}]}],
        [{"id": "c1", "key": "alice", "fences": [{"topic": "t", "partition": 0, "state": "From", "from": "1"}]}],
        [{"id": "c1", "key": "alice", "fences": [{"topic": "t", "partition": "x", "state": "From"}]}],
        [{"id": "c1", "key": "alice", "fences": [{"topic": 1, "partition": 0, "state": "From"}]}],
    ],
)
def test_claims_of_another_shape_are_refused(claims: Any) -> None:
    with pytest.raises(ValueError, match="claims of another shape"):
        key_claims(claims)


# --- its version


def test_what_members_see_raises_the_version_and_nothing_else_does() -> None:
    ask, begun = claiming("c1", "alice", {0: fence("Ask")}), claiming("c1", "alice", {0: fence("From", 9)})
    directory = holding(at(10, ask))
    assert version(directory) == 10

    members = having("status.group", {"name": "fulfilment.sbx.alice", "members": 3})
    conditions = having("status.conditions", [{"type": "Ready", "status": "True", "reason": "Ready"}])
    before = etag(directory)
    assert put(directory, at(11, ask, members, conditions)) == set()
    assert (version(directory), etag(directory)) == (10, before)

    assert put(directory, at(12, begun, members)) == {FULFILMENT}
    assert version(directory) == 12
    assert etag(directory) != before


@pytest.mark.parametrize(
    "change",
    [
        having("status.phase", "Freezing"),
        having("spec.keys", ["alice", "release"]),
        having("spec.topics", [TOPIC, "orders.cancelled"]),
        having("spec.coordination", "Polling"),
        claiming("c2", "release", {}),
        claiming("c1", "alice", {1: fence("Aware")}),
        having("status.claims", []),
    ],
)
def test_the_version_is_raised_by(change: Modifier) -> None:
    claim = claiming("c1", "alice", {0: fence("From", 9)})
    directory = holding(at(10, claim))

    put(directory, at(11, claim, change))

    assert version(directory) == 11


def test_the_version_is_that_of_the_last_change_of_any_route_and_of_no_other_workload() -> None:
    bobs = kafka_route("fulfilment-bob", in_phase("Active"), having("metadata.resourceVersion", "30"))
    others = kafka_route("billing-bob", having("spec.deployment", "billing"), having("metadata.resourceVersion", "40"))

    assert version(holding(at(20), bobs, others)) == 30


def test_a_route_that_goes_changes_the_answer_and_not_its_version() -> None:
    directory = holding(at(20, claiming("c1", "alice", {})))
    before = etag(directory)

    assert directory.put_route(ObjectKey("shop", "fulfilment-alice"), None) == {FULFILMENT}

    assert version(directory) == 20
    assert etag(directory) != before
    put(directory, at(25, phase="Pending"))
    assert version(directory) == 25


def test_the_same_content_learned_at_different_times_has_one_etag() -> None:
    ask, begun = claiming("c1", "alice", {0: fence("Ask")}), claiming("c1", "alice", {0: fence("From", 9)})
    long_there = holding(at(10, ask), at(12, begun), at(15, begun, having("status.refreshedAt", "now")))
    just_listed = holding(at(15, begun))

    assert etag(long_there) == etag(just_listed)
    assert (version(long_there), version(just_listed)) == (12, 15)


def test_the_order_of_fences_in_the_status_tells_nothing() -> None:
    ask, begun = fence("Ask"), fence("From", 9)
    directory = holding(at(10, claiming("c1", "alice", {0: ask, 1: begun})))

    assert put(directory, at(11, claiming("c1", "alice", {1: begun, 0: ask}))) == set()


def test_the_etag_of_another_cluster_is_another_one() -> None:
    here, there = holding(at(1)), holding(at(1))
    there.epoch = "00000000"

    assert etag(here) != etag(there)


def test_a_workload_that_nobody_names_any_more_leaves_nothing_behind() -> None:
    directory = holding(at(20))
    directory.put_route(ObjectKey("shop", "fulfilment-alice"), None)
    directory.put_consumer(ObjectKey("shop", "c"), None)

    assert directory.consumer(FULFILMENT) is None
    assert directory._versions == {}
