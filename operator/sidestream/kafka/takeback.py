"""The way back under `Fenced`: a deleted KafkaRoute gives its tenants' records to the baseline, record by record; pure.

    Freezing -> PreparingOff -> Draining -> Drained -> Deleting -> Retiring -> gone

The fork acknowledges where it holds, the baseline from where on the records are its own again, and the fork works up to
there (`fencing`). The route stays in the mapping until the baseline has passed that, too: a record that is delivered
again must meet the same answer. What the fork must not do any more is not known to a fork that is dead; the operator
stands in for a group without members.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import ClaimStatus, DiscardedRange, KafkaRoute, Phase
from sidestream.api.times import parse_duration
from sidestream.kafka import departure, fencing
from sidestream.kafka.asking import answered, ask, baseline_of
from sidestream.kafka.fencing import Claims
from sidestream.kafka.port import Position, TopicPartition
from sidestream.kafka.steps import (
    News,
    NewsReason,
    Observed,
    Place,
    Step,
    group_name,
    in_phase_for,
    moved,
    pace,
    ready,
    seen,
    tenants,
)

_SCAN_SECONDS: Final = 1.0


def plan(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """The next step of a deleted route whose fork has, or had, records of its own."""
    match route.status.phase:
        case Phase.DRAINING:
            return _drain(route, observed, now)
        case Phase.DRAINED:
            return departure.begin_deleting(route, observed, now)
        case Phase.DELETING:
            return departure.delete(route, observed, now) or _retire(route, now)
        case Phase.RETIRING:
            return _await_baseline(route, observed, now)
        case _:
            return _give_back(route, observed, now)


def needs_scan(route: KafkaRoute, now: datetime) -> bool:
    """Whether it is time to look for records of the tenants in what the fork has not committed.

    A fork that commits has no need of that. One that is dead never does, and one at the end of a log whose last entry
    is a transaction's marker cannot.
    """
    return route.status.phase is Phase.DRAINING and in_phase_for(route, now) >= _SCAN_SECONDS


def given_back(claims: Claims, observed: Observed) -> Claims:
    """Claims on keys that a living fork loses, one step further; those that are over are left out."""
    stepped = (_given_back(claim, observed) for claim in fencing.frozen(claims))
    return tuple(claim for claim in stepped if claim is not None and claim.fences)


def _given_back(claim: ClaimStatus, observed: Observed) -> ClaimStatus | None:
    states = {fence.state for fence in claim.fences}
    if states == {"Retire"}:
        return claim if fencing.unretired((claim,), baseline_of(observed)) else None
    if states == {"Until"} and not any(
        fencing.remaining((claim,), committed, observed.earliest) for committed in (observed.own, observed.baseline)
    ):
        return fencing.retiring((claim,))[0]
    return claim


def _give_back(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Active, Freezing, PreparingOff: let the fork hold and the baseline go on, each partition at its own pace."""
    claims = fencing.frozen(fencing.without_topics(answered(route, observed), _vanished(route, observed)))
    phase = fencing.leaving_phase(claims)
    changes: dict[str, object] = {"claims": claims}
    if phase is not Phase.FREEZING:
        changes["halted"] = False
    if phase is not route.status.phase:
        return Step(moved(route, phase, now, **changes), _ending(route, phase), look_after=0)
    if claims != route.status.claims:
        status = route.status.model_copy(update=changes)
        return Step(status, _ending(route, phase), look_after=0)
    asking = ask(route, observed, _ending(route, phase), now)
    if phase is Phase.FREEZING and not route.status.halted and _is_overdue(route, now) and observed.group.has_members:
        return _halted(route)
    return asking or Step(route.status, _ending(route, phase), look_after=pace(in_phase_for(route, now)))


def _halted(route: KafkaRoute) -> Step:
    """The fork's members do not say where they stand: its pods stop, and then its commits say it."""
    told = f"Fork {route.spec.fork} did not acknowledge that it holds within {route.spec.drain.timeout}: it is stopped"
    status = route.status.model_copy(update={"halted": True})
    news = News("Warning", NewsReason.DRAIN_TIMED_OUT, told)
    return Step(status, _ending(route, Phase.FREEZING), news=(news,), look_after=0)


