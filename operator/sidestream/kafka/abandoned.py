"""A hand-off whose baseline is gone, as when a namespace goes: nobody is left who could take records back; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka import departure, placement
from sidestream.kafka.steps import News, NewsReason, Observed, Step, group_name, tenants

_WITH_RECORDS: Final = frozenset(
    {Phase.PREPARING, Phase.CREATING, Phase.ACTIVE, Phase.FREEZING, Phase.PREPARING_OFF, Phase.DRAINING}
)


def is_abandoned(route: KafkaRoute, observed: Observed) -> bool:
    """Whether a deleted route has records to give back, no baseline to give them to, and no fork at work."""
    is_alone = not observed.has_deployment and not observed.group.has_members
    return is_alone and route.status.phase in _WITH_RECORDS


def abandon(route: KafkaRoute, observed: Observed, now: datetime) -> Step:
    """Go on to the end of the group, if it is ours."""
    told = (
        f"Deployment {route.spec.deployment} is gone, so nobody handles the records of {tenants(route)} that "
        f"consumer group {group_name(route)} has not"
    )
    if route.status.phase in {Phase.PREPARING, Phase.CREATING} and placement.is_foreign(route, observed):
        return departure.released(route)
    return departure.drained(route, now, News("Warning", NewsReason.RECORDS_DISCARDED, told))
