"""A stand-in for the mapping service in a process of its own: answers GET /v1/consumers/bench/NAME from a JSON object.

It does for a consumer what the real service does (an ETag, and 304 while nothing changed), and takes no processor time
from the process that is measured but for the client's own requests.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from sidestream_sdk import Identity

_PREFIX = "/v1/consumers/"


@contextmanager
def served(mappings: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Identity]]:
    """Serve each mapping by its consumer's name; yields who asks for it."""
    command = [sys.executable, "-m", "bench.mapping_process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for as pipes")
        json.dump({f"bench/{name}": mapping for name, mapping in mappings.items()}, process.stdin)
        process.stdin.close()
        url = process.stdout.readline().strip()
        try:
            yield {name: Identity(url, f"bench/{name}") for name in mappings}
        finally:
            process.terminate()


class _Handler(BaseHTTPRequestHandler):
    bodies: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.bodies.get(self.path.removeprefix(_PREFIX), b"")
        tag = f'"{sha256(body).hexdigest()[:16]}"'
        status = HTTPStatus.OK if body else HTTPStatus.NOT_FOUND
        if body and self.headers.get("If-None-Match") == tag:
            status, body = HTTPStatus.NOT_MODIFIED, b""
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the benchmark's output clean."""


def main() -> None:
    """Read the mappings from standard input, write the base URL to standard output, serve until terminated."""
    _Handler.bodies = {name: json.dumps(mapping).encode() for name, mapping in json.load(sys.stdin).items()}
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
