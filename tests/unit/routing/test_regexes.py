"""Which regular expressions proxies refuse, and how what they match begins."""

from __future__ import annotations

import pytest

from sidestream.routing.headers import baggage_naming, baggage_with
from sidestream.routing.regexes import literal_start, why_refused

REFUSED = {
    "nothing before the star": ("*", "has nothing to repeat before *"),
    "a star after a star": ("a**", "has nothing to repeat before *"),
    "a star after a bar": ("a|*", "has nothing to repeat before *"),
    "an open group": ("(a", "has a ( that is not closed"),
    "a closed group": ("a)", "has a ) that nothing opens"),
    "an open set": ("[a", "has a [ that is not closed"),
    "a set that holds its own end": ("[]a", "has a [ that is not closed"),
    "a look ahead": ("(?!a)b", "looks ahead or behind"),
    "a look behind": ("(?<=a)b", "looks ahead or behind"),
    "a back reference": (r"(a)\1", "refers back to a group"),
    "a backslash at the end": ("a\\", "ends in a backslash"),
    "a comment": ("(?#a)", "has a group of an unknown kind"),
    "too many repeats": ("a{1001}", "repeats too often or never: {1001}"),
    "fewer at most than at least": ("a{3,1}", "repeats too often or never: {3,1}"),
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
    "a+?",
    "a{,3}",
    baggage_with(("tenant",), "alice"),
    baggage_naming(("a.b*c",)),
]


@pytest.mark.parametrize(("pattern", "why"), REFUSED.values(), ids=REFUSED)
def test_what_no_proxy_takes_is_said(pattern: str, why: str) -> None:
    assert why_refused(pattern) == why


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
