"""How a request names its tenant: the header conditions for one routing key, and for any.

The patterns must match a whole header value and must work in every data plane: RE2 (Envoy, and Go, which searches
unless anchored) and Rust's regex (Linkerd). They keep `^` and `$`, use no look-around, and escape metacharacters only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidestream.config import HeaderMode, HeaderSettings

BAGGAGE: Final = "baggage"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_METACHARACTERS: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")
_BLANKS: Final = r"[ \t]*"


class MatchKind(StrEnum):
    """How a header's value is compared."""

    EXACT = "exact"
    REGEX = "regex"


@dataclass(frozen=True)
class HeaderMatch:
    """A condition on one header; `name` is in lower case, a regex must match the whole value."""

    name: str
    kind: MatchKind
    value: str


def check_settings(settings: HeaderSettings) -> None:
    """Refuse settings that no request could ever meet.

    Raises:
        ValueError: a name with characters that HTTP does not allow there; the text is a sentence for users.
    """
    for what, name in (("baggage key", settings.baggage_key), ("tenant header", settings.name)):
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"The {what} {name!r} is not an HTTP token of 1 to 256 characters")


def tenant_matches(settings: HeaderSettings, key: str) -> tuple[HeaderMatch, ...]:
    """The alternatives by which a request says that it belongs to tenant `key`: any one of them is enough."""
    by_baggage = HeaderMatch(BAGGAGE, MatchKind.REGEX, baggage_with(settings.baggage_key, key))
    by_name = HeaderMatch(settings.name.lower(), MatchKind.EXACT, key)
    match settings.mode:
        case HeaderMode.BAGGAGE:
            return (by_baggage,)
        case HeaderMode.EXACT:
            return (by_name,)
        case HeaderMode.BOTH:
            return (by_baggage, by_name)


def any_tenant_matches(settings: HeaderSettings) -> tuple[HeaderMatch, ...]:
    """The alternatives by which a request says that it belongs to some tenant, whichever.

    Empty where asking first gains nothing: an exact header that is missing costs a proxy next to nothing per rule,
    while a regex costs the length of the header each time, and other uses of baggage are common.
    """
    by_baggage = HeaderMatch(BAGGAGE, MatchKind.REGEX, baggage_naming(settings.baggage_key))
    by_name = HeaderMatch(settings.name.lower(), MatchKind.REGEX, ".+")
    match settings.mode:
        case HeaderMode.BAGGAGE:
            return (by_baggage,)
        case HeaderMode.EXACT:
            return ()
        case HeaderMode.BOTH:
            return (by_baggage, by_name)


def baggage_with(key: str, value: str) -> str:
    """Matches W3C baggage with the member `key=value`; `value` is a DNS label, in which nothing needs escaping."""
    return rf"^(?:.*,)?{_BLANKS}{_escaped(key)}{_BLANKS}={_BLANKS}{_escaped(value)}{_BLANKS}(?:[;,].*)?$"


def baggage_naming(key: str) -> str:
    """Matches W3C baggage with a member `key`, whatever its value."""
    return rf"^(?:.*,)?{_BLANKS}{_escaped(key)}{_BLANKS}=.*$"


def _escaped(text: str) -> str:
    # re.escape would also escape characters such as # and ~, which some of the dialects refuse to see escaped
    return _METACHARACTERS.sub(r"\\\1", text)
