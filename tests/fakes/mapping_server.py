"""A mapping service for tests of consumers: a real HTTP server whose answer a test sets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def mapping_json(
    *changes: dict[str, Any],
    consumer: str = "shop/fulfilment",
    topic: str = "orders.created",
    group: str = "fulfilment",
    poll_interval: float = 0.1,
) -> dict[str, Any]:
    """The mapping of one consumer with one topic."""
    return {
        "consumer": consumer,
        "header": {"mode": "baggage", "baggageKey": "tenant", "name": "x-tenant-id"},
        "pollIntervalSeconds": poll_interval,
        "topics": {topic: {"group": group, "changes": list(changes)}},
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


@dataclass
class MappingServer:
    """What the server answers, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    waits: bool = True
    """Whether it does for `wait` what the mapping service does; older ones answer at once."""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Path, If-None-Match and answered status of each request."""
    authorizations: list[str] = field(default_factory=list)
    """The Authorization header of each request."""
    waiting: int = 0
    _asked: threading.Condition = field(default_factory=threading.Condition)

    def publish(self, mapping: dict[str, Any]) -> None:
        """Answer with this mapping from now on."""
        self.answer(200, json.dumps(mapping).encode())

    def answer(self, status: int, body: bytes = b"") -> None:
        """Answer so from now on."""
        with self._asked:
            self.status, self.body = status, body
            self._asked.notify_all()

    def wait_for_waiting(self, count: int, timeout: float = 10.0) -> None:
        """Wait until so many requests wait for a change."""
        with self._asked:
            assert self._asked.wait_for(lambda: self.waiting == count, timeout), f"{self.waiting} requests wait"

    @property
    def _tag(self) -> str:
        return f'"{sha256(self.body).hexdigest()[:16]}"'

    def wait_for_requests(self, more: int = 2, timeout: float = 10.0) -> None:
        """Wait until so many more requests were answered: the second one began after this call."""
        with self._asked:
            goal = len(self.requests) + more
            assert self._asked.wait_for(lambda: len(self.requests) >= goal, timeout), "nobody asks for the mapping"

    def respond(self, path: str, etag: str) -> tuple[int, str, bytes]:
        wait = float(parse_qs(urlsplit(path).query).get("wait", ["0"])[0]) if self.waits else 0.0
        with self._asked:
            known = self.status, self.body
            if wait and etag == self._tag:
                self.waiting += 1
                self._asked.notify_all()
                self._asked.wait_for(lambda: (self.status, self.body) != known, wait)
                self.waiting -= 1
            tag = self._tag
            status, body = (304, b"") if self.status == 200 and etag == tag else (self.status, self.body)
            self.requests.append((path, etag, status))
            self._asked.notify_all()
            return status, tag, body


@contextmanager
def mapping_server() -> Iterator[MappingServer]:
    """Serve on a free port of the loopback interface."""
    state = MappingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.authorizations.append(self.headers.get("Authorization", ""))
            status, tag, body = state.respond(self.path, self.headers.get("If-None-Match", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status in {200, 304}:
                self.send_header("ETag", tag)
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
