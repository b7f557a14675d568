"""Whether a regular expression is one that RE2, Go's engine, takes; without RE2 at hand, by what sets it apart."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Final

_LONGEST_REPEAT: Final = 1000

_NOT_IN_RE2: Final = (
    (re.compile(r"\(\?<?[=!]"), "looks ahead or behind"),
    (re.compile(r"\((?:\?>|\?#|\?\(|\?P=|\?P>|\?&)"), "has a kind of group that RE2 lacks"),
    (re.compile(r"\\[1-9]"), "refers back to a group"),
    (re.compile(r"[*+?}]\+"), "repeats possessively"),
    (re.compile(r"\\[GZKRXHhNUulLEe]"), "has an escape that RE2 lacks"),
)
_ONLY_IN_RE2: Final = (
    (re.compile(r"\\Q.*?(?:\\E|$)", re.DOTALL), "q"),
    (re.compile(r"\\[pP](?:\{\^?\w+\}|\w)"), r"\\w"),
    (re.compile(r"\[:\^?\w+:\]"), "a"),
    (re.compile(r"\\z"), r"\\Z"),
    (re.compile(r"\\C"), "."),
    (re.compile(r"\\x\{[0-9A-Fa-f]+\}"), "x"),
    (re.compile(r"\(\?<(\w+)>"), r"(?P<\1>"),
    (re.compile(r"\(\?([imsU]+(?:-[imsU]+)?|-[imsU]+)([:)])"), r"(?:\2"),
)
"""What only RE2 has, and what stands for it where Python is to judge the rest."""


@lru_cache(maxsize=20_000)
def why_not_re2(pattern: str) -> str:
    """Why RE2 refuses the pattern, as the end of a sentence; empty when it takes it."""
    visible = re.sub(r"\\Q.*?(?:\\E|$)|\\\\", "", pattern, flags=re.DOTALL)
    for construct, why in _NOT_IN_RE2:
        if construct.search(visible):
            return why
    if any(int(count) > _LONGEST_REPEAT for count in re.findall(r"\{(?:\d+,)?(\d{1,9})\}", visible)):
        return f"repeats more than {_LONGEST_REPEAT} times"
    translated = pattern
    for construct, stand_in in _ONLY_IN_RE2:
        translated = construct.sub(stand_in, translated)
    translated = translated.replace("(?:)", "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(translated)
    except (re.error, OverflowError, RecursionError):
        return "is not valid"
    return ""
