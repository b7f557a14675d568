from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidestream_sdk.baggage import (
    MAX_BYTES,
    HeaderMode,
    HeaderRules,
    HeaderValue,
    Reading,
    _parse_members,
    joined_baggage,
    parse_baggage,
    tenant_reader,
    with_member,
)

values = st.none() | st.binary(max_size=60) | st.text(max_size=60) | st.text("tenan=alice,; \t%41", max_size=60)
headers = st.lists(st.tuples(st.sampled_from(["baggage", "x-tenant-id", "other"]), values), max_size=6)
modes: st.SearchStrategy[HeaderMode] = st.sampled_from(["baggage", "exact", "both"])
tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)


@given(headers=headers, mode=modes)
def test_no_headers_whatsoever_make_the_reader_raise(headers: list[tuple[str, HeaderValue]], mode: HeaderMode) -> None:
    reading = tenant_reader(HeaderRules(mode))(headers)

    assert reading.key != ""
    assert reading.malformed >= 0
    assert reading.conflicts >= 0


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_a_written_value_is_read_back(value: str) -> None:
    assert parse_baggage(with_member("user=7", "tenant", value).encode(), "tenant") == Reading(value)


@given(
    value=st.text("tenan=alice,; \t%41\n", max_size=60).map(str.encode) | st.binary(max_size=60),
    key=st.sampled_from(["tenant", "a", "ten.ant", "te nant", "a=b", ""]),
)
@example(value=b"tenant=a;p=1 , tenant = b%20c ;tenant=d, ,x=y", key="tenant")
@example(value=b"tenant=a;p=1,tenant= b%20c \t", key="tenant")
@example(value=b"tenant=a;p=1", key="tenant")
@example(value=b"x=1;tenant=bob,tenant;a=1", key="tenant")
@example(value=b"a=b=c", key="a=b")
@example(value=b"tenxant=a", key="ten.ant")
def test_the_quick_way_through_a_flawless_header_reads_as_the_definition_does(value: bytes, key: str) -> None:
    assert parse_baggage(value, key) == _parse_members(value, key.encode())


@given(members=st.lists(st.tuples(tokens, tokens), max_size=8), key=tokens, value=tokens)
def test_writing_a_member_replaces_its_duplicates_and_keeps_the_others(
    members: list[tuple[str, str]], key: str, value: str
) -> None:
    before = ", ".join(f"{name}={text};p" for name, text in members)

    after = with_member(before, key, value).split(",")

    assert after[0] == f"{key}={value}"
    assert after[1:] == [f"{name}={text};p" for name, text in members if name != key]


@given(headers=st.lists(st.tuples(st.just("baggage"), st.text("tenan=alicebob,; ", max_size=40)), max_size=4))
def test_several_headers_read_as_one_that_joins_them(headers: list[tuple[str, str]]) -> None:
    read = tenant_reader(HeaderRules())
    joined = ",".join(value for _, value in headers)

    assert read(list(headers)) == (read([("baggage", joined)]) if headers else Reading(None))


def test_headers_may_be_a_dict() -> None:
    assert tenant_reader(HeaderRules())({"baggage": b"tenant=alice"}) == Reading("alice")


@pytest.mark.parametrize("absent", [None, [], {}, ()])
def test_without_headers_there_is_no_tenant(absent: list[tuple[str, HeaderValue]] | None) -> None:
    for mode in ("baggage", "exact", "both"):
        assert tenant_reader(HeaderRules(mode))(absent) == Reading(None)


def test_a_repeated_header_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def counting(value: bytes, key: str) -> Reading:
        parsed.append(value)
        return parse_baggage(value, key)

    monkeypatch.setattr("sidestream_sdk.baggage.parse_baggage", counting)
    read = tenant_reader(HeaderRules())

    readings = {read([("baggage", b"tenant=alice")]) for _ in range(100)}

    assert readings == {Reading("alice")}
    assert parsed == [b"tenant=alice"]


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        pytest.param(HeaderRules(), "baggage", id="baggage"),
        pytest.param(HeaderRules("exact"), "x-tenant-id", id="exact"),
        pytest.param(HeaderRules("both"), "x-tenant-id", id="both"),
    ],
)
def test_headers_that_are_too_long_are_not_kept(rules: HeaderRules, name: str) -> None:
    tracemalloc.start()
    try:
        read = tenant_reader(rules)
        for number in range(20):
            read([(name, b"%d" % number + b"a" * 1_000_000)])
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_joined_baggage_drops_what_is_too_long_to_pass_on() -> None:
    assert joined_baggage([("baggage", "a=1"), ("x", "y"), ("baggage", b"b=2")]) == "a=1,b=2"
    assert joined_baggage([("baggage", "a" * MAX_BYTES)]) == "a" * MAX_BYTES
    assert joined_baggage([("baggage", "a" * (MAX_BYTES + 1))]) == ""


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"mode": "regex", "baggageKey": "tenant", "name": "x"},
        {"mode": "baggage", "baggageKey": 1, "name": "x"},
        {"mode": "baggage", "name": "x"},
    ],
)
def test_header_rules_that_make_no_sense_are_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="mode of baggage, exact or both"):
        HeaderRules.from_json(raw)
