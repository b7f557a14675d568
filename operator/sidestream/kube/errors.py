"""What an answer or a failure of the API server means in our own errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from sidestream.errors import (
    ConflictError,
    KubeError,
    NotServedError,
    ObjectRejectedError,
    SidestreamError,
    TransientError,
)

_LONGEST_RETRY_AFTER: Final = 120.0

_UNTYPED: Final = "failed to create typed patch object"
"""How the API server (1.36) begins its complaint of an applied object with an unknown field, a wrong type or a double
list key: an HTTP 500, although trying again can never help."""


class ExpiredError(TransientError):
    """The resourceVersion or continue token is too old (HTTP 410): list afresh."""


def error_of_answer(*, attempt: str, status: int, headers: Mapping[str, str], body: bytes) -> SidestreamError:
    """The error that an answer of 400 and above stands for; `attempt` says what was tried, as in `apply Pod shop/a`."""
    answer = _status_object(body)
    text = str(answer.get("message") or body.decode(errors="replace").strip() or status)
    message = f"the API server refused to {attempt}: {text}"
    error: SidestreamError
    match status:
        case HTTPStatus.CONFLICT:
            error = ConflictError(message)
        case HTTPStatus.GONE:
            error = ExpiredError(message)
        case HTTPStatus.NOT_FOUND if not _names_an_object(answer):
            error = NotServedError(f"cannot {attempt}: the cluster does not serve this kind", status=status)
        case HTTPStatus.UNPROCESSABLE_ENTITY if not _tells_causes(answer):
            # so the API server answers a JSON patch whose `test` fails or whose path is not there any more
            error = ConflictError(message)
        case HTTPStatus.INTERNAL_SERVER_ERROR if _UNTYPED in text:
            error = ObjectRejectedError(message, status=status)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            error = ObjectRejectedError(message, status=status)
        case HTTPStatus.UNAUTHORIZED:
            # tokens rotate, and an API server that just started knows nobody yet
            error = TransientError(f"the API server does not accept our credentials to {attempt}")
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.REQUEST_TIMEOUT:
            error = TransientError(message, retry_after=_retry_after(headers))
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            error = TransientError(f"the API server failed to {attempt}: {text}", retry_after=_retry_after(headers))
        case _:
            error = KubeError(message, status=status)
    return error


def error_of_failure(*, attempt: str, error: Exception) -> TransientError:
    """The error for a request without an answer: no connection, broken off, too slow."""
    if isinstance(error, TimeoutError):
        return TransientError(f"the API server did not answer in time to: {attempt}")
    return TransientError(f"no connection to the API server to {attempt}: {str(error) or type(error).__name__}")


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _names_an_object(answer: dict[str, Any]) -> bool:
    """Whether a 404 says which object is missing; where the kind itself is unknown it cannot."""
    return bool((answer.get("details") or {}).get("name"))


def _tells_causes(answer: dict[str, Any]) -> bool:
    return bool((answer.get("details") or {}).get("causes"))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return min(float(headers["Retry-After"]), _LONGEST_RETRY_AFTER)
    except (KeyError, ValueError):
        return None
