"""How a request names its tenant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.routing.headers import (
    MatchKind,
    any_tenant_matches,
    baggage_naming,
    baggage_with,
    check_settings,
    tenant_matches,
)

NAMES_ALICE = {
    "alone": "tenant=alice",
    "first": "tenant=alice,a=b",
    "last": "a=b,tenant=alice",
    "in the middle": "a=b,tenant=alice,c=d",
    "spaces around all": "a=b , \ttenant = alice ,c=d",
    "with properties": "tenant=alice;ttl=5;public",
    "spaces before a property": "tenant=alice ; public",
    "first of three header lines, joined": "tenant=alice,a=b,c=d",
    "second of three header lines, joined": "a=b,tenant=alice,c=d",
    "third of three header lines, joined": "a=b,c=d,tenant=alice",
    "beside an empty header line": ",tenant=alice",
    "beside malformed members": "nonsense,=x,tenant=alice",
    "named twice": "tenant=bob,tenant=alice",
    "named twice, the other way": "tenant=alice,tenant=bob",
}
NAMES_NOBODY_OR_ANOTHER = {
    "empty": "",
    "another tenant": "tenant=bob",
    "longer value": "tenant=alice2",
    "longer value after a hyphen": "tenant=alice-2",
    "shorter value": "tenant=alic",
    "longer key": "xtenant=alice",
    "longer key after a hyphen": "x-tenant=alice",
    "shorter key": "enant=alice",
    "key that goes on": "tenant2=alice",
    "key as a property": "a=b;tenant=alice",
    "key as a property after a space": "a=b; tenant=alice",
    "in another value": "a=tenant=alice",
    "value that goes on with =": "tenant=alice=1",
    "another case of the key": "Tenant=alice",
    "another case of the value": "tenant=ALICE",
    "without a value": "tenant",
    "empty value": "tenant=",
    "space within": "tenant=ali ce",
    "space within the key": "ten ant=alice",
    "quoted": 'tenant="alice"',
    "in words": "x tenant=alice",
}
PERCENT_ENCODED = {"letter": "tenant=%61lice", "hyphen": "tenant=a%2Db", "equals sign": "tenant%3Dalice"}
"""What an encoder may write, but none does: of a routing key's characters none needs it."""


TENANT = ("tenant",)
SEVERAL = ("sd-key", "tenant", "team.tenant")
any_keys = pytest.mark.parametrize("keys", [TENANT, SEVERAL], ids=["one key", "several keys"])


def spellings(header: str) -> list[str]:
    """The header with each of several keys in place of `tenant`."""
    return [header.replace("tenant", key) for key in SEVERAL]


@any_keys
@pytest.mark.parametrize("header", NAMES_ALICE.values(), ids=NAMES_ALICE)
def test_baggage_names_the_tenant(header: str, keys: tuple[str, ...]) -> None:
    for spelled in spellings(header) if keys == SEVERAL else [header]:
        for search in (re.fullmatch, re.search):  # Envoy's way, and that of Go and Rust
            assert search(baggage_with(keys, "alice"), spelled)
            assert search(baggage_naming(keys), spelled)


@any_keys
@pytest.mark.parametrize("header", NAMES_NOBODY_OR_ANOTHER.values(), ids=NAMES_NOBODY_OR_ANOTHER)
def test_baggage_names_somebody_else_or_nobody(header: str, keys: tuple[str, ...]) -> None:
    for spelled in spellings(header) if keys == SEVERAL else [header]:
        for search in (re.fullmatch, re.search):
            assert not search(baggage_with(keys, "alice"), spelled)


@pytest.mark.parametrize("header", PERCENT_ENCODED.values(), ids=PERCENT_ENCODED)
def test_percent_encoded_baggage_is_not_matched(header: str) -> None:
    assert not any(re.fullmatch(baggage_with(TENANT, value), header) for value in ("alice", "a-b"))


@pytest.mark.parametrize(
    ("lines", "names_alice"),
    [
        (["a=b", "tenant=alice"], True),
        (["tenant=alice", "a=b"], True),
        (["a=b", "c=d;p, tenant = alice", ""], True),
        (["tenant=bob", "tenant=alice"], True),
        (["tenant", "=alice"], False),
        (["a=b", "tenant=alice2", "xtenant=alice"], False),
    ],
)
def test_several_header_lines_name_the_tenant_joined_and_each_alone(lines: list[str], *, names_alice: bool) -> None:
    pattern = baggage_with(TENANT, "alice")
    assert bool(re.fullmatch(pattern, ",".join(lines))) == names_alice, "as Envoy joins them"
    assert any(re.search(pattern, line) for line in lines) == names_alice, "as Traefik and Linkerd look at each"


