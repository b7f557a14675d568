"""The prober: a small HTTP service in a pod of the mesh that sends probes through the pod's own proxy.

The proxy is the one that `HTTP_PROXY` names; without it the request goes out directly, and the sidecar's redirection
catches it. A gateway is asked directly. Only Services of the cluster are asked, so that it is no door to anything else.
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
from sidestream.routing.proof import (
    PROBE_HEADER,
    PROBE_METHOD,
    PROBE_PATH,
    ProbeAnswers,
    hash_told,
)

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_ANSWER: Final = 256
"""Bytes; a longer body is not a proxy's answer, and nothing more of it is read."""


@dataclass(frozen=True)
class ProberSettings:
    """How the prober asks: so many connections at once, each given up after so many seconds."""

    cluster_domain: str = DEFAULT_DOMAIN
    attempts: int = 3
    timeout_seconds: float = 2.0


Port = Annotated[int, Query(ge=1, le=65535)]
ObjectName = Annotated[str, Query(pattern=r"^[a-z0-9]([-a-z0-9./]{0,315}[a-z0-9])?$")]
"""Of an object, behind its namespace where names alone might be those of several."""


def create_app(settings: ProberSettings | None = None, *, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """The ASGI application; `transport` takes the place of mesh and gateways in tests."""
    chosen = settings or ProberSettings()
    through_the_mesh = _client(chosen, transport, trust_env=True)
    to_gateways = _client(chosen, transport, trust_env=False)

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        async with through_the_mesh, to_gateways:
            yield

    app = FastAPI(title="Sidestream prober", docs_url=None, redoc_url=None, lifespan=closing)
    service_host = re.compile(rf"{_LABEL}\.{_LABEL}\.svc\.{re.escape(chosen.cluster_domain)}")

    @app.get("/probe")
    async def probe(host: str, port: Port, name: ObjectName, gateway: str = "", *, tls: bool = False) -> ProbeAnswers:
        """The hash in each answer to the probe, null where somebody else than a proxy answered.

        With `gateway` the probe goes straight to that Service and only calls itself `host`.
        """
        what, address = ("gateway", gateway) if gateway else ("host", host)
        if not service_host.fullmatch(address):
            raise HTTPException(422, f"{what} must be <service>.<namespace>.svc.{chosen.cluster_domain}")
        if gateway and not _HOST.fullmatch(host):
            raise HTTPException(422, "host must be a host name")
        client = to_gateways if gateway else through_the_mesh
        request = client.build_request(
            PROBE_METHOD,
            f"{'https' if tls else 'http'}://{address}:{port}{PROBE_PATH}",
            headers={PROBE_HEADER: name, "user-agent": "sidestream-prober", **({"host": host} if gateway else {})},
            # the name by which the gateway chooses its certificate
            extensions={"sni_hostname": host} if tls else {},
        )
        try:
            hashes = await asyncio.gather(*(_ask(client, request) for _ in range(chosen.attempts)))
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


def _client(
    settings: ProberSettings, transport: httpx.AsyncBaseTransport | None, *, trust_env: bool
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=settings.timeout_seconds,
        trust_env=trust_env,
        # whose certificate a gateway has is its users' affair; the probe carries no secret
        verify=False,  # noqa: S501
        # a connection for each probe: a proxy's workers learn of changes one by one, and each has its connections
        limits=httpx.Limits(max_keepalive_connections=0),
        transport=transport,
    )


async def _ask(client: httpx.AsyncClient, request: httpx.Request) -> str | None:
    response = await client.send(request, stream=True)
    try:
        return hash_told(response.headers, await _beginning(response))
    finally:
        await response.aclose()


async def _beginning(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_ANSWER:
            return ""
    return body.decode(errors="replace")
