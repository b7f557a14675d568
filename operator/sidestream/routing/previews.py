"""Decides what the objects of a preview should be, and what its Sandbox's status says of it. Pure.

A preview is an entry with one row, `Sandbox.status.preview`. Its rules are those of the users' host of which it is a
preview, with the forks that answer to the Sandbox's key in place of their Services, without asking for the key: all
requests to the preview's host are the tenant's, and are marked as such for the Services behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import PreviewStatus, RouteStatus
from sidestream.errors import InvalidInputError
from sidestream.kube.port import SANDBOXES, Object
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.observe import Member, Observed
from sidestream.routing.plan import Plan, destinations_of, refused, rendered_parts
from sidestream.routing.preview_index import are_forks_available
from sidestream.routing.providers.preview import ADDRESS
from sidestream.routing.providers.provider import Cluster, ident_of
from sidestream.routing.results import Progress
from sidestream.routing.table import Tenant
from sidestream.routing.tenants import Routing, Standing, Verdict, tenants_of


@dataclass(frozen=True)
class PreviewPlan(Plan):
    """A plan whose one row is `status.preview`; `services` are those whose forks of the Sandbox its rules lead to."""

    services: tuple[str, ...] = ()


def make_preview_plan(observed: Observed, cluster: Cluster) -> PreviewPlan:
    """The plan for one preview."""
    choice, provider, key = observed.choice, observed.choice.provider, observed.key
    held = {ident_of(resource, obj): obj for resource, obj in observed.held}
    plan = PreviewPlan(key=key, entry=choice.entry, held=held, doors=choice.doors)
    owner = next((item for item in observed.members if _ident(item) == (key.namespace, key.name)), None)
    if owner is None:
        return plan
    routing = tenants_of(observed, destinations_of(observed, provider, cluster.domain))
    verdict = _verdict(observed, owner, routing, cluster)
    if verdict is None:
        return plan
    plan = replace(plan, verdicts=(verdict,))
    if choice.entry is None or provider is None:
        return plan
    plan = replace(plan, provider=provider.name, why_unprovable=choice.entry.why_unprovable or plan.why_unprovable)
    if verdict.standing is not Standing.ROUTED:
        return plan
    tenant = next(
        (item for item in routing.tenants if item.key == owner.sandbox.routing_key),
        Tenant(owner.sandbox.routing_key, ()),
    )
    try:
        rendered = rendered_parts(provider, choice.entry, (tenant,), cluster, held)
    except InvalidInputError as error:
        return refused(plan, Reason(error.reason), error.message)
    parts = {part.ident: part for part in rendered.parts}
    return replace(
        plan, parts=parts, finding=choice.entry.finding or rendered.finding, services=_services(owner, routing)
    )


def status_of(plan: Plan, rows: Sequence[RouteStatus], progress: Progress | None = None) -> dict[str, Any]:
    """What a Sandbox's status says about an entry: its rows, or the preview; `progress` is None before any write."""
    if not rows:
        return {}
    if not isinstance(plan, PreviewPlan):
        return {"routes": [row.to_json() for row in rows]}
    (row,) = rows
    (verdict,) = plan.verdicts
    said = PreviewStatus(
        address=_address(plan, row),
        object=row.object,
        state="Refused" if row.state == "Unrouted" else row.state,
        reason=row.reason,
        message=row.message,
        services=_services_met(plan, verdict, progress),
        observed_generation=row.observed_generation,
    )
    return {"preview": said.to_json()}


def _verdict(observed: Observed, owner: Member, routing: Routing, cluster: Cluster) -> Verdict | None:
    """How the Sandbox stands to its preview; None where it wants none and nothing is said about one."""
    row = next(iter(owner.rows), None)
    sandbox = owner.sandbox
    verdict = Verdict(owner, ServiceHost(observed.key.namespace, ""), Standing.LEAVING, row)
    if sandbox.spec.preview is None or sandbox.is_deleting or sandbox.spec.suspended:
        return None if row is None else verdict
    problem = observed.choice.refusal or _taken(owner, cluster)
    if problem is None and observed.choice.entry is None:
        problem = InvalidInputError(
            Reason.MESH_NOT_FOUND, f"Nothing here knows gateways of kind {sandbox.spec.preview.gateway.kind}"
        )
    if problem is not None:
        return replace(verdict, standing=Standing.REFUSED, reason=Reason(problem.reason), message=problem.message)
    if not (observed.held or verdict.was_written):
        # until then it would show the baseline as if it were the forks
        for item in routing.verdicts:
            if item.member is owner and item.standing is Standing.WAITING:
                return replace(verdict, standing=Standing.WAITING, reason=item.reason, message=item.message)
        if not are_forks_available(sandbox):
            text = "The preview is made when all forks are available"
            return replace(verdict, standing=Standing.WAITING, reason=Reason.FORK_NOT_READY, message=text)
    return replace(verdict, standing=Standing.ROUTED, keys=frozenset({sandbox.routing_key}))


def _taken(owner: Member, cluster: Cluster) -> InvalidInputError | None:
    """The refusal where an older Sandbox wants the same host at the same gateway."""
    place, age = _place(owner.raw), _age(owner.raw)
    rivals = [item for item in cluster.all(SANDBOXES) if _place(item) == place and _age(item) < age]
    if not rivals:
        return None
    oldest = min(rivals, key=_age)["metadata"]
    host = owner.raw["spec"]["preview"]["host"]
    return InvalidInputError(
        Reason.ROUTE_CONFLICT,
        f"Host {host} is the preview of the older Sandbox {oldest['namespace']}/{oldest['name']}; choose another host",
    )


def _place(raw: Object) -> tuple[str, str, str, str] | None:
    """Where a Sandbox wants its preview: kind, namespace and name of the gateway, and the host."""
    preview = raw["spec"].get("preview")
    if preview is None:
        return None
    gateway = preview["gateway"]
    kind = gateway.get("kind", "Gateway")
    namespace = "" if kind == "Traefik" else gateway.get("namespace") or raw["metadata"]["namespace"]
    return kind, namespace, gateway["name"], preview["host"]


def _age(raw: Object) -> tuple[str, str, str]:
    metadata = raw["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]


def _services(owner: Member, routing: Routing) -> tuple[str, ...]:
    own = owner.sandbox.routing_key
    found = {item.service.name for item in routing.verdicts if item.member is owner and own in item.keys}
    return tuple(sorted(found))


def _services_met(plan: PreviewPlan, verdict: Verdict, progress: Progress | None) -> tuple[str, ...]:
    """Those of now, and those of before until no proxy has the rules of before, or waiting for that must end."""
    before = verdict.member.sandbox.status.preview
    known = None if progress is None else progress.of(verdict)
    if before is None or (known is not None and known.is_over):
        return plan.services
    return tuple(sorted({*plan.services, *before.services}))


def _address(plan: PreviewPlan, row: RouteStatus) -> str:
    """Said only where requests are known to meet the Sandbox, or nobody can ask and all is written."""
    is_met = row.state == "Programmed" or (row.state == "Written" and row.reason == Reason.NOT_VERIFIED)
    return str(plan.entry.place.get(ADDRESS, "")) if is_met and plan.entry is not None else ""


def _ident(member: Member) -> tuple[str, str]:
    return member.sandbox.metadata.namespace, member.sandbox.metadata.name
