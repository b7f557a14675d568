"""What runs in the pods of the latency benchmark; it imports nothing that a bare Python does not have.

in_pod.py serve PORT NAME [PORT NAME ...]    answers every request with a name
in_pod.py ask                                reads requests from its input as JSON and prints who answered each
in_pod.py time ROUNDS WARM_UP                reads requests likewise, sends them in turns, prints times of each
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.01
_AT_ONCE = 64


class Server(asyncio.Protocol):
    """Answers without looking at what is asked."""

    def __init__(self, name: str) -> None:
        self._answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(name)}\r\n\r\n{name}".encode()
        self._asked = b""

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._asked += data
        while b"\r\n\r\n" in self._asked:
            _, _, self._asked = self._asked.partition(b"\r\n\r\n")
            self._transport.write(self._answer)


class Line:
    """A connection that is kept, and one request that is sent on it again and again."""

    def __init__(self, request: dict[str, Any]) -> None:
        lines = [f"{request['method']} {request['path']} HTTP/1.1", f"host: {request['host']}"]
        lines += [f"{name}: {value}" for name, value in request["headers"]]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._socket = socket.create_connection((request["address"], request["port"]), timeout=_PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of the answer."""
        self._socket.sendall(self._request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", "0"))
        while len(body) < length:
            body += self._received()
        return int(first.split()[1]), headers, body.decode()

    def close(self) -> None:
        """Give the connection back."""
        self._socket.close()

    def _received(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the connection ended before the answer")
        return data


def ask(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each on a connection of its own."""
    answers = []
    for request in requests:
        line = Line(request)
        status, headers, body = line.ask()
        answers.append({"status": status, "location": headers.get("location", ""), "body": body})
        line.close()
    return answers


def timed(requests: list[dict[str, Any]], rounds: int, warm_up: int) -> list[list[int]]:
    """Microseconds of every answer, by request; the requests take turns, and in each round another one begins."""
    lines = [Line(request) for request in requests]
    times: list[list[int]] = [[] for _ in lines]
    for number in range(warm_up + rounds):
        for place in range(len(lines)):
            turn = (place + number) % len(lines)
            begin = time.perf_counter_ns()
            status, _, _ = lines[turn].ask()
            taken = time.perf_counter_ns() - begin
            if status != HTTPStatus.OK:
                raise ValueError(f"request {turn} was answered with {status}")
            if number >= warm_up:
                times[turn].append(taken // 1000)
    return times


def watch(requests: Iterator[dict[str, Any]]) -> None:
    """Print each request's tenant once it is answered as it says."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for request in requests:
            pool.submit(_repeat, request)


def _repeat(request: dict[str, Any]) -> None:
    line = None
    while True:
        try:
            line = line or Line(request)
            _, _, body = line.ask()
        except OSError:
            line, body = None, ""
        if body == request["until"]:
            break
        time.sleep(_PAUSE_SECONDS)
    if line is not None:
        line.close()
    sys.stdout.write(json.dumps(request["tenant"]) + "\n")
    sys.stdout.flush()


async def serve(roles: list[tuple[int, str]]) -> None:
    """Answer on each port with a name, for ever."""
    loop = asyncio.get_running_loop()
    for port, name in roles:
        await loop.create_server(partial(Server, name), "", port)
    await asyncio.Event().wait()


def main() -> None:
    """Run the command line."""
    match sys.argv[1:]:
        case ["serve", *words]:
            asyncio.run(serve([(int(port), name) for port, name in zip(words[::2], words[1::2], strict=True)]))
        case ["ask"]:
            sys.stdout.write(json.dumps(ask(json.load(sys.stdin))))
        case ["watch"]:
            watch(json.loads(line) for line in sys.stdin)
        case ["time", rounds, warm_up]:
            sys.stdout.write(json.dumps(timed(json.load(sys.stdin), int(rounds), int(warm_up))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
