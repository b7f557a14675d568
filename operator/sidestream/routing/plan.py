"""Decides what the routes of one Service should be, and how each Sandbox stands. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.routing.observe import Fork, Member, Observed
from sidestream.routing.ports import ServicePorts, service_ports, why_unroutable
from sidestream.routing.proof import Claim
from sidestream.routing.providers.provider import Provider, Rendered
from sidestream.routing.table import RouteTable, Tenant


class Standing(Enum):
    """How a Sandbox stands to the routes of a Service."""

    ROUTED = auto()
    """Its tenant is in the table."""
    WAITING = auto()
    """Its fork has never been ready, so requests had better stay on the baseline."""
    REFUSED = auto()
    """It cannot be routed as things are."""
    LEAVING = auto()
    """Its entry goes as soon as no proxy has its route."""


@dataclass(frozen=True)
class Verdict:
    """How one Sandbox stands, and the reason and sentence for it where it is not routed."""

    member: Member
    standing: Standing
    reason: Reason = Reason.PENDING
    message: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to be for one Service.

    `rendered` is the object to write, None for none; `held` is our own object as it is now; `claim` is what the proxies
    are to confirm, None where nothing can be asked; `source` is the user's object that ours overlays; `finding` is a
    sentence about what tenant routes do not cover.
    """

    service: str
    provider: str
    rendered: Rendered | None
    held: Object | None
    verdicts: tuple[Verdict, ...]
    claim: Claim | None = None
    source: str | None = None
    finding: str = ""

    @property
    def is_mesh_missing(self) -> bool:
        """Whether the plan is what it is only because the cluster has no such mesh."""
        return any(verdict.reason is Reason.MESH_NOT_FOUND for verdict in self.verdicts)


def make_plan(observed: Observed, provider: Provider) -> Plan:
    """The plan for one Service."""
    leaving = [Verdict(member, Standing.LEAVING) for member in observed.members if not _wants_route(member)]
    wanting = [member for member in observed.members if _wants_route(member)]
    held = observed.held(provider.object_name(observed.host))
    ours = held if held is not None and provider.is_ours(held) else None
    ports = service_ports(observed.service) if observed.service else ServicePorts((), ())
    claim = Claim(observed.host.fqdn, ports.http, None) if observed.objects is not None and ports.http else None
    try:
        _refuse_what_cannot_be_routed(observed, provider, is_name_taken=held is not None and ours is None)
        table, verdicts = _table(observed, provider, ports, wanting, _destinations(provider, ours))
        rendered = _rendered(table, observed, provider)
    except InvalidInputError as error:
        verdicts = [Verdict(member, Standing.REFUSED, Reason(error.reason), error.message) for member in wanting]
        return Plan(observed.host.name, provider.name, None, ours, (*verdicts, *leaving), claim)
    if claim is not None and rendered is not None:
        claim = Claim(claim.host, claim.ports, rendered.config_hash)
    return Plan(
        service=observed.host.name,
        provider=provider.name,
        rendered=rendered,
        held=ours,
        verdicts=(*verdicts, *leaving),
        claim=claim,
        source=table.source,
        finding=_finding(observed, ports),
    )


def refused(plan: Plan, reason: Reason, message: str) -> Plan:
    """The plan when the API server did not take its object: nobody's route is as it should be."""
    verdicts = [
        Verdict(verdict.member, Standing.REFUSED, reason, message) if verdict.standing is Standing.ROUTED else verdict
        for verdict in plan.verdicts
    ]
    return replace(plan, rendered=None, verdicts=tuple(verdicts))


def _wants_route(member: Member) -> bool:
    return member.fork is not None and not member.sandbox.is_deleting


def _refuse_what_cannot_be_routed(observed: Observed, provider: Provider, *, is_name_taken: bool) -> None:
    host = observed.host
    if observed.objects is None:
        raise InvalidInputError(
            Reason.MESH_NOT_FOUND,
            f"The cluster serves no {provider.name} ({provider.resource.api_version}); install Istio's CRDs",
        )
    if observed.service is None:
        raise InvalidInputError(Reason.BASELINE_NOT_FOUND, f"Service {host.namespace}/{host.name} does not exist")
    unroutable = why_unroutable(observed.service)
    if unroutable is not None:
        raise InvalidInputError(Reason.PORT_NOT_HTTP, unroutable)
    if is_name_taken:
        name = f"{host.namespace}/{provider.object_name(host)}"
        raise InvalidInputError(
            Reason.NAME_TAKEN, f"{provider.name} {name} was not made by Sidestream; rename or delete it"
        )


def _table(
    observed: Observed,
    provider: Provider,
    ports: ServicePorts,
    wanting: Sequence[Member],
    destinations: Collection[str],
) -> tuple[RouteTable, list[Verdict]]:
    base = provider.base_rules(observed.objects or (), observed.host, ports.http)
    holders: dict[str, Member] = {}
    tenants, verdicts = [], []
    for member in sorted(wanting, key=_age):
        key, fork = member.sandbox.routing_key, _fork_of(member)
        holder = holders.setdefault(key, member)
        if holder is not member:
            verdicts.append(Verdict(member, Standing.REFUSED, Reason.ROUTE_CONFLICT, _taken(key, holder, observed)))
        elif fork.is_ready or _was_routed(member, destinations):
            tenants.append(Tenant(key, fork.host))
            verdicts.append(Verdict(member, Standing.ROUTED))
        else:
            message = f"Deployment {fork.deployment} has not had a ready pod yet"
            verdicts.append(Verdict(member, Standing.WAITING, Reason.FORK_NOT_READY, message))
    return RouteTable(observed.host, ports.http, base.rules, tuple(sorted(tenants)), base.source), verdicts


def _rendered(table: RouteTable, observed: Observed, provider: Provider) -> Rendered | None:
    if not table.tenants:
        return None
    rendered = provider.render(table, observed.namespaces)
    if rendered is None:
        raise InvalidInputError(
            Reason.ROUTE_CONFLICT,
            f"No rule of {provider.name} {table.source} leads to service {table.service.name}, so no request can reach "
            "a fork of it",
        )
    return rendered


def _destinations(provider: Provider, ours: Object | None) -> frozenset[str]:
    return frozenset() if ours is None else provider.destinations(ours)


def _was_routed(member: Member, destinations: Collection[str]) -> bool:
    """Whether the tenant met its fork before: it then stays routed, for an error beats silently the baseline."""
    stands = member.entry is not None and member.entry.state in ("Written", "Programmed")
    return stands or _fork_of(member).host.fqdn in destinations


def _fork_of(member: Member) -> Fork:
    if member.fork is None:
        raise ValueError(f"Sandbox {member.sandbox.metadata.key} has no fork of this service")
    return member.fork


def _age(member: Member) -> tuple[str, str]:
    return member.sandbox.metadata.creation_timestamp, member.sandbox.metadata.name


def _taken(key: str, holder: Member, observed: Observed) -> str:
    return (
        f"Requests of tenant {key} to service {observed.host.name} already go to the fork of Sandbox "
        f"{holder.sandbox.metadata.name}"
    )


def _finding(observed: Observed, ports: ServicePorts) -> str:
    if not ports.other:
        return ""
    return (
        f"These ports of service {observed.host.name} carry no HTTP and stay on the baseline for everybody: "
        f"{', '.join(ports.other)}"
    )