def _drain(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    claims = fencing.without_topics(route.status.claims, _vanished(route, observed))
    left = fencing.remaining(claims, observed.own, observed.earliest)
    left = {item: span for item, span in left.items() if not _is_clear(observed, item, span[1])}
    if not left:
        told = f"Fork {route.spec.fork} worked off its records of {tenants(route)}"
        return departure.drained(route, now, News("Normal", NewsReason.DRAINED, told))
    if _is_overdue(route, now) and not _is_acted_upon(route):
        return _overdue(route, left, now)
    skipped = _skipped(observed, left)
    status = seen(route.status, observed.group)
    if not observed.group.has_members and any(item.found for item in observed.scanned.values()):
        status = status.model_copy(update={"stranded": True})
    if skipped and not observed.group.has_members:
        known = {item: observed.own[item] for item in skipped if item in observed.own}
        return Step(status, _draining(route), effect=Place(group_name(route), skipped, over=known))
    return Step(status, _draining(route), look_after=pace(in_phase_for(route, now)))


def _is_clear(observed: Observed, item: TopicPartition, end: int) -> bool:
    """Whether none of what a fork has not committed is its tenants'."""
    scanned = observed.scanned.get(item)
    return scanned is not None and not scanned.found and scanned.offset >= end


def _skipped(observed: Observed, left: dict[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, Position]:
    """Where a fork without members may stand: nothing of its tenants' lies before."""
    found = {}
    for item, (begin, _) in left.items():
        scanned, own = observed.scanned.get(item), observed.own.get(item)
        if scanned is not None and scanned.offset > begin:
            found[item] = Position(scanned.offset, metadata="" if own is None else own.metadata)
    return found


def _overdue(route: KafkaRoute, left: dict[TopicPartition, tuple[int, int]], now: datetime) -> Step:
    """The fork has had its time: do as its Sandbox says."""
    late = f"Fork {route.spec.fork} did not work off its records of {tenants(route)} within {route.spec.drain.timeout}"
    status = route.status.model_copy(update={"overdue": True})
    match route.spec.drain.policy:
        case "Wait":
            told = News("Warning", NewsReason.DRAIN_TIMED_OUT, f"{late}; waiting on")
        case "Handback":
            status = status.model_copy(update={"handback": True})
            told = News("Warning", NewsReason.DRAIN_TIMED_OUT, f"{late}; the baseline's own pods take its place")
        case "Discard":
            ranges = tuple(
                DiscardedRange(topic=item.topic, partition=item.partition, begin=begin, end=end)
                for item, (begin, end) in sorted(left.items())
            )
            listed = ", ".join(f"{item.topic}/{item.partition} from {item.begin} up to {item.end}" for item in ranges)
            news = News("Warning", NewsReason.RECORDS_DISCARDED, f"{late}; left alone are those in {listed}")
            step = departure.drained(route, now, news)
            return replace(step, status=step.status.model_copy(update={"overdue": True, "discarded": ranges}))
    return Step(status, _draining(route), news=(told,), look_after=0)


def _retire(route: KafkaRoute, now: datetime) -> Step:
    news = departure.gone(route)
    return Step(moved(route, Phase.RETIRING, now), _retiring(route), news=(news,), look_after=0)


def _await_baseline(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Retiring: what the baseline may still be delivered again has to be skipped again."""
    claims = fencing.without_topics(route.status.claims, _vanished(route, observed))
    if any(fence.state != "Retire" for fence in fencing.fences_of(claims)):
        left = fencing.remaining(claims, observed.baseline, observed.earliest)
        if any(not _is_clear(observed, item, end) for item, (_, end) in left.items()):
            return Step(route.status, _retiring(route), look_after=pace(in_phase_for(route, now)))
        status = route.status.model_copy(update={"claims": fencing.retiring(claims)})
        return Step(status, _retiring(route), look_after=0)
    if not fencing.unretired(claims, baseline_of(observed)):
        return departure.released(route)
    asking = ask(route, observed, _retiring(route), now)
    return asking or Step(route.status, _retiring(route), look_after=pace(in_phase_for(route, now)))


def _vanished(route: KafkaRoute, observed: Observed) -> set[str]:
    """Topics whose fences are void: they are gone, or others of the same name."""
    known = {topic.name: topic.id for topic in route.status.topics}
    found = {name: topic.id for name, topic in observed.topics.items() if topic is not None}
    return {name for name, id_ in known.items() if found.get(name) != id_}


def _is_overdue(route: KafkaRoute, now: datetime) -> bool:
    return in_phase_for(route, now) >= parse_duration(route.spec.drain.timeout).total_seconds()


def _is_acted_upon(route: KafkaRoute) -> bool:
    """Whether the policy, which may change while the fork drains, has had its say."""
    match route.spec.drain.policy:
        case "Wait":
            return route.status.overdue
        case "Handback":
            return route.status.handback
        case "Discard":
            return False


def _ending(route: KafkaRoute, phase: Phase) -> Condition:
    if phase is Phase.FREEZING:
        message = f"Waiting until the fork in consumer group {group_name(route)} acknowledges where it holds"
    else:
        message = (
            f"Waiting until the members of consumer group {route.spec.baseline_group} acknowledge from which records "
            f"on {tenants(route)} is theirs again"
        )
    return ready("False", Reason.DRAINING, message)


def _draining(route: KafkaRoute) -> Condition:
    fork, name = route.spec.fork, group_name(route)
    if route.status.handback:
        message = f"The baseline's own pods work off the records of fork {fork} in consumer group {name}"
    elif route.status.overdue:
        message = (
            f"Fork {fork} has not worked off its records of {tenants(route)} in consumer group {name} within "
            f"{route.spec.drain.timeout}; see kubectl logs deployment/{fork}, or set drain.policy of the Sandbox to "
            "Handback or Discard"
        )
    else:
        message = f"Fork {fork} works off its records of {tenants(route)} in consumer group {name}"
    return ready("False", Reason.DRAINING, message)


def _retiring(route: KafkaRoute) -> Condition:
    message = (
        f"Consumer group {group_name(route)} is deleted; waiting until {route.spec.baseline_group} has passed the "
        "records that were its"
    )
    return ready("False", Reason.DELETING, message)
