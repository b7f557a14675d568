"""Reconciles one RouteGroup: observe, plan, write its status. It makes nothing, so nothing has to be removed."""

from __future__ import annotations

import asyncio

from sidestream.api.labels import MANAGER_SANDBOX
from sidestream.api.route_group import RouteGroup
from sidestream.api.sandbox import Sandbox
from sidestream.kube.apply import ensure_status
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import ROUTE_GROUPS, SANDBOXES, KubeApi
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome
from sidestream.sandbox.observe import readable, route_groups
from sidestream.sandbox.route_groups.plan import Observed, plan


class RouteGroupReconciler:
    """Tells who is a member, whether all are ready, and where two of them fork one Deployment."""

    name = "routegroup"

    def __init__(self, api: KubeApi, events: EventRecorder, clock: Clock) -> None:
        self._api = api
        self._events = events
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Look and write what changed; whatever may change it wakes the RouteGroup."""
        live = await self._api.get(ROUTE_GROUPS, key.namespace, key.name)
        if live is None or "deletionTimestamp" in live["metadata"]:
            return Outcome()
        sandboxes, groups = await asyncio.gather(
            self._api.list(SANDBOXES, key.namespace), route_groups(self._api, key.namespace)
        )
        observed = Observed(RouteGroup.from_json(live), tuple(readable(sandboxes, Sandbox.from_json)), groups)
        todo = plan(observed, self._clock.now())
        # an empty list is nobody's, so it is left out
        status = {name: value for name, value in todo.status.to_json().items() if value != []}
        changed = await ensure_status(self._api, ROUTE_GROUPS, live, status, MANAGER_SANDBOX)
        for item in todo.news:
            await self._events.record(ROUTE_GROUPS, live, item.type, item.reason, item.message)
        return Outcome(changed=changed)
