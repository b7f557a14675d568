from __future__ import annotations

import json

import pytest

from sidestream.errors import ConflictError, KubeError, NotServedError, ObjectRejectedError, TransientError
from sidestream.kube.errors import ExpiredError, error_of_answer, error_of_failure

ATTEMPT = "apply Deployment shop/orders-alice"


def status(message: str, **more: object) -> bytes:
    return json.dumps({"kind": "Status", "message": message, **more}).encode()


@pytest.mark.parametrize(
    ("case", "code", "body", "kind"),
    [
        ("somebody else wrote", 409, status("the object has been modified"), ConflictError),
        ("a failed test of a JSON patch", 422, status("an error in our request", details={}), ConflictError),
        ("an invalid object", 422, status("spec.replicas: Invalid", details={"causes": [{}]}), ObjectRejectedError),
        ("a malformed object", 400, status("unknown field"), ObjectRejectedError),
        ("an old resourceVersion", 410, status("too old resource version"), ExpiredError),
        ("a kind that is not served", 404, b"404 page not found\n", NotServedError),
        ("a kind that is not served, as a Status", 404, status("could not find", details={}), NotServedError),
        ("a missing object", 404, status('pods "a" not found', details={"name": "a"}), KubeError),
        ("a missing right", 403, status("forbidden"), KubeError),
        ("rotated credentials", 401, status("Unauthorized"), TransientError),
        ("throttled", 429, status("too many requests"), TransientError),
        (
            "an applied object of a wrong shape",
            500,
            status(
                "failed to create typed patch object (shop/a; apps/v1, Kind=Deployment): .spec.x: field not declared"
            ),
            ObjectRejectedError,
        ),
        ("an etcd that has no leader", 500, status("etcdserver: no leader"), TransientError),
        ("a proxy's own page", 502, b"<html>bad gateway</html>", TransientError),
        ("away", 503, b"", TransientError),
    ],
)
def test_an_answer_becomes_an_error_of_ours(case: str, code: int, body: bytes, kind: type[Exception]) -> None:
    error = error_of_answer(attempt=ATTEMPT, status=code, headers={}, body=body)
    assert type(error) is kind, case
    assert ATTEMPT in str(error)


def test_the_api_servers_sentence_and_status_are_kept() -> None:
    error = error_of_answer(attempt=ATTEMPT, status=403, headers={}, body=status("no right to patch"))
    assert isinstance(error, KubeError)
    assert error.status == 403
    assert str(error) == f"the API server refused to {ATTEMPT}: no right to patch"


@pytest.mark.parametrize(
    ("header", "wait"),
    [({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "soon"}, None), ({"Retry-After": "9999"}, 120.0)],
)
def test_a_wait_that_was_asked_for_is_kept(header: dict[str, str], wait: float | None) -> None:
    error = error_of_answer(attempt=ATTEMPT, status=429, headers=header, body=b"")
    assert isinstance(error, TransientError)
    assert error.retry_after == wait


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (
            ConnectionRefusedError("refused"),
            "no connection to the API server to apply Deployment shop/orders-alice: refused",
        ),
        (OSError(), "no connection to the API server to apply Deployment shop/orders-alice: OSError"),
        (TimeoutError(), "the API server did not answer in time to: apply Deployment shop/orders-alice"),
    ],
)
def test_no_answer_is_for_trying_again(failure: Exception, sentence: str) -> None:
    error = error_of_failure(attempt=ATTEMPT, error=failure)
    assert str(error) == sentence
    assert error.retry_after is None
