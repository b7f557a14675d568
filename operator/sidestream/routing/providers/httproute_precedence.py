"""Which rules must be copied for a tenant, so that its copies keep the order of the originals.

Proxies sort the rules of all routes of a Service or listener by themselves: by path, then by numbers of conditions,
then by the routes' ages. They differ in how: the specification puts the method before headers before query parameters,
Linkerd headers before query before method and compares lengths of paths whatever their type, Envoy Gateway counts the
method as one more header, and where a regular expression ranks is nobody's rule. A copy has one header condition more
than its original. So it wins over whatever its original won over, and besides over rules that had won over its
original by a number of conditions or by age: those must be copied too, and what had won over these, and so on. A rule
that wins by its path alone goes on winning, and needs no copy. The copies among themselves keep the originals' order,
for all have the same condition more.

Traefik adds all this up in one number instead, in which a header weighs as much as a character of the path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidestream.routing.providers.httproute_rules import Match, matches_of
from sidestream.routing.regexes import literal_start
from sidestream.routing.table import Rule

_EXACT: Final = "Exact"
_PREFIX: Final = "PathPrefix"
_REGEX: Final = "RegularExpression"

_TRAEFIK_HEADER: Final = 100
_TRAEFIK_PLACES: Final = 16
"""How much two of its priorities may differ by the rules' places in their route."""

_TRAEFIK_SLACK: Final = 300
"""How much they may differ by places and by the lengths of host names."""


@dataclass(frozen=True)
class Path:
    """What a match asks of a request's path; that of a GRPCRoute is `/service/method`."""

    kind: str
    value: str

    def may_share_a_request(self, other: Path) -> bool:
        """Whether some path may meet both; True where regular expressions do not allow to say."""
        mine, others = self._start, other._start
        if self.kind == _EXACT and other.kind == _EXACT:
            return mine == others
        if self.kind == _EXACT:
            return mine.startswith(others)
        if other.kind == _EXACT:
            return others.startswith(mine)
        return mine.startswith(others) or others.startswith(mine)

    def may_rank_equal(self, other: Path) -> bool:
        """Whether some proxy, for a path that meets both, goes on to compare what else the matches ask for."""
        if _REGEX in (self.kind, other.kind):
            return self.may_share_a_request(other)
        return self._start == other._start

    @property
    def _start(self) -> str:
        """What all paths that meet it begin with; a trailing slash of a prefix counts for nothing."""
        return literal_start(self.value) if self.kind == _REGEX else self.value.rstrip("/")


@dataclass(frozen=True)
class Condition:
    """One alternative of a rule: the rule's place in the list, and what counts for precedence."""

    rule: int
    match: Match
    path: Path
    method: str | None
    headers: int
    queries: int
    is_grpc: bool = False

    def may_share_a_request(self, other: Condition) -> bool:
        """Whether some request may meet both."""
        methods = {self.method, other.method} - {None}
        return len(methods) < 2 and self.path.may_share_a_request(other.path)  # noqa: PLR2004 - two methods, two requests

    def outnumbers(self, other: Condition) -> bool:
        """Whether it asks for at least as much in every respect, and for more in one: then it wins in every order."""
        mine, others = self._counts, other._counts
        return mine != others and all(one >= another for one, another in zip(mine, others, strict=True))

    def may_tie(self, other: Condition) -> bool:
        """Whether some proxy finds nothing to tell the two apart but age and place, for a request that meets both."""
        return (
            self.path.may_rank_equal(other.path)
            and self.may_share_a_request(other)
            and self.queries == other.queries
            and sum(self._counts) == sum(other._counts)
        )

    @property
    def _counts(self) -> tuple[int, int, int]:
        return int(self.method is not None), self.headers, self.queries


def conditions(rules: Sequence[Rule], *, is_grpc: Sequence[bool]) -> tuple[Condition, ...]:
    """All alternatives of all rules, in order."""
    return tuple(
        _condition(index, match, is_grpc=of_grpc)
        for index, (rule, of_grpc) in enumerate(zip(rules, is_grpc, strict=True))
        for match in matches_of(rule)
    )


