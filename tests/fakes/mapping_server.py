"""A mapping service for tests of consumers: a real HTTP server whose answer a test sets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

EPOCH: Final = "2f1c9a07"
LAG_SECONDS: Final = 0.3


def mapping_json(
    *changes: dict[str, Any],
    consumer: str = "shop/fulfilment",
    topic: str = "orders.created",
    group: str = "fulfilment",
    poll_interval: float = 0.1,
    fenced: list[dict[str, Any]] | None = None,
    version: int = 0,
) -> dict[str, Any]:
    """The mapping of one consumer with one topic; with a version it is of installation `EPOCH`."""
    versioned = {"version": version, "epoch": EPOCH} if version else {}
    return versioned | {
        "consumer": consumer,
        "header": {"mode": "baggage", "baggageKey": "tenant", "baggageKeys": ["tenant"], "name": "x-tenant-id"},
        "pollIntervalSeconds": poll_interval,
        "topics": {topic: {"group": group, "changes": list(changes), "fenced": fenced or []}},
    }


def change_json(sandbox: str = "alice", phase: str = "Active", *, group: str = "") -> dict[str, Any]:
    """One Sandbox's claim on the key of its own name."""
    return {
        "id": f"fulfilment-{sandbox}",
        "sandbox": sandbox,
        "keys": [sandbox],
        "group": group or f"fulfilment.sbx.{sandbox}",
        "phase": phase,
    }


def fenced_json(
    partitions: dict[int, dict[str, Any]],
    phase: str = "Preparing",
    *,
    change: str = "alice-1",
    sandbox: str = "alice",
    group: str = "",
) -> dict[str, Any]:
    """One Sandbox's claim on the key of its own name under Fenced, by the fences of its partitions."""
    return {
        "id": change,
        "sandbox": sandbox,
        "key": sandbox,
        "group": group or f"fulfilment.sbx.{sandbox}",
        "phase": phase,
        "partitions": {str(number): fence for number, fence in partitions.items()},
    }


@dataclass
class MappingServer:
    """What the server answers, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    seen: int | None = None
    """Header Sidestream-Version."""
    waits: bool = True
    """Whether it does for `wait` what the mapping service does; older ones answer at once."""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Path, If-None-Match and answered status of each request."""
    authorizations: list[str] = field(default_factory=list)
    """The Authorization header of each request."""
    waiting: int = 0
    behind: Callable[[], int] = lambda: 0
    """How many answers ago a request is answered as of: a replica that lags behind."""
    _answers: list[tuple[int, bytes, int | None]] = field(default_factory=list)
    _asked: threading.Condition = field(default_factory=threading.Condition)

    def publish(self, mapping: dict[str, Any], *, seen: int | None = None) -> None:
        """Answer with this mapping from now on, as of a replica that has seen so much."""
        self.answer(200, json.dumps(mapping).encode(), seen=mapping.get("version") if seen is None else seen)

    def answer(self, status: int, body: bytes = b"", *, seen: int | None = None) -> None:
        """Answer so from now on."""
        with self._asked:
            self._answers.append((self.status, self.body, self.seen))
            self.status, self.body, self.seen = status, body, seen
            self._asked.notify_all()

    def wait_for_waiting(self, count: int, timeout: float = 10.0) -> None:
        """Wait until so many requests wait for a change."""
        with self._asked:
            assert self._asked.wait_for(lambda: self.waiting == count, timeout), f"{self.waiting} requests wait"

    @property
    def _tag(self) -> str:
        return _tag(self.body)

    def wait_for_requests(self, more: int = 2, timeout: float = 10.0) -> None:
        """Wait until so many more requests were answered: the second one began after this call."""
        with self._asked:
            goal = len(self.requests) + more
            assert self._asked.wait_for(lambda: len(self.requests) >= goal, timeout), "nobody asks for the mapping"

    def respond(self, path: str, etag: str) -> tuple[int, str, bytes, int | None]:
        wait = float(parse_qs(urlsplit(path).query).get("wait", ["0"])[0]) if self.waits else 0.0
        with self._asked:
            known = self.status, self.body
            if wait and etag == self._tag:
                self.waiting += 1
                self._asked.notify_all()
                self._asked.wait_for(lambda: (self.status, self.body) != known, wait)
                self.waiting -= 1
            behind = self.behind()
            if behind and etag == _tag(self._as_of(behind)[1]):
                # it waits for a change as well, and catches up meanwhile
                self._asked.wait_for(lambda: False, min(wait, LAG_SECONDS))
                behind = 0
            status, body, seen = self._as_of(behind)
            tag = _tag(body)
            if status == 200 and etag == tag:
                status, body = 304, b""
            self.requests.append((path, etag, status))
            self._asked.notify_all()
            return status, tag, body, seen

    def _as_of(self, behind: int) -> tuple[int, bytes, int | None]:
        answers = [*self._answers, (self.status, self.body, self.seen)]
        return answers[-1 - min(behind, len(self._answers) - 1)] if behind else answers[-1]


def _tag(body: bytes) -> str:
    return f'"{sha256(body).hexdigest()[:16]}"'


@contextmanager
def mapping_server() -> Iterator[MappingServer]:
    """Serve on a free port of the loopback interface."""
    state = MappingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.authorizations.append(self.headers.get("Authorization", ""))
            status, tag, body, seen = state.respond(self.path, self.headers.get("If-None-Match", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status in {200, 304}:
                self.send_header("ETag", tag)
                if seen is not None:
                    self.send_header("Sidestream-Version", str(seen))
            # a client that is closed breaks off its request
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
