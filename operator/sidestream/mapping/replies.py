"""HTTP answers of the mapping service: encoded by the models, and counted."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from sidestream.api.base import Model
from sidestream.mapping.answers import Problem
from sidestream.mapping.gate import RefusedError
from sidestream.mapping.metrics import REQUESTS

JSON: Final = "application/json"

Documented = dict[int | str, dict[str, Any]]
"""Answers by status, for the OpenAPI document."""

NOT_READY: Final = "The first listing is under way."
UNAVAILABLE: Final[Documented] = {503: {"model": Problem, "description": NOT_READY}}
REFUSED: Final[Documented] = {
    401: {"model": Problem, "description": "Where callers have to say who they are: there is no valid bearer token."},
    403: {"model": Problem, "description": "The caller may not read this."},
}
INVALID: Final[Documented] = {422: {"model": Problem, "description": "The request cannot be understood."}}


def counted(call: str, response: Response) -> Response:
    """The response, counted."""
    REQUESTS.labels(call, str(response.status_code)).inc()
    return response


def answer(call: str, model: Model) -> Response:
    """The call's answer."""
    return counted(call, _json(model, HTTPStatus.OK))


def problem(call: str, status: HTTPStatus, body: Problem, headers: dict[str, str] | None = None) -> Response:
    """Why the call has no answer."""
    return counted(call, _json(body, status, headers))


def refused(request: Request, error: Exception) -> Response:
    """What the gate says to who may not come in."""
    assert isinstance(error, RefusedError)  # noqa: S101 - what it is registered for
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else None
    return problem(request.scope["route"].name, error.status, error.problem, headers)


def not_ready(call: str, fault: str | None) -> Response:
    """Why no call has an answer yet."""
    message = f"The mapping service cannot answer yet: {fault or 'it is about to be ready'}."
    return problem(call, HTTPStatus.SERVICE_UNAVAILABLE, Problem(reason="NotReady", message=message))


def invalid(request: Request, error: Exception) -> Response:
    """Instead of FastAPI's own list of faults: one sentence for each, in the shape of all our problems."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    faults = [_fault(item) for item in error.errors()]
    body = Problem(reason="InvalidRequest", message=" ".join(faults))
    return problem(request.scope["route"].name, HTTPStatus.UNPROCESSABLE_ENTITY, body)


def _fault(item: Any) -> str:
    place, name = item["loc"][0], item["loc"][-1]
    return (
        f"The {place} parameter {name} is {str(item.get('input'))[:64]!r}: {item['msg'][0].lower()}{item['msg'][1:]}."
    )


def _json(model: Model, status: HTTPStatus, headers: dict[str, str] | None = None) -> Response:
    body = model.model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, status_code=status, media_type=JSON, headers=headers)
