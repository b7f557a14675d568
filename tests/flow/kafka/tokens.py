"""An OIDC token endpoint that knows one client, and whose tokens nobody has signed."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

CLIENT: Final = "oidc"
CLIENT_SECRET: Final = "oidc-secret"
_KNOWN: Final = f"Basic {base64.b64encode(f'{CLIENT}:{CLIENT_SECRET}'.encode()).decode()}"


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] == _KNOWN:
            self._answer(200, {"access_token": unsigned_token(), "token_type": "Bearer", "expires_in": 600})
        else:
            self._answer(401, {"error": "invalid_client"})

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def token_endpoint() -> Iterator[str]:
    """Its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


def unsigned_token() -> str:
    """A token of the client, for ten minutes."""
    now = int(time.time())
    parts = {"alg": "none"}, {"sub": CLIENT, "iat": now, "exp": now + 600}
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), ""])
