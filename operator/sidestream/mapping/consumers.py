"""`GET /v1/consumers/...`: the mapping of one workload, at once or as soon as it changes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import FastAPI, Query, Request
from fastapi import Header as RequestHeader
from fastapi.responses import Response

from sidestream.mapping import replies
from sidestream.mapping.answers import ConsumerAnswer, Problem
from sidestream.mapping.directory import Encoded, Workload
from sidestream.mapping.gate import Gate
from sidestream.mapping.source import Source
from sidestream.mapping.waiting import TooManyWaitersError, WaitingRoom

LONGEST_WAIT_SECONDS: Final = 60.0
RETRY_AFTER_SECONDS: Final = 5
"""What a request is told for which there was no room."""

VERSION_HEADER: Final = "Sidestream-Version"

_CALL: Final = "consumer"
_HEADERS: Final = {
    VERSION_HEADER: {
        "description": "The version up to which this replica has seen every change; at least that of its answer. Of "
        "two answers of one epoch the one with the lower number may be the older one.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "ETag": {
        "description": "The same for the same answer, whatever its `version`.",
        "required": True,
        "schema": {"type": "string"},
    },
}
_RESPONSES: Final[replies.Documented] = {
    200: {"model": ConsumerAnswer, "headers": _HEADERS},
    304: {
        "description": "As If-None-Match says: nothing changed, nor did it within `wait` seconds.",
        "headers": _HEADERS,
    },
    404: {"model": Problem, "description": "No KafkaConsumer names the Deployment."},
    503: {
        "model": Problem,
        "description": f"{replies.NOT_READY} Or too many requests wait: ask without `wait`, or later. Or the API "
        "server cannot be asked who the caller is.",
    },
    **replies.INVALID,
    **replies.REFUSED,
}

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        allow_inf_nan=False,
        description="Where If-None-Match names the current answer: wait so many seconds for another one.",
    ),
]


def add_consumers(app: FastAPI, source: Source, room: WaitingRoom, gate: Gate) -> None:
    """Add the call to the application."""

    @app.get("/v1/consumers/{namespace}/{deployment}", name=_CALL, responses=_RESPONSES, response_class=Response)
    async def consumer(
        request: Request,
        namespace: str,
        deployment: str,
        *,
        authorization: Annotated[str, RequestHeader()] = "",
        if_none_match: Annotated[str, RequestHeader()] = "",
        wait: Wait = 0,
    ) -> Response:
        """The mapping of one baseline Deployment and all its forks."""
        directory = source.directory
        if directory is None:
            return replies.not_ready(_CALL, source.why_not_ready())

        def knows(etag: str) -> bool:
            return _matches(if_none_match, etag)

        workload = Workload(namespace, deployment)
        await gate.admit_consumer(authorization, workload, directory.kafka_consumers(workload))
        encoded = directory.consumer(workload)
        if wait and encoded is not None and knows(encoded.etag):
            try:
                await room.wait(workload, knows=knows, seconds=wait, gone=lambda: _disconnected(request))
            except TooManyWaitersError:
                return _no_room(room.limit)
            encoded = directory.consumer(workload)
        if encoded is None:
            return _unknown(workload)
        return _mapping(encoded, source.version, is_known=knows(encoded.etag))


def _mapping(encoded: Encoded, seen: int, *, is_known: bool) -> Response:
    headers = {"ETag": encoded.etag, "Cache-Control": "no-cache", VERSION_HEADER: str(seen)}
    if is_known:
        return replies.counted(_CALL, Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers))
    return replies.counted(_CALL, Response(encoded.body, media_type=replies.JSON, headers=headers))


def _unknown(workload: Workload) -> Response:
    message = (
        f"No KafkaConsumer in namespace {workload.namespace} names Deployment {workload.deployment}: write one, or "
        "correct SIDESTREAM_CONSUMER to namespace/deployment of the baseline."
    )
    return replies.problem(_CALL, HTTPStatus.NOT_FOUND, Problem(reason="UnknownConsumer", message=message))


def _no_room(limit: int) -> Response:
    message = (
        f"{limit} requests wait here already, the most that this replica takes: ask without `wait`, or give the "
        "mapping service more replicas or a higher SIDESTREAM_MAX_WAITERS."
    )
    body = Problem(reason="TooManyWaiters", message=message)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return replies.problem(_CALL, HTTPStatus.SERVICE_UNAVAILABLE, body, headers)


def _matches(if_none_match: str, etag: str) -> bool:
    """RFC 9110: a list of tags, weak ones compare alike here, `*` is any."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or "*" in tags


async def _disconnected(request: Request) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
