"""In which order an entry's objects are written and removed, so that no request falls between two of them. Pure.

Objects of an earlier stage are written first, and the next are written when every proxy has them; they are removed the
other way round. A route that replaces a Service's default comes with the rule that restores it, for example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sidestream.api.labels import GROUP
from sidestream.kube.port import Object
from sidestream.routing.plan import Plan
from sidestream.routing.providers.provider import Ident, Part

STAGE: Final = f"{GROUP}/stage"
"""Annotation on our objects of a later stage than the first."""

LAST_STAGE: Final = 1_000
"""Of an object that is gone without anybody knowing its stage: all others have to wait for it."""

IsSettled = Callable[[str], bool]
"""Whether proxies are known, or after some time supposed, to have an object (or, of a deleted one, not to)."""


@dataclass(frozen=True)
class Step:
    """What to write and what to delete now; `is_last`: nothing remains for later."""

    writes: tuple[Part, ...]
    deletes: tuple[Ident, ...]
    is_last: bool


def next_step(plan: Plan, departing: Mapping[str, int], is_settled: IsSettled) -> Step:
    """The objects of the lowest stage that is not settled, and the unwanted ones of the highest.

    `departing` are deleted objects with their stages. When objects of one kind take the place of those of another, the
    old ones hide the new from proxies, so that no stage could be proven: then all are written, and all old ones go.
    """
    if _is_change_of_kind(plan):
        return Step(tuple(sorted(plan.parts.values(), key=_stage)), plan.unwanted, is_last=True)
    stages = sorted({part.stage for part in plan.parts.values()})
    writes: list[Part] = []
    is_held_back = False
    for stage in stages:
        parts = [part for part in plan.parts.values() if part.stage == stage]
        writes += parts
        is_held_back = stage != stages[-1] and not all(is_settled(part.name) for part in parts)
        if is_held_back:
            break
    unwanted = {ident: stage_of(plan.held[ident]) for ident in plan.unwanted}
    last = max(unwanted.values(), default=0)
    waits = any(stage > last and not is_settled(name) for name, stage in departing.items())
    deletes = () if waits else tuple(ident for ident, stage in unwanted.items() if stage == last)
    return Step(tuple(writes), deletes, is_last=not is_held_back and len(deletes) == len(unwanted))


def _is_change_of_kind(plan: Plan) -> bool:
    unwanted = {resource for resource, _, _ in plan.unwanted}
    return bool(unwanted and plan.parts) and unwanted.isdisjoint(resource for resource, _, _ in plan.parts)


def _stage(part: Part) -> int:
    return part.stage


def staged(part: Part) -> Object:
    """The object to write: it says its stage, since what is unwanted later is known by itself alone."""
    if part.stage == 0:
        return part.obj
    metadata = part.obj["metadata"]
    annotations = {**(metadata.get("annotations") or {}), STAGE: str(part.stage)}
    return {**part.obj, "metadata": {**metadata, "annotations": annotations}}


def stage_of(obj: Object) -> int:
    """The stage that an object of ours was written in."""
    text = (obj["metadata"].get("annotations") or {}).get(STAGE, "0")
    return int(text) if text.isdecimal() else 0
