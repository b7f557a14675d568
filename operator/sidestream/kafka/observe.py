"""Reads what one step of a hand-off decides on, under either coordination."""

from __future__ import annotations

import asyncio

from sidestream.api.kafka import KafkaRoute
from sidestream.kafka import observe_fenced, observe_polling
from sidestream.kafka.observe_fenced import Moment
from sidestream.kafka.port import KafkaAdmin
from sidestream.kafka.steps import Observed
from sidestream.kube.port import KubeApi


async def observe(api: KubeApi, admin: KafkaAdmin, route: KafkaRoute, moment: Moment) -> Observed:
    """The cluster and the fork's group, and what the coordination needs beside them."""
    name = route.status.group.name if route.status.group is not None else route.spec.fork_group
    cluster, group = await asyncio.gather(admin.cluster(), admin.group(name))
    base = Observed(cluster.id, group)
    match route.spec.coordination:
        case "Fenced":
            return await observe_fenced.observe(api, admin, route, base, moment)
        case "Polling":
            return await observe_polling.observe(api, admin, route, base, moment.now)
