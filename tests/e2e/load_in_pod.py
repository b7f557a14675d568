"""Sends requests without pause from where it runs, and says who answered each; in a pod it runs as it is here.

Its streams are its argument, a JSON list of `{"way", "host", "port", "headers"}`, and it ends when its input does.
`way` is `kept` (HTTP/1.1 on one connection), `new` (each on its own) or `h2` (streams of one HTTP/2 connection without
TLS). At its end it prints a list of `[stream, begin, end, who]`: the stream's place in the argument, wall clock
seconds, and who answered as `flow.wire.echo` says, or in brackets what came instead.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 20.0
OK = 200

Stream = dict[str, Any]


class Kept:
    """HTTP/1.1 on a connection that is used again, as long as the other side keeps it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        lines = [
            f"GET / HTTP/1.1\r\nhost: {stream['host']}",
            *(f"{name}: {value}" for name, value in stream["headers"]),
        ]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> str:
        """Who answers."""
        if self._line is None:
            self._line = await asyncio.open_connection(self._stream["host"], self._stream["port"])
        reader, writer = self._line
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return who(int(first.split()[1]), body)

    def close(self) -> None:
        """Give the connection up."""
        if self._line is not None:
            self._line[1].close()
            self._line = None


class New(Kept):
    """HTTP/1.1, each request on a connection of its own."""

    async def ask(self) -> str:
        """Who answers."""
        try:
            return await super().ask()
        finally:
            self.close()


class Multiplexed:
    """HTTP/2 without TLS, one stream after the other on a connection that is kept."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        pseudo = {":method": "GET", ":scheme": "http", ":authority": stream["host"], ":path": "/"}
        self._headers = [*pseudo.items(), *((name, value) for name, value in stream["headers"])]
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._state = H2Connection()

    async def ask(self) -> str:
        """Who answers."""
        if self._line is None:
            self._line = await asyncio.open_connection(self._stream["host"], self._stream["port"])
            self._state = H2Connection(H2Configuration(header_encoding="utf-8"))
            self._state.initiate_connection()
        reader, writer = self._line
        stream = self._state.get_next_available_stream_id()
        self._state.send_headers(stream, self._headers, end_stream=True)
        writer.write(self._state.data_to_send())
        status, body, is_last = 0, b"", False
        while data := await reader.read(65536):
            for event in self._state.receive_data(data):
                match event:
                    case ResponseReceived():
                        status = next(int(value) for name, value in event.headers or () if str(name) == ":status")
                    case DataReceived():
                        body += event.data or b""
                        self._state.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                    case StreamEnded():
                        is_last = True
                    case StreamReset():
                        raise EOFError(f"reset {event.error_code}")
                    case ConnectionTerminated():
                        # what is under way is still answered
                        self._line = None
                    case _:
                        pass
            writer.write(self._state.data_to_send())
            if is_last:
                return who(status, body)
        raise EOFError("the connection ended before the answer")

    def close(self) -> None:
        """Give the connection up."""
        if self._line is not None:
            self._line[1].close()
            self._line = None


def who(status: int, body: bytes) -> str:
    """The echo's name, or what came instead."""
    if status != OK:
        return f"[{status}]"
    try:
        return str(json.loads(body)["who"])
    except (ValueError, KeyError, TypeError):
        return "[somebody else]"


WAYS: dict[str, Callable[[Stream], Kept | New | Multiplexed]] = {"kept": Kept, "new": New, "h2": Multiplexed}


async def send(place: int, stream: Stream, ends: asyncio.Event, told: list[list[Any]]) -> None:
    """One stream of requests until the end."""
    sender = WAYS[stream["way"]](stream)
    while not ends.is_set():
        begin = time.time()
        answer = await _answer(sender.ask)
        told.append([place, begin, time.time(), answer])
        if answer.startswith("["):
            sender.close()
        await asyncio.sleep(PAUSE_SECONDS)
    sender.close()


async def _answer(ask: Callable[[], Awaitable[str]]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await ask()
    except (OSError, TimeoutError, EOFError) as error:
        return f"[{type(error).__name__}: {error}]"


async def load(streams: list[Stream]) -> list[list[Any]]:
    """All streams at once, until the input ends."""
    told: list[list[Any]] = []
    ends = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for place, stream in enumerate(streams):
            group.create_task(send(place, stream, ends, told))
        await asyncio.to_thread(sys.stdin.read)
        ends.set()
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(json.loads(sys.argv[1])))))  # noqa: T201 - its output is the answer
