"""Regular expressions that Istio or Envoy would refuse."""

from __future__ import annotations

import pytest

from sidestream.routing.providers.virtualservice_regex import regexes_of, why_invalid

INVALID = {
    "/(?!x)": 'is not valid: "invalid perl operator: (?!"',
    "/a)": 'is not valid: "unexpected ): /a)"',
    "a" * 1025: "is longer than the 1024 characters that Istio takes",
}


@pytest.mark.parametrize(("pattern", "why"), INVALID.items(), ids=[pattern[:20] for pattern in INVALID])
def test_it_is_refused(pattern: str, why: str) -> None:
    assert why_invalid(pattern) == why


VALID = ["*", "/api/.*", "a" * 1024]


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
