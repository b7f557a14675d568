"""What Sandboxes' statuses say about an entry, and when to look again: from the plan and what proxies have confirmed.

Pure. `waited` is for how many seconds the latest change has awaited its proof, None when none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypedDict, Unpack

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import MESH_ENTRY, FindingStatus, RouteStatus
from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES
from sidestream.routing.acceptance import is_taken
from sidestream.routing.plan import Plan, own_parts, parts_for, written_names
from sidestream.routing.proof import NOT_ASKED, Evidence, Proof
from sidestream.routing.rows import entry_text
from sidestream.routing.tenants import Standing, Verdict

State = Literal["Pending", "Written", "Programmed", "Refused", "Unrouted"]

GRACE_SECONDS: Final = 10.0
"""A route once proven stays Programmed for so long while proxies take over rules that keep it."""

GONE_UNSEEN_SECONDS: Final = 5.0
"""Where nobody can be asked a change counts as done so long after it was made: proxies usually follow within one."""

GONE_ANYWAY_SECONDS: Final = 60.0
"""A route that some proxy still has after this long holds nobody's deletion up any more."""

SPOKEN_OF: Final = frozenset({HTTP_ROUTES, GRPC_ROUTES})
"""Kinds in whose status controllers say whether they have taken an object."""

PROVEN: Final = Proof(Evidence.PROVEN)

_OFTEN: Final = 0.5
_SELDOM: Final = 5.0
_RARELY: Final = 30.0


@dataclass(frozen=True)
class Known:
    """What is known about one object: the proof, and for how long it has been awaited."""

    proof: Proof = NOT_ASKED
    waited: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether what depends on it may go on: it is proven, or nobody can be asked and time has passed.

        What was proven as it is stays so while nobody can be asked any more; then it does not wait (`waited` is None).
        """
        match self.proof.evidence:
            case Evidence.PROVEN:
                return True
            case Evidence.UNKNOWN:
                return self.waited is None or self.waited >= GONE_UNSEEN_SECONDS
            case Evidence.NOT_YET:
                return False

    @property
    def is_over(self) -> bool:
        """Whether nothing waits any longer for an object that goes."""
        return self.is_settled or (self.waited or 0.0) >= GONE_ANYWAY_SECONDS


@dataclass(frozen=True)
class Progress:
    """How far the proxies have come with the plan: what is known of each object, by name.

    `is_complete`: all that the plan wants is written.
    """

    plan: Plan
    known: Mapping[str, Known] = field(default_factory=dict)
    is_complete: bool = True

    def of(self, verdict: Verdict) -> Known:
        """What is known about one Sandbox's route, or of a leaving one's absence: the worst of its objects."""
        if verdict.standing is Standing.ROUTED:
            parts = parts_for(self.plan, verdict)
            return _worst([self.known.get(part.name, _unasked(self.plan)) for part in parts])
        return _worst([self.known.get(name, Known(PROVEN)) for name in written_names(verdict)])


class _Written(TypedDict, total=False):
    """What a row says of written objects; see `RouteStatus`."""

    provider: str
    mode: str
    object: str
    source: str
    choice: str


_NOTHING_WRITTEN: Final[_Written] = {
    "provider": "None",
    "mode": "None",
    "object": "",
    "source": "",
    "choice": "",
}


def next_row(progress: Progress, verdict: Verdict) -> RouteStatus | None:
    """The row in one Sandbox's status, None for none."""
    match verdict.standing:
        case Standing.WAITING:
            return _unwritten(progress, verdict, "Pending")
        case Standing.REFUSED:
            return _unwritten(progress, verdict, "Refused")
        case Standing.UNROUTED:
            return _unwritten(progress, verdict, "Unrouted")
        case Standing.ROUTED:
            return _routed(progress, verdict)
        case Standing.LEAVING:
            return None if is_gone(progress, verdict) else _leaving(verdict)


def first_row(plan: Plan, verdict: Verdict) -> RouteStatus | None:
    """What to write before a Sandbox's first route, so that its deletion waits for it; None if there is a row."""
    if verdict.standing is not Standing.ROUTED or verdict.row is not None:
        return None
    return _unwritten(Progress(plan), verdict, "Pending")


def look_again(progress: Progress, *, has_prober: bool) -> float | None:
    """In how many seconds to look again without an event, None for not at all."""
    if not progress.plan.verdicts and not progress.plan.held and not progress.known:
        return None
    waits = [_RARELY]
    if not progress.is_complete:
        waits.append(_OFTEN)
    for known in progress.known.values():
        waited = known.waited or 0.0
        match known.proof.evidence:
            case Evidence.NOT_YET:
                waits.append(_pause(waited))
            case Evidence.UNKNOWN if known.waited is not None and waited < GONE_UNSEEN_SECONDS:
                waits.append(max(GONE_UNSEEN_SECONDS - waited, _OFTEN))
            case Evidence.UNKNOWN if has_prober and progress.plan.doors:
                waits.append(max(_pause(waited), _SELDOM))
            case _:
                pass
    return min(waits)


def is_gone(progress: Progress, verdict: Verdict) -> bool:
    """Whether no proxy has a leaving Sandbox's route any more, or waiting for that must end."""
    if not verdict.was_written:
        return True
    return progress.of(verdict).is_over


def _pause(waited: float) -> float:
    if waited < GRACE_SECONDS:
        return _OFTEN
    return _SELDOM if waited < GONE_ANYWAY_SECONDS else _RARELY


