from __future__ import annotations

import tracemalloc
from typing import Any

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
    without_others,
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
    assert parse_baggage(with_member("user=7", ("tenant",), value).encode(), ("tenant",)) == Reading(value)


@given(
    value=st.text("tenan=alice,; \t%41\n", max_size=60).map(str.encode) | st.binary(max_size=60),
    keys=st.lists(st.sampled_from(["tenant", "a", "ten.ant", "te nant", "a=b", ""]), min_size=1, max_size=2).map(tuple),
)
@example(value=b"tenant=a;p=1 , tenant = b%20c ;tenant=d, ,x=y", keys=("tenant",))
@example(value=b"tenant=a;p=1,tenant= b%20c \t", keys=("tenant",))
@example(value=b"tenant=a;p=1", keys=("tenant",))
@example(value=b"tenant=b,a=a", keys=("tenant", "a"))
@example(value=b"x=1;tenant=bob,tenant;a=1", keys=("tenant",))
@example(value=b"a=b=c", keys=("a=b",))
@example(value=b"tenxant=a", keys=("ten.ant",))
def test_the_quick_way_through_a_flawless_header_reads_as_the_definition_does(
    value: bytes, keys: tuple[str, ...]
) -> None:
    assert parse_baggage(value, keys) == _parse_members(value, frozenset(key.encode() for key in keys))


# --- writing

keys_of = st.lists(tokens, min_size=1, max_size=3, unique=True).map(tuple)
blanks = st.text(" \t", max_size=2)
anything = st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), max_size=20)


@st.composite
def members_of(draw: st.DrawFn, names: st.SearchStrategy[str] = tokens) -> str:
    """A member as anybody may write it: blanks, properties, text that is no baggage at all."""
    name, text, properties = draw(names), draw(anything), draw(st.sampled_from(["", ";p", " ; p=1;q = 2"]))
    return draw(
        st.just(draw(anything)) | st.just(f"{draw(blanks)}{name}{draw(blanks)}={text}{properties}{draw(blanks)}")
    )


def name_of(member: str) -> str:
    """The part before the first `=` or `;`, without blanks."""
    return member.partition(";")[0].partition("=")[0].strip(" \t")


@given(data=st.data(), keys=keys_of, value=tokens)
def test_all_that_is_not_about_the_tenant_stays_to_the_letter_where_it_is_written(
    data: st.DataObject, keys: tuple[str, ...], value: str
) -> None:
    members = data.draw(st.lists(members_of(tokens | st.sampled_from(keys)), max_size=6))
    others = [member for member in members if name_of(member) not in keys]

    ours, _, rest = with_member(",".join(members), keys, value).partition(",")

    assert ours == f"{keys[0]}={value}"
    kept = [member for member in rest.split(",") if name_of(member) not in keys]
    if "".join(others).strip(" \t"):
        assert kept == others
    else:
        assert not "".join(kept).strip(" \t")


@given(data=st.data(), keys=keys_of, value=tokens)
def test_whoever_knows_any_of_the_keys_reads_the_tenant_that_was_written_or_none(
    data: st.DataObject, keys: tuple[str, ...], value: str
) -> None:
    members = data.draw(st.lists(members_of(st.sampled_from(keys)), max_size=6))

    written = with_member(",".join(members), keys, value).encode()

    assert parse_baggage(written, keys).key == value
    assert parse_baggage(written, keys).conflicts == 0
    assert parse_baggage(written, keys[:1]).key == value
    assert all(parse_baggage(written, (key,)).key in {value, None} for key in keys)


def test_a_member_with_another_key_stays_where_it_names_the_same_tenant() -> None:
    baggage = "sd-key=al%69ce;p, user=7 ,sd-key=bob,tenant=zed"

    assert with_member(baggage, ("tenant", "sd-key"), "alice") == "tenant=alice,sd-key=al%69ce;p, user=7 "
    assert with_member(baggage, ("sd-key", "tenant"), "zed") == "sd-key=zed, user=7 ,tenant=zed"


def test_nobodys_baggage_loses_the_tenants_alone() -> None:
    assert without_others("tenant=alice, user=7 ,sd-key=", ("tenant", "sd-key"), "") == " user=7 ,sd-key="


# --- reading


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

    def counting(value: bytes, keys: tuple[str, ...]) -> Reading:
        parsed.append(value)
        return parse_baggage(value, keys)

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
        {"mode": "baggage", "baggageKeys": [], "name": "x"},
        {"mode": "baggage", "baggageKeys": "tenant", "name": "x"},
        {"mode": "baggage", "baggageKey": "tenant", "baggageKeys": ["tenant", 1], "name": "x"},
        {"mode": "baggage", "name": "x"},
    ],
)
def test_header_rules_that_make_no_sense_are_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="mode of baggage, exact or both"):
        HeaderRules.from_json(raw)


def test_the_mapping_of_an_older_service_has_one_key() -> None:
    raw = {"mode": "both", "baggageKey": "team", "name": "x-team"}

    assert HeaderRules.from_json(raw) == HeaderRules("both", ("team",), "x-team")
    assert HeaderRules.from_json({**raw, "baggageKeys": ["team", "tenant"]}) == HeaderRules(
        "both", ("team", "tenant"), "x-team"
    )


@pytest.mark.parametrize("keys", ["tenant", (), ["tenant"]])
def test_a_lone_string_is_no_list_of_keys(keys: Any) -> None:
    with pytest.raises(ValueError, match="must be a tuple of at least one key"):
        HeaderRules(baggage_keys=keys)


@given(
    members=st.permutations([("tenant", "bob"), ("tenant", "alice"), ("sd-key", "carol"), ("sd-key", ""), ("x", "a")])
)
def test_the_order_of_members_does_not_matter(members: list[tuple[str, str]]) -> None:
    read = tenant_reader(HeaderRules(baggage_keys=("tenant", "sd-key")))

    assert read([("baggage", f"{name}={text}") for name, text in members]) == Reading("alice", conflicts=3)
