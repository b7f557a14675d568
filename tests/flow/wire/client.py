"""Sends many requests from where it runs and says who answered each; reads lists of them, each a line of JSON.

A request is `{"protocol", "address", "port", "host", "method", "path", "headers"}`: it goes to `address` and calls
itself `host`, and `headers` is a list of name and value for every line. `protocol` is `http1`, `http2` (without TLS),
`grpc` (a unary call) or `websocket`.

The output is a line for each line, a list in the same order of `{"status", "headers", "said"}`: `said` is what
`flow.wire.echo` answered, None where somebody else did; then `text` is the beginning of the body. A request without an
answer has `error` instead. In a pod it runs as it is here (see `flow.wire.programs`), so it imports nothing of this
repository.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from typing import Any

import aiohttp
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from multidict import CIMultiDict
from yarl import URL

AT_ONCE = 24
PATIENCE_SECONDS = 20.0
_GRPC_PREFIX = 5
_SHOWN = 300

Request = dict[str, Any]
Answer = dict[str, Any]


async def ask_all(requests: list[Request]) -> list[Answer]:
    """The answers, in the order of the requests."""
    free = asyncio.Semaphore(AT_ONCE)
    # a connection for each request: what a proxy decides must not hang on an earlier decision
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def ask(request: Request) -> Answer:
            async with free:
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        return await _ask(session, request)
                except (OSError, aiohttp.ClientError, TimeoutError, EOFError) as error:
                    return {"error": f"{type(error).__name__}: {error}"}

        return await asyncio.gather(*(ask(request) for request in requests))


async def _ask(session: aiohttp.ClientSession, request: Request) -> Answer:
    match request["protocol"]:
        case "http1":
            return await _http1(session, request)
        case "websocket":
            return await _websocket(session, request)
        case "http2":
            return await _http2(request)
        case "grpc":
            return await _grpc(request)
        case unknown:
            raise ValueError(f"protocol {unknown!r}")


def _url(request: Request) -> URL:
    return URL(f"http://{request['address']}:{request['port']}{request['path']}", encoded=True)


def _lines(request: Request) -> CIMultiDict[str]:
    spelled: dict[str, str] = {}
    lines = [("Host", request["host"]), *request["headers"]]
    # aiohttp would keep only the last of the lines whose name is spelled in two ways
    return CIMultiDict([(spelled.setdefault(name.lower(), name), value) for name, value in lines])


async def _http1(session: aiohttp.ClientSession, request: Request) -> Answer:
    sending = session.request(request["method"], _url(request), headers=_lines(request), allow_redirects=False)
    async with sending as response:
        body = await response.read()
        return _answer(response.status, [(name.lower(), value) for name, value in response.headers.items()], body)


async def _websocket(session: aiohttp.ClientSession, request: Request) -> Answer:
    try:
        async with session.ws_connect(_url(request), headers=_lines(request)) as socket:
            await socket.send_str("who are you?")
            said = await socket.receive_json()
            return {"status": 101, "headers": [], "said": said}
    except aiohttp.WSServerHandshakeError as error:
        headers = [(name.lower(), value) for name, value in (error.headers or {}).items()]
        return {"status": error.status, "headers": headers, "said": None, "text": error.message}


async def _http2(request: Request) -> Answer:
    status, headers, body = await _exchange(request, request["method"], [], b"")
    return _answer(status, headers, body)


async def _grpc(request: Request) -> Answer:
    """A unary call with an empty message; the status is gRPC's own where the call failed, as `grpc-status` has it."""
    said = [("content-type", "application/grpc+json"), ("te", "trailers")]
    status, headers, body = await _exchange(request, "POST", said, struct.pack(">BI", 0, 0))
    return _answer(status, headers, body[_GRPC_PREFIX:])


async def _exchange(
    request: Request, method: str, more: list[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """One request on a connection of its own; the trailers of the answer stand among its headers."""
    reader, writer = await asyncio.open_connection(request["address"], request["port"])
    state = H2Connection(H2Configuration(header_encoding="utf-8", normalize_outbound_headers=False))
    state.initiate_connection()
    stream = state.get_next_available_stream_id()
    pseudo = [(":method", method), (":scheme", "http"), (":authority", request["host"]), (":path", request["path"])]
    own = [(name.lower(), value) for name, value in request["headers"]]
    try:
        state.send_headers(stream, [*pseudo, *more, *own], end_stream=not body)
        if body:
            state.send_data(stream, body, end_stream=True)
        writer.write(state.data_to_send())
        return await _answered(state, reader, writer)
    finally:
        writer.close()


async def _answered(
    state: H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, list[tuple[str, str]], bytes]:
    headers: list[tuple[str, str]] = []
    body = b""
    while data := await reader.read(65536):
        for event in state.receive_data(data):
            match event:
                case ResponseReceived() | TrailersReceived():
                    headers += [(_text(name), _text(value)) for name, value in event.headers or ()]
                case DataReceived():
                    body += event.data or b""
                    state.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                case StreamEnded():
                    status = next(int(value) for name, value in headers if name == ":status")
                    return status, [(name, value) for name, value in headers if name != ":status"], body
                case StreamReset() | ConnectionTerminated():
                    raise EOFError(f"{type(event).__name__} {event.error_code}")
                case _:
                    pass
        writer.write(state.data_to_send())
    raise EOFError("the connection ended before the answer")


def _answer(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    answer: Answer = {"status": status, "headers": headers, "said": None}
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and "who" in said:
        return {**answer, "said": said}
    return {**answer, "text": body.decode(errors="replace")[:_SHOWN]}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(asyncio.run(ask_all(json.loads(line)))), flush=True)  # noqa: T201 - its output is the answer