@pytest.mark.parametrize("header", ["", "a=b", "a=b;tenant=alice", "xtenant=alice", "tenant", "a=tenant=alice"])
def test_baggage_without_the_key_names_no_tenant(header: str) -> None:
    assert not re.fullmatch(baggage_naming(TENANT), header)
    assert not re.fullmatch(baggage_naming(SEVERAL), header)


TOKENS = st.text(alphabet="!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=12)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
MEMBERS = st.lists(st.tuples(TOKENS, LABELS), max_size=4)


KEYS = st.lists(TOKENS, min_size=1, max_size=3).map(tuple)


@given(keys=KEYS, value=LABELS, members=MEMBERS, data=st.data())
def test_any_key_is_found_among_any_members(
    keys: tuple[str, ...], value: str, members: list[tuple[str, str]], data: st.DataObject
) -> None:
    key, position = data.draw(st.sampled_from(keys)), data.draw(st.integers(0, len(members)))
    pairs = [*members[:position], (key, value), *members[position:]]
    header = ",".join(f"{name}={content}" for name, content in pairs)
    assert re.fullmatch(baggage_with(keys, value), header)


@given(keys=KEYS, value=LABELS, members=MEMBERS)
def test_a_pattern_matches_only_its_own_members(
    keys: tuple[str, ...], value: str, members: list[tuple[str, str]]
) -> None:
    header = ",".join(f"{name}={content}" for name, content in members)
    of_keys = {content for name, content in members if name in keys}
    assert bool(re.fullmatch(baggage_with(keys, value), header)) == (value in of_keys)
    assert bool(re.fullmatch(baggage_naming(keys), header)) == bool(of_keys)


def test_only_metacharacters_of_a_key_are_escaped() -> None:
    assert baggage_with(("a.b#c~d",), "k") == r"^(?:.*,)?[ \t]*a\.b#c~d[ \t]*=[ \t]*k[ \t]*(?:[;,].*)?$"
    assert baggage_with(("a|b", "c"), "k") == r"^(?:.*,)?[ \t]*(?:a\|b|c)[ \t]*=[ \t]*k[ \t]*(?:[;,].*)?$"


def test_a_pattern_of_the_longest_names_stays_within_what_istio_takes() -> None:
    check_settings(HeaderSettings(baggage_keys=("." * 256,)))
    check_settings(HeaderSettings(baggage_keys=tuple(f"a-key-of-team-{number}" for number in range(50))))
    with pytest.raises(
        ValueError, match=r"too many or too long: a pattern .* has 1\d+ characters, of which Istio takes"
    ):
        check_settings(HeaderSettings(baggage_keys=("." * 256, "+" * 256)))


def test_each_mode_has_its_alternatives() -> None:
    def headers(mode: HeaderMode) -> list[tuple[str, MatchKind]]:
        settings = HeaderSettings(mode=mode, name="X-Tenant-Id")
        return [(match.name, match.kind) for match in tenant_matches(settings, "alice")]

    assert headers(HeaderMode.BAGGAGE) == [("baggage", MatchKind.REGEX)]
    assert headers(HeaderMode.EXACT) == [("x-tenant-id", MatchKind.EXACT)]
    assert headers(HeaderMode.BOTH) == [("baggage", MatchKind.REGEX), ("x-tenant-id", MatchKind.EXACT)]


def test_asking_for_any_tenant_first_pays_only_where_a_regex_is_tried() -> None:
    assert len(any_tenant_matches(HeaderSettings(mode=HeaderMode.EXACT))) == 1
    assert len(any_tenant_matches(HeaderSettings(mode=HeaderMode.BAGGAGE))) == 1
    assert len(any_tenant_matches(HeaderSettings(mode=HeaderMode.BOTH))) == 2


@pytest.mark.parametrize("mode", HeaderMode)
def test_there_is_one_condition_on_each_header_however_many_the_keys(mode: HeaderMode) -> None:
    settings = HeaderSettings(mode, SEVERAL)
    for matches in (tenant_matches(settings, "alice"), any_tenant_matches(settings)):
        assert len({match.name for match in matches}) == len(matches)


@pytest.mark.parametrize(
    "settings",
    [
        HeaderSettings(baggage_keys=("a b",)),
        HeaderSettings(baggage_keys=("tenant", "a b")),
        HeaderSettings(baggage_keys=("",)),
        HeaderSettings(name="x:y"),
    ],
    ids=["space in the key", "space in the second key", "empty key", "colon in the header's name"],
)
def test_names_that_http_does_not_allow_are_refused(settings: HeaderSettings) -> None:
    with pytest.raises(ValueError, match="is not an HTTP token"):
        check_settings(settings)


def test_without_a_key_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="no baggage key"):
        check_settings(HeaderSettings(baggage_keys=()))
