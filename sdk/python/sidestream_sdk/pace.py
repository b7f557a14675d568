"""When to ask for the mapping again, and how long the service may wait for a change meanwhile. Pure but for the clock.

Every consumer must have read a change within `pollInterval`, even if its connection dies without a word: a request that
hangs is given up soon enough to ask once more. So the service is asked to wait for half an interval at most. (Where the
interval is under 3 s this yields to a second of patience: a busy service must not be given up again and again.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

LONGEST_WAIT_SECONDS: Final = 25.0
FIRST_PAUSE_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0
"""Longest wait before asking again after anything but a mapping."""

PLAIN_SECONDS: Final = 30.0
"""How long a service that has no room for waiting requests is asked without waiting."""

_POLLS_PER_INTERVAL: Final = 2
_PATIENCE_PER_INTERVAL: Final = 0.4
_PATIENCE_SECONDS: Final = 5.0
_LEAST_PATIENCE_SECONDS: Final = 1.0
_QUICK_SECONDS: Final = 1.0
_WAITED: Final = 0.9  # of the time that it was asked to: clocks differ
_MOST_DOUBLINGS: Final = 10


class Outcome(Enum):
    """How a request went."""

    CHANGED = auto()
    UNCHANGED = auto()
    UNKNOWN = auto()
    NO_ROOM = auto()
    STALE = auto()
    """A replica answered that has seen less than another one before."""
    BROKEN_OFF = auto()
    """By ourselves, to ask in another way."""
    FAILED = auto()


class Pace:
    """One consumer's; `begin` and `pause` take turns."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = 0.0
        self._wait = 0.0
        self._rushed = 0
        self._failed = False
        self._plain_until = -math.inf

    def begin(self, interval: float | None, *, in_haste: bool = False) -> float:
        """A request begins: the seconds to ask the service to wait.

        `interval` is None where no mapping is known; `in_haste` who needs whatever there is by now.
        """
        self._began = self._monotonic()
        # after a failure it is asked whether it is back, before it is left to wait
        if interval is None or in_haste or self._failed or self._began < self._plain_until:
            self._wait = 0.0
        else:
            self._wait = min(LONGEST_WAIT_SECONDS, interval / _POLLS_PER_INTERVAL)
        return self._wait

    def timeout(self, interval: float | None) -> float:
        """Seconds of silence after which the request that began is given up."""
        patience = _PATIENCE_SECONDS if interval is None else interval * _PATIENCE_PER_INTERVAL
        return self._wait + min(max(patience, _LEAST_PATIENCE_SECONDS), _PATIENCE_SECONDS)

    def pause(self, outcome: Outcome, interval: float | None) -> float:
        """The request ended so: the most seconds to pass before the next."""
        now = self._monotonic()
        took = now - self._began
        is_back = self._failed
        self._failed = outcome is Outcome.FAILED
        match outcome:
            case Outcome.UNCHANGED if interval is not None:
                self._rushed = 0
                return FIRST_PAUSE_SECONDS if is_back else self._after_unchanged(took, interval)
            case Outcome.BROKEN_OFF:
                return 0.0
            case Outcome.UNKNOWN:
                return RETRY_SECONDS
            case Outcome.NO_ROOM:
                self._plain_until = now + PLAIN_SECONDS
                return FIRST_PAUSE_SECONDS
            case _:
                return self._back_off(took, interval)

    def _after_unchanged(self, took: float, interval: float) -> float:
        if self._wait > 0 and took >= self._wait * _WAITED:
            return 0.0
        # who did not wait although asked to is an older service, or stops: that was a plain poll
        return max(interval / _POLLS_PER_INTERVAL - took, 0.0)

    def _back_off(self, took: float, interval: float | None) -> float:
        """After changes too: two replicas of which one lags behind would be asked in turn without a rest."""
        if took >= _QUICK_SECONDS:
            self._rushed = 0
        pause: float = FIRST_PAUSE_SECONDS * 2 ** min(self._rushed, _MOST_DOUBLINGS)
        self._rushed += 1
        longest = RETRY_SECONDS if interval is None else min(RETRY_SECONDS, interval / _POLLS_PER_INTERVAL)
        return min(pause, longest)
