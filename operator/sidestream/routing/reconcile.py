"""The reconciler of a baseline Service's routes: read, plan, write the mesh object, prove it, tell the Sandboxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import structlog

from sidestream.api.conditions import Reason
from sidestream.api.labels import MANAGER_ROUTING, manager_of_route
from sidestream.api.sandbox import RouteStatus
from sidestream.config import HeaderSettings
from sidestream.errors import KubeError
from sidestream.kube.apply import ensure, ensure_status
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import SANDBOXES, KubeApi
from sidestream.routing.headers import check_settings
from sidestream.routing.hosts import DEFAULT_DOMAIN, ServiceHost
from sidestream.routing.observe import observe
from sidestream.routing.plan import Plan, Standing, Verdict, make_plan, refused
from sidestream.routing.proof import Evidence, Prober, prove_within
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.results import (
    NOTHING_TO_PROVE,
    Progress,
    first_entry,
    has_to_wait,
    look_again,
    must_prove,
    next_entry,
)
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome

PATIENCE_SECONDS: Final = 2.0
"""How long a reconcile waits for its proof by itself: proxies mostly follow within this; looking again costs reads."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RoutingConfig:
    """How tenants are named, and the cluster's DNS domain."""

    header: HeaderSettings = field(default_factory=HeaderSettings)
    cluster_domain: str = DEFAULT_DOMAIN


class RoutingReconciler:
    """Keyed by baseline Service. `prober` is None where none runs; then no route is ever called Programmed.

    Its only memory is since when a change has awaited proof. A restart forgets it, and waiting merely begins anew.

    Raises:
        ValueError: the config has header names that HTTP does not allow; the text is a sentence for users.
    """

    name: Final = "routing"

    def __init__(
        self, api: KubeApi, events: EventRecorder, clock: Clock, config: RoutingConfig, prober: Prober | None
    ) -> None:
        check_settings(config.header)
        self._api = api
        self._events = events
        self._clock = clock
        self._config = config
        self._prober = prober
        self._provider: Provider = VirtualServiceProvider(config.header)
        self._unproven_since: dict[ObjectKey, float] = {}

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Bring the routes of one Service to what its Sandboxes ask for; raises the errors of the Kubernetes port."""
        host = ServiceHost(key.namespace, key.name, self._config.cluster_domain)
        observed = await observe(self._api, host, self._provider)
        if observed is None:
            self._unproven_since.pop(key, None)
            return Outcome()
        plan = make_plan(observed, self._provider)
        for verdict in plan.verdicts:
            entry = first_entry(plan, verdict)
            if entry is not None:
                await self._apply_entry(plan, verdict, entry)
        plan, has_written = await self._write(plan)
        if has_written:
            self._unproven_since[key] = self._clock.monotonic()
        progress = await self._prove(key, plan)
        has_told = [await self._tell(progress, verdict) for verdict in plan.verdicts]
        return Outcome(
            requeue_after=look_again(progress, has_prober=self._prober is not None),
            changed=has_written or any(has_told),
        )

    async def _write(self, plan: Plan) -> tuple[Plan, bool]:
        """Make the mesh object what the plan wants; when the API server refuses, the plan says so to all Sandboxes."""
        resource = self._provider.resource
        if plan.rendered is None:
            if plan.held is None:
                return plan, False
            metadata = plan.held["metadata"]
            await self._api.delete(resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            _log.info("routes removed", service=plan.service, object=metadata["name"])
            return plan, True
        try:
            _, has_written = await ensure(self._api, resource, plan.rendered.obj, plan.held, MANAGER_ROUTING)
        except KubeError as error:
            is_rbac = error.status == HTTPStatus.FORBIDDEN
            return refused(plan, Reason.UNAUTHORIZED if is_rbac else Reason.ROUTE_CONFLICT, error.message), False
        if has_written:
            _log.info("routes written", service=plan.service, config=plan.rendered.config_hash)
        return plan, has_written

    async def _prove(self, key: ObjectKey, plan: Plan) -> Progress:
        if plan.claim is None or not must_prove(plan, self._waited(key)):
            self._unproven_since.pop(key, None)
            return Progress(plan, NOTHING_TO_PROVE)
        proof = await prove_within(PATIENCE_SECONDS, plan.claim, self._prober, self._clock)
        if has_to_wait(Progress(plan, proof, self._waited(key))):
            self._unproven_since.setdefault(key, self._clock.monotonic())
        elif proof.evidence is Evidence.PROVEN:
            self._unproven_since.pop(key, None)
        return Progress(plan, proof, self._waited(key))

    def _waited(self, key: ObjectKey) -> float | None:
        since = self._unproven_since.get(key)
        return None if since is None else self._clock.monotonic() - since

    async def _tell(self, progress: Progress, verdict: Verdict) -> bool:
        """Write the Sandbox's entry where it differs; returns whether it did."""
        member = verdict.member
        entry = next_entry(progress, verdict)
        if entry is None and member.entry is None:
            return False
        has_written = await self._apply_entry(progress.plan, verdict, entry)
        if has_written:
            await self._announce(progress, verdict, entry)
        return has_written

    async def _apply_entry(self, plan: Plan, verdict: Verdict, entry: RouteStatus | None) -> bool:
        status = {} if entry is None else {"routes": [entry.to_json()]}
        manager = manager_of_route(plan.service)
        return await ensure_status(self._api, SANDBOXES, verdict.member.raw, status, manager)

    async def _announce(self, progress: Progress, verdict: Verdict, entry: RouteStatus | None) -> None:
        """Events for what has become of a route."""
        member, service = verdict.member, progress.plan.service
        before = "" if member.entry is None else member.entry.state
        after = "" if entry is None else entry.state
        if before == after:
            return
        _log.info("route changed", sandbox=member.sandbox.metadata.key, service=service, before=before, after=after)
        if entry is None:
            if verdict.standing is Standing.LEAVING and progress.proof.evidence is Evidence.NOT_YET:
                note = f"Gave up waiting until no proxy has the route of service {service} any more; is istiod running?"
                await self._events.record(SANDBOXES, member.raw, "Warning", "RouteGoneUnconfirmed", note)
        elif entry.state == "Refused":
            await self._events.record(SANDBOXES, member.raw, "Warning", entry.reason, entry.message)
        elif entry.state == "Programmed":
            key = member.sandbox.routing_key
            note = f"Requests of tenant {key} to service {service} now go to the fork"
            await self._events.record(SANDBOXES, member.raw, "Normal", entry.reason, note)
