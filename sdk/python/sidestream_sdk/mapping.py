"""Keep the consumer's mapping up to date: a daemon thread asks the mapping service, which answers when it changes.

Nothing in here raises into the application. While the service is away, or answers nonsense, the last mapping stays in
force; each change between those states is logged once.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

from sidestream_sdk.fetch import Answer, Fetch, HttpFetch
from sidestream_sdk.identity import Identity
from sidestream_sdk.ownership import Mapping, lists
from sidestream_sdk.pace import Outcome, Pace

logger = logging.getLogger("sidestream_sdk")

UNKNOWN_CONSUMER: Final = "UnknownConsumer"
"""`reason` in the body of the mapping service's own 404; any other 404 comes from somebody else."""

TOO_MANY_WAITERS: Final = "TooManyWaiters"
"""`reason` in the body of the mapping service's 503 when it would answer, but has no room for a request that waits."""


class _State(Enum):
    """How the last request went."""

    LOADING = auto()
    CURRENT = auto()
    NOT_LISTED = auto()
    UNKNOWN_CONSUMER = auto()
    REFUSED = auto()
    UNUSABLE = auto()
    AWAY = auto()


class MappingClient:
    """The current mapping of one consumer.

    A baseline takes every answer, and takes "unknown consumer" as "nobody forked anything". A fork takes only answers
    that list it: one that does not comes from a replica that has not seen it yet, and believing it would skip, and
    commit past, records that the baseline already leaves to the fork. Neither goes back: an answer of a replica that
    has seen less than the one whose mapping is in force is not taken.
    """

    def __init__(
        self, identity: Identity, *, fetch: Fetch | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.identity = identity
        self.mapping: Mapping | None = None
        """The mapping in force; replaced as a whole, never changed. None until the first was read."""
        self.known: tuple[Mapping, int] | None = None
        """The mapping in force and its `seen`, which belong together."""
        self.stale_answers = 0
        """How many answers were not taken, as their replica lags behind."""
        self._fetch = fetch or HttpFetch(identity.token_file, identity.ca_file)
        self._monotonic = monotonic
        self._pace = Pace(monotonic)
        self._etag = ""
        self._confirmed_at: float | None = None
        self._state = _State.LOADING
        self._wanted: tuple[int, str] = (0, "")
        self._is_waiting = self._is_hasty = False
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin asking; does nothing when it already began."""
        if self._thread is None:
            name = f"sidestream-mapping-{self.identity.consumer}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop asking, and break off a request in flight. The last mapping stays."""
        self._stopped.set()
        self._wake.set()
        self._fetch.close()
        with self._changed:
            self._changed.notify_all()

    def age(self) -> float | None:
        """Seconds since the mapping in force was last confirmed by the service; None before the first."""
        return None if self._confirmed_at is None else self._monotonic() - self._confirmed_at

    def wait_until_loaded(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds (None: as long as it takes) for the first mapping; whether there is one."""
        return self.wait_for(lambda _: True, timeout) is not None

    def wait_for(self, accepts: Callable[[Mapping], bool], timeout: float | None = None) -> Mapping | None:
        """Wait until a mapping is in force that `accepts` likes, and return it; None after `timeout` or `close`."""

        def done() -> bool:
            return self._stopped.is_set() or (self.mapping is not None and accepts(self.mapping))

        with self._changed:
            self._changed.wait_for(done, timeout)
            mapping = self.mapping
        return mapping if mapping is not None and accepts(mapping) else None

    @property
    def seen(self) -> int:
        """The version up to which the service has seen everything that the mapping in force says; 0: not told."""
        return self.known[1] if self.known is not None else 0

    def catch_up(self, version: int, epoch: str) -> None:
        """Ask without waiting for a change, again and again, until the mapping is of this version.

        To be called until it is: a request that waits, or began to meanwhile, is broken off.
        """
        if self._is_hasty or self._has_seen(version, epoch):
            return
        known_version, known_epoch = self._wanted
        self._wanted = (max(version, known_version) if epoch == known_epoch else version), epoch
        self._wake.set()
        if self._is_waiting:
            self._fetch.break_off()

    def poll(self) -> float:
        """Ask once, take in the answer; returns the most seconds to wait before asking again."""
        self._is_hasty = not self._has_seen(*self._wanted)
        wait = self._pace.begin(self._interval if self._etag else None, in_haste=self._is_hasty)
        url = f"{self.identity.url}?wait={wait:g}" if wait else self.identity.url
        etag = "" if self._is_hasty else self._etag
        self._is_waiting = wait > 0
        try:
            answer = self._fetch.get(url, etag=etag, timeout=self._pace.timeout(self._interval))
            outcome = self._take(answer)
        except (OSError, HTTPException) as error:
            if self._is_waiting and not self._has_seen(*self._wanted):
                outcome = Outcome.BROKEN_OFF
            else:
                outcome = self._fail(_State.AWAY, f"the mapping service cannot be reached ({error})")
        except (ValueError, RecursionError) as error:
            outcome = self._fail(_State.UNUSABLE, f"the mapping service's answer cannot be used ({error})")
        self._is_waiting = False
        self._is_hasty = self._is_hasty and not self._has_seen(*self._wanted)
        return self._pace.pause(outcome, self._interval)

    @property
    def _interval(self) -> float | None:
        return None if self.mapping is None else self.mapping.poll_interval

    def _run(self) -> None:
        # The jitter keeps consumers that were answered together from asking together.
        while not self._stopped.is_set():
            self._wake.wait(self.poll() * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            self._wake.clear()

    def _take(self, answer: Answer) -> Outcome:
        match answer.status:
            case HTTPStatus.OK:
                return self._take_mapping(Mapping.from_json(json.loads(answer.body)), answer)
            case HTTPStatus.NOT_MODIFIED:
                if self.mapping is not None:
                    self.known = self.mapping, max(self.seen, answer.seen or 0)
                self._confirm()
                return Outcome.UNCHANGED
            case HTTPStatus.NOT_FOUND if (sentence := _problem(answer.body, UNKNOWN_CONSUMER)) is not None:
                return self._take_unknown(sentence)
            case HTTPStatus.SERVICE_UNAVAILABLE if _problem(answer.body, TOO_MANY_WAITERS) is not None:
                return Outcome.NO_ROOM
            case status:
                sentence = _problem(answer.body)
                what = f"the mapping service answers HTTP {status}" + (f" ({sentence})" if sentence else "")
                return self._fail(_State.REFUSED, what)

    def _fail(self, state: _State, what: str) -> Outcome:
        if not self._stopped.is_set():
            self._enter(state, what)
        return Outcome.FAILED

    def _take_mapping(self, mapping: Mapping, answer: Answer) -> Outcome:
        sandbox = self.identity.sandbox
        if sandbox is not None and not lists(mapping, sandbox):
            return self._fail(_State.NOT_LISTED, f"the mapping does not list Sandbox {sandbox}")
        seen = max(answer.seen or 0, mapping.version)
        if self.mapping is not None and mapping.epoch == self.mapping.epoch and seen < self.seen:
            self.stale_answers += 1
            return Outcome.STALE
        self._etag = answer.etag
        self._put(mapping, seen)
        self._confirm()
        return Outcome.CHANGED

    def _take_unknown(self, sentence: str) -> Outcome:
        self._etag = ""
        if self.identity.sandbox is None:
            self._put(Mapping(self.identity.consumer), 0)
        self._enter(_State.UNKNOWN_CONSUMER, sentence)
        return Outcome.UNKNOWN

    def _put(self, mapping: Mapping, seen: int) -> None:
        with self._changed:
            self.known = mapping, seen
            self.mapping = mapping
            self._changed.notify_all()

    def _has_seen(self, version: int, epoch: str) -> bool:
        return self.known is None or is_current(*self.known, version=version, epoch=epoch)

    def _confirm(self) -> None:
        self._confirmed_at = self._monotonic()
        self._enter(_State.CURRENT, "the mapping is up to date")

    def _enter(self, state: _State, what: str) -> None:
        if state is self._state:
            return
        self._state = state
        if self.mapping is None:
            consequence = "no record is taken before the first mapping"
        elif state is _State.CURRENT:
            consequence = "records are taken by it"
        elif state is _State.UNKNOWN_CONSUMER and self.identity.sandbox is None:
            consequence = "every record is taken"
        else:
            consequence = "records are taken by the last mapping"
        level = logging.INFO if state in {_State.CURRENT, _State.NOT_LISTED} else logging.WARNING
        logger.log(level, "Consumer %s: %s; %s.", self.identity.consumer, what, consequence)


def is_current(mapping: Mapping, seen: int, *, version: int, epoch: str) -> bool:
    """Whether the mapping says all that was known to whoever noted this version.

    A version of another installation, or a mapping of a service that tells none, cannot be compared: it counts.
    """
    return epoch != mapping.epoch or version <= max(seen, mapping.version)


def _problem(body: bytes, reason: str | None = None) -> str | None:
    """The sentence of the mapping service's own problem (for this reason); None for whatever a proxy answers."""
    try:
        match json.loads(body):
            case {"reason": str(given), "message": str(message)} if reason in {None, given}:
                return message.rstrip(".")
    except (ValueError, RecursionError):
        pass
    return None
