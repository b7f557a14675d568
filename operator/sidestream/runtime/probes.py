"""The small HTTP server of a process that has no other: /healthz, /readyz and /metrics.

It starts before the process waits for leadership and outlives it, so that a standby is alive and ready too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sidestream.runtime.metrics import REGISTRY

Check = Callable[[], str | None]
"""None when all is well, else a sentence on what is not; must not block."""


@asynccontextmanager
async def serve_probes(
    port: int, *, live: Mapping[str, Check], ready: Mapping[str, Check], host: str | None = None
) -> AsyncIterator[int]:
    """Serve until the block is left; yields the port, which the system chooses when `port` is 0.

    `host` is every interface unless given. Each check has a name; a probe answers 200 when all of its checks are well,
    else 503 and the sentences.

    Raises:
        OSError: the port is taken.
    """
    application = web.Application()
    application.router.add_get("/healthz", _probe(live))
    application.router.add_get("/readyz", _probe(ready))
    application.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        faults = [f"{name}: {fault}" for name, check in checks.items() if (fault := check()) is not None]
        return web.Response(status=503 if faults else 200, text="\n".join(faults or ["ok"]) + "\n")

    return answer


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
