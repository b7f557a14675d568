"""A server for routing tests that says who it is and what it was asked, by every protocol that routes carry.

    echo.py '[{"port": 8080, "protocol": "http1", "who": "orders"}, ...]'

`http1` is HTTP/1.1 and WebSocket upgrades, `http2` is HTTP/2 without TLS and, by its content type, gRPC. The answer is
JSON: `who`, `port`, `protocol`, `method`, `path` and `headers`, a list of name and value for every line. In a pod it
runs as it is here (see `flow.wire.programs`), so it imports nothing of this repository.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

GRPC = "application/grpc"
LONGEST_HEADER = 65536
"""Bytes; baggage may be longer than the 8190 that servers take by default."""


@dataclass(frozen=True)
class Role:
    """One port and who answers there."""

    port: int
    protocol: str
    who: str

    def answer(self, protocol: str, method: str, path: str, headers: list[tuple[str, str]]) -> bytes:
        """The body of every answer."""
        asked = {"protocol": protocol, "method": method, "path": path, "headers": headers}
        return json.dumps({"who": self.who, "port": self.port, **asked}).encode()


async def serve(roles: list[Role]) -> None:
    """Listen on every port until cancelled."""
    runners = []
    try:
        for role in roles:
            if role.protocol == "http1":
                runners.append(await _serve_http1(role))
            else:
                await asyncio.get_running_loop().create_server(lambda role=role: Http2(role), "", role.port)  # type: ignore[misc]
        await asyncio.Event().wait()
    finally:
        for runner in runners:
            await runner.cleanup()


async def _serve_http1(role: Role) -> web.ServerRunner:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        headers = [(name.decode(), value.decode()) for name, value in request.raw_headers]
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await _socket(request, role.answer("websocket", request.method, request.raw_path, headers))
        body = role.answer("http1", request.method, request.raw_path, headers)
        return web.Response(body=body, content_type="application/json")

    server = web.Server(answer, max_field_size=LONGEST_HEADER, max_line_size=LONGEST_HEADER)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, port=role.port).start()
    return runner


async def _socket(request: web.BaseRequest, body: bytes) -> web.WebSocketResponse:
    """Say on the open socket who answers, once for every message that comes."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(body.decode())
    return socket


@dataclass
class Http2(asyncio.Protocol):
    """One connection of HTTP/2 by prior knowledge."""

    role: Role
    asked: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    transport: asyncio.Transport | None = None

    def __post_init__(self) -> None:
        self._state = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._state.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._state.receive_data(data)
        except ProtocolError:
            events = []
            if self.transport is not None:
                self.transport.close()
        for event in events:
            match event:
                case RequestReceived():
                    self.asked[event.stream_id] = [(_text(name), _text(value)) for name, value in event.headers]
                case DataReceived():
                    self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    self._answer(event.stream_id)
                case StreamReset():
                    self.asked.pop(event.stream_id, None)
                case _:
                    pass
        self._flush()

    def _answer(self, stream: int) -> None:
        lines = self.asked.pop(stream)
        pseudo = {name: value for name, value in lines if name.startswith(":")}
        headers = [("host", pseudo[":authority"]), *((name, value) for name, value in lines if name not in pseudo)]
        is_grpc = dict(headers).get("content-type", "").startswith(GRPC)
        protocol = "grpc" if is_grpc else "http2"
        body = self.role.answer(protocol, pseudo[":method"], pseudo[":path"], headers)
        if is_grpc:
            self._state.send_headers(stream, [(":status", "200"), ("content-type", f"{GRPC}+json")])
            self._send(stream, struct.pack(">BI", 0, len(body)) + body)
            self._state.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        else:
            self._state.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
            self._send(stream, body)
            self._state.end_stream(stream)

    def _send(self, stream: int, body: bytes) -> None:
        size = self._state.max_outbound_frame_size
        for start in range(0, len(body), size):
            self._state.send_data(stream, body[start : start + size])

    def _flush(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._state.data_to_send())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    asyncio.run(serve([Role(**item) for item in json.loads(sys.argv[1])]))
