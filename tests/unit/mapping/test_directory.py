from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    conditioned,
    created,
    having,
    in_namespace,
    in_phase,
    kafka_consumer,
    kafka_route,
    routing_key,
    sandbox,
)
from sidestream.api.kafka import KafkaConsumer, Phase
from sidestream.api.sandbox import Sandbox
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.port import Object
from sidestream.mapping.answers import Header
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.keeping import keep_route, read_claim
from sidestream.runtime.reconcile import ObjectKey
from sidestream_sdk.baggage import HeaderRules
from sidestream_sdk.ownership import FORK_ONLY, FORK_TAKES, Mapping, takes

HEADER = Header.of(HeaderSettings())


FULFILMENT = Workload("shop", "fulfilment")


def put(directory: Directory, obj: Object, *, gone: bool = False) -> set[Workload]:
    key = ObjectKey(obj["metadata"]["namespace"], obj["metadata"]["name"])
    match obj["kind"]:
        case "KafkaConsumer":
            return directory.put_consumer(key, None if gone else KafkaConsumer.from_json(obj))
        case "KafkaRoute":
            return directory.put_route(key, None if gone else read_claim(keep_route(obj)))
        case _:
            return directory.put_sandbox(key, None if gone else Sandbox.from_json(obj))


def remove(directory: Directory, obj: Object) -> set[Workload]:
    return put(directory, obj, gone=True)


def holding(*objects: Object, header: Header = HEADER) -> Directory:
    directory = Directory(header)
    for obj in objects:
        put(directory, obj)
    return directory


def answer(taken: Directory, deployment: str = "fulfilment") -> Any:
    encoded = taken.consumer(Workload("shop", deployment))
    assert encoded is not None
    return json.loads(encoded.body)


def route_of(tenant: str, phase: str = "Active", **spec: Any) -> Object:
    values = {"sandbox": tenant, "keys": [tenant], "forkGroup": f"fulfilment.sbx.{tenant}", **spec}
    changes = [having(f"spec.{name}", value) for name, value in values.items()]
    return kafka_route(f"fulfilment-orders-{tenant}", in_phase(phase), *changes)


def test_a_consumer_that_nobody_forked_has_no_changes() -> None:
    assert answer(holding(kafka_consumer())) == {
        "consumer": "shop/fulfilment",
        "header": {"mode": "baggage", "baggageKey": "tenant", "baggageKeys": ["tenant"], "name": "x-tenant-id"},
        "pollIntervalSeconds": 5.0,
        "topics": {"orders.created": {"group": "fulfilment", "changes": [], "fenced": []}},
        "epoch": "",
        "version": 0,
    }


def test_each_kafka_route_is_a_change() -> None:
    taken = holding(kafka_consumer(), route_of("bob", "Draining"), route_of("alice", keys=["release", "alice"]))

    assert answer(taken)["topics"]["orders.created"]["changes"] == [
        {
            "id": "fulfilment-orders-alice",
            "sandbox": "alice",
            "keys": ["alice", "release"],
            "group": "fulfilment.sbx.alice",
            "phase": "Active",
        },
        {
            "id": "fulfilment-orders-bob",
            "sandbox": "bob",
            "keys": ["bob"],
            "group": "fulfilment.sbx.bob",
            "phase": "Draining",
        },
    ]


def test_a_kafka_route_without_status_is_pending() -> None:
    taken = holding(kafka_consumer(), kafka_route())

    assert answer(taken)["topics"]["orders.created"]["changes"][0]["phase"] == "Pending"


def test_the_header_is_as_the_program_was_told() -> None:
    header = Header.of(HeaderSettings(HeaderMode.BOTH, ("sd-key", "tenant"), "x-id"))

    assert answer(holding(kafka_consumer(), header=header))["header"] == {
        "mode": "both",
        "baggageKey": "sd-key",
        "baggageKeys": ["sd-key", "tenant"],
        "name": "x-id",
    }


def test_sdks_read_the_header_however_many_keys_they_know() -> None:
    header = HeaderSettings(HeaderMode.BOTH, ("sd-key", "tenant"), "x-id")
    told = answer(holding(kafka_consumer(), header=Header.of(header)))["header"]
    told_the_older = {name: value for name, value in told.items() if name != "baggageKeys"}

    assert HeaderRules.from_json(told) == HeaderRules("both", ("sd-key", "tenant"), "x-id")
    assert HeaderRules.from_json(told_the_older) == HeaderRules("both", ("sd-key",), "x-id")


def test_an_unknown_workload_has_no_answer() -> None:
    taken = holding(kafka_consumer(), route_of("alice"))

    assert taken.consumer(Workload("shop", "orders")) is None
    assert taken.consumer(Workload("elsewhere", "fulfilment")) is None


def test_a_route_counts_on_when_its_kafka_consumer_is_gone() -> None:
    taken = answer(holding(route_of("alice", pollInterval="2s")))

    assert taken["topics"]["orders.created"]["group"] == "fulfilment"
    assert len(taken["topics"]["orders.created"]["changes"]) == 1
    assert taken["pollIntervalSeconds"] == 2.0


