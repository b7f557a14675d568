"""The way to the fork under `Fenced`, where offsets that the baseline acknowledged say whose a record is; pure.

    Pending -> Preparing -> Creating -> Active        and, once the route is deleted, `takeback`

Preparing asks the baseline on every partition from which offset on it leaves the tenant's records alone (`fencing`).
The group is made there, and the mapping lets the fork join it. A route that is deleted before it is Active goes on to
Active first: what the baseline was asked it may have acknowledged, and then only the fork handles these records.

A key that joins a fork that is Active already, and a partition that is added, are announced to the fork first (Aware),
which has passed by records of the key until then. A key that another fork still has joins when that one is through.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sidestream.api.conditions import Condition, Reason
from sidestream.api.kafka import FenceState, GroupStatus, KafkaRoute, KafkaRouteStatus, Phase
from sidestream.kafka import fencing, groups, placement, takeback
from sidestream.kafka.abandoned import abandon, is_abandoned
from sidestream.kafka.asking import answered, ask, other_claims
from sidestream.kafka.membership import await_fork
from sidestream.kafka.port import Position, TopicPartition
from sidestream.kafka.steps import (
    BUSY_SECONDS,
    REFUSED_SECONDS,
    News,
    NewsReason,
    Observed,
    Step,
    group_name,
    last_ready,
    moved,
    ready,
    recorded,
    seen,
    tenants,
)
from sidestream.kafka.upkeep import listed, missing_topic, recreated, told_anew, topics_of, upkeep
from sidestream_sdk.notes import Notes

_BEGINNING: Final = (Phase.PENDING, Phase.PREPARING, Phase.CREATING)


def plan(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """The next step."""
    if route.is_deleting and route.status.phase is not Phase.PENDING and is_abandoned(route, observed):
        return abandon(route, observed, now)
    if route.is_deleting and route.status.phase not in _BEGINNING:
        return takeback.plan(route, observed, now)
    match route.status.phase:
        case Phase.PENDING:
            return _begin(route, observed, now)
        case Phase.PREPARING:
            return _prepare(route, observed, now)
        case Phase.CREATING:
            return _create(route, observed, now)
        case _:
            return _serve(route, observed, now)


def _begin(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Pending: check that nothing stands in the way, then ask the baseline."""
    obstacle = placement.obstacle(route, observed) or _silent_baseline(route, observed) or _unfinished(route, observed)
    if obstacle is not None:
        return obstacle
    topics = topics_of(observed)
    partitions = groups.partitions_of(topics)
    free = sorted(set(route.spec.keys) - other_claims(route, observed).keys())
    claims = [fencing.claimed(route.metadata.uid, key, partitions, "Ask", now) for key in free]
    group = recorded(GroupStatus(name=route.spec.fork_group, cluster_id=observed.cluster_id), observed.group)
    status = moved(route, Phase.PREPARING, now, group=group, topics=listed(topics), claims=tuple(claims))
    return Step(status, _preparing(route), look_after=0)


