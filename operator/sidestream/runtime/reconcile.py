"""The loop from queue to reconciler; the one place that decides what an error means for a work item."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import structlog

from sidestream.errors import ConflictError, InvalidInputError, SidestreamError, TransientError
from sidestream.runtime import metrics
from sidestream.runtime.clock import Clock
from sidestream.runtime.queue import WorkQueue

DEADLINE_SECONDS: Final = 300.0
"""A reconcile that takes longer is stuck: it is cancelled and tried again."""

K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, order=True)
class ObjectKey:
    """Which object a reconciler is to look at; `namespace` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`, or the bare name of a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class Outcome:
    """What a reconcile that went well says.

    `requeue_after`: look again in so many seconds even if nothing wakes the key. `changed`: something was written.
    """

    requeue_after: float | None = None
    changed: bool = False


class Reconciler(Protocol[K_contra]):
    """Brings what is to what should be, for one key; safe to run at any time, any number of times.

    Keys are mostly `ObjectKey`s; their `str` stands in logs.
    """

    @property
    def name(self) -> str:
        """The name in logs and metrics."""
        ...

    async def reconcile(self, key: K_contra) -> Outcome:
        """Read, decide, write. Raises the errors of `sidestream.errors`."""
        ...


async def run_reconciler(queue: WorkQueue[K], reconciler: Reconciler[K], clock: Clock, *, workers: int = 4) -> None:
    """Work off `queue` until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.keep_time())
        for _ in range(workers):
            group.create_task(_work(queue, reconciler, clock))


async def _work(queue: WorkQueue[K], reconciler: Reconciler[K], clock: Clock) -> None:
    while True:
        key = await queue.get()
        try:
            await reconcile_once(queue, reconciler, key, clock)
        finally:
            queue.done(key)


async def reconcile_once(queue: WorkQueue[K], reconciler: Reconciler[K], key: K, clock: Clock) -> Outcome | None:
    """Reconcile one key and queue it again where needed; None when it failed. Lets no error out but cancellation."""
    log = _log.bind(reconciler=reconciler.name, key=str(key))
    started = clock.monotonic()
    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            outcome = await reconciler.reconcile(key)
    except ConflictError:
        ended = "conflict"
        queue.retry(key, at_once=True)
    except TransientError as error:
        ended = "transient"
        wait = queue.retry(key, after=error.retry_after)
        log.warning("will try again", error=str(error), seconds=round(wait, 2))
    except TimeoutError:
        ended = "transient"
        wait = queue.retry(key)
        log.warning("reconcile was stuck, will try again", deadline=DEADLINE_SECONDS, seconds=round(wait, 2))
    except InvalidInputError:
        ended = "bug"
        queue.retry(key)
        log.exception("an error for a condition came out of the reconciler")
    except SidestreamError as error:
        ended = "refused"
        wait = queue.retry(key)
        log.error("refused, will try again", error=str(error), seconds=round(wait, 2))  # noqa: TRY400
    except Exception:
        ended = "bug"
        queue.retry(key)
        log.exception("unexpected error in the reconciler")
    else:
        ended = "changed" if outcome.changed else "unchanged"
        queue.forget(key)
        if outcome.requeue_after is not None:
            queue.add(key, after=outcome.requeue_after)
    metrics.RECONCILES.labels(reconciler.name, ended).inc()
    metrics.RECONCILE_SECONDS.labels(reconciler.name).observe(clock.monotonic() - started)
    return outcome
