"""How a request names its tenant: the header conditions for one routing key, and for any.

The patterns must match a whole header value and must work in every data plane: RE2 (Envoy, and Go, which searches
unless anchored) and Rust's regex (Linkerd). They keep `^` and `$`, use no look-around, and escape metacharacters only.

So they cannot tell which member comes first. A request that names several tenants is the one's whose rules are tried
first, and these are sorted by routing key; SDKs choose for records as `sidestream_sdk.baggage` has it, likewise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidestream.config import HeaderMode, HeaderSettings

BAGGAGE: Final = "baggage"

_LONGEST_PATTERN: Final = 1024  # what Istio's webhook lets pass
_LONGEST_ROUTING_KEY: Final = 63  # a DNS label
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
    """Refuse settings that no request could ever meet or that a mesh would refuse.

    Raises:
        ValueError: no name, one with characters that HTTP does not allow there, or names that are too long together;
            the text is a sentence for users.
    """
    if not settings.baggage_keys:
        raise ValueError("There is no baggage key; name at least one")
    names = [*(("baggage key", key) for key in settings.baggage_keys), ("tenant header", settings.name)]
    for what, name in names:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"The {what} {name!r} is not an HTTP token of 1 to 256 characters")
    length = len(baggage_with(settings.baggage_keys, "k" * _LONGEST_ROUTING_KEY))
    if length > _LONGEST_PATTERN:
        raise ValueError(
            f"The baggage keys {', '.join(settings.baggage_keys)} are too many or too long: a pattern with all of them "
            f"has {length} characters, of which Istio takes {_LONGEST_PATTERN}"
        )


def tenant_matches(settings: HeaderSettings, key: str) -> tuple[HeaderMatch, ...]:
    """The alternatives by which a request says that it belongs to tenant `key`: any one of them is enough.

    At most one for each header: all baggage keys are in one pattern, so that several cost neither rules nor passes over
    the header.
    """
    by_baggage = HeaderMatch(BAGGAGE, MatchKind.REGEX, baggage_with(settings.baggage_keys, key))
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

    At most one for each header, because a mesh's "not" takes one condition on each. Asking first pays for an exact
    header, too: a thousand rules that it misses cost a request as much as the request itself (`make bench
    NAME=routing`).
    """
    by_baggage = HeaderMatch(BAGGAGE, MatchKind.REGEX, baggage_naming(settings.baggage_keys))
    by_name = HeaderMatch(settings.name.lower(), MatchKind.REGEX, ".+")
    match settings.mode:
        case HeaderMode.BAGGAGE:
            return (by_baggage,)
        case HeaderMode.EXACT:
            return (by_name,)
        case HeaderMode.BOTH:
            return (by_baggage, by_name)


def baggage_with(keys: tuple[str, ...], value: str) -> str:
    """Matches W3C baggage with a member of one of the keys and this value, a DNS label."""
    return rf"^(?:.*,)?{_BLANKS}{_one_of(keys)}{_BLANKS}={_BLANKS}{_escaped(value)}{_BLANKS}(?:[;,].*)?$"


def baggage_naming(keys: tuple[str, ...]) -> str:
    """Matches W3C baggage with a member of one of the keys, whatever its value."""
    return rf"^(?:.*,)?{_BLANKS}{_one_of(keys)}{_BLANKS}=.*$"


def _one_of(keys: tuple[str, ...]) -> str:
    escaped = [_escaped(key) for key in keys]
    return escaped[0] if len(escaped) == 1 else f"(?:{'|'.join(escaped)})"


def _escaped(text: str) -> str:
    # re.escape would also escape characters such as # and ~, which some of the dialects refuse to see escaped
    return _METACHARACTERS.sub(r"\\\1", text)
