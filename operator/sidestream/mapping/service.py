"""The mapping service's HTTP face. A request is answered from memory and never reaches the API server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol

import uvicorn
from fastapi import FastAPI, Query
from fastapi import Header as RequestHeader
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sidestream.api.base import Model
from sidestream.config import HeaderSettings
from sidestream.kube.client import connect
from sidestream.mapping.answers import ConsumerAnswer, Header, Problem, TenantAnswer, TenantsAnswer
from sidestream.mapping.directory import Directory, Workload
from sidestream.mapping.metrics import REQUESTS
from sidestream.mapping.store import MappingStore
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.metrics import REGISTRY

DEFAULT_PAGE: Final = 500
LONGEST_PAGE: Final = 1000

_GRACE_SECONDS: Final = 5
_JSON: Final = "application/json"
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": Problem, "description": "The first listing is under way."}
}


class Source(Protocol):
    """Where answers come from."""

    @property
    def directory(self) -> Directory | None:
        """All answers as of now; None while there are none yet."""
        ...

    def why_not_ready(self) -> str | None:
        """A sentence on what is missing; None when all is well."""
        ...


@dataclass(frozen=True)
class MappingSettings:
    """What `sidestream mapping` needs to know."""

    header: HeaderSettings = field(default_factory=HeaderSettings)
    http_port: int = 8080


def create_app(source: Source) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(title="Sidestream mapping service", version="1", docs_url=None, redoc_url=None)
    _add_consumers(app, source)
    _add_tenants(app, source)
    _add_probes(app, source)
    return app


async def serve(settings: MappingSettings) -> None:
    """Watch and answer until the process is told to stop.

    Raises:
        SidestreamError: there is no API server to ask: neither in a pod nor by a kubeconfig.
    """
    async with connect() as api:
        store = MappingStore(api, SystemClock(), header=Header.of(settings.header))
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(store),
                host="0.0.0.0",  # noqa: S104 - a pod's port
                port=settings.http_port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(store.run(), name="watch")
            await server.serve()
            watching.cancel()


def _add_consumers(app: FastAPI, source: Source) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": ConsumerAnswer},
        304: {"description": "As If-None-Match says: nothing changed."},
        404: {"model": Problem, "description": "No KafkaConsumer names the Deployment."},
        **_NOT_READY,
    }

    @app.get("/v1/consumers/{namespace}/{deployment}", responses=responses, response_class=Response)
    async def consumer(
        namespace: str, deployment: str, if_none_match: Annotated[str, RequestHeader()] = ""
    ) -> Response:
        """The mapping of one baseline Deployment and all its forks."""
        directory = source.directory
        if directory is None:
            return _not_ready("consumer", source)
        answer = directory.consumer(Workload(namespace, deployment))
        if answer is None:
            message = (
                f"No KafkaConsumer in namespace {namespace} names Deployment {deployment}: write one, or correct "
                "SIDESTREAM_CONSUMER to namespace/deployment of the baseline."
            )
            return _problem("consumer", HTTPStatus.NOT_FOUND, Problem(reason="UnknownConsumer", message=message))
        headers = {"ETag": answer.etag, "Cache-Control": "no-cache"}
        if _matches(if_none_match, answer.etag):
            return _counted("consumer", Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers))
        return _counted("consumer", Response(answer.body, media_type=_JSON, headers=headers))


def _add_tenants(app: FastAPI, source: Source) -> None:
    @app.get("/v1/tenants", responses={200: {"model": TenantsAnswer}, **_NOT_READY}, response_class=Response)
    async def tenants(after: str = "", limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = DEFAULT_PAGE) -> Response:
        """All tenants, a page at a time."""
        directory = source.directory
        if directory is None:
            return _not_ready("tenants", source)
        return _counted("tenants", _json(directory.tenants(after=after, limit=limit)))

    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": TenantAnswer},
        404: {"model": Problem, "description": "No Sandbox answers to this key."},
        **_NOT_READY,
    }

    @app.get("/v1/tenants/{key}", responses=responses, response_class=Response)
    async def tenant(key: str) -> Response:
        """Which fork serves which workload for one tenant."""
        directory = source.directory
        if directory is None:
            return _not_ready("tenant", source)
        answer = directory.tenant(key)
        if answer is None:
            message = f"No Sandbox answers to routing key {key}: this tenant's requests and records are the baseline's."
            return _problem("tenant", HTTPStatus.NOT_FOUND, Problem(reason="UnknownTenant", message=message))
        return _counted("tenant", _json(answer))


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


def _matches(if_none_match: str, etag: str) -> bool:
    """RFC 9110: a list of tags, weak ones compare alike here, `*` is any."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or "*" in tags


def _not_ready(call: str, source: Source) -> Response:
    message = f"The mapping service has just started: {source.why_not_ready() or 'it is about to be ready'}."
    return _problem(call, HTTPStatus.SERVICE_UNAVAILABLE, Problem(reason="NotReady", message=message))


def _problem(call: str, status: HTTPStatus, problem: Problem) -> Response:
    return _counted(call, _json(problem, status=status))


def _json(model: Model, *, status: HTTPStatus = HTTPStatus.OK) -> Response:
    body = model.model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, status_code=status, media_type=_JSON)


def _counted(call: str, response: Response) -> Response:
    REQUESTS.labels(call, str(response.status_code)).inc()
    return response
