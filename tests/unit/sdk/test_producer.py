"""SandboxProducer: which headers records get, and that all else is `confluent_kafka.Producer`'s, on a mock broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from fakes.brokers import Broker
from fakes.consuming import DEADLINE
from sidestream_sdk import HeaderRules, SandboxProducer, TenantContext
from sidestream_sdk.baggage import HeaderMode
from sidestream_sdk.producer import with_tenant

ALICE = TenantContext("alice")
EXACT = TenantContext("alice", rules=HeaderRules("exact"))
BOTH = TenantContext("alice", rules=HeaderRules("both"))
SEVERAL = TenantContext("alice", rules=HeaderRules(baggage_keys=("tenant", "sd-key")))
Make = Callable[..., Producer]


@pytest.fixture
def producer(broker: Broker) -> SandboxProducer:
    return SandboxProducer({"bootstrap.servers": broker.bootstrap})


@pytest.fixture
def read(broker: Broker, topic: str) -> Iterator[Callable[[int], list[Message]]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    yield lambda count: consumer.consume(count, DEADLINE)
    consumer.close()


@pytest.mark.parametrize(
    ("context", "given", "expected"),
    [
        pytest.param(ALICE, None, [("baggage", b"tenant=alice")], id="a record without headers"),
        pytest.param(ALICE, [("a", None)], [("a", None), ("baggage", b"tenant=alice")], id="other headers stay"),
        pytest.param(ALICE, {"a": b"1"}, {"a": b"1", "baggage": b"tenant=alice"}, id="a dict stays one"),
        pytest.param(
            ALICE,
            [("baggage", "user=7; p=1 , x=y%20z"), ("a", b"1")],
            [("baggage", b"tenant=alice,user=7; p=1 , x=y%20z"), ("a", b"1")],
            id="baggage of its own stays to the letter",
        ),
        pytest.param(
            ALICE, {"baggage": b"user=7"}, {"baggage": b"tenant=alice,user=7"}, id="baggage of its own in a dict"
        ),
        pytest.param(
            ALICE,
            [("baggage", b"user=7"), ("baggage", b"x=y")],
            [("baggage", b"tenant=alice,user=7"), ("baggage", b"x=y")],
            id="several baggage headers",
        ),
        pytest.param(ALICE, [("baggage", None)], [("baggage", b"tenant=alice")], id="an empty baggage header"),
        pytest.param(ALICE, [("baggage", b"tenant=bob")], [("baggage", b"tenant=bob")], id="a tenant of its own wins"),
        pytest.param(
            ALICE,
            [("baggage", b"x=y"), ("baggage", b"u=7, tenant = bob;p")],
            [("baggage", b"x=y"), ("baggage", b"u=7, tenant = bob;p")],
            id="a tenant of its own in the second header wins",
        ),
        pytest.param(ALICE, {"baggage": "tenant="}, {"baggage": "tenant="}, id="nobody by its own word"),
        pytest.param(SEVERAL, {"baggage": "x=y"}, {"baggage": b"tenant=alice,x=y"}, id="the first key is written"),
        pytest.param(
            SEVERAL, {"baggage": "sd-key=bob"}, {"baggage": "sd-key=bob"}, id="any key is a tenant of its own"
        ),
        pytest.param(
            ALICE, [("baggage", b"tenants=bob")], [("baggage", b"tenant=alice,tenants=bob")], id="a similar member"
        ),
        pytest.param(
            ALICE, [("x-tenant-id", b"bob")], [("x-tenant-id", b"bob"), ("baggage", b"tenant=alice")], id="another mode"
        ),
        pytest.param(TenantContext("ä b"), None, [("baggage", b"tenant=%C3%A4%20b")], id="a key that is encoded"),
        pytest.param(
            TenantContext("alice", "user=7"), None, [("baggage", b"tenant=alice,user=7")], id="the context's baggage"
        ),
        pytest.param(EXACT, None, [("x-tenant-id", b"alice")], id="exact"),
        pytest.param(
            EXACT,
            [("baggage", b"tenant=bob")],
            [("baggage", b"tenant=bob"), ("x-tenant-id", b"alice")],
            id="exact, where baggage says nothing",
        ),
        pytest.param(EXACT, {"x-tenant-id": "bob"}, {"x-tenant-id": "bob"}, id="exact, a tenant of its own wins"),
        pytest.param(BOTH, None, [("baggage", b"tenant=alice"), ("x-tenant-id", b"alice")], id="both"),
        pytest.param(
            BOTH,
            {"baggage": b"user=7"},
            {"baggage": b"tenant=alice,user=7", "x-tenant-id": b"alice"},
            id="both, with baggage of its own",
        ),
        pytest.param(BOTH, [("x-tenant-id", b"bob")], [("x-tenant-id", b"bob")], id="both, its own plain header wins"),
        pytest.param(BOTH, {"baggage": "tenant=bob"}, {"baggage": "tenant=bob"}, id="both, its own baggage wins"),
        pytest.param(TenantContext(), {"a": b"1"}, {"a": b"1"}, id="nobody's context"),
        pytest.param(TenantContext(None, "user=7"), None, None, id="nobody's context with baggage"),
    ],
)
def test_a_record_gets_the_tenant_that_it_does_not_name(context: TenantContext, given: Any, expected: object) -> None:
    before = repr(given)

    assert with_tenant(given, context) == expected
    assert repr(given) == before, "the application's own headers were changed"


members = st.lists(st.binary(max_size=20) | st.sampled_from([b"user=7", b" x = y;p ", b"tenants=z"]), max_size=5)


@given(headers=st.lists(members.map(b",".join), max_size=3), mode=st.sampled_from(["baggage", "exact", "both"]))
def test_all_else_in_a_records_baggage_stays_to_the_byte(headers: list[bytes], mode: HeaderMode) -> None:
    context = TenantContext("alice", rules=HeaderRules(mode, ("tenant", "sd-key")))
    pairs: list[tuple[str, bytes]] = [("baggage", value) for value in headers]

    produced = b",".join(value for name, value in with_tenant(pairs, context) if name == "baggage")
    passed_on = b",".join(value or b"" for name, value in context.kafka_headers(pairs) if name == "baggage")

    before = [member for value in headers for member in value.split(b",")]
    for after in (produced, passed_on):
        members_after = [member for member in after.split(b",") if member != b"tenant=alice"]
        assert [item for item in members_after if item.strip(b" \t")] == [item for item in before if item.strip(b" \t")]


def test_the_tenant_of_the_context_travels_with_every_record_produced_in_it(
    producer: SandboxProducer, topic: str, read: Callable[[int], list[Message]]
) -> None:
    producer.produce(topic, b"before", partition=0)
    with ALICE.use():
        producer.produce(topic, b"by name", b"key", partition=0, headers={"a": "1"}, timestamp=5)
        producer.produce(topic, b"by position", None, 0, None, None, 0, [("a", "1")])
    producer.produce(topic, b"after", partition=0)
    assert producer.flush(DEADLINE) == 0

    before, by_name, by_position, after = read(4)
    assert before.headers() is None
    assert after.headers() is None
    assert by_name.headers() == by_position.headers() == [("a", b"1"), ("baggage", b"tenant=alice")]
    assert (by_name.key(), by_name.timestamp()[1]) == (b"key", 5)
    assert TenantContext.from_message(by_name).tenant == "alice"


def test_a_batch_carries_the_tenant_too(
    producer: SandboxProducer, topic: str, read: Callable[[int], list[Message]]
) -> None:
    with ALICE.use():
        assert producer.produce_batch(topic, [{"value": "1", "key": "k"}, {}], partition=0) == 2
    assert producer.produce_batch(topic, [{"value": "3"}], partition=0) == 1
    assert producer.flush(DEADLINE) == 0

    assert [(item.key(), item.value(), item.headers()) for item in read(3)] == [
        (b"k", b"1", [("baggage", b"tenant=alice")]),
        (None, None, [("baggage", b"tenant=alice")]),
        (None, b"3", None),
    ]


def wrong_calls(producer: Producer, topic: str) -> Iterator[Callable[[], object]]:
    produce: Callable[..., None] = producer.produce
    batch: Callable[..., int] = producer.produce_batch
    yield produce
    yield lambda: produce(topic, 5)
    yield lambda: produce(topic, b"1", elsewhere=1)
    yield lambda: produce(topic, b"1", topic=topic)
    wrong_headers: list[Any] = [
        "no headers",
        (("a", b"1"),),
        [["a", b"1"]],
        [("a",)],
        [("a", 1)],
        [("baggage", 1)],
        {"a": 1},
    ]
    yield from (partial(produce, topic, b"1", headers=headers) for headers in wrong_headers)
    wrong_batches: list[Any] = [({},), ["no message"], [{"value": 5}], [{"key": 5}], [{"value": "1", "timestamp": 5}]]
    yield from (partial(batch, topic, messages) for messages in wrong_batches)
    yield lambda: batch(topic, [], elsewhere=1)
    yield lambda: batch(topic, [], topic=topic)
    yield batch


@pytest.mark.parametrize("context", [pytest.param(ALICE, id="tenant"), pytest.param(TenantContext(), id="nobody")])
def test_wrong_calls_are_refused_as_by_the_base_class(broker: Broker, topic: str, context: TenantContext) -> None:
    def outcomes(make: Make) -> list[type[BaseException]]:
        seen: list[type[BaseException]] = []
        producer = make({"bootstrap.servers": broker.bootstrap})
        for call in wrong_calls(producer, topic):
            with pytest.raises((TypeError, NotImplementedError)) as refused:
                call()
            seen.append(refused.type)
        assert len(producer) == 0, "a refused record was queued"
        return seen

    with context.use():
        assert outcomes(SandboxProducer) == outcomes(Producer)


FULL = {
    "bootstrap.servers": "127.0.0.1:9",
    "queue.buffering.max.messages": 2,
    "message.max.bytes": 1000,
    "log_level": 0,
}


@pytest.mark.parametrize("context", [pytest.param(ALICE, id="tenant"), pytest.param(TenantContext(), id="nobody")])
def test_what_cannot_be_queued_is_told_as_by_the_base_class(topic: str, context: TenantContext) -> None:
    def outcome(make: Make) -> object:
        messages: list[dict[str, Any]] = [{"value": "1"}, {"value": "2" * 5000}, {"value": "3"}, {"value": "4"}]
        producer = make(FULL)
        queued = producer.produce_batch(topic, messages)
        with pytest.raises(BufferError):
            producer.produce(topic, b"5")
        errors = [item["_error"].code() if "_error" in item else None for item in messages]
        producer.purge()
        producer.flush(DEADLINE)
        return queued, errors

    with context.use():
        assert outcome(SandboxProducer) == outcome(Producer)


@pytest.mark.parametrize("context", [pytest.param(ALICE, id="tenant"), pytest.param(TenantContext(), id="nobody")])
def test_deliveries_are_told_as_by_the_base_class(broker: Broker, topic: str, context: TenantContext) -> None:
    def told_by(make: Make) -> list[tuple[str, object, object]]:
        told: list[tuple[str, object, object]] = []

        def note(name: str) -> Callable[[object, Message], None]:
            return lambda error, message: told.append((name, error, message.value()))

        producer = make({"bootstrap.servers": broker.bootstrap})
        producer.produce(topic, b"1", partition=0, callback=note("callback"))
        producer.produce(topic, b"2", partition=0, on_delivery=note("on_delivery"))
        producer.produce_batch(topic, [{"value": "3"}, {"value": "4", "callback": note("own")}], 0, note("callback"))
        producer.produce_batch(topic, [{"value": "5"}], partition=0, on_delivery=note("on_delivery"))
        assert producer.flush(DEADLINE) == 0
        return told

    with context.use():
        assert told_by(SandboxProducer) == told_by(Producer)
        assert len(told_by(Producer)) == 5


def test_configuration_is_the_base_classs(broker: Broker) -> None:
    with pytest.raises(TypeError):
        SandboxProducer()
    assert len(SandboxProducer(**{"bootstrap.servers": broker.bootstrap})) == 0
