"""What errors of Kafka calls mean for a condition, and how long an outage may last before anybody is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError, KafkaError, KafkaUnavailableError
from sidestream.kafka.translation import reason_of
from sidestream.runtime.clock import Clock
from sidestream.runtime.reconcile import ObjectKey

KafkaProblem = InvalidInputError | KafkaError | KafkaUnavailableError
KAFKA_PROBLEMS: Final = (InvalidInputError, KafkaError, KafkaUnavailableError)
"""Errors that become a condition of the object that is looked at."""

GRACE_SECONDS: Final = 3.0
"""A broker restart or a lost worker is over sooner, and is no news."""

BROKEN_SECONDS: Final = 5.0
"""How soon we look again at something that Kafka refused; a mended KafkaCluster wakes us before."""

_SOON: Final = 0.5


@dataclass(frozen=True)
class Problem:
    """A problem as a condition tells it; `status` is Unknown where we just cannot see."""

    status: Literal["False", "Unknown"]
    reason: Reason
    message: str


def problem(error: KafkaProblem) -> Problem:
    """What to tell about an error."""
    match error:
        case InvalidInputError():
            return Problem("False", Reason(error.reason), error.message)
        case KafkaError():
            return Problem("False", reason_of(error), str(error))
        case KafkaUnavailableError():
            return Problem("Unknown", Reason.CLUSTER_UNREACHABLE, str(error))


class Patience:
    """How long each key has been in trouble, for outages that pass by themselves; forgetting it only delays the news.

    A call that waited its whole deadline in vain has used the patience up with that.
    """

    def __init__(self, clock: Clock, seconds: float = GRACE_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since: dict[ObjectKey, float] = {}

    def wait_for(self, key: ObjectKey, error: KafkaProblem, started: float) -> float | None:
        """Seconds to wait and say nothing yet, or None when it is time to tell; `started` is when the look began."""
        if not isinstance(error, KafkaUnavailableError):
            return None
        since = self._since.setdefault(key, started)
        return None if self._clock.monotonic() - since >= self._seconds else _SOON

    def over(self, key: ObjectKey) -> None:
        """The key is out of trouble, or gone."""
        self._since.pop(key, None)
