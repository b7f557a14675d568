"""What Sandboxes' statuses say about a Service's routes, and when to look again: from the plan and the proof.

Pure. `waited` is for how many seconds the latest change has awaited its proof, None when none does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sidestream.api.conditions import Reason
from sidestream.api.sandbox import RouteStatus
from sidestream.routing.plan import Plan, Standing, Verdict
from sidestream.routing.proof import Evidence, Proof

State = Literal["Pending", "Written", "Programmed", "Refused"]

GRACE_SECONDS: Final = 10.0
"""A route once proven stays Programmed for so long while proxies take over rules that keep it."""

GONE_UNSEEN_SECONDS: Final = 5.0
"""Without a prober a route counts as gone so long after its removal: proxies usually follow within one second."""

GONE_ANYWAY_SECONDS: Final = 60.0
"""A route that some proxy still has after this long holds nobody's deletion up any more."""

NOTHING_TO_PROVE: Final = Proof(Evidence.PROVEN)

_OFTEN: Final = 0.5
_SELDOM: Final = 5.0
_RARELY: Final = 30.0


@dataclass(frozen=True)
class Progress:
    """How far the proxies have come with the plan."""

    plan: Plan
    proof: Proof = NOTHING_TO_PROVE
    waited: float | None = None


def must_prove(plan: Plan, waited: float | None) -> bool:
    """Whether the proxies' answer matters to anybody."""
    return plan.claim is not None and (plan.rendered is not None or waited is not None or _is_anybody_leaving(plan))


def has_to_wait(progress: Progress) -> bool:
    """Whether a change is still without proof, so that time counts: also for one that an earlier process made."""
    match progress.proof.evidence:
        case Evidence.PROVEN:
            return False
        case Evidence.NOT_YET:
            return True
        case Evidence.UNKNOWN:
            return progress.waited is not None or _is_anybody_leaving(progress.plan)


def next_entry(progress: Progress, verdict: Verdict) -> RouteStatus | None:
    """The entry in one Sandbox's status, None for none."""
    match verdict.standing:
        case Standing.WAITING:
            return _unwritten(progress.plan, verdict, "Pending")
        case Standing.REFUSED:
            return _unwritten(progress.plan, verdict, "Refused")
        case Standing.ROUTED:
            return _routed(progress, verdict)
        case Standing.LEAVING:
            return None if _is_gone(progress, verdict) else _leaving(verdict)


def first_entry(plan: Plan, verdict: Verdict) -> RouteStatus | None:
    """What to write before a Sandbox's first route, so that its deletion waits for it; None if there is an entry."""
    if verdict.standing is not Standing.ROUTED or verdict.member.entry is not None:
        return None
    return _unwritten(plan, verdict, "Pending")


def look_again(progress: Progress, *, has_prober: bool) -> float | None:
    """In how many seconds to look again without an event, None for not at all."""
    waited = progress.waited or 0.0
    match progress.proof.evidence:
        case Evidence.NOT_YET:
            return _pause(waited)
        case Evidence.UNKNOWN if _is_anybody_leaving(progress.plan) and waited < GONE_UNSEEN_SECONDS:
            return max(GONE_UNSEEN_SECONDS - waited, _OFTEN)
        case Evidence.UNKNOWN if has_prober and progress.plan.rendered is not None:
            return max(_pause(waited), _SELDOM)
        case _:
            # no event tells of a mesh that gets installed, nor of a namespace that gets sidecars
            is_open = progress.plan.is_mesh_missing or progress.plan.source is not None
            return _RARELY if is_open else None


def _pause(waited: float) -> float:
    if waited < GRACE_SECONDS:
        return _OFTEN
    return _SELDOM if waited < GONE_ANYWAY_SECONDS else _RARELY


def _is_anybody_leaving(plan: Plan) -> bool:
    return any(verdict.standing is Standing.LEAVING and _was_written(verdict) for verdict in plan.verdicts)


def _was_written(verdict: Verdict) -> bool:
    entry = verdict.member.entry
    return entry is not None and entry.state in ("Written", "Programmed")


def _is_gone(progress: Progress, verdict: Verdict) -> bool:
    """Whether no proxy has a leaving Sandbox's route any more, or waiting for that must end."""
    if progress.plan.claim is None or (not _was_written(verdict) and progress.waited is None):
        return True
    waited = progress.waited or 0.0
    match progress.proof.evidence:
        case Evidence.PROVEN:
            return True
        case Evidence.UNKNOWN:
            return waited >= GONE_UNSEEN_SECONDS
        case Evidence.NOT_YET:
            return waited >= GONE_ANYWAY_SECONDS


def _routed(progress: Progress, verdict: Verdict) -> RouteStatus:
    plan, proof = progress.plan, progress.proof
    entry = verdict.member.entry
    was_proven = entry is not None and entry.state == "Programmed"
    subject = f"{plan.provider} {_written_name(plan)} is written"
    if proof.evidence is Evidence.PROVEN or (was_proven and (progress.waited or 0.0) < GRACE_SECONDS):
        return _written(plan, verdict, "Programmed", Reason.PROGRAMMED, plan.finding)
    if proof.evidence is Evidence.UNKNOWN:
        message = f"{subject}, but whether the proxies use it is not known: {proof.why}"
        return _written(plan, verdict, "Written", Reason.NOT_VERIFIED, message)
    return _written(plan, verdict, "Written", Reason.PENDING, f"{subject}, and not every proxy uses it yet")


def _written(plan: Plan, verdict: Verdict, state: State, reason: Reason, message: str) -> RouteStatus:
    return RouteStatus(
        service=plan.service,
        provider=plan.provider,
        mode="Owned" if plan.source is None else "Overlay",
        object=_written_name(plan),
        state=state,
        reason=reason,
        message=message,
        observed_generation=verdict.member.sandbox.metadata.generation,
    )


def _written_name(plan: Plan) -> str:
    return "" if plan.rendered is None else str(plan.rendered.obj["metadata"]["name"])


def _unwritten(plan: Plan, verdict: Verdict, state: State) -> RouteStatus:
    return RouteStatus(
        service=plan.service,
        provider="None",
        mode="None",
        state=state,
        reason=verdict.reason,
        message=verdict.message,
        observed_generation=verdict.member.sandbox.metadata.generation,
    )


def _leaving(verdict: Verdict) -> RouteStatus | None:
    """The entry as it was, saying what it waits for."""
    if verdict.member.entry is None:
        return None
    change = {
        "state": "Written",
        "reason": Reason.DELETING,
        "message": "Waiting until no proxy has this route any more",
        "observed_generation": verdict.member.sandbox.metadata.generation,
    }
    return verdict.member.entry.model_copy(update=change)