def _prepare(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Preparing: every partition that the baseline answers for gets its `from`; when all have one, record the group."""
    missing = missing_topic(route, observed)
    if missing is not None:
        return missing
    followed = _followed(route, observed)
    if followed is not None:
        return Step(followed, _preparing(route), look_after=0)
    claims = answered(route, observed)
    status = route.status.model_copy(update={"claims": claims})
    if claims != route.status.claims and any(fence.begin is None for fence in fencing.fences_of(claims)):
        return Step(status, _preparing(route), look_after=0)
    asking = ask(route, observed, _preparing(route), now)
    if asking is not None:
        return asking
    start: dict[TopicPartition, int] = {}
    for fence in fencing.fences_of(claims):
        item = fencing.place_of(fence)
        start[item] = min(start.get(item, fence.begin or 0), fence.begin or 0)
    return placement.record(route, observed, start, now, claims=claims)


def _create(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Creating: make the group where the fork begins; its notes say how new a mapping its members must have."""
    contested = placement.contested(route, observed)
    if contested is not None:
        return contested
    if placement.is_placed(route, observed):
        step = placement.placed(route, Phase.ACTIVE, _handed_over(route), observed, now)
        told = f"Handed the records of {tenants(route)} over to consumer group {group_name(route)}"
        return _with_news(step, News("Normal", NewsReason.HANDED_OVER, told))
    seed = Notes().at(observed.version, observed.epoch).encode()
    start = groups.from_status(route.status.start)
    return placement.place(route, observed, {item: Position(at, metadata=seed) for item, at in start.items()})


def _serve(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Active: keep the group where it belongs, follow what is added and taken away, see whether the fork has joined."""
    condition = last_ready(route)
    missing = missing_topic(route, observed)
    if missing is not None:
        return missing
    followed = _followed(route, observed)
    if followed is not None:
        news = tuple(told_anew(route, name) for name in recreated(route, topics_of(observed)))
        return Step(followed, condition, news=news, look_after=0)
    amiss = upkeep(route, observed, now)
    if amiss is not None:
        return amiss
    claims = _with_keys(route, answered(route, observed), observed, now)
    status = seen(route.status, observed.group)
    if claims != route.status.claims:
        changed = route.model_copy(update={"status": status.model_copy(update={"claims": claims})})
        return Step(changed.status, _with_all_keys(changed, observed, condition), look_after=0)
    return _await(route, observed, status, now)


def _await(route: KafkaRoute, observed: Observed, status: KafkaRouteStatus, now: datetime) -> Step:
    """Nothing to record: wait for the fork to join, and for what either side owes."""
    step = await_fork(route, observed, status, now)
    has_joined = step.ready.status == "True"
    step = replace(step, ready=_with_all_keys(route, observed, step.ready))
    if has_joined and step.ready.status != "True":
        step = replace(step, look_after=REFUSED_SECONDS)
    if any(map(fencing.is_leaving, route.status.claims)):
        # somebody may wait for this key, and nobody tells us when the last record is passed
        step = replace(step, look_after=min(step.look_after, BUSY_SECONDS))
    asking = ask(route, observed, step.ready, now)
    if asking is None or asking.effect is not None:
        return asking or step
    told = asking.ready if has_joined else step.ready
    return replace(step, ready=told, look_after=min(step.look_after, asking.look_after))


def _followed(route: KafkaRoute, observed: Observed) -> KafkaRouteStatus | None:
    """The status with partitions that came, or of topics that were made anew, claimed too; None when all are."""
    topics = topics_of(observed)
    if listed(topics) == route.status.topics:
        return None
    anew = recreated(route, topics)
    state: FenceState = "Ask" if route.status.phase is Phase.PREPARING else "Aware"
    claims = fencing.spread(fencing.without_topics(route.status.claims, anew), groups.partitions_of(topics), state)
    start = tuple(item for item in route.status.start if item.topic not in anew)
    return route.status.model_copy(update={"claims": claims, "topics": listed(topics), "start": start})


def _with_keys(route: KafkaRoute, claims: fencing.Claims, observed: Observed, now: datetime) -> fencing.Claims:
    """The claims as the keys of the spec want them: one that is new is announced, one that is gone is given back.

    One that is on its way back goes on to its end, also when its key is wanted again; then it is claimed anew.
    """
    partitions = groups.partitions_of(topics_of(observed))
    taken = other_claims(route, observed)
    kept = [claim for claim in claims if claim.key in route.spec.keys and not fencing.is_leaving(claim)]
    leaving = takeback.given_back(tuple(claim for claim in claims if claim not in kept), observed)
    held = {claim.key for claim in (*kept, *leaving)}
    new = [
        fencing.claimed(route.metadata.uid, key, partitions, "Aware", now)
        for key in sorted(route.spec.keys)
        if key not in held and key not in taken
    ]
    return tuple(sorted((*kept, *leaving, *new), key=lambda claim: (claim.key, claim.id)))


def _silent_baseline(route: KafkaRoute, observed: Observed) -> Step | None:
    """Who does not use the SDK never answers, and asking cannot be taken back: do not begin."""
    if not observed.has_deployment:
        message = f"Deployment {route.spec.deployment} of the baseline does not exist"
        return Step(route.status, ready("False", Reason.BASELINE_NOT_FOUND, message), look_after=REFUSED_SECONDS)
    if observed.speaks:
        return None
    message = (
        f"Deployment {route.spec.deployment} sets no SIDESTREAM_MAPPING_URL, so its consumers do not use Sidestream's "
        f"SDK and would never acknowledge the hand-off: set it there, or set coordination: Polling in KafkaConsumer "
        f"{route.spec.consumer}"
    )
    return Step(route.status, ready("False", Reason.BASELINE_WITHOUT_SDK, message), look_after=REFUSED_SECONDS)


def _unfinished(route: KafkaRoute, observed: Observed) -> Step | None:
    """Changes of one key follow one another: wait until an older one is gone, unless another key can begin."""
    taken = other_claims(route, observed)
    key = min(route.spec.keys)
    if not taken.keys() >= set(route.spec.keys):
        return None
    return Step(route.status, _taken(route, key, taken[key]), look_after=REFUSED_SECONDS)


def _with_all_keys(route: KafkaRoute, observed: Observed, condition: Condition) -> Condition:
    """The condition, unless it is True and the fork does not yet have every key of the spec."""
    taken = other_claims(route, observed)
    for key in sorted(route.spec.keys) if condition.status == "True" else ():
        claims = [item for item in route.status.claims if item.key == key]
        if any(not fencing.is_leaving(one) and not fencing.is_joining(one, route.status.claims) for one in claims):
            continue
        return _taken(route, key, taken[key]) if not claims and key in taken else _joining(route, key)
    return condition


def _taken(route: KafkaRoute, key: str, sandbox: str) -> Condition:
    message = (
        f"Waiting until the hand-off of tenant {key} to Sandbox {sandbox} is over: consumer group "
        f"{route.spec.baseline_group} has yet to pass the records that were that Sandbox's"
    )
    return ready("False", Reason.PENDING, message)


def _joining(route: KafkaRoute, key: str) -> Condition:
    message = (
        f"Waiting until the members of consumer groups {route.spec.baseline_group} and {group_name(route)} acknowledge "
        f"from which records on tenant {key} goes to {group_name(route)}"
    )
    return ready("False", Reason.RECONCILING, message)


def _preparing(route: KafkaRoute) -> Condition:
    message = (
        f"Waiting until the members of consumer group {route.spec.baseline_group} acknowledge from which records on "
        f"{tenants(route)} goes to {group_name(route)}"
    )
    return ready("False", Reason.RECONCILING, message)


def _handed_over(route: KafkaRoute) -> Condition:
    message = f"Records of {tenants(route)} go to consumer group {group_name(route)}, which waits for its fork"
    return ready("False", Reason.WAITING_FOR_CONSUMERS, message)


def _with_news(step: Step, news: News) -> Step:
    return replace(step, news=(*step.news, news))
