"""Which regular expressions proxies refuse, and how what they match begins."""

from __future__ import annotations

import pytest

from sidestream.routing.headers import baggage_naming, baggage_with
from sidestream.routing.regexes import literal_start, why_refused

REFUSED = {
    "nothing before the star": ("*", "no argument for repetition operator: *"),
    "a star after a star": ("a**", "bad repetition operator: **"),
    "a possessive repeat": ("a++", "bad repetition operator: ++"),
    "an open group": ("(a", "missing ): (a"),
    "a closed group": ("a)", "unexpected ): a)"),
    "an open set": ("[a", "missing ]: [a"),
    "a set that holds its own end": ("[]a", "missing ]: []a"),
    "a range that runs backwards": ("[b-a]", "invalid character class range: b-a"),
    "a look ahead": ("(?!a)b", "invalid perl operator: (?!"),
    "a look behind": ("(?<=a)b", "invalid perl operator: (?<="),
    "a back reference": (r"(a)\1", r"invalid escape sequence: \1"),
    "a backslash at the end": ("a\\", "trailing \\"),
    "a comment": ("(?#a)", "invalid perl operator: (?#"),
    "an atomic group": ("(?>a)", "invalid perl operator: (?>"),
    "too many repeats": ("a{1001}", "invalid repetition size: {1001}"),
    "fewer at most than at least": ("a{3,1}", "invalid repetition size: {3,1}"),
}
ACCEPTED = [
    "",
    "/a[bc]+",
    "(?i)a",
    "(?i:a)*",
    "(?P<x>a)",
    "(?<x>a)",
    r"\Q*(\E",
    "a{2}b{2,}c{2,3}?",
    "[]a]",
    "[[:alpha:]]",
    r"\pL",
    r"\p{Greek}\z",
    r"[(?!]x",
    "a+?",
    "a{,3}",
    baggage_with(("tenant",), "alice"),
    baggage_naming(("a.b*c",)),
]


@pytest.mark.parametrize(("pattern", "why"), REFUSED.values(), ids=REFUSED)
def test_what_no_proxy_takes_is_said(pattern: str, why: str) -> None:
    assert why_refused(pattern) == f'is not valid: "{why}"'


@pytest.mark.parametrize("pattern", ACCEPTED)
def test_what_proxies_take_is_left_alone(pattern: str) -> None:
    assert why_refused(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("/api/v[0-9]+", "/api/v"),
        ("^/x/.*", "/x/"),
        (r"/a\.b.*", "/a.b"),
        ("/ab*", "/a"),
        ("/ab?c", "/a"),
        ("/ab{0,2}", "/a"),
        ("/a|/b", ""),
        ("(?i)/a", ""),
        (".*", ""),
    ],
)
def test_the_beginning_is_what_every_match_has(pattern: str, start: str) -> None:
    assert literal_start(pattern) == start
