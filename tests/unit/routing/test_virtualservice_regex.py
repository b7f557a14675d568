"""Regular expressions that Istio or Envoy would refuse."""

from __future__ import annotations

import pytest

from sidestream.routing.headers import baggage_naming, baggage_with
from sidestream.routing.providers.virtualservice_regex import regexes_of, why_invalid

INVALID = {
    "/(?!x)": "uses look-around, which Istio's engine (RE2) does not have",
    "(?<=a)b": "uses look-around, which Istio's engine (RE2) does not have",
    r"(a)\1": "uses references to groups, which Istio's engine (RE2) does not have",
    "(?P<n>a)(?P=n)": "uses references to groups, which Istio's engine (RE2) does not have",
    "(?>a)": "uses atomic groups, which Istio's engine (RE2) does not have",
    "a++": "uses possessive repeats, which Istio's engine (RE2) does not have",
    "(a)?(?(1)b)": "uses conditions, which Istio's engine (RE2) does not have",
    "/(a": "is invalid: missing ), unterminated subpattern",
    "/a)": "is invalid: unbalanced parenthesis",
    "[a": "is invalid: unterminated character set",
    "+a": "is invalid: nothing to repeat",
    "[b-a]": "is invalid: bad character range b-a",
    "a" * 1025: "is longer than the 1024 characters that Istio takes",
}


@pytest.mark.parametrize(("pattern", "why"), INVALID.items(), ids=[pattern[:20] for pattern in INVALID])
def test_it_is_refused(pattern: str, why: str) -> None:
    assert why_invalid(pattern) == why


VALID = [
    "*",
    "/api/.*",
    "(?i)/Api",
    r"\pN+",
    r"\p{Greek}",
    r"\Qa+b\E",
    r"a\z",
    "[[:alpha:]]+",
    r"[(?!]x",
    r"\(?!",
    r"\\\\1",
    "a{2,3}?",
    "[+*]+",
    baggage_with(("tenant",), "alice"),
    baggage_naming(("a.b",)),
    "a" * 1024,
]


@pytest.mark.parametrize("pattern", VALID, ids=[pattern[:20] for pattern in VALID])
def test_it_is_left_to_istio(pattern: str) -> None:
    assert why_invalid(pattern) is None


def test_all_expressions_of_a_rule_are_looked_at() -> None:
    rule = {
        "match": [
            {"uri": {"regex": "a"}, "headers": {"x": {"regex": "b"}, "y": {"exact": "z"}}},
            {"withoutHeaders": {"x": {"regex": "c"}}, "queryParams": {"q": {"regex": "d"}}},
        ],
        "rewrite": {"uriRegexRewrite": {"match": "e", "rewrite": "f"}},
    }
    assert list(regexes_of(rule)) == ["a", "b", "c", "d", "e"]
