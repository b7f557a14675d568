"""Decides what the objects of one entry should be, and how each Sandbox stands. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, TypeVar

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import SERVICES, Object
from sidestream.routing.acceptance import refusal_of
from sidestream.routing.checks import subject as checks
from sidestream.routing.checks.findings import findings_of
from sidestream.routing.checks.subject import Finding
from sidestream.routing.entries import Door, Entry, EntryKey
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.observe import Observed
from sidestream.routing.ownership import is_ours
from sidestream.routing.proof import Claim
from sidestream.routing.providers.provider import Cluster, Ident, Part, Provider, Rendered, ident_of
from sidestream.routing.table import Tenant
from sidestream.routing.tenants import Standing, Verdict, no_way, tenants_of

_NO_DOOR: Final = "no request of ours comes to where the route is"

P = TypeVar("P", bound="Plan")


@dataclass(frozen=True)
class Plan:
    """What is to be for one entry.

    `parts` are the objects to write, `held` those of ours that are there. `doors` are where proxies are asked, none
    with `why_unprovable` as the end of a sentence.
    """

    key: EntryKey
    provider: str = "None"
    entry: Entry | None = None
    parts: Mapping[Ident, Part] = field(default_factory=dict)
    held: Mapping[Ident, Object] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    doors: tuple[Door, ...] = ()
    why_unprovable: str = _NO_DOOR
    finding: str = ""
    findings: Mapping[ServiceHost, tuple[Finding, ...]] = field(default_factory=dict)
    gateways: tuple[EntryKey, ...] = ()

    @cached_property
    def parts_by_key(self) -> Mapping[str, tuple[Part, ...]]:
        """The parts that hold a tenant's rules."""
        found: dict[str, list[Part]] = {}
        for part in self.parts.values():
            for key in part.keys:
                found.setdefault(key, []).append(part)
        return {key: tuple(parts) for key, parts in found.items()}

    @cached_property
    def common_parts(self) -> tuple[Part, ...]:
        """The parts that hold no tenant's rules, but what they need."""
        return tuple(part for part in self.parts.values() if not part.keys)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """What proxies are to confirm of the parts."""
        return tuple(_claim(self, part) for part in self.parts.values())

    @cached_property
    def staying(self) -> frozenset[str]:
        """The names of objects that are there or are to be."""
        return frozenset(name for _, _, name in (*self.parts, *self.held))

    @cached_property
    def refusals(self) -> Mapping[Ident, str]:
        """What controllers have against objects of ours that are there."""
        return {ident: said for ident, obj in self.held.items() if (said := refusal_of(obj)) is not None}

    @property
    def unwanted(self) -> tuple[Ident, ...]:
        """Objects of ours that have to go."""
        return tuple(ident for ident in self.held if ident not in self.parts)


def make_plan(observed: Observed, cluster: Cluster) -> Plan:
    """The plan for one entry."""
    choice, provider = observed.choice, observed.choice.provider
    held = {ident_of(resource, obj): obj for resource, obj in observed.held}
    routing = tenants_of(observed, destinations_of(observed, provider, cluster.domain))
    plan = Plan(
        key=observed.key,
        entry=choice.entry,
        held=held,
        verdicts=routing.verdicts,
        doors=choice.doors,
        gateways=observed.gateways,
        findings={} if choice.unrouted else _findings(observed, cluster),
    )
    if choice.entry is None or provider is None:
        return plan
    plan = replace(plan, provider=provider.name, why_unprovable=choice.entry.why_unprovable or _NO_DOOR)
    try:
        _refuse_what_is_blocked(plan.findings)
        rendered = rendered_parts(provider, choice.entry, routing.tenants, cluster, held)
    except InvalidInputError as error:
        return refused(plan, Reason(error.reason), error.message)
    parts = {part.ident: part for part in rendered.parts}
    plan = replace(plan, parts=parts, finding=choice.entry.finding or rendered.finding)
    return replace(
        plan, verdicts=tuple(_routable(verdict, rendered, provider, choice.entry) for verdict in plan.verdicts)
    )


def refused(plan: P, reason: Reason, message: str, keys: frozenset[str] | None = None) -> P:
    """The plan when something cannot be written: whose route it was (`keys`, None for all) is not as it should be.

    Objects that are there stay as they are where only some tenants are concerned.
    """
    verdicts = [
        replace(verdict, standing=Standing.REFUSED, reason=reason, message=message, keys=frozenset())
        if verdict.standing is Standing.ROUTED and (keys is None or verdict.keys & keys)
        else verdict
        for verdict in plan.verdicts
    ]
    return replace(plan, parts={} if keys is None else plan.parts, verdicts=tuple(verdicts))


def claims_of(plan: Plan, departing: Iterable[str]) -> tuple[Claim, ...]:
    """What the proxies are to confirm: every part that can be asked for, and that what goes is gone.

    `departing` are objects that were deleted and are not known to be gone; those that Sandboxes' rows name and that are
    there no more are such, too, whoever deleted them.
    """
    gone = missing(plan) | (frozenset(departing) - plan.staying)
    return (
        *plan.claims,
        *(Claim(name, None, plan.doors, plan.why_unprovable) for name in sorted(gone)),
    )


