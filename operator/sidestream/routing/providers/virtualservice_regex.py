"""The regular expressions of a VirtualService, and which of them Istio refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sidestream.routing.regexes import why_refused
from sidestream.routing.table import Rule

MAX_LENGTH: Final = 1024
"""Bytes; Istio's webhook refuses longer ones (`validateStringRegexp` in its pkg/config/validation)."""

_PRESENT: Final = "*"
"""No expression to Istio, but "the header is there"."""


def why_invalid(pattern: str) -> str | None:
    """The end of a sentence "the regular expression ..."; None where nothing is wrong with it."""
    if pattern == _PRESENT:
        return None
    if len(pattern.encode()) > MAX_LENGTH:
        return f"is longer than the {MAX_LENGTH} characters that Istio takes"
    return why_refused(pattern)


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
