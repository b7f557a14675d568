"""Read the tenant's routing key out of a record's or request's headers, and write it into them.

The rules are those of W3C Baggage, stricter where it leaves a choice, so that every SDK decides alike:

- several `baggage` headers count as one list, in their order; properties after `;` are dropped;
- the value is percent-decoded as UTF-8, bytes that are no UTF-8 become U+FFFD;
- of several values, be it of one member, of members with several of our keys, or of a member and the plain header, the
  one that sorts first by code points wins, and differing ones are counted as conflicts. A proxy that routes requests
  cannot see their order but tries tenants in this one, so a record goes where its request went;
- a member that is none (no `=`, a key that is no token) is ignored and counted; the others still hold;
- more than 8192 bytes over all `baggage` headers are ignored as a whole and counted;
- an empty value is no key, beside others too. Header names and baggage keys are case-sensitive.

Pure; knows nothing of Kafka or of mappings. The same cases as data: tests/conformance/baggage.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
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
    """Where the routing key travels: as `baggage` member, as a plain (`exact`) header, or as either.

    A member with any of `baggage_keys` is read; what we write has the first.
    """

    mode: HeaderMode = "baggage"
    baggage_keys: tuple[str, ...] = ("tenant",)
    name: str = "x-tenant-id"

    def __post_init__(self) -> None:
        """Refuse a lone string, which would pass for as many keys as it has characters.

        Raises:
            ValueError: `baggage_keys` is no tuple, or empty.
        """
        if type(self.baggage_keys) is not tuple or not self.baggage_keys:
            raise ValueError(f"baggage_keys must be a tuple of at least one key, not {self.baggage_keys!r}")

    @classmethod
    def from_json(cls, raw: Any) -> HeaderRules:
        """Parse the `header` of a mapping; that of an older service has one `baggageKey` alone.

        Raises:
            ValueError: it is no object with a known mode, keys and a name.
        """
        match raw:
            case {"mode": "baggage" | "exact" | "both" as mode, "baggageKeys": [_, *_] as keys, "name": str(name)} if (
                all(isinstance(key, str) for key in keys)
            ):
                return cls(mode, tuple(keys), name)
            case {"mode": "baggage" | "exact" | "both" as mode, "baggageKey": str(key), "name": str(name)} if (
                "baggageKeys" not in raw
            ):
                return cls(mode, (key,), name)
            case _:
                raise ValueError("header must have a mode of baggage, exact or both, baggageKeys and a name")


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
        return _NOTHING if value is None else parse_baggage(value, rules.baggage_keys)

    def find_both(headers: Headers | None) -> RawTenant:
        pairs = list(_pairs(headers))
        return find_baggage(pairs), find_plain(pairs)

    def read_both(found: tuple[bytes | None, tuple[bytes, ...]]) -> Reading:
        member, plain = read_baggage(found[0]), parse_exact(found[1])
        named = {key for key in (member.key, plain.key) if key is not None}
        return Reading(
            min(named, default=None),
            member.malformed + plain.malformed,
            member.conflicts + plain.conflicts + (len(named) > 1),
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


def parse_baggage(value: bytes, keys: tuple[str, ...]) -> Reading:
    """Look for members with `keys` in a `baggage` header; several headers are to be joined by commas first."""
    if len(value) > MAX_BYTES:
        return _TOO_LONG
    wanted = _encoded(keys)
    found: list[str] = []
    for member in value.split(b","):
        name, equals, text = member.partition(b"=")
        if not equals or not _is_token(name):
            return _parse_members(value, wanted)
        if name in wanted:
            found.append(_decoded(text.partition(b";")[0].strip(_WHITESPACE)))
    return _chosen(found, 0)


def _parse_members(value: bytes, wanted: frozenset[bytes]) -> Reading:
    """The definition of `parse_baggage`, which itself is a shorter way through headers that are plain and flawless."""
    found: list[str] = []
    malformed = 0
    for member in value.split(b","):
        name, equals, text = (part.strip(_WHITESPACE) for part in member.partition(b";")[0].partition(b"="))
        if equals and _TOKEN.fullmatch(name):
            if name in wanted:
                found.append(_decoded(text))
        elif member.strip(_WHITESPACE):
            malformed += 1
    return _chosen(found, malformed)


@lru_cache
def _encoded(keys: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(key.encode() for key in keys)


@lru_cache(maxsize=_NAMES)
def _is_token(name: bytes) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _decoded(text: bytes) -> str:
    return (unquote_to_bytes(text) if b"%" in text else text).decode("utf-8", "replace")


def parse_exact(values: Iterable[HeaderValue]) -> Reading:
    """The key from the values of a plain header, in their order; no percent-decoding."""
    texts = [_to_bytes(value).strip(_WHITESPACE).decode("utf-8", "replace") for value in values]
    return _chosen(texts, 0)


def with_member(baggage: str, keys: tuple[str, ...], value: str) -> str:
    """The `baggage` header with the first of `keys` set to `value`, in front because what follows may be cut off.

    Members with another of `keys` that name somebody else are left out; all the rest stays to the letter.
    """
    first, *others = keys
    kept = without_others(_without(baggage, lambda name, _: name == first), others, value)
    ours = f"{first}={quote(value, safe='', errors='replace')}"
    return f"{ours},{kept}" if kept.strip(" \t") else ours


def without_others(baggage: str, keys: Collection[str], value: str) -> str:
    """The `baggage` header without members with `keys` that name anybody but `value`, the rest to the letter."""
    return _without(baggage, lambda name, text: name in keys and text != value)


def _without(baggage: str, is_left_out: Callable[[str, str], bool]) -> str:
    def kept(member: str) -> bool:
        name, _, text = (part.strip(" \t") for part in member.partition(";")[0].partition("="))
        return not is_left_out(name, _decoded(text.encode("utf-8", "replace")))

    return ",".join(filter(kept, baggage.split(",")))


def has_member(baggage: str | bytes | None, keys: tuple[str, ...]) -> bool:
    """Whether a `baggage` header has a member with one of `keys`, of whatever value."""
    wanted = _encoded(keys)
    return any(
        equals and name.strip(_WHITESPACE) in wanted
        for name, equals, _ in (member.partition(b"=") for member in _to_bytes(baggage).split(b","))
    )


def joined_baggage(headers: Headers) -> str:
    """All `baggage` headers as one, for passing on as it came; empty when there is none or it is too long."""
    value = _joining_finder(BAGGAGE)(headers) or b""
    return value.decode("utf-8", "replace") if len(value) <= MAX_BYTES else ""


def _chosen(found: list[str], malformed: int) -> Reading:
    if not found:
        return Reading(None, malformed) if malformed else _NOTHING
    if len(found) == 1:
        return Reading(found[0] or None, malformed)
    values = set(found)
    return Reading(min(values - {""}, default=None), malformed, conflicts=len(values) - 1)


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