def test_several_kafka_consumers_of_a_deployment_are_one_mapping() -> None:
    other = kafka_consumer(
        "fulfilment-cancel",
        having("spec.topics", ["orders.cancelled"]),
        having("spec.group", "cancel"),
        having("spec.pollInterval", "3s"),
    )
    cancelled = route_of("alice", topics=["orders.cancelled"], baselineGroup="cancel", forkGroup="cancel.sbx.alice")

    taken = answer(holding(kafka_consumer(), other, cancelled))

    assert taken["pollIntervalSeconds"] == 3.0
    assert list(taken["topics"]) == ["orders.cancelled", "orders.created"]
    assert taken["topics"]["orders.cancelled"]["group"] == "cancel"
    assert [change["group"] for change in taken["topics"]["orders.cancelled"]["changes"]] == ["cancel.sbx.alice"]
    assert taken["topics"]["orders.created"]["changes"] == []


def test_of_two_groups_on_one_topic_the_older_kafka_consumers_is_shown() -> None:
    older = kafka_consumer("z-older", having("spec.group", "older"), created("2025-01-01T00:00:00Z"))
    newer = kafka_consumer("a-newer", having("spec.group", "newer"))

    assert answer(holding(newer, older))["topics"]["orders.created"]["group"] == "older"


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("5s", 5.0), ("1m30s", 90.0), ("0s", 0.1), ("2h", 3600.0), ("2h1s", 3600.0)],
)
def test_the_poll_interval_is_one_that_consumers_accept(interval: str, seconds: float) -> None:
    taken = holding(kafka_consumer("c", having("spec.pollInterval", interval)))

    assert answer(taken)["pollIntervalSeconds"] == seconds
    assert Mapping.from_json(answer(taken)).poll_interval == seconds


@pytest.mark.parametrize("phase", list(Phase))
def test_the_sdk_decides_by_the_answer_as_the_phase_means(phase: Phase) -> None:
    mapping = Mapping.from_json(answer(holding(kafka_consumer(), route_of("alice", phase))))
    topic = mapping.topics["orders.created"]

    assert takes(topic, sandbox=None, key="alice") == (phase not in FORK_ONLY)
    assert takes(topic, sandbox="alice", key="alice") == (phase in FORK_TAKES)
    assert takes(topic, sandbox=None, key="bob")


def test_the_sdk_knows_every_phase_by_its_api_name() -> None:
    assert set(Phase) >= FORK_TAKES


@given(seed=st.integers(), tenants=st.lists(st.sampled_from("abcdef"), unique=True))
def test_the_etag_depends_on_the_objects_and_not_on_their_order(seed: int, tenants: list[str]) -> None:
    objects = [kafka_consumer(), *(route_of(tenant) for tenant in tenants)]
    shuffled = random.Random(seed).sample(objects, len(objects))  # noqa: S311 - no secret

    first, second = (
        holding(*objects).consumer(FULFILMENT),
        holding(*shuffled).consumer(FULFILMENT),
    )

    assert first == second


def test_the_etag_changes_with_the_phase() -> None:
    tags = set()
    for phase in Phase:
        encoded = holding(kafka_consumer(), route_of("alice", phase)).consumer(FULFILMENT)
        assert encoded is not None
        tags.add(encoded.etag)

    assert len(tags) == len(Phase)


def test_an_answer_is_made_once_and_again_only_when_one_of_its_own_objects_changes() -> None:
    taken = holding(kafka_consumer(), kafka_consumer("billing", having("spec.deployment", "billing")))
    first, other = taken.consumer(FULFILMENT), taken.consumer(Workload("shop", "billing"))
    assert taken.consumer(FULFILMENT) is first

    put(taken, route_of("alice"))

    assert taken.consumer(FULFILMENT) is not first
    assert taken.consumer(Workload("shop", "billing")) is other


def test_a_change_names_the_workloads_whose_answer_it_may_change() -> None:
    taken = holding(kafka_consumer())

    assert put(taken, route_of("alice")) == {FULFILMENT}
    assert put(taken, route_of("alice", deployment="billing")) == {FULFILMENT, Workload("shop", "billing")}
    assert put(taken, ready_sandbox("alice")) == set()
    assert remove(taken, kafka_consumer()) == {FULFILMENT}
    assert remove(taken, kafka_consumer()) == set()


objects_in_turn = st.lists(
    st.tuples(
        st.sampled_from(("KafkaConsumer", "KafkaRoute", "Sandbox")),
        st.sampled_from("ab"),
        st.sampled_from(("fulfilment", "billing", None)),
        st.sampled_from(("Preparing", "Active")),
    ),
    max_size=12,
)


