"""Keep the consumer's mapping up to date: poll the mapping service from a daemon thread.

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
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from http.client import HTTPException
from typing import Final, Protocol
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from sidestream_sdk.identity import Identity
from sidestream_sdk.ownership import Mapping, lists

logger = logging.getLogger("sidestream_sdk")

UNKNOWN_CONSUMER: Final = "UnknownConsumer"
"""`reason` in the body of the mapping service's own 404; any other 404 comes from somebody else."""

RETRY_SECONDS: Final = 1.0
"""Longest wait before asking again after anything but a mapping."""

_POLLS_PER_INTERVAL: Final = 2  # the operator waits one interval: one failed or slow poll must fit into it
_TIMEOUT_SECONDS: Final = 5.0
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: `body` is empty on 304."""

    status: int
    etag: str = ""
    body: bytes = b""


class Fetch(Protocol):
    """GET a URL, sending If-None-Match unless `etag` is empty; raises OSError or HTTPException when no answer came."""

    def __call__(self, url: str, *, etag: str, timeout: float) -> Answer:
        """The answer, whatever its status."""
        ...


# Past any HTTP_PROXY on purpose. In a mesh without interception that variable is how applications reach the sidecar,
# and elsewhere it is an egress proxy; the mapping must come neither by way of the very routes that it accompanies nor
# depend on a sidecar that starts after the application or stops before it.
_opener: Final = build_opener(ProxyHandler({}))


def http_fetch(url: str, *, etag: str, timeout: float) -> Answer:
    """`Fetch` over the standard library."""
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - Identity lets only http(s) in
    if etag:
        request.add_header("If-None-Match", etag)
    try:
        with _opener.open(request, timeout=timeout) as response:
            return Answer(response.status, response.headers.get("ETag", ""), response.read(_MAX_ANSWER_BYTES))
    except HTTPError as error:
        with error:
            return Answer(error.code, body=error.read(_MAX_ANSWER_BYTES))


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
    commit past, records that the baseline already leaves to the fork.
    """

    def __init__(
        self, identity: Identity, *, fetch: Fetch = http_fetch, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.identity = identity
        self.mapping: Mapping | None = None
        """The mapping in force; replaced as a whole, never changed. None until the first was read."""
        self._fetch = fetch
        self._monotonic = monotonic
        self._etag = ""
        self._confirmed_at: float | None = None
        self._state = _State.LOADING
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin polling; does nothing when it already began."""
        if self._thread is None:
            name = f"sidestream-mapping-{self.identity.consumer}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop polling, without waiting for a request in flight. The last mapping stays."""
        self._stopped.set()
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

    def poll(self) -> float:
        """Ask once and take in the answer; returns the seconds to wait before asking again."""
        try:
            answer = self._fetch(self.identity.url, etag=self._etag, timeout=_TIMEOUT_SECONDS)
            self._take(answer)
        except (OSError, HTTPException) as error:
            self._enter(_State.AWAY, f"the mapping service cannot be reached ({error})")
        except (ValueError, RecursionError) as error:
            self._enter(_State.UNUSABLE, f"the mapping service's answer cannot be used ({error})")
        return self._pause()

    def _run(self) -> None:
        # The jitter keeps consumers that started together from asking together.
        while not self._stopped.wait(self.poll() * random.uniform(0.9, 1.0)):  # noqa: S311 - no secret
            pass

    def _pause(self) -> float:
        if self.mapping is None or self._state is _State.UNKNOWN_CONSUMER:
            return RETRY_SECONDS
        pause = self.mapping.poll_interval / _POLLS_PER_INTERVAL
        return pause if self._state is _State.CURRENT else min(pause, RETRY_SECONDS)

    def _take(self, answer: Answer) -> None:
        match answer.status:
            case HTTPStatus.OK:
                self._take_mapping(Mapping.from_json(json.loads(answer.body)), answer.etag)
            case HTTPStatus.NOT_MODIFIED:
                self._confirm()
            case HTTPStatus.NOT_FOUND if (sentence := _unknown_consumer(answer.body)) is not None:
                self._take_unknown(sentence)
            case status:
                self._enter(_State.REFUSED, f"the mapping service answers HTTP {status}")

    def _take_mapping(self, mapping: Mapping, etag: str) -> None:
        sandbox = self.identity.sandbox
        if sandbox is not None and not lists(mapping, sandbox):
            self._enter(_State.NOT_LISTED, f"the mapping does not list Sandbox {sandbox}")
            return
        self._etag = etag
        self._put(mapping)
        self._confirm()

    def _take_unknown(self, sentence: str) -> None:
        self._etag = ""
        if self.identity.sandbox is None:
            self._put(Mapping(self.identity.consumer))
        self._enter(_State.UNKNOWN_CONSUMER, sentence)

    def _put(self, mapping: Mapping) -> None:
        with self._changed:
            self.mapping = mapping
            self._changed.notify_all()

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


def _unknown_consumer(body: bytes) -> str | None:
    """The sentence of the mapping service's own 404, or None: a proxy's 404 says nothing about consumers."""
    try:
        match json.loads(body):
            case {"reason": reason, "message": str(message)} if reason == UNKNOWN_CONSUMER:
                return message.rstrip(".")
    except (ValueError, RecursionError):
        pass
    return None
