"""Regular expressions that users wrote: whether proxies take them, and how what they match begins.

Envoy and Traefik have RE2's syntax, so RE2 itself is asked; Linkerd's (Rust) is much the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import re2

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False


@lru_cache(maxsize=20_000)
def why_refused(pattern: str) -> str | None:
    """The end of the sentence "the regular expression ...", in RE2's own words, or None where it takes it."""
    try:
        re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        (words,) = error.args
        return f'is not valid: "{words.decode(errors="replace")}"'
    return None


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
