"""Keeps one worker process running for one KafkaCluster, and lends it out for calls with deadlines.

A worker that ends or hangs fails the calls in flight and is replaced after a back-off; nothing is retried here, for
every caller looks at the world afresh anyway.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from sidestream.errors import KafkaError, KafkaUnavailableError
from sidestream.kafka import metrics
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.process import COMMAND, CONCURRENCY, CallFailedError, WorkerLostError, WorkerProcess
from sidestream.kafka.translation import Deed, Endpoint, Failure, is_unanswered, refused_config, translate
from sidestream.runtime.queue import Backoff

_STOPPED: Final = "stopped"
_BACKOFF: Final = Backoff(first=0.1, second=0.5, longest=30.0)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long things may take, in seconds.

    `call`: Kafka's answer. `patience`: the worker's answer, beyond that; then it is taken to hang. `start`: from
    spawning to ready. `ready`: a call's wait for a worker that is not running. `calm`: a worker that lived so long
    starts the back-off anew. `rest`: after an unanswered call, others fail at once instead of waiting in vain.
    """

    call: float = 3.5
    patience: float = 1.5
    start: float = 15.0
    ready: float = 10.0
    calm: float = 30.0
    rest: float = 2.0
    backoff: Backoff = _BACKOFF


class Supervisor:
    """The one user of a KafkaCluster's worker process.

    The configuration is given to the worker and to nobody else.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: ClientConfig,
        *,
        command: Sequence[str] = COMMAND,
        timing: Timing | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._command = command
        self._timing = timing or Timing()
        # calls beyond that wait here, where their deadline does not run yet
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._worker: WorkerProcess | None = None
        self._settled = asyncio.Event()
        self._refused: KafkaError | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._unanswered: tuple[float, Failure] | None = None
        self._last_answer = 0.0

    @property
    def pid(self) -> int | None:
        """The worker's process id while there is one."""
        return self._worker.pid if self._worker is not None else None

    def start(self) -> None:
        """Begin to keep a worker running; calls wait for it."""
        self._keeper = asyncio.create_task(self._keep(), name=f"kafka worker of {self._endpoint.name}")

    async def aclose(self) -> None:
        """End the worker; calls in flight fail."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()
        metrics.WORKER_UP.labels(self._endpoint.name).set(0)
        metrics.WORKER_UP.remove(self._endpoint.name)

    async def call(self, verb: str, args: Mapping[str, Any], deed: Deed) -> Any:
        """Run a verb in the worker.

        Raises:
            KafkaUnavailableError: no answer in time, or the worker was lost.
            GroupBusyError: the group has members.
            KafkaError: Kafka refused for good.
        """
        started = time.monotonic()
        code = "skipped"
        try:
            await self._rest(started)
            async with self._slots:
                code = "cancelled"
                result = await self._ask(verb, args)
        except KafkaError:
            code = "bad_config"
            raise
        except CallFailedError as error:
            code = self._note(error.failure, started) if code != "skipped" else code
            raise translate(error.failure, self._endpoint, deed) from error
        except WorkerLostError as error:
            code = "worker_lost"
            raise KafkaUnavailableError(
                f"The operator's connection to KafkaCluster {self._endpoint.name} broke off: its process ended "
                f"({error.why}) and is being started again"
            ) from error
        else:
            code = "ok"
            self._answered(started)
            return result
        finally:
            metrics.REQUESTS.labels(self._endpoint.name, verb, code).inc()
            metrics.REQUEST_SECONDS.labels(verb).observe(time.monotonic() - started)

    async def _rest(self, now: float) -> None:
        """Fail at once shortly after an unanswered call; the first call after the rest finds out whether it is over."""
        if self._unanswered is None:
            return
        since, failure = self._unanswered
        if now - since < self._timing.rest:
            await asyncio.sleep(0)  # whoever tries again at once must not starve the others
            raise CallFailedError(failure)
        self._unanswered = (now, failure)

    def _note(self, failure: Failure, started: float) -> str:
        """Remember what a failure says about the cluster as a whole; returns its code for the metrics."""
        text = self._config.redact(failure.text)
        log = _log.info if self._unanswered is None else _log.debug  # an outage is told once
        log("kafka call failed", cluster=self._endpoint.name, code=failure.name, cause=failure.cause, text=text)
        if not is_unanswered(failure):
            self._answered(started)
        elif started > self._last_answer:
            self._unanswered = (time.monotonic(), failure)
        return failure.name

    def _answered(self, started: float) -> None:
        self._last_answer = max(self._last_answer, started)
        self._unanswered = None

    async def _ask(self, verb: str, args: Mapping[str, Any]) -> Any:
        worker = await self._ready_worker()
        try:
            return await worker.call(verb, args, seconds=self._timing.call, patience=self._timing.patience)
        except TimeoutError as error:
            worker.kill()
            raise WorkerLostError("silence") from error

    async def _ready_worker(self) -> WorkerProcess:
        if self._worker is not None and self._worker.has_ended:
            # its keeper has yet to notice; nobody who calls again and again may keep it from that
            self._settled.clear()
        try:
            async with asyncio.timeout(self._timing.ready):
                await self._settled.wait()
        except TimeoutError as error:
            raise WorkerLostError("not running") from error
        if self._refused is not None:
            raise self._refused
        if self._worker is None:
            raise WorkerLostError(_STOPPED)
        return self._worker

    async def _keep(self) -> None:
        failures = 0
        while self._refused is None:
            started = time.monotonic()
            why = await self._run_once()
            if self._refused is not None:
                return
            failures = 1 if time.monotonic() - started > self._timing.calm else failures + 1
            wait = self._timing.backoff.delay(failures, random.random())  # noqa: S311 - jitter, no secret
            metrics.WORKER_ENDS.labels(self._endpoint.name, why).inc()
            _log.warning("kafka worker ended", cluster=self._endpoint.name, why=why, restart_in=round(wait, 2))
            await asyncio.sleep(wait)

    async def _run_once(self) -> str:
        """Run one worker to its end; returns why it ended."""
        try:
            worker = await WorkerProcess.start(
                self._config.properties, command=self._command, seconds=self._timing.start
            )
        except CallFailedError as error:
            self._refused = refused_config(self._config.redact(error.failure.text), self._endpoint)
            self._settled.set()
            return ""
        except WorkerLostError as error:
            return error.why
        except OSError as error:
            return f"cannot start: {error.strerror}"
        self._worker = worker
        self._settled.set()
        metrics.WORKER_UP.labels(self._endpoint.name).set(1)
        _log.info("kafka worker started", cluster=self._endpoint.name, pid=worker.pid)
        why = await worker.ended()
        self._settled.clear()
        self._worker = None
        metrics.WORKER_UP.labels(self._endpoint.name).set(0)
        return why
