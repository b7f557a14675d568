"""Reconciles a KafkaRoute: observe, let the hand-off decide, record, act; again until it has to wait for something."""

from __future__ import annotations

from typing import Final

from sidestream.api.conditions import Condition, Reason, merge_conditions
from sidestream.api.kafka import KafkaRoute, KafkaRouteStatus, Phase
from sidestream.api.labels import FINALIZER, FORCE_CLEANUP, FORCE_CLEANUP_DISCARD
from sidestream.api.times import format_time
from sidestream.config import HeaderSettings
from sidestream.errors import GroupBusyError
from sidestream.kafka import handoff, metrics
from sidestream.kafka.clusters import KafkaClusters
from sidestream.kafka.observe import observe
from sidestream.kafka.observe_fenced import Installation, Moment
from sidestream.kafka.problems import BROKEN_SECONDS, KAFKA_PROBLEMS, KafkaProblem, Patience, problem
from sidestream.kafka.statuses import is_news, write_status
from sidestream.kafka.steps import Delete, Effect, News, Place, Release, Step, ready
from sidestream.kube.apply import ensure_finalizer, remove_finalizer
from sidestream.kube.epoch import read_epoch
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import DEPLOYMENTS, KAFKA_ROUTES, KubeApi, Object
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey, Outcome
from sidestream_sdk.baggage import HeaderRules

_MOST_STEPS: Final = 10
"""Steps at one go; a whole hand-over takes six."""

_BUSY_SECONDS: Final = 0.5

_UNDER_WAY: Final = frozenset(
    {
        Reason.ACTIVE,
        Reason.DELETING,
        Reason.DRAINING,
        Reason.GROUP_BUSY,
        Reason.PENDING,
        Reason.RECONCILING,
        Reason.WAITING_FOR_CONSUMERS,
    }
)
"""Reasons that need no Event: the hand-off tells of its own progress."""