class Precedence:
    """What must be copied along with what, in one list of conditions. `is_weighted` is for Traefik."""

    def __init__(self, items: Sequence[Condition], *, is_weighted: bool) -> None:
        self._items = items
        self._is_weighted = is_weighted
        self._regexes = [index for index, item in enumerate(items) if item.path.kind == _REGEX]
        self._by_path: dict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            if item.path.kind != _REGEX:
                self._by_path[item.path.value.rstrip("/")].append(index)

    def closure(self, seeds: Iterable[int]) -> list[int]:
        """The places of `seeds` and of all that must be copied because they are, sorted."""
        found = set(seeds)
        waiting = list(found)
        while waiting:
            item = self._items[waiting.pop()]
            for index in self._rivals(item):
                if index not in found and self._may_be_overtaken(self._items[index], item):
                    found.add(index)
                    waiting.append(index)
        return sorted(found)

    def _rivals(self, item: Condition) -> Collection[int]:
        if self._is_weighted or item.path.kind == _REGEX:
            return range(len(self._items))
        return [*self._by_path[item.path.value.rstrip("/")], *self._regexes]

    def _may_be_overtaken(self, rival: Condition, item: Condition) -> bool:
        """Whether `rival` wins over `item` somewhere, and not over its copy."""
        if self._is_weighted:
            return _may_be_outweighed(rival, item)
        return rival.may_share_a_request(item) and rival.path.may_rank_equal(item.path) and not item.outnumbers(rival)


def ties(items: Sequence[Condition], *, is_weighted: bool) -> Iterator[tuple[int, int]]:
    """Pairs of places whose order only the order in one object keeps for certain: they must not be parted."""
    may_tie = _may_weigh_the_same if is_weighted else Condition.may_tie
    for first, item in enumerate(items):
        for second in range(first + 1, len(items)):
            if item.rule != items[second].rule and may_tie(item, items[second]):
                yield first, second


def _condition(rule: int, match: Match, *, is_grpc: bool) -> Condition:
    headers = len(match.get("headers") or ())
    if is_grpc:
        # all gRPC requests are POST: asking for it tells nothing
        return Condition(rule, match, _path_of_call(match.get("method") or {}), None, headers, 0, is_grpc=True)
    path = match.get("path") or {}
    return Condition(
        rule,
        match,
        Path(path.get("type", _PREFIX), path.get("value", "/")),
        match.get("method"),
        headers,
        len(match.get("queryParams") or ()),
    )


def _path_of_call(method: dict[str, Any]) -> Path:
    service, name = method.get("service"), method.get("method")
    if method.get("type", _EXACT) == _REGEX:
        return Path(_REGEX, f"/{service or '[^/]+'}/{name or '.+'}")
    if service and name:
        return Path(_EXACT, f"/{service}/{name}")
    if name:
        return Path(_REGEX, f"/[^/]+/{name}")
    return Path(_PREFIX, f"/{service}/" if service else "/")


def _may_be_outweighed(rival: Condition, item: Condition) -> bool:
    if not _may_meet_in_traefik(rival, item):
        return False
    ahead = _traefik_priority(rival) - _traefik_priority(item)
    # rules of GRPCRoutes weigh as much as their text is long
    return rival.is_grpc or item.is_grpc or -_TRAEFIK_SLACK <= ahead <= _TRAEFIK_HEADER + _TRAEFIK_SLACK


def _may_weigh_the_same(one: Condition, other: Condition) -> bool:
    apart = abs(_traefik_priority(one) - _traefik_priority(other))
    return _may_meet_in_traefik(one, other) and (one.is_grpc or other.is_grpc or apart <= _TRAEFIK_PLACES)


def _may_meet_in_traefik(one: Condition, other: Condition) -> bool:
    # it looks for a regular expression anywhere in the path
    return _REGEX in (one.path.kind, other.path.kind) or one.may_share_a_request(other)


def _traefik_priority(item: Condition) -> int:
    length = 100 * len(item.path.value)
    by_path = {_EXACT: 100_000, _PREFIX: 1 if item.path.value == "/" else 10_000 + length, _REGEX: 10_000 + length}
    return by_path[item.path.kind] + 1000 * (item.method is not None) + 100 * item.headers + 10 * item.queries
