"""A request as tests write it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Line = tuple[str, str]

HTTP1, HTTP2, GRPC, WEBSOCKET = "http1", "http2", "grpc", "websocket"


@dataclass(frozen=True)
class Ask:
    """One request; `address` is where it is sent when that is not its own host, such as a gateway's Service."""

    host: str
    path: str = "/"
    method: str = "GET"
    headers: tuple[Line, ...] = ()
    protocol: str = HTTP1
    port: int = 80
    address: str = ""

    def plus(self, *lines: Line) -> Ask:
        """The same with these header lines after its own."""
        return replace(self, headers=(*self.headers, *lines))

    def to_json(self) -> dict[str, Any]:
        """As `flow.wire.client` reads it."""
        return {
            "protocol": self.protocol,
            "address": self.address or self.host,
            "port": self.port,
            "host": self.host,
            "method": self.method,
            "path": self.path,
            "headers": [list(line) for line in self.headers],
        }


@dataclass(frozen=True)
class Told:
    """What a request was answered with.

    `who` is the role of the echo that answered, None when it was somebody else, such as a proxy by itself; `path` and
    `seen` are the path and the headers as the echo got them, `headers` and `text` are the answer's own.
    """

    status: int
    who: str | None
    path: str = ""
    seen: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    error: str = ""
    protocol: str = ""

    @classmethod
    def from_json(cls, answer: dict[str, Any]) -> Told:
        """As `flow.wire.client` writes it."""
        if "error" in answer:
            return cls(0, None, error=answer["error"])
        said = answer["said"] or {}
        seen: dict[str, list[str]] = {}
        for name, value in said.get("headers", ()):
            seen.setdefault(name.lower(), []).append(value)
        return cls(
            status=answer["status"],
            who=said.get("who"),
            path=said.get("path", ""),
            seen=seen,
            headers=dict(answer["headers"]),
            text=answer.get("text", ""),
            protocol=said.get("protocol", ""),
        )
