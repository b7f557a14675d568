"""Which tenants an entry is to route, and how each Sandbox stands to it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import RouteStatus
from sidestream.errors import InvalidInputError
from sidestream.routing.entries import Entry
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.observe import Fork, Member, Observed
from sidestream.routing.table import StandIn, Tenant


class Standing(Enum):
    """How a Sandbox stands to an entry, for one of the Services that it forks."""

    ROUTED = auto()
    """Its tenants are in the rules."""
    WAITING = auto()
    """Its fork has no pod that takes requests, so they had better stay on the baseline."""
    REFUSED = auto()
    """It cannot be routed as things are."""
    UNROUTED = auto()
    """Users want no tenant rules here."""
    LEAVING = auto()
    """Its row goes as soon as no proxy has its route."""


@dataclass(frozen=True)
class Verdict:
    """How one Sandbox stands for one Service; `keys` are those by which it is routed, `row` is what its status says."""

    member: Member
    service: ServiceHost
    standing: Standing
    row: RouteStatus | None = None
    keys: frozenset[str] = frozenset()
    reason: Reason = Reason.PENDING
    message: str = ""

    @property
    def was_written(self) -> bool:
        """Whether proxies may have, or have had, its route: a row that names objects waits for their end."""
        return is_written(self.row) or (self.row is not None and bool(self.row.object))


def is_written(row: RouteStatus | None) -> bool:
    """Whether proxies may have the route that a row speaks of."""
    return row is not None and row.state in ("Written", "Programmed")


@dataclass(frozen=True)
class Routing:
    """The tenants to render, sorted, and the verdicts."""

    tenants: tuple[Tenant, ...]
    verdicts: tuple[Verdict, ...]


def tenants_of(observed: Observed, destinations: Collection[ServiceHost]) -> Routing:
    """Who is to be routed; `destinations` are the hosts that our objects for the entry send requests to by now."""
    holders: dict[tuple[str, ServiceHost], Member] = {}
    stand_ins: dict[str, dict[ServiceHost, ServiceHost]] = {}
    verdicts: list[Verdict] = []
    for member in sorted(observed.members, key=_age):
        wanted = _wanted(member)
        for fork in wanted:
            verdict = _verdict(observed, member, fork, holders, destinations)
            verdicts.append(verdict)
            for key in verdict.keys:
                stand_ins.setdefault(key, {})[fork.service] = fork.host
        verdicts += _leaving(member, wanted)
    tenants = tuple(
        Tenant(key, tuple(StandIn(*pair) for pair in sorted(pairs.items()))) for key, pairs in sorted(stand_ins.items())
    )
    return Routing(tenants, tuple(verdicts))


def _wanted(member: Member) -> tuple[Fork, ...]:
    return () if member.sandbox.is_deleting else tuple(fork for fork in member.forks if fork.keys)


def _verdict(
    observed: Observed,
    member: Member,
    fork: Fork,
    holders: dict[tuple[str, ServiceHost], Member],
    destinations: Collection[ServiceHost],
) -> Verdict:
    row = _row(member, fork.service)
    if observed.choice.unrouted:
        text = observed.choice.unrouted
        return Verdict(member, fork.service, Standing.UNROUTED, row, reason=Reason.NOT_APPLICABLE, message=text)
    problem = _problem(observed, member, fork, holders)
    if problem is not None:
        reason = Reason(problem.reason)
        return Verdict(member, fork.service, Standing.REFUSED, row, reason=reason, message=problem.message)
    has_served = is_written(row) or fork.host in destinations
    if fork.is_ready or (has_served and member.sandbox.spec.on_fork_unavailable == "Error"):
        # an error beats silently the baseline
        keys = frozenset(key for key in fork.keys if holders.setdefault((key, fork.service), member) is member)
        return Verdict(member, fork.service, Standing.ROUTED, row, keys)
    text = f"Deployment {fork.deployment} has " + ("no ready pod" if has_served else "not had a ready pod yet")
    return Verdict(member, fork.service, Standing.WAITING, row, reason=Reason.FORK_NOT_READY, message=text)


def _problem(
    observed: Observed, member: Member, fork: Fork, holders: dict[tuple[str, ServiceHost], Member]
) -> InvalidInputError | None:
    """Why a fork cannot be routed as things are."""
    choice, own = observed.choice, member.sandbox.routing_key
    if choice.refusal is not None:
        return choice.refusal
    if choice.entry is None or choice.provider is None:
        return _conflict(f"{observed.key} leads to service {fork.service.name} no more")
    if fork.service not in choice.entry.reaches:
        return _conflict(no_way(choice.provider.name, choice.entry, fork.service))
    holder = holders.setdefault((own, fork.service), member)
    if holder is not member:
        other = holder.sandbox.metadata.name
        return _conflict(
            f"Requests of tenant {own} to service {fork.service.name} already go to the fork of Sandbox {other}"
        )
    return None


def _conflict(message: str) -> InvalidInputError:
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)


def _leaving(member: Member, wanted: Sequence[Fork]) -> Iterator[Verdict]:
    """Rows about Services of which the Sandbox has, or wants, no fork any more."""
    for row in member.rows:
        if all(fork.service.name != row.service for fork in wanted):
            service = ServiceHost(member.sandbox.metadata.namespace, row.service)
            yield Verdict(member, service, Standing.LEAVING, row)


def _row(member: Member, service: ServiceHost) -> RouteStatus | None:
    return next((row for row in member.rows if row.service == service.name), None)


def _age(member: Member) -> tuple[str, str]:
    return member.sandbox.metadata.creation_timestamp, member.sandbox.metadata.key


def no_way(provider: str, entry: Entry, service: ServiceHost) -> str:
    """The sentence that says that the users' rules never lead to a forked Service."""
    return f"No rule of {provider} {entry.source} leads to service {service.name}, so no request can reach a fork of it"
