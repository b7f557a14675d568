"""Which regular expressions of a VirtualService Istio or Envoy would refuse.

Both use RE2. Python's own engine knows a few things that RE2 does not and the other way round, so only those faults are
told that are faults in both, or constructs that RE2 is known to lack; what is not told may still be wrong.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any, Final

from sidestream.routing.table import Rule

MAX_LENGTH: Final = 1024
"""Bytes; Istio's webhook refuses longer ones (`validateStringRegexp` in its pkg/config/validation)."""

_PRESENT: Final = "*"
"""No expression to Istio, but "the header is there"."""

_LACKING: Final = (
    (re.compile(r"\(\?<?[=!]"), "look-around"),
    (re.compile(r"\\[1-9]|\(\?P="), "references to groups"),
    (re.compile(r"\(\?>"), "atomic groups"),
    (re.compile(r"\(\?\("), "conditions"),
    (re.compile(r"[*+?}]\+"), "possessive repeats"),
)
_LITERALS: Final = re.compile(r"\\\\|\\[^1-9]|\[\^?\]?(?:\\.|[^\]\\])*\]")
"""Escapes and character classes, within which nothing of the above has its meaning."""

_FAULTS: Final = (
    "unterminated",
    "unbalanced parenthesis",
    "nothing to repeat",
    "bad character range",
    "bad escape (end",
)
"""Beginnings of Python's own words for what is wrong in RE2 as well."""


def why_invalid(pattern: str) -> str | None:
    """The end of a sentence "the regular expression ..."; None where nothing is known to be wrong."""
    if pattern == _PRESENT:
        return None
    if len(pattern.encode()) > MAX_LENGTH:
        return f"is longer than the {MAX_LENGTH} characters that Istio takes"
    bare = _LITERALS.sub("x", pattern)
    lacking = [what for construct, what in _LACKING if construct.search(bare)]
    if lacking:
        return f"uses {lacking[0]}, which Istio's engine (RE2) does not have"
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except re.error as error:
        return f"is invalid: {error.msg}" if error.msg.startswith(_FAULTS) or "unterminated" in error.msg else None
    return None


def regexes_of(rule: Rule) -> Iterator[str]:
    """All regular expressions in the conditions of a rule, and that of its rewrite."""
    for match in rule.get("match") or ():
        yield from _regexes(match)
    rewrite = (rule.get("rewrite") or {}).get("uriRegexRewrite") or {}
    if rewrite.get("match"):
        yield rewrite["match"]


def _regexes(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("regex"), str):
            yield value["regex"]
        for item in value.values():
            yield from _regexes(item)