class KafkaRouteReconciler:
    """Makes, keeps and removes the consumer group of one tenant's fork."""

    name = "kafkaroute"

    def __init__(
        self, api: KubeApi, events: EventRecorder, clock: Clock, clusters: KafkaClusters, header: HeaderSettings
    ) -> None:
        self._api = api
        self._header = HeaderRules(header.mode.value, header.baggage_keys, header.name)
        self._installation: Installation | None = None
        self._events = events
        self._clock = clock
        self._clusters = clusters
        self._patience = Patience(clock)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Go as far as possible; see `handoff` and `handback` for the way."""
        changed = False
        for _ in range(_MOST_STEPS):
            live = await self._api.get(KAFKA_ROUTES, key.namespace, key.name)
            if live is None or _is_let_go(live):
                self._patience.over(key)
                return Outcome(changed=changed)
            look_after, wrote = await self._advance(key, live)
            changed = changed or wrote
            if look_after is None or look_after > 0:
                return Outcome(look_after, changed)
        return Outcome(_BUSY_SECONDS, changed)

    async def _advance(self, key: ObjectKey, live: Object) -> tuple[float | None, bool]:
        """One step. Returns the seconds until the next look (None: never) and whether something was written."""
        started = self._clock.monotonic()
        wrote = False
        if "deletionTimestamp" not in live["metadata"]:
            live, wrote = await ensure_finalizer(self._api, KAFKA_ROUTES, live, FINALIZER)
        route = KafkaRoute.from_json(live)
        try:
            step = await self._decide(route)
            if isinstance(step.effect, Release):
                return None, await self._release(live, step)
            wrote |= await self._record(live, route, step.status, step.ready)
            await self._perform(route, step.effect)
        except GroupBusyError:
            # somebody joined since we looked: the next look says so
            return _BUSY_SECONDS, wrote
        except KAFKA_PROBLEMS as error:
            wait = self._patience.wait_for(key, error, started)
            if wait is not None:
                return wait, wrote
            return BROKEN_SECONDS, await self._complain(key, error) or wrote
        self._patience.over(key)
        await self._tell(live, step.news)
        return (0.0 if step.effect is not None else step.look_after), wrote

    async def _decide(self, route: KafkaRoute) -> Step:
        now = self._clock.now()
        if not handoff.needs_kafka(route) or await self._is_nobodys(route):
            return handoff.plan(route, None, now)
        admin = await self._clusters.admin(route.spec.cluster, last_good=route.is_deleting)
        moment = Moment(now, await self._installed())
        return handoff.plan(route, await observe(self._api, admin, route, moment), now)

    async def _is_nobodys(self, route: KafkaRoute) -> bool:
        """Whether only the baseline is waited for, and it is gone: then Kafka need not be asked, nor be there."""
        if not (route.is_deleting and route.status.phase is Phase.RETIRING):
            return False
        return await self._api.get(DEPLOYMENTS, route.metadata.namespace, route.spec.deployment) is None

    async def _installed(self) -> Installation:
        """Read once: the cluster that we are in does not change."""
        if self._installation is None:
            self._installation = Installation(await read_epoch(self._api), self._header)
        return self._installation

    async def _perform(self, route: KafkaRoute, effect: Effect | None) -> None:
        if effect is None or isinstance(effect, Release):
            return
        admin = await self._clusters.admin(route.spec.cluster, last_good=route.is_deleting)
        match effect:
            case Place(group, positions, over):
                await admin.place(group, positions, over=over)
                metrics.GROUPS.labels(route.spec.cluster, "placed").inc()
            case Delete(group):
                await admin.delete_group(group)
                metrics.GROUPS.labels(route.spec.cluster, "deleted").inc()

    async def _release(self, live: Object, step: Step) -> bool:
        _, wrote = await remove_finalizer(self._api, KAFKA_ROUTES, live, FINALIZER)
        await self._tell(live, step.news)
        return wrote

    async def _complain(self, key: ObjectKey, error: KafkaProblem) -> bool:
        """Tell of a problem in the condition, on the object as it is by now; all else stays as it was recorded."""
        live = await self._api.get(KAFKA_ROUTES, key.namespace, key.name)
        if live is None or _is_let_go(live):
            return False
        route = KafkaRoute.from_json(live)
        found = problem(error)
        # only of a fork that worked nobody knows whether it still does
        status = found.status if route.status.phase is Phase.ACTIVE and not route.is_deleting else "False"
        condition = ready(status, found.reason, found.message + _way_out(route))
        return await self._record(live, route, route.status, condition)

    async def _record(self, live: Object, route: KafkaRoute, status: KafkaRouteStatus, condition: Condition) -> bool:
        generation = route.metadata.generation
        conditions = merge_conditions(
            route.status.conditions, [condition], generation=generation, now=format_time(self._clock.now())
        )
        status = status.model_copy(update={"observed_generation": generation, "conditions": conditions})
        wrote = await write_status(self._api, KAFKA_ROUTES, live, status, guarded=True)
        if condition.reason not in _UNDER_WAY and is_news(route.status.conditions, condition):
            await self._events.record(KAFKA_ROUTES, live, "Warning", condition.reason, condition.message)
        return wrote

    async def _tell(self, live: Object, news: tuple[News, ...]) -> None:
        for item in news:
            await self._events.record(KAFKA_ROUTES, live, item.type, item.reason, item.message)


def _is_let_go(live: Object) -> bool:
    """Whether it is being deleted and no longer waits for us."""
    metadata = live["metadata"]
    return "deletionTimestamp" in metadata and FINALIZER not in metadata.get("finalizers", ())


def _way_out(route: KafkaRoute) -> str:
    """What a deletion that is stuck in trouble with Kafka waits for, and how to end that."""
    if not route.is_deleting or route.status.group is None:
        return ""
    if route.status.phase is Phase.RETIRING:
        return (
            f"; this KafkaRoute goes when that is mended, or if it is annotated {FORCE_CLEANUP}={FORCE_CLEANUP_DISCARD}"
        )
    return (
        f"; consumer group {route.status.group.name} is deleted when that is mended, or left behind if the Sandbox is "
        f"annotated {FORCE_CLEANUP}={FORCE_CLEANUP_DISCARD}"
    )
