"""Reconciles one Sandbox: observe, plan, carry out."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidestream.api.labels import FINALIZER, MANAGER_SANDBOX
from sidestream.errors import KubeError
from sidestream.kube.apply import ensure, ensure_finalizer, ensure_status, remove_finalizer
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import SANDBOXES, KubeApi, Object, Resource
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome
from sidestream.sandbox.news import News
from sidestream.sandbox.observe import observe
from sidestream.sandbox.observed import Observed, Ref
from sidestream.sandbox.ownership import name_of
from sidestream.sandbox.plan import Effect, Plan, SandboxConfig, plan
from sidestream.sandbox.status import status_json


@dataclass
class _Done:
    """What carrying out a plan came to: objects as they are now, refusals, and whether anything was written."""

    written: list[tuple[Resource, Object]] = field(default_factory=list)
    rejections: dict[Ref, str] = field(default_factory=dict)
    changed: bool = False

    @property
    def changes_the_picture(self) -> bool:
        """Whether the status has to be thought over."""
        return bool(self.written or self.rejections)


class SandboxReconciler:
    """Makes forks, hand-offs and conditions of Sandboxes what they should be, and removes them in order."""

    def __init__(self, api: KubeApi, events: EventRecorder, clock: Clock, config: SandboxConfig | None = None) -> None:
        self._api = api
        self._events = events
        self._clock = clock
        self._config = config or SandboxConfig()

    @property
    def name(self) -> str:
        """The name in logs and metrics."""
        return "sandbox"

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Bring one Sandbox a step nearer to what it should be; every error but a refused object comes out."""
        observed = await observe(self._api, key.namespace, key.name)
        if observed is None:
            return Outcome()
        now = self._clock.now()
        todo = plan(observed, now, self._config)
        live, changed = await self._finalize(observed.raw, todo)
        done = await self._carry_out(observed, todo, live)
        if done.changes_the_picture:
            todo = plan(observed.after(done.written, done.rejections), now, self._config)
        if todo.status is not None:
            status = status_json(todo.status)
            changed |= await ensure_status(self._api, SANDBOXES, live, status, MANAGER_SANDBOX)
        if todo.is_expired:
            await self._delete(Effect(SANDBOXES, live))
            changed = True
        await self._tell(live, todo.news)
        return Outcome(requeue_after=todo.requeue_after, changed=changed or done.changed)

    async def _finalize(self, live: Object, todo: Plan) -> tuple[Object, bool]:
        """Bring our finalizer to what the plan says: on before the first effect, off after the last."""
        match todo.finalizer:
            case "add":
                return await ensure_finalizer(self._api, SANDBOXES, live, FINALIZER)
            case "remove":
                return await remove_finalizer(self._api, SANDBOXES, live, FINALIZER)
            case "keep":
                return live, False

    async def _carry_out(self, observed: Observed, todo: Plan, live: Object) -> _Done:
        """Write, then delete. What the API server refuses ends the writing: the rest waits until it is mended."""
        done = _Done()
        for effect in todo.writes:
            held = observed.live(effect.resource, name_of(effect.obj))
            try:
                obj, changed = await ensure(self._api, effect.resource, effect.obj, held, MANAGER_SANDBOX)
            except KubeError as refusal:
                done.rejections[effect.resource, name_of(effect.obj)] = refusal.message
                break
            if changed:
                done.written.append((effect.resource, obj))
                await self._tell(live, (effect.news,))
        for effect in todo.deletes:
            await self._delete(effect)
            await self._tell(live, (effect.news,))
        done.changed = bool(done.written or todo.deletes)
        return done

    async def _delete(self, effect: Effect) -> None:
        metadata = effect.obj["metadata"]
        await self._api.delete(effect.resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    async def _tell(self, sandbox: Object, news: tuple[News | None, ...]) -> None:
        for item in news:
            if item is not None:
                await self._events.record(SANDBOXES, sandbox, item.type, item.reason, item.message)
