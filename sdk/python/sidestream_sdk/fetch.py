"""One HTTP request at a time to the mapping service, which another thread can break off."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

_CONNECT_SECONDS: Final = 5.0
_VERSION_HEADER: Final = "Sidestream-Version"
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: `body` is empty on 304; `seen` is its header Sidestream-Version, None without one."""

    status: int
    etag: str = ""
    body: bytes = b""
    seen: int | None = None


class Fetch(Protocol):
    """How the mapping service is asked."""

    def get(self, url: str, *, etag: str, timeout: float) -> Answer:
        """The answer, whatever its status; sends If-None-Match unless `etag` is empty.

        Raises:
            OSError, HTTPException: no answer came, within `timeout` seconds of silence or at all.
        """
        ...

    def break_off(self) -> None:
        """End the request in flight, from whichever thread; does nothing where there is none."""
        ...

    def close(self) -> None:
        """Break off the request in flight, from whichever thread, and let none begin any more."""
        ...


class HttpFetch:
    """`Fetch` over the standard library.

    Past any HTTP_PROXY on purpose. In a mesh without interception that variable is how applications reach the sidecar,
    and elsewhere it is an egress proxy; the mapping must come neither by way of the very routes that it accompanies
    nor depend on a sidecar that starts after the application or stops before it. A connection for each request, so
    that no consumer stays with a replica that others are told to leave. The token of `token_file` is sent along; it is
    read for each request, as the kubelet replaces it long before it expires; so is `ca_file`, whose authorities are
    then the only ones to be believed.
    """

    def __init__(self, token_file: str | None = None, ca_file: str | None = None) -> None:
        self._token_file = token_file
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closed = False

    def get(self, url: str, *, etag: str, timeout: float) -> Answer:
        """See `Fetch`."""
        headers = {"Accept": "application/json", **self._credentials()} | ({"If-None-Match": etag} if etag else {})
        parts = urlsplit(url)
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port, min(timeout, _CONNECT_SECONDS))
        try:
            connection.connect()
            connection.sock.settimeout(timeout)
            self._hold(connection.sock)
            connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
            with connection.getresponse() as response:
                seen = response.getheader(_VERSION_HEADER, "")
                return Answer(
                    response.status,
                    response.getheader("ETag", ""),
                    response.read(_MAX_ANSWER_BYTES),
                    int(seen) if seen.isdecimal() else None,
                )
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def break_off(self) -> None:
        """See `Fetch`."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Fetch`."""
        with self._lock:
            self._closed = True
        self.break_off()

    def _credentials(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {Path(self._token_file).read_text(encoding='ascii').strip()}"}

    def _hold(self, opened: socket.socket) -> None:
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("the client was closed")
            self._socket = opened

    def _connection(self, scheme: str, host: str, port: int | None, timeout: float) -> HTTPConnection:
        if scheme == "https":
            return HTTPSConnection(host, port, timeout=timeout, context=self._tls())
        return HTTPConnection(host, port, timeout=timeout)

    def _tls(self) -> ssl.SSLContext:
        return self._system_tls if self._ca_file is None else ssl.create_default_context(cafile=self._ca_file)

    @cached_property
    def _system_tls(self) -> ssl.SSLContext:
        """Made once: reading the certificates of all authorities takes longer than a request."""
        return ssl.create_default_context()
