"""What controllers say in the status of our own route objects; pure.

A proxy may have an object's probe and not all of its rules: what a controller could not take over it says in
conditions, and leaves out. Only conditions of the object's newest generation count, for some controllers leave old ones
behind (cilium/cilium#47629). Kinds without such a status say nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sidestream.kube.port import Object

_WANTED: Final = {"Accepted": "True", "ResolvedRefs": "True", "PartiallyInvalid": "False"}
"""Of each type of condition of a Gateway API route, the status that lets tenants' requests come to their forks."""


def refusal_of(obj: Object) -> str | None:
    """Who has not taken an object as it is, and in which words, as a sentence; None when nobody says so."""
    for parent, condition in _conditions(obj):
        wanted = _WANTED.get(condition.get("type", ""))
        if wanted is not None and condition.get("status") != wanted:
            kind, name = obj["kind"], obj["metadata"]["name"]
            words = " ".join(str(condition.get("message") or condition.get("reason") or "").split()).rstrip(".")
            return f"{kind} {name} is not taken as it is by {parent.get('controllerName', 'its controller')}: {words}"
    return None


def is_taken(obj: Object) -> bool:
    """Whether any controller has said something about the object."""
    return bool((obj.get("status") or {}).get("parents"))


def _conditions(obj: Object) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The conditions of the newest generation, with the parent that each is about."""
    generation = obj["metadata"].get("generation", 0)
    for parent in (obj.get("status") or {}).get("parents") or ():
        for condition in parent.get("conditions") or ():
            if condition.get("observedGeneration", 0) == generation:
                yield parent, condition
