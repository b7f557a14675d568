"""Read the tenant's routing key out of a record's or request's headers, and write it into them.

The rules are those of W3C Baggage, stricter where it leaves a choice, so that every SDK decides alike:

- several `baggage` headers count as one list, in their order; properties after `;` are dropped;
- the value is percent-decoded as UTF-8, bytes that are no UTF-8 become U+FFFD;
- of several members with our key the last wins, and differing ones are counted as conflicts;
- a member that is none (no `=`, a key that is no token) is ignored and counted; the others still hold;
- more than 8192 bytes over all `baggage` headers are ignored as a whole and counted;
- an empty value is no key. Header names and baggage keys are case-sensitive.

Pure; knows nothing of Kafka or of mappings. The same cases as data: tests/conformance/baggage.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, unquote_to_bytes

HeaderMode = Literal["baggage", "exact", "both"]
HeaderValue = str | bytes | None
Headers = Mapping[str, HeaderValue] | Iterable[tuple[str, HeaderValue]]
"""As confluent-kafka has them: pairs in order (names may repeat), or a dict."""

BAGGAGE: Final = "baggage"
MAX_BYTES: Final = 8192
"""What W3C Baggage obliges every platform to carry; OpenTelemetry drops longer headers too."""

_CACHED: Final = 1024  # at most 8 MiB of headers; a tenant's traffic mostly repeats one
_NAMES: Final = 256  # names of members repeat, where their values do not
_WHITESPACE: Final = b" \t"
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True)
class HeaderRules:
    """Where the routing key travels: `baggage` member, a plain (`exact`) header, or both with baggage first."""

    mode: HeaderMode = "baggage"
    baggage_key: str = "tenant"
    name: str = "x-tenant-id"

    @classmethod
    def from_json(cls, raw: Any) -> HeaderRules:
        """Parse the `header` of a mapping.

        Raises:
            ValueError: it is no object with a known mode and two strings.
        """
        match raw:
            case {"mode": "baggage" | "exact" | "both" as mode, "baggageKey": str(key), "name": str(name)}:
                return cls(mode, key, name)
            case _:
                raise ValueError("header must have a mode of baggage, exact or both, a baggageKey and a name")


class Reading(NamedTuple):
    """What the headers say: the key (None: no tenant) and how many flaws were passed over on the way."""

    key: str | None
    malformed: int = 0
    conflicts: int = 0


TenantReader = Callable[[Headers | None], Reading]

RawTenant = bytes | tuple[Any, ...] | None
"""What of a record's headers says whose it is, unread; equal ones read alike, so it is good for a key."""


class ReadingSteps(NamedTuple):
    """`tenant_reader` in its two steps, for who remembers more than the reading; neither raises."""

    find: Callable[[Headers | None], RawTenant]
    read: Callable[[Any], Reading]


_NOTHING: Final = Reading(None)
_TOO_LONG: Final = Reading(None, malformed=1)


def tenant_reader(rules: HeaderRules) -> TenantReader:
    """The function that reads the key from headers by `rules`; never raises.

    It remembers headers by their bytes: a repeated one costs a dict lookup.
    """
    find, read = reading_steps(rules)
    remembered = lru_cache(maxsize=_CACHED)(read)

    def read_headers(headers: Headers | None) -> Reading:
        raw = find(headers)
        return remembered(raw) if size_of(raw) <= MAX_BYTES else read(raw)

    return read_headers


def reading_steps(rules: HeaderRules) -> ReadingSteps:
    """How to find by `rules` what has to be read, and how to read it."""
    find_baggage, find_plain = _joining_finder(BAGGAGE), _values_finder(rules.name)

    def read_baggage(value: bytes | None) -> Reading:
        return _NOTHING if value is None else parse_baggage(value, rules.baggage_key)

    def find_both(headers: Headers | None) -> RawTenant:
        pairs = list(_pairs(headers))
        return find_baggage(pairs), find_plain(pairs)

    def read_both(found: tuple[bytes | None, tuple[bytes, ...]]) -> Reading:
        member, plain = read_baggage(found[0]), parse_exact(found[1])
        differ = member.key is not None and plain.key is not None and member.key != plain.key
        return Reading(
            plain.key if member.key is None else member.key,
            member.malformed + plain.malformed,
            member.conflicts + plain.conflicts + differ,
        )

    match rules.mode:
        case "baggage":
            return ReadingSteps(find_baggage, read_baggage)
        case "exact":
            return ReadingSteps(find_plain, parse_exact)
        case "both":
            return ReadingSteps(find_both, read_both)


