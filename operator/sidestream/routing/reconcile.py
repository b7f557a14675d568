"""The reconciler of an entry's routes: look, plan, write the objects, prove them, tell the Sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

from sidestream.kube.apply import ensure_status
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import SANDBOXES, KubeApi
from sidestream.routing.announce import announce
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.index import RoutingIndex
from sidestream.routing.ledger import Ledger
from sidestream.routing.observe import Member, observe
from sidestream.routing.plan import Plan, claims_of, make_plan, missing
from sidestream.routing.previews import make_preview_plan, status_of
from sidestream.routing.proof import Evidence, Prober, prove
from sidestream.routing.providers.provider import Cluster, Provider
from sidestream.routing.results import Known, Progress, first_row, look_again, next_row
from sidestream.routing.rows import manager_of
from sidestream.routing.steps import LAST_STAGE, next_step
from sidestream.routing.tenants import Verdict
from sidestream.routing.writing import Copy, Writer
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import Outcome

PATIENCE_SECONDS: Final = 2.0
"""How long a reconcile waits for its proof by itself: proxies mostly follow within this."""

POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Sight:
    """What the reconciler sees of the cluster, by which providers, and who keeps the view up with our own writes."""

    cluster: Cluster
    index: RoutingIndex
    copy: Copy
    providers: tuple[Provider, ...]


@dataclass
class _Memory:
    """About one entry; `departing` are deleted objects with their stages."""

    ledger: Ledger = field(default_factory=Ledger)
    departing: dict[str, int] = field(default_factory=dict)


class RoutingReconciler:
    """Keyed by entry. `prober` is None where none runs; then no route is ever called Programmed."""

    name: Final = "routing"

    def __init__(
        self,
        api: KubeApi,
        events: EventRecorder,
        clock: Clock,
        sight: Sight,
        prober: Prober | None,
    ) -> None:
        self._api = api
        self._events = events
        self._clock = clock
        self._sight = sight
        self._prober = prober
        self._writer = Writer(api, sight.copy)
        self._memories: dict[EntryKey, _Memory] = {}

    async def reconcile(self, key: EntryKey) -> Outcome:
        """Bring one entry to what its Sandboxes ask for; raises the errors of the Kubernetes port."""
        observed = observe(key, self._sight.cluster, self._sight.index, self._sight.providers)
        if observed is None:
            self._memories.pop(key, None)
            return Outcome()
        memory = self._memories.setdefault(key, _Memory())
        make = make_preview_plan if key.kind is EntryKind.PREVIEW else make_plan
        plan = make(observed, self._sight.cluster)
        has_told = await self._tell_first(plan)
        plan, has_written, is_complete = await self._bring_about(plan, memory)
        progress = Progress(plan, self._known(plan, memory), is_complete)
        has_told |= await self._tell(progress)
        return Outcome(
            requeue_after=look_again(progress, has_prober=self._prober is not None),
            changed=has_written or has_told,
        )

    async def _bring_about(self, plan: Plan, memory: _Memory) -> tuple[Plan, bool, bool]:
        """Write and prove, stage by stage as far as it goes now; says whether it wrote, and whether all is written."""
        has_written = False
        # of what was deleted before a restart only the rows tell
        memory.departing = dict.fromkeys(missing(plan), LAST_STAGE) | memory.departing
        step = next_step(plan, memory.departing, _is_settled(self._known(plan, memory)))
        while True:
            written = await self._writer.write(plan, step)
            has_written |= written.has_written
            memory.departing |= written.deleted
            held = {ident: obj for ident, obj in written.plan.held.items() if ident not in step.deletes}
            plan = replace(written.plan, held=held)
            await self._prove(plan, memory)
            is_settled = _is_settled(self._known(plan, memory))
            memory.departing = {name: stage for name, stage in memory.departing.items() if not is_settled(name)}
            following = next_step(plan, memory.departing, is_settled)
            if len(following.writes) <= len(step.writes) and not following.deletes:
                return plan, has_written, following.is_last
            step = following

    async def _prove(self, plan: Plan, memory: _Memory) -> None:
        """Ask for what is not proven, and again until it is, nothing can be said, or patience ends."""
        claims = claims_of(plan, memory.departing)
        ledger, deadline = memory.ledger, self._clock.monotonic() + PATIENCE_SECONDS
        ledger.expect(claims, self._clock.monotonic())
        due = ledger.due(claims, self._clock.monotonic())
        while due:
            proofs = await asyncio.gather(*(prove(claim, self._prober) for claim in due))
            now = self._clock.monotonic()
            for claim, proof in zip(due, proofs, strict=True):
                ledger.note(claim, proof, now)
            due = [claim for claim, proof in zip(due, proofs, strict=True) if proof.evidence is Evidence.NOT_YET]
            if not due or now >= deadline:
                return
            await self._clock.sleep(POLL_SECONDS)

    def _known(self, plan: Plan, memory: _Memory) -> dict[str, Known]:
        claims, now = claims_of(plan, memory.departing), self._clock.monotonic()
        memory.ledger.expect(claims, now)
        return {
            claim.name: Known(memory.ledger.proof(claim.name), memory.ledger.waited(claim.name, now))
            for claim in claims
        }

    async def _tell_first(self, plan: Plan) -> bool:
        """Rows for routes that are about to be written for the first time: their Sandboxes' deletion waits for them."""
        has_told = False
        for member, verdicts in _by_member(plan.verdicts):
            if any(first_row(plan, verdict) is not None for verdict in verdicts):
                rows = [first_row(plan, verdict) or verdict.row for verdict in verdicts]
                status = status_of(plan, [row for row in rows if row is not None])
                has_told |= await self._write(plan.key, member, status)
        return has_told

    async def _tell(self, progress: Progress) -> bool:
        """Write the rows of every Sandbox for which they differ; returns whether any did."""
        has_told = False
        for member, verdicts in _by_member(progress.plan.verdicts):
            rows = [(verdict, next_row(progress, verdict)) for verdict in verdicts]
            if all(row is verdict.row or row == verdict.row for verdict, row in rows):
                continue
            status = status_of(progress.plan, [row for _, row in rows if row is not None], progress)
            if await self._write(progress.plan.key, member, status):
                has_told = True
                for verdict, row in rows:
                    await announce(self._events, progress, verdict, row)
        return has_told

    async def _write(self, key: EntryKey, member: Member, status: dict[str, Any]) -> bool:
        manager = manager_of(key, member.sandbox.metadata.namespace)
        return await ensure_status(self._api, SANDBOXES, member.raw, status, manager)


def _by_member(verdicts: Sequence[Verdict]) -> Iterable[tuple[Member, list[Verdict]]]:
    """The verdicts of each Sandbox; they come in the order of Sandboxes."""
    for _, group in groupby(verdicts, key=lambda verdict: id(verdict.member)):
        found = list(group)
        yield found[0].member, found


def _is_settled(known: Mapping[str, Known]) -> Callable[[str], bool]:
    return lambda name: known.get(name, Known()).is_settled
