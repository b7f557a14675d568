"""Reads what one step of a hand-off under `Fenced` decides on: above all what both groups have acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka import fencing, takeback
from sidestream.kafka.look import baseline_groups, fork_pods, partitions_of, unfinished, with_pods
from sidestream.kafka.port import KafkaAdmin, Scanned, TopicPartition
from sidestream.kafka.steps import Observed
from sidestream.kube.port import DEPLOYMENTS, KAFKA_ROUTES, KubeApi, Object
from sidestream_sdk.baggage import HeaderRules
from sidestream_sdk.identity import ENV_MAPPING_URL

SCANNED_AT_MOST: Final = 5_000
"""How many records are looked through for a group whose own members may get on with them any moment."""


@dataclass(frozen=True)
class Installation:
    """What is the same for all hand-offs: the epoch that versions are of, and where records carry the tenant's key."""

    epoch: str
    header: HeaderRules


@dataclass(frozen=True)
class Moment:
    """When and where an observation is made."""

    now: datetime
    installation: Installation


async def observe(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, base: Observed, moment: Moment) -> Observed:
    """What the next step of `route` needs; `base` has the cluster and the fork's group.

    Always: the topics. Then what the states of the claims and the phase ask for, and nothing else.
    """
    phase = route.status.phase
    seen = replace(
        base,
        topics=await admin.topics(route.spec.topics),
        epoch=moment.installation.epoch,
        version=int(route.metadata.resource_version or 0),
    )
    match phase:
        case Phase.PENDING:
            seen = replace(seen, taken=await baseline_groups(api), others=await _others(api, route))
            return await _with_deployment(api, route, seen)
        case Phase.DRAINED | Phase.DELETING:
            others = await unfinished(api, route)
            pods = await fork_pods(api, route)
            return replace(seen, pods=tuple(sorted(pods)), unfinished=others, taken=await baseline_groups(api))
        case _ if route.is_deleting and phase is not Phase.RETIRING:
            seen = await _with_deployment(api, route, seen)
        case Phase.ACTIVE if not seen.group.members:
            seen = await with_pods(api, admin, route, seen)
        case _:
            pass
    seen = await _with_acknowledgements(admin, route, seen)
    if phase is Phase.ACTIVE and not {claim.key for claim in route.status.claims} >= set(route.spec.keys):
        seen = replace(seen, others=await _others(api, route))
    seen = await _with_stand_ins(api, admin, route, seen)
    return replace(seen, scanned=await _scan(admin, route, seen, moment))


async def _with_acknowledgements(admin: KafkaAdmin, route: KafkaRoute, seen: Observed) -> Observed:
    """Add both groups' offsets with what they wrote beside them, as far as somebody is asked."""
    existing = partitions_of(seen.topics)
    asked_baseline, asked_fork = _asked(route, fencing.ASKED_BASELINE), _asked(route, fencing.ASKED_FORK)
    ending = _asked(route, frozenset({"Until"}))
    own = set(asked_fork | ending)
    if not seen.group.has_members:
        own |= existing
    baseline = (asked_baseline | ending) & existing
    if baseline:
        described, committed = await asyncio.gather(
            admin.group(route.spec.baseline_group), admin.committed(route.spec.baseline_group, baseline)
        )
        seen = replace(seen, baseline_group=described, baseline=committed)
    if route.status.phase is Phase.CREATING:
        # whatever else is in there tells that it is somebody else's
        return replace(seen, own={} if seen.group.is_absent else await admin.committed(seen.group.name))
    if own & existing and not seen.group.is_absent:
        seen = replace(seen, own=await admin.committed(seen.group.name, own & existing))
    return seen


async def _with_stand_ins(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, seen: Observed) -> Observed:
    """Add both ends of the logs where something is compared to them or written for a group without members."""
    baseline = seen.baseline_group
    is_baseline_empty = baseline is not None and not baseline.has_members and _asked(route, fencing.ASKED_BASELINE)
    is_fork_empty = not seen.group.has_members and (
        _asked(route, fencing.ASKED_FORK) or route.status.phase is Phase.ACTIVE
    )
    if not (is_baseline_empty or is_fork_empty or _asked(route, frozenset({"Until"}))):
        return seen
    partitions = partitions_of(seen.topics)
    earliest, latest = await asyncio.gather(admin.earliest(partitions), admin.latest(partitions))
    others = await _others(api, route) if is_baseline_empty else seen.others
    return replace(seen, earliest=earliest, latest=latest, others=others)


async def _scan(
    admin: KafkaAdmin, route: KafkaRoute, seen: Observed, moment: Moment
) -> Mapping[TopicPartition, Scanned]:
    """Look for the tenants' records in what a group has not committed, when it is time for that."""
    if route.status.phase is Phase.RETIRING:
        committed, has_members = seen.baseline, True
    elif takeback.needs_scan(route, moment.now):
        committed, has_members = seen.own, seen.group.has_members
    else:
        return {}
    left = fencing.remaining(route.status.claims, committed, seen.earliest)
    left = {item: span for item, span in left.items() if item in partitions_of(seen.topics)}
    if not left or (has_members and sum(end - begin for begin, end in left.values()) > SCANNED_AT_MOST):
        return {}
    keys = {claim.key for claim in route.status.claims}
    return await admin.scan(left, moment.installation.header, keys)


async def _others(api: KubeApi, route: KafkaRoute) -> tuple[KafkaRoute, ...]:
    """KafkaRoutes on the same baseline group, those that are going too."""
    found = [KafkaRoute.from_json(raw) for raw in await api.list(KAFKA_ROUTES, route.metadata.namespace)]
    return tuple(item for item in found if item.spec.baseline_group == route.spec.baseline_group)


async def _with_deployment(api: KubeApi, route: KafkaRoute, seen: Observed) -> Observed:
    """Add whether the baseline's Deployment is there and may use the SDK."""
    live = await api.get(DEPLOYMENTS, route.metadata.namespace, route.spec.deployment)
    return replace(seen, has_deployment=live is not None, speaks=live is not None and _may_speak(live))


def _may_speak(deployment: Object) -> bool:
    """Whether a container is told where the mapping service is, or may be by something that we do not read."""
    containers = deployment["spec"]["template"]["spec"].get("containers") or ()
    return any(
        container.get("envFrom") or any(item.get("name") == ENV_MAPPING_URL for item in container.get("env") or ())
        for container in containers
    )


def _asked(route: KafkaRoute, states: frozenset[str]) -> frozenset[TopicPartition]:
    """The partitions that some claim is in one of these states on."""
    return frozenset(
        fencing.place_of(fence) for fence in fencing.fences_of(route.status.claims) if fence.state in states
    )
