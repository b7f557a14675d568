"""Which requests a rule of Traefik can match at most: their hosts, paths and methods. To tell rules apart, no more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

from sidestream.routing.providers.ingressroute_match import And, Condition, Match, Or

T = TypeVar("T")


@dataclass(frozen=True)
class PathSet:
    """One path, or all that begin with `text`."""

    text: str
    is_prefix: bool

    def met_with(self, other: PathSet) -> PathSet | None:
        """The paths in both; None when there is none."""
        narrow, wide = (self, other) if len(self.text) >= len(other.text) else (other, self)
        if narrow.text == wide.text:
            return narrow if not narrow.is_prefix else wide
        return narrow if wide.is_prefix and narrow.text.startswith(wide.text) else None


@dataclass(frozen=True)
class Scope:
    """What a request must be like to match; None where anything may. Rather too much than too little.

    `hosts` are in lower case, without a dot at the end.
    """

    hosts: frozenset[str] | None = None
    paths: frozenset[PathSet] | None = None
    methods: frozenset[str] | None = None

    def overlaps(self, other: Scope) -> bool:
        """Whether one request may match both."""
        both = self.met_with(other)
        return all(values is None or values for values in (both.hosts, both.paths, both.methods))

    def met_with(self, other: Scope) -> Scope:
        """What must hold where both do."""
        return Scope(
            _met(self.hosts, other.hosts), _met_paths(self.paths, other.paths), _met(self.methods, other.methods)
        )

    def joined_with(self, other: Scope) -> Scope:
        """What must hold where either does."""
        return Scope(
            _joined(self.hosts, other.hosts), _joined(self.paths, other.paths), _joined(self.methods, other.methods)
        )


ANYTHING: Final = Scope()


@lru_cache(maxsize=20_000)
def scope_of(match: Match) -> Scope:
    """The scope of a rule."""
    match match:
        case Condition(name, (value,)):
            return _scope_of_condition(name, value)
        case And(left, right):
            return scope_of(left).met_with(scope_of(right))
        case Or(left, right):
            return scope_of(left).joined_with(scope_of(right))
        case _:
            return ANYTHING


def _scope_of_condition(name: str, value: str) -> Scope:
    match name:
        case "Host":
            return replace(ANYTHING, hosts=frozenset({value.lower().removesuffix(".")}))
        case "Path" | "PathPrefix":
            return replace(ANYTHING, paths=frozenset({PathSet(value, is_prefix=name == "PathPrefix")}))
        case "Method":
            return replace(ANYTHING, methods=frozenset({value.upper()}))
        case _:
            return ANYTHING


def _met(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _met_paths(one: frozenset[PathSet] | None, other: frozenset[PathSet] | None) -> frozenset[PathSet] | None:
    if one is None or other is None:
        return other if one is None else one
    return frozenset(met for left in one for right in other if (met := left.met_with(right)) is not None)


def _joined(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    return None if one is None or other is None else one | other
