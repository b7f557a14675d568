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
    "header lines joined by Envoy": "a=b,tenant=alice",
    "named twice": "tenant=bob,tenant=alice",
}
NAMES_NOBODY_OR_ANOTHER = {
    "empty": "",
    "another tenant": "tenant=bob",
    "longer value": "tenant=alice2",
    "shorter value": "tenant=alic",
    "longer key": "xtenant=alice",
    "key as a property": "a=b;tenant=alice",
    "in another value": "a=tenant=alice",
    "another case of the key": "Tenant=alice",
    "another case of the value": "tenant=ALICE",
    "without a value": "tenant",
    "space within": "tenant=ali ce",
}


@pytest.mark.parametrize("header", NAMES_ALICE.values(), ids=NAMES_ALICE)
def test_baggage_names_the_tenant(header: str) -> None:
    assert re.fullmatch(baggage_with("tenant", "alice"), header)
    assert re.fullmatch(baggage_naming("tenant"), header)


@pytest.mark.parametrize("header", NAMES_NOBODY_OR_ANOTHER.values(), ids=NAMES_NOBODY_OR_ANOTHER)
def test_baggage_names_somebody_else_or_nobody(header: str) -> None:
    assert not re.fullmatch(baggage_with("tenant", "alice"), header)


@pytest.mark.parametrize("header", ["", "a=b", "a=b;tenant=alice", "xtenant=alice", "tenant", "a=tenant=alice"])
def test_baggage_without_the_key_names_no_tenant(header: str) -> None:
    assert not re.fullmatch(baggage_naming("tenant"), header)


TOKENS = st.text(alphabet="!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=12)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
MEMBERS = st.lists(st.tuples(TOKENS, LABELS), max_size=4)


@given(key=TOKENS, value=LABELS, members=MEMBERS, position=st.integers(0, 4))
def test_any_key_is_found_among_any_members(
    key: str, value: str, members: list[tuple[str, str]], position: int
) -> None:
    pairs = [*members[:position], (key, value), *members[position:]]
    header = ",".join(f"{name}={content}" for name, content in pairs)
    assert re.fullmatch(baggage_with(key, value), header)


@given(key=TOKENS, value=LABELS, members=MEMBERS)
def test_a_pattern_matches_only_its_own_member(key: str, value: str, members: list[tuple[str, str]]) -> None:
    header = ",".join(f"{name}={content}" for name, content in members)
    assert bool(re.fullmatch(baggage_with(key, value), header)) == ((key, value) in members)
    assert bool(re.fullmatch(baggage_naming(key), header)) == (key in {name for name, _ in members})


def test_only_metacharacters_of_a_key_are_escaped() -> None:
    assert baggage_with("a.b#c~d", "k") == r"^(?:.*,)?[ \t]*a\.b#c~d[ \t]*=[ \t]*k[ \t]*(?:[;,].*)?$"


def test_a_pattern_of_the_longest_names_stays_within_what_istio_takes() -> None:
    assert len(baggage_with("." * 256, "k" * 63)) < 1024


def test_each_mode_has_its_alternatives() -> None:
    def headers(mode: HeaderMode) -> list[tuple[str, MatchKind]]:
        settings = HeaderSettings(mode=mode, name="X-Tenant-Id")
        return [(match.name, match.kind) for match in tenant_matches(settings, "alice")]

    assert headers(HeaderMode.BAGGAGE) == [("baggage", MatchKind.REGEX)]
    assert headers(HeaderMode.EXACT) == [("x-tenant-id", MatchKind.EXACT)]
    assert headers(HeaderMode.BOTH) == [("baggage", MatchKind.REGEX), ("x-tenant-id", MatchKind.EXACT)]


def test_asking_for_any_tenant_first_pays_only_where_a_regex_is_tried() -> None:
    assert any_tenant_matches(HeaderSettings(mode=HeaderMode.EXACT)) == ()
    assert len(any_tenant_matches(HeaderSettings(mode=HeaderMode.BAGGAGE))) == 1
    assert len(any_tenant_matches(HeaderSettings(mode=HeaderMode.BOTH))) == 2


@pytest.mark.parametrize(
    "settings",
    [HeaderSettings(baggage_key="a b"), HeaderSettings(baggage_key=""), HeaderSettings(name="x:y")],
    ids=["space in the key", "empty key", "colon in the header's name"],
)
def test_names_that_http_does_not_allow_are_refused(settings: HeaderSettings) -> None:
    with pytest.raises(ValueError, match="is not an HTTP token"):
        check_settings(settings)