def missing(plan: Plan) -> frozenset[str]:
    """The objects that Sandboxes' rows name, that are there no more, and that proxies may still have."""
    named = (
        name
        for verdict in plan.verdicts
        if verdict.standing is not Standing.ROUTED and verdict.was_written
        for name in written_names(verdict)
    )
    return frozenset(named) - plan.staying


def _claim(plan: Plan, part: Part) -> Claim:
    if part.probe is None and part.patches is not None:
        # our rules go out of a user's object
        return Claim(part.name, None, plan.doors, plan.why_unprovable)
    if part.probe is None:
        return Claim(part.name, "", (), f"a {part.resource.kind} cannot answer a probe")
    ports = part.probe.ports
    doors = plan.doors if ports is None else tuple(door for door in plan.doors if door.port in ports)
    return Claim(part.probe.name, part.probe.config_hash, doors, plan.why_unprovable)


def written_names(verdict: Verdict) -> tuple[str, ...]:
    """The names of the objects that a row says are written."""
    return () if verdict.row is None or not verdict.row.object else tuple(verdict.row.object.split(", "))


def parts_for(plan: Plan, verdict: Verdict) -> tuple[Part, ...]:
    """The parts that a routed Sandbox's requests depend on: those with its keys, and those that must come before.

    Of the latter only those of which something can be known: what no proxy knows, such as a permission, the API server
    has, or the step after it is not taken.
    """
    own = own_parts(plan, verdict)
    last = max((part.stage for part in own), default=0)
    return (*own, *(part for part in plan.common_parts if part.stage < last and part.probe is not None))


def own_parts(plan: Plan, verdict: Verdict) -> tuple[Part, ...]:
    """The parts that hold a routed Sandbox's rules, each once, in the plan's order of its keys."""
    if len(verdict.keys) == 1:
        (key,) = verdict.keys
        return plan.parts_by_key.get(key, ())
    found = {part.ident: part for key in sorted(verdict.keys) for part in plan.parts_by_key.get(key, ())}
    return tuple(found.values())


def _findings(observed: Observed, cluster: Cluster) -> dict[ServiceHost, tuple[Finding, ...]]:
    """What is around the Services that have forks here, whether or not anything can carry their routes."""
    provider, entry = observed.choice.provider, observed.choice.entry
    name, source = None if provider is None else provider.name, None if entry is None else entry.source
    forks: dict[ServiceHost, list[checks.Fork]] = {}
    for member in observed.members:
        for fork in member.forks:
            if fork.made is not None:
                forks.setdefault(fork.service, []).append(checks.Fork(fork.host, fork.made, fork.baseline))
    found = {}
    for host, made in forks.items():
        service = cluster.get(SERVICES, host.namespace, host.name)
        if service is not None:
            found[host] = findings_of(checks.Subject(observed.key, name, source, service, tuple(made), cluster))
    return found


def _refuse_what_is_blocked(findings: Mapping[ServiceHost, tuple[Finding, ...]]) -> None:
    for found in findings.values():
        for finding in found:
            if finding.blocks_as is not None:
                raise InvalidInputError(finding.blocks_as, finding.message)


def rendered_parts(
    provider: Provider, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster, held: Mapping[Ident, Object]
) -> Rendered:
    """What the provider makes of an entry; `held` are those of ours that are there.

    Raises:
        InvalidInputError: it cannot be written, such as where somebody else's object has the name.
    """
    rendered = provider.render(entry, tenants, cluster)
    for part in rendered.parts:
        if part.patches is None and part.ident not in held:
            other = cluster.get(*part.ident)
            if other is not None and not is_ours(other):
                raise name_taken(part)
    return rendered


def name_taken(part: Part) -> InvalidInputError:
    """What is wrong where somebody else's object has the name of one that is to be written."""
    resource, namespace, plain = part.ident
    name = f"{resource.kind} {namespace}/{plain}"
    return InvalidInputError(Reason.NAME_TAKEN, f"{name} was not made by Sidestream; rename or delete it")


def _routable(verdict: Verdict, rendered: Rendered, provider: Provider, entry: Entry) -> Verdict:
    if verdict.standing is not Standing.ROUTED or verdict.keys & rendered.keys:
        return verdict
    text = rendered.finding or (no_way(provider.name, entry, verdict.service))
    return replace(verdict, standing=Standing.REFUSED, keys=frozenset(), reason=Reason.ROUTE_CONFLICT, message=text)


def destinations_of(observed: Observed, provider: Provider | None, domain: str) -> frozenset[ServiceHost]:
    """The hosts that our objects send requests to by now; none where every fork is ready, and nobody will ask."""
    if provider is None or all(fork.is_ready for member in observed.members for fork in member.forks):
        return frozenset()
    readable = {*provider.reads, *provider.writes}
    found = [provider.destinations(obj, domain) for resource, obj in observed.held if resource in readable]
    return frozenset[ServiceHost]().union(*found)
