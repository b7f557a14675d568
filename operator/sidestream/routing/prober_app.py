"""The prober: a small HTTP service in a pod of the mesh that sends probes through the pod's own proxy.

The proxy is the one that `HTTP_PROXY` names; without it the request goes out directly, and the sidecar's redirection
catches it. It asks only Services of the cluster, so that it is no door to anything else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

import httpx
from fastapi import FastAPI, HTTPException, Query

from sidestream.routing.hosts import DEFAULT_DOMAIN
from sidestream.routing.proof import PROBE_HEADER, PROBE_METHOD, PROBE_PATH, PROBE_VALUE, ProbeAnswers, hash_in

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LONGEST_ANSWER: Final = 256
"""Bytes; a longer body is not a proxy's answer, and nothing more of it is read."""


@dataclass(frozen=True)
class ProberSettings:
    """How the prober asks: so many connections at once, each given up after so many seconds."""

    cluster_domain: str = DEFAULT_DOMAIN
    attempts: int = 3
    timeout_seconds: float = 2.0


def create_app(settings: ProberSettings | None = None, *, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """The ASGI application; `transport` takes the place of the mesh in tests."""
    chosen = settings or ProberSettings()
    client = httpx.AsyncClient(
        timeout=chosen.timeout_seconds,
        # a connection for each probe: a proxy's workers learn of changes one by one, and each has its connections
        limits=httpx.Limits(max_keepalive_connections=0),
        transport=transport,
    )

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(title="Sidestream prober", docs_url=None, redoc_url=None, lifespan=closing)
    service_host = re.compile(rf"{_LABEL}\.{_LABEL}\.svc\.{re.escape(chosen.cluster_domain)}")

    @app.get("/probe")
    async def probe(host: str, port: Annotated[int, Query(ge=1, le=65535)]) -> ProbeAnswers:
        """The hash in each answer to the probe, null where somebody else than a proxy answered."""
        if not service_host.fullmatch(host):
            raise HTTPException(422, f"host must be <service>.<namespace>.svc.{chosen.cluster_domain}")
        url = f"http://{host}:{port}{PROBE_PATH}"
        try:
            hashes = await asyncio.gather(*(_ask(client, url) for _ in range(chosen.attempts)))
        except httpx.TransportError as error:
            # also when it only took too long: who did not answer may have any rules
            raise HTTPException(502, f"the probe got no answer: {type(error).__name__}") from error
        return ProbeAnswers(hashes=list(hashes))

    @app.get("/healthz")
    @app.get("/readyz")
    async def healthy() -> dict[str, str]:
        """Answers as long as the process does."""
        return {"status": "ok"}

    return app


async def _ask(client: httpx.AsyncClient, url: str) -> str | None:
    headers = {PROBE_HEADER: PROBE_VALUE, "user-agent": "sidestream-prober"}
    async with client.stream(PROBE_METHOD, url, headers=headers) as response:
        return hash_in(await _beginning(response))


async def _beginning(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_ANSWER:
            return ""
    return body.decode(errors="replace")
