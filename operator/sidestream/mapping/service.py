"""The mapping service as a program: one store, one HTTP face that answers from it and not from the API server."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sidestream.config import HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.epoch import read_epoch
from sidestream.kube.reviews import Reviews
from sidestream.mapping import replies
from sidestream.mapping.answers import Header
from sidestream.mapping.certificate import ServerCertificate
from sidestream.mapping.consumers import add_consumers
from sidestream.mapping.gate import AUDIENCE, Gate, OpenGate, RefusedError, TokenGate
from sidestream.mapping.source import Source
from sidestream.mapping.store import MappingStore
from sidestream.mapping.tenants import add_tenants
from sidestream.mapping.waiting import DEFAULT_MAX_WAITERS, WaitingRoom
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.metrics import REGISTRY

_GRACE_SECONDS: Final = 5


@dataclass(frozen=True)
class MappingSettings:
    """What `sidestream mapping` needs to know.

    So many requests may wait for a change at once; with `auth` callers have to show a ServiceAccount's token; with a
    `tls_folder`, which has tls.crt and tls.key, only HTTPS is spoken.
    """

    header: HeaderSettings = field(default_factory=HeaderSettings)
    http_port: int = 8080
    max_waiters: int = DEFAULT_MAX_WAITERS
    auth: bool = False
    tls_folder: Path | None = None


def create_app(source: Source, room: WaitingRoom, gate: Gate | None = None) -> FastAPI:
    """The ASGI application; without a gate it answers everybody."""
    guard = gate or OpenGate()
    app = FastAPI(title="Sidestream mapping service", version="1", docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestValidationError, replies.invalid)
    app.add_exception_handler(RefusedError, replies.refused)
    add_consumers(app, source, room, guard)
    add_tenants(app, source, guard)
    _add_probes(app, source)
    return app


async def serve(settings: MappingSettings) -> None:
    """Watch and answer until the process is told to stop.

    Raises:
        SidestreamError: there is no API server to ask: neither in a pod nor by a kubeconfig.
        OSError: the TLS folder lacks a certificate and its key.
    """
    certificate = None if settings.tls_folder is None else ServerCertificate(settings.tls_folder)
    clock = SystemClock()
    async with connect() as api:
        store = MappingStore(api, clock, header=Header.of(settings.header), epoch=partial(read_epoch, api))
        room = WaitingRoom(clock, store.etag, limit=settings.max_waiters)
        gate = TokenGate(Reviews(api, audience=AUDIENCE), clock) if settings.auth else OpenGate()
        config = server_config(create_app(store, room, gate), settings.http_port, certificate)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.run(room.touch), name="watch")]
            if certificate is not None:
                tasks.append(group.create_task(certificate.keep_fresh(clock), name="certificate"))
            await Server(config, room).serve()
            for task in tasks:
                task.cancel()


def server_config(app: FastAPI, port: int, certificate: ServerCertificate | None = None) -> uvicorn.Config:
    """How the application is served; without a certificate over plain HTTP."""
    return uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104 - a pod's port
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
    )


class Server(uvicorn.Server):
    """The HTTP server; when it stops, it first lets those go that wait for a change."""

    def __init__(self, config: uvicorn.Config, room: WaitingRoom) -> None:
        super().__init__(config)
        self._room = room

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called once when the process was told to stop."""
        self._room.close()
        await super().shutdown(sockets)


def _add_probes(app: FastAPI, source: Source) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthy() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Response:
        fault = source.why_not_ready()
        status = HTTPStatus.OK if fault is None else HTTPStatus.SERVICE_UNAVAILABLE
        return PlainTextResponse(f"{fault or 'ok'}\n", status_code=status)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
