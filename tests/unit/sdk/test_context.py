from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from sidestream_sdk import HeaderRules, TenantContext, TenantMiddleware
from sidestream_sdk.baggage import HeaderMode
from sidestream_sdk.context import Scope

EXACT = HeaderRules("exact")
BOTH = HeaderRules("both")
SEVERAL = HeaderRules(baggage_keys=("tenant", "sd-key"))
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def test_a_record_tells_its_tenant_and_everything_beside_it() -> None:
    message = Message(headers=[("baggage", b"user=7,tenant=alice;p"), ("traceparent", b"00-1-2-01")])

    context = TenantContext.from_message(message)

    assert context.tenant == "alice"
    assert context.baggage == "user=7,tenant=alice;p"


def test_a_record_without_headers_is_nobodys() -> None:
    context = TenantContext.from_message(Message())

    assert context == TenantContext()
    assert context.kafka_headers() == []
    assert context.http_headers() == {}
    assert context.to_row() == {"baggage": None}


def test_outgoing_baggage_keeps_the_other_members_and_puts_the_tenant_first() -> None:
    context = TenantContext.from_headers({"baggage": "user=7,tenant=alice"})

    assert context.http_headers() == {"baggage": "tenant=alice,user=7"}
    assert context.kafka_headers() == [("baggage", b"tenant=alice,user=7")]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(HeaderRules(), {"baggage": "tenant=alice"}, id="baggage"),
        pytest.param(EXACT, {"x-tenant-id": "alice"}, id="exact"),
        pytest.param(BOTH, {"baggage": "tenant=alice", "x-tenant-id": "alice"}, id="both"),
        pytest.param(HeaderRules("baggage", ("sd-key",)), {"baggage": "sd-key=alice"}, id="another key"),
        pytest.param(SEVERAL, {"baggage": "tenant=alice"}, id="the first of several keys"),
    ],
)
def test_the_tenant_goes_out_where_the_rules_say(rules: HeaderRules, expected: dict[str, str]) -> None:
    assert TenantContext("alice", rules=rules).http_headers() == expected


def test_with_a_plain_header_baggage_still_travels_as_it_came() -> None:
    context = TenantContext.from_headers([("x-tenant-id", "alice"), ("baggage", "user=7")], EXACT)

    assert context.http_headers() == {"baggage": "user=7", "x-tenant-id": "alice"}


def test_other_headers_of_a_record_are_kept_and_stale_ones_of_the_tenant_replaced() -> None:
    others: list[tuple[str, str | bytes | None]] = [
        ("traceparent", "00-1-2-01"),
        ("baggage", b"tenant=old"),
        ("x-tenant-id", b"old"),
        ("null", None),
    ]

    assert TenantContext("alice").kafka_headers(others) == [
        ("traceparent", b"00-1-2-01"),
        ("null", None),
        ("baggage", b"tenant=alice"),
    ]


@pytest.mark.parametrize(
    ("mode", "baggage", "expected"),
    [
        pytest.param("baggage", b"user=7 , x", b"tenant=alice,user=7 , x", id="baggage"),
        pytest.param("both", b"user=7 , x", b"tenant=alice,user=7 , x", id="both"),
        pytest.param("exact", b"user=7 , x", b"user=7 , x", id="exact"),
        pytest.param("exact", b"tenant=of something else", b"tenant=of something else", id="exact, a like member"),
        pytest.param("baggage", b"tenant=old, \xff=\xfe", b"tenant=alice, \xff=\xfe", id="bytes that are no text"),
        pytest.param("baggage", None, b"tenant=alice,of=context", id="baggage without a value"),
    ],
)
def test_a_records_own_baggage_stays_to_the_letter(mode: HeaderMode, baggage: bytes | None, expected: bytes) -> None:
    context = TenantContext("alice", "of=context", HeaderRules(mode))

    assert dict(context.kafka_headers([("baggage", baggage)]))["baggage"] == expected


def test_several_baggage_headers_of_a_record_become_one() -> None:
    others = [("baggage", "a=1"), ("other", None), ("baggage", b"tenant=bob,b=2")]

    assert TenantContext("alice").kafka_headers(others) == [("other", None), ("baggage", b"tenant=alice,a=1,b=2")]
    assert TenantContext().kafka_headers(others) == [("other", None), ("baggage", b"a=1,b=2")]


def test_the_tenant_of_any_key_goes_out_by_the_first_and_no_key_contradicts_it() -> None:
    context = TenantContext.from_headers({"baggage": "user=7, sd-key=alice"}, SEVERAL)

    assert context.tenant == "alice"
    assert context.http_headers() == {"baggage": "tenant=alice,user=7, sd-key=alice"}
    assert TenantContext("zed", context.baggage, SEVERAL).http_headers() == {"baggage": "tenant=zed,user=7"}
    assert TenantContext(None, context.baggage, SEVERAL).http_headers() == {"baggage": "user=7"}


@pytest.mark.parametrize("rules", [HeaderRules(), EXACT, BOTH, SEVERAL])
@given(tenant=text, baggage=st.sampled_from(["", "user=7", "user=7,tenant=old", "sd-key=older, user=7"]))
def test_a_row_brings_the_tenant_back(rules: HeaderRules, tenant: str, baggage: str) -> None:
    context = TenantContext(tenant, baggage, rules)

    again = TenantContext.from_row({"id": 1, **context.to_row()}, rules)

    assert again.tenant == tenant
    assert again.http_headers() == TenantContext(tenant, again.baggage, rules).http_headers()


def test_a_row_without_the_column_is_nobodys() -> None:
    assert TenantContext.from_row({"id": 1}).tenant is None
    assert TenantContext.from_row({"baggage": None}).tenant is None


def test_the_current_context_lasts_as_long_as_the_with() -> None:
    assert TenantContext.current() == TenantContext()
    with TenantContext("alice").use() as used:
        assert TenantContext.current() is used
        with TenantContext("bob").use():
            assert TenantContext.current().tenant == "bob"
        assert TenantContext.current() is used
    assert TenantContext.current() == TenantContext()


def asgi_scope(kind: str = "http") -> Scope:
    return {"type": kind, "headers": [(b"host", b"x"), (b"baggage", b"user=7"), (b"baggage", b"tenant=alice")]}


@pytest.mark.parametrize(("kind", "tenant"), [("http", "alice"), ("websocket", "alice"), ("lifespan", None)])
def test_the_middleware_makes_a_requests_context_current(kind: str, tenant: str | None) -> None:
    seen: list[TenantContext] = []

    async def app(*_: Any) -> None:
        seen.append(TenantContext.current())

    async def never(*_: Any) -> Any:
        raise AssertionError("nobody asks")

    asyncio.run(TenantMiddleware(app)(asgi_scope(kind), never, never))

    assert [context.tenant for context in seen] == [tenant]
    assert TenantContext.current() == TenantContext()
