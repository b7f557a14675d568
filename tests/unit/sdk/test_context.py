from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from sidestream_sdk import HeaderRules, TenantContext, TenantMiddleware
from sidestream_sdk.context import Scope

EXACT = HeaderRules("exact")
BOTH = HeaderRules("both")
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
        pytest.param(HeaderRules("baggage", "sd-key"), {"baggage": "sd-key=alice"}, id="another key"),
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


@pytest.mark.parametrize("rules", [HeaderRules(), EXACT, BOTH])
@given(tenant=text, baggage=st.sampled_from(["", "user=7", "user=7,tenant=old"]))
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
