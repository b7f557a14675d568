r"""Whether a regular expression that a user wrote is one that proxies take: RE2's syntax (Envoy and Go, much as Rust).

Only what is surely wrong is refused; what Python knows and RE2 does not (or the reverse, such as `\pL`) is why Python's
own engine cannot be asked.
"""

from __future__ import annotations

import re
from typing import Final

_MOST_REPEATS: Final = 1000
"""RE2's limit for `{n}`."""

_TOKEN: Final = re.compile(
    r"""
    (?P<quoted>\\Q.*?(?:\\E|$)) | (?P<backreference>\\[1-9]) | (?P<dangling>\\$) | (?P<escape>\\.)
    | (?P<set>\[\^?\]?+(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]) | (?P<unclosed_set>\[)
    | (?P<lookaround>\(\?(?:<?[=!]|>)) | (?P<flags>\(\?[imsU]*(?:-[imsU]+)?\))
    | (?P<open>\((?:\?(?:P?<\w+>|[imsU]*(?:-[imsU]+)?:)|(?!\?))) | (?P<unknown_group>\(\?) | (?P<close>\))
    | (?P<count>\{(?P<least>\d+)(?:,(?P<most>\d*))?\}\??) | (?P<repeat>[*+?]\??)
    | (?P<or>\|) | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_NEVER_VALID: Final = {
    "backreference": "refers back to a group",
    "dangling": "ends in a backslash",
    "unclosed_set": "has a [ that is not closed",
    "lookaround": "looks ahead or behind",
    "unknown_group": "has a group of an unknown kind",
}
_NOT_REPEATABLE: Final = frozenset({"flags", "open", "count", "repeat", "or"})


def why_refused(pattern: str) -> str | None:
    """The end of the sentence "the regular expression ...", or None where nothing is wrong with it."""
    depth = 0
    last = "or"
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup or ""
        if kind in _NEVER_VALID:
            return _NEVER_VALID[kind]
        if kind in ("count", "repeat") and last in _NOT_REPEATABLE:
            return f"has nothing to repeat before {token.group()}"
        if kind == "count" and not _is_count(token):
            return f"repeats too often or never: {token.group()}"
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth < 0:
            return "has a ) that nothing opens"
        last = kind
    return "has a ( that is not closed" if depth else None


def literal_start(pattern: str) -> str:
    """The characters with which everything begins that the expression matches whole; "" where that is unknown."""
    text = pattern.removeprefix("^")
    if "|" in text:
        return ""
    plain = re.match(r"[-\w/.,~%:@=&!;']*", text.replace("\\.", "\0").replace(".", "(").replace("\0", "."))
    start = plain.group() if plain else ""
    rest = text.replace("\\.", ".")[len(start) :]
    # what may be missing does not belong to it
    return start[:-1] if rest[:1] in ("*", "?", "{") else start


def _is_count(token: re.Match[str]) -> bool:
    least, most = int(token["least"]), token["most"]
    return max(least, int(most or 0)) <= _MOST_REPEATS and (not most or least <= int(most))