def size_of(raw: RawTenant) -> int:
    """How many bytes remembering this would keep."""
    match raw:
        case None:
            return 0
        case bytes():
            return len(raw)
        case _:
            return sum(map(size_of, raw))


def parse_baggage(value: bytes, key: str) -> Reading:
    """Look for `key` in a `baggage` header; several headers are to be joined by commas first."""
    if len(value) > MAX_BYTES:
        return _TOO_LONG
    wanted = key.encode()
    found: list[str] = []
    for member in value.split(b","):
        name, equals, text = member.partition(b"=")
        if not equals or not _is_token(name):
            return _parse_members(value, wanted)
        if name == wanted:
            found.append(_decoded(text.partition(b";")[0].strip(_WHITESPACE)))
    return _last(found, 0)


def _parse_members(value: bytes, wanted: bytes) -> Reading:
    """The definition of `parse_baggage`, which itself is a shorter way through headers that are plain and flawless."""
    found: list[str] = []
    malformed = 0
    for member in value.split(b","):
        name, equals, text = (part.strip(_WHITESPACE) for part in member.partition(b";")[0].partition(b"="))
        if equals and _TOKEN.fullmatch(name):
            if name == wanted:
                found.append(_decoded(text))
        elif member.strip(_WHITESPACE):
            malformed += 1
    return _last(found, malformed)


@lru_cache(maxsize=_NAMES)
def _is_token(name: bytes) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _decoded(text: bytes) -> str:
    return (unquote_to_bytes(text) if b"%" in text else text).decode("utf-8", "replace")


def parse_exact(values: Iterable[HeaderValue]) -> Reading:
    """The key from the values of a plain header, in their order; no percent-decoding."""
    texts = [_to_bytes(value).strip(_WHITESPACE).decode("utf-8", "replace") for value in values]
    return _last(texts, 0)


def with_member(baggage: str, key: str, value: str) -> str:
    """The `baggage` header with `key` set to `value`, first because what follows may be cut off on the way."""
    others = [member.strip(" \t") for member in baggage.split(",") if member.partition("=")[0].strip(" \t") != key]
    return ",".join([f"{key}={quote(value, safe='', errors='replace')}", *(member for member in others if member)])


def has_member(baggage: str | bytes | None, key: str) -> bool:
    """Whether a `baggage` header has a member `key`, of whatever value."""
    wanted = key.encode()
    return any(
        equals and name.strip(_WHITESPACE) == wanted
        for name, equals, _ in (member.partition(b"=") for member in _to_bytes(baggage).split(b","))
    )


def joined_baggage(headers: Headers) -> str:
    """All `baggage` headers as one, for passing on as it came; empty when there is none or it is too long."""
    value = _joining_finder(BAGGAGE)(headers) or b""
    return value.decode("utf-8", "replace") if len(value) <= MAX_BYTES else ""


def _last(found: list[str], malformed: int) -> Reading:
    if not found:
        return Reading(None, malformed) if malformed else _NOTHING
    return Reading(found[-1] or None, malformed, conflicts=len(set(found)) - 1)


def _joining_finder(name: str) -> Callable[[Headers | None], bytes | None]:
    def find(headers: Headers | None) -> bytes | None:
        joined: bytes | None = None
        # confluent-kafka gives a list; asking whether it is a Mapping costs as much as all the rest.
        for header, value in headers if type(headers) is list else _pairs(headers):
            if header == name:
                text = value if type(value) is bytes else _to_bytes(value)
                joined = text if joined is None else joined + b"," + text
        return joined

    return find


def _values_finder(name: str) -> Callable[[Headers | None], tuple[bytes, ...]]:
    def find(headers: Headers | None) -> tuple[bytes, ...]:
        return tuple(_to_bytes(value) for header, value in _pairs(headers) if header == name)

    return find


def _pairs(headers: Headers | None) -> Iterable[tuple[str, HeaderValue]]:
    if headers is None:
        return ()
    return headers.items() if isinstance(headers, Mapping) else headers


def _to_bytes(value: HeaderValue) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "replace")
        case None:
            return b""