@given(steps=objects_in_turn)
def test_whatever_happened_before_the_answers_are_those_of_the_objects_as_they_are(
    steps: list[tuple[str, str, str | None, str]],
) -> None:
    """A step puts one object, or removes it where its deployment is None."""
    taken, left = Directory(HEADER), dict[tuple[str, str], Object]()
    for kind, name, deployment, phase in steps:
        obj = one_of(kind, name, deployment or "fulfilment", phase)
        taken.consumer(FULFILMENT)
        if deployment is None:
            remove(taken, obj)
            left.pop((kind, name), None)
        else:
            put(taken, obj)
            left[kind, name] = obj

    fresh = holding(*left.values())
    for workload in (FULFILMENT, Workload("shop", "billing")):
        first, second = taken.consumer(workload), fresh.consumer(workload)
        assert (first and first.etag) == (second and second.etag)
    assert taken.tenants(limit=10) == fresh.tenants(limit=10)
    assert [taken.tenant(key) for key in "ab"] == [fresh.tenant(key) for key in "ab"]


def one_of(kind: str, name: str, deployment: str, phase: str) -> Object:
    if kind == "KafkaConsumer":
        return kafka_consumer(name, having("spec.deployment", deployment))
    if kind == "KafkaRoute":
        return route_of(name, phase, deployment=deployment)
    return sandbox(name)


# --- tenants


def ready_sandbox(name: str, key: str | None = None) -> Object:
    status = {
        "workloads": [{"deployment": "orders", "fork": f"orders-{name}", "services": [f"orders-{name}"]}],
        "routes": [
            {
                "service": "orders",
                "provider": "VirtualService",
                "mode": "Owned",
                "state": "Programmed",
                "reason": "Programmed",
            }
        ],
    }
    return sandbox(name, having("status", status), conditioned("Ready", "True", "Ready"), routing_key(key or name))


def test_a_tenant_knows_its_forks_routes_and_groups() -> None:
    taken = holding(ready_sandbox("alice"), kafka_consumer(), route_of("alice"), route_of("bob"))

    found = taken.tenant("alice")

    assert found is not None
    assert found.to_json() == {
        "key": "alice",
        "sandboxes": [
            {
                "namespace": "shop",
                "name": "alice",
                "ready": "True",
                "workloads": [{"deployment": "orders", "fork": "orders-alice", "services": ["orders-alice"]}],
                "routes": [{"service": "orders", "state": "Programmed"}],
                "consumers": [
                    {
                        "consumer": "shop/fulfilment",
                        "topics": ["orders.created"],
                        "group": "fulfilment.sbx.alice",
                        "phase": "Active",
                    }
                ],
            }
        ],
    }


def test_a_sandbox_without_conditions_is_unknown() -> None:
    found = holding(sandbox("alice")).tenant("alice")

    assert found is not None
    assert found.sandboxes[0].ready == "Unknown"


def test_sandboxes_that_share_a_key_are_one_tenant() -> None:
    elsewhere = sandbox("carol", routing_key("team"), in_namespace("billing"))
    taken = holding(sandbox("bob", routing_key("team")), elsewhere, sandbox("alice"))

    found = taken.tenant("team")

    assert found is not None
    assert [item.namespace + "/" + item.name for item in found.sandboxes] == ["billing/carol", "shop/bob"]
    assert taken.tenant("bob") is None
    assert taken.tenants(limit=10).to_json() == {
        "tenants": [
            {"key": "alice", "sandboxes": ["shop/alice"]},
            {"key": "team", "sandboxes": ["billing/carol", "shop/bob"]},
        ]
    }


def test_a_route_groups_key_is_a_tenant_of_what_serves_it() -> None:
    alice = ready_sandbox("alice")
    alice["status"]["routingKeys"] = ["alice", "release-42"]
    alice["status"]["workloads"] = [
        {"deployment": "orders", "fork": "orders-alice", "keys": ["alice"]},
        {"deployment": "fulfilment", "fork": "fulfilment-alice", "keys": ["alice", "release-42"]},
    ]
    taken = holding(alice, kafka_consumer(), route_of("alice", keys=["alice", "release-42"]), route_of("bob"))

    found, own = taken.tenant("release-42"), taken.tenant("alice")

    assert found is not None
    assert own is not None
    assert [item.deployment for item in found.sandboxes[0].workloads] == ["fulfilment"]
    assert [item.group for item in found.sandboxes[0].consumers] == ["fulfilment.sbx.alice"]
    assert found.sandboxes[0].routes == ()
    assert [item.deployment for item in own.sandboxes[0].workloads] == ["orders", "fulfilment"]
    assert [tenant.key for tenant in taken.tenants(limit=10).tenants] == ["alice", "release-42"]
    put(taken, ready_sandbox("alice"))
    assert taken.tenant("release-42") is None
    assert taken.tenant("alice") is not None


@given(names=st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=12), limit=st.integers(1, 5))
def test_pages_together_are_all_tenants_once(names: list[str], limit: int) -> None:
    taken = holding(*(sandbox(name) for name in names))

    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = taken.tenants(after=after, limit=limit)
        assert len(page.tenants) <= limit
        seen += [tenant.key for tenant in page.tenants]
        after = page.next

    assert seen == sorted(names)
