"""Divides a tenant's rules among as many objects as the API server's limits ask for.

Proxies order rules that are equal in all else by the age of their objects, which nobody controls when one is lost and
written anew. So rules between which nothing else decides stay in one object, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sidestream.routing.providers.httproute_groups import conflict
from sidestream.routing.providers.httproute_precedence import Condition, ties
from sidestream.routing.providers.httproute_rules import MAX_MATCHES, MAX_RULES
from sidestream.routing.table import Rule

_ROOM_FOR_RULES = MAX_RULES - 1
"""One rule with one match is the probe's."""

_ROOM_FOR_MATCHES = MAX_MATCHES - 1


@dataclass(frozen=True)
class Piece:
    """A rule to write: the place of the user's rule that it copies, and what it is called for users."""

    place: int
    rule: Rule
    origin: str


@dataclass
class _Bin:
    pieces: list[tuple[int, Piece]] = field(default_factory=list)

    @property
    def matches(self) -> int:
        return sum(len(piece.rule["matches"]) for _, piece in self.pieces)

    def takes(self, more: Sequence[tuple[int, Piece]]) -> bool:
        rules = len(self.pieces) + len(more)
        matches = self.matches + sum(len(piece.rule["matches"]) for _, piece in more)
        return rules <= _ROOM_FOR_RULES and matches <= _ROOM_FOR_MATCHES


def sharded(pieces: Sequence[Piece], copied: Sequence[Condition], *, is_weighted: bool) -> list[list[Rule]]:
    """The rules of each object, in order. `copied` are the conditions of the users' rules that the pieces copy.

    With `is_weighted` it is for Traefik, to which places matter in themselves, so that no rule may become two.

    Raises:
        InvalidInputError: rules that must not be parted do not fit in one object.
    """
    bins: list[_Bin] = []
    tied = list(ties(copied, is_weighted=is_weighted))
    if is_weighted and tied and len(pieces) > len({piece.place for piece in pieces}):
        raise conflict(
            f"For a tenant {pieces[0].origin} and those after it would have to become more rules than they are, and "
            "Traefik weighs rules by their places; write fewer matches into a rule"
        )
    for cluster in _inseparable(pieces, copied, tied):
        if bins and bins[-1].takes(cluster):
            bins[-1].pieces += cluster
            continue
        bins.append(_Bin(list(cluster)))
        if not _Bin().takes(cluster):
            first, last = cluster[0][1].origin, cluster[-1][1].origin
            raise conflict(
                f"For a tenant the rules from {first} to {last} would have to be in one object, since they ask for as "
                f"much of the same requests; {_ROOM_FOR_RULES} rules and {_ROOM_FOR_MATCHES} matches are its limit. "
                "Write fewer of them, or let them ask for more headers than each other"
            )
    return [[piece.rule for _, piece in sorted(item.pieces, key=lambda pair: pair[0])] for item in bins]


def _inseparable(
    pieces: Sequence[Piece], copied: Sequence[Condition], pairs: Sequence[tuple[int, int]]
) -> list[list[tuple[int, Piece]]]:
    """The pieces with their places in the list, those together that must not be parted; in order of their firsts."""
    leader = {item.rule: item.rule for item in copied}

    def find(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    for first, second in pairs:
        one, other = find(copied[first].rule), find(copied[second].rule)
        leader[max(one, other)] = min(one, other)
    # pieces of one rule that nothing ties to another need not stay together: whichever matches, the same happens
    tied = {find(copied[index].rule) for pair in pairs for index in pair}
    clusters: dict[tuple[int, int], list[tuple[int, Piece]]] = {}
    for number, piece in enumerate(pieces):
        root = find(piece.place)
        clusters.setdefault((root, 0 if root in tied else number), []).append((number, piece))
    return list(clusters.values())
