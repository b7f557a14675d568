"""The one error hierarchy of the operator.

Facades (`kube`, `kafka`) translate their clients' errors into these; `runtime.reconcile` alone decides what each
means for a work item:

- `TransientError`: try again with back-off, say so in a condition;
- `ConflictError`: somebody else wrote meanwhile, try again at once and silently;
- `InvalidInputError`: only a user can mend it, becomes a condition;
- everything else is a bug: logged with its traceback and backed off.
"""

from __future__ import annotations


class SidestreamError(Exception):
    """Base of all errors raised on purpose by this package."""


class TransientError(SidestreamError):
    """Something outside is away for now; the same call may succeed later.

    `retry_after` is the wait in seconds that the other side asked for, or None for the ordinary back-off.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConflictError(TransientError):
    """The object changed between reading and writing (HTTP 409); never shown to users."""


class InvalidInputError(SidestreamError):
    """A user's object cannot be served as it is written.

    `reason` is a member of `api.conditions.Reason`, the message a plain sentence for the condition.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class KubeError(SidestreamError):
    """The API server refused a call for a reason that trying again does not mend.

    `status` is the HTTP status; `message` the API server's own sentence.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class NotServedError(KubeError):
    """The API server does not serve this kind: its CRD is not installed."""


class ObjectRejectedError(KubeError):
    """The API server found the object invalid (HTTP 400 or 422); the message names the field."""


class KafkaError(SidestreamError):
    """A Kafka call failed for good.

    `code` is the broker's or librdkafka's name of the error, such as GROUP_AUTHORIZATION_FAILED.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class KafkaUnavailableError(TransientError):
    """The Kafka cluster, its coordinator or our worker process is away for now."""


class GroupBusyError(TransientError):
    """The consumer group still has members, so it can be neither placed nor deleted."""