def _worst(known: Iterable[Known]) -> Known:
    """One for several objects: not yet before unknown before proven, and the longest wait."""
    known = list(known)
    if len(known) == 1:
        return known[0]
    waits = [item.waited for item in known if item.waited is not None]
    waited = max(waits, default=None)
    for evidence in (Evidence.NOT_YET, Evidence.UNKNOWN):
        found = next((item for item in known if item.proof.evidence is evidence), None)
        if found is not None:
            return Known(found.proof, waited)
    return Known(PROVEN, waited)


def _unasked(plan: Plan) -> Known:
    """About an object without a probe, or one that is not written yet."""
    return Known() if plan.doors else Known(Proof(Evidence.UNKNOWN, plan.why_unprovable))


def _routed(progress: Progress, verdict: Verdict) -> RouteStatus:
    plan, known = progress.plan, progress.of(verdict)
    was_proven = verdict.row is not None and verdict.row.state == "Programmed"
    refusal = _refusal(plan, verdict)
    if refusal is not None:
        return _written(plan, verdict, "Written", Reason.ROUTE_NOT_ACCEPTED, refusal)
    if known.proof.evidence is Evidence.PROVEN or (was_proven and (known.waited or 0.0) < GRACE_SECONDS):
        return _written(plan, verdict, "Programmed", Reason.PROGRAMMED, plan.finding)
    subject = f"{plan.provider} {_names(plan, verdict)} is written"
    if known.proof.evidence is Evidence.UNKNOWN:
        message = f"{subject}, but whether the proxies use it is not known: {known.proof.why}"
        return _written(plan, verdict, "Written", Reason.NOT_VERIFIED, message)
    if (known.waited or 0.0) >= GRACE_SECONDS and _is_left_alone(plan, verdict):
        message = f"{subject}, and no controller has taken it; does any mesh or gateway of the cluster use that kind?"
        return _written(plan, verdict, "Written", Reason.ROUTE_NOT_ACCEPTED, message)
    return _written(plan, verdict, "Written", Reason.PENDING, f"{subject}, and not every proxy uses it yet")


def _refusal(plan: Plan, verdict: Verdict) -> str | None:
    """What a controller has against one of the objects that the route depends on."""
    if not plan.refusals:
        return None
    return next((plan.refusals[part.ident] for part in parts_for(plan, verdict) if part.ident in plan.refusals), None)


def _is_left_alone(plan: Plan, verdict: Verdict) -> bool:
    """Whether controllers would say that they have taken the objects, and none has."""
    objects = [plan.held.get(part.ident) for part in own_parts(plan, verdict) if part.resource in SPOKEN_OF]
    return any(obj is not None and not is_taken(obj) for obj in objects)


def _written(plan: Plan, verdict: Verdict, state: State, reason: Reason, message: str) -> RouteStatus:
    entry = plan.entry
    return _row(
        plan,
        verdict,
        state,
        reason,
        message,
        provider=plan.provider,
        mode="None" if entry is None else str(entry.mode),
        object=_names(plan, verdict),
        source="" if entry is None else entry.source or "",
        choice="" if entry is None else entry.why,
    )


def _findings(plan: Plan, verdict: Verdict) -> tuple[FindingStatus, ...]:
    """What is found about the Service, or about this Sandbox's fork of it."""
    found = plan.findings.get(verdict.service)
    if not found:
        return ()
    forks = {fork.host.name for fork in verdict.member.forks}
    return tuple(
        FindingStatus(reason=finding.reason, message=finding.message)
        for finding in found
        if not finding.fork or finding.fork in forks
    )


def _names(plan: Plan, verdict: Verdict) -> str:
    """The objects that hold the Sandbox's own rules."""
    return ", ".join(part.name for part in own_parts(plan, verdict))


def _unwritten(progress: Progress, verdict: Verdict, state: State) -> RouteStatus:
    return _row(progress.plan, verdict, state, verdict.reason, verdict.message, **_lingering(progress, verdict))


def _lingering(progress: Progress, verdict: Verdict) -> _Written:
    """What was written before and proxies may still have: a deletion that comes now has to wait for it, too."""
    row = verdict.row
    names = [name for name in written_names(verdict) if not _has_left(progress, name)]
    if row is None or not names:
        return {}
    return {"provider": row.provider, "mode": row.mode, "object": ", ".join(names)}


def _has_left(progress: Progress, name: str) -> bool:
    """Whether a tenant's rules are in an object no more: it is gone, or is known as it is to be without them."""
    known = progress.known.get(name)
    return name not in progress.plan.staying if known is None else known.is_over


def _row(
    plan: Plan, verdict: Verdict, state: State, reason: Reason, message: str, **written: Unpack[_Written]
) -> RouteStatus:
    """The row, which is the very object of before where nothing differs: of a thousand nearly all are."""
    entry = entry_text(plan.key, verdict.service)
    fields = {
        **_NOTHING_WRITTEN,
        **written,
        "service": verdict.service.name,
        "entry": entry,
        "state": state,
        "reason": reason,
        "message": message,
        "findings": _findings(plan, verdict),
        "gateways": tuple(map(str, plan.gateways)) if entry == MESH_ENTRY else (),
        "observed_generation": verdict.member.sandbox.metadata.generation,
        "keys": tuple(sorted(verdict.keys)),
    }
    before = verdict.row
    return before if before is not None and vars(before) == fields else RouteStatus.model_validate(fields)


def _leaving(verdict: Verdict) -> RouteStatus | None:
    """The row as it was, saying what it waits for."""
    if verdict.row is None:
        return None
    change = {
        "state": "Written",
        "reason": Reason.DELETING,
        "message": "Waiting until no proxy has this route any more",
        "observed_generation": verdict.member.sandbox.metadata.generation,
    }
    return verdict.row.model_copy(update=change)
