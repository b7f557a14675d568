"""Many consumers in one process: `python -m bench.pollers URL COUNT` long-polls one mapping as the SDK does.

A connection for each request, one request in flight each, a short pause after each answer. Once all of them have a new
mapping, one line of JSON tells when each got it, on the monotonic clock that all processes of a machine share.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WAIT_SECONDS = 25
PAUSE_SECONDS = (0.05, 0.1)
OK, NOT_MODIFIED = 200, 304


@dataclass(frozen=True)
class Answer:
    """What came, and when its first byte did."""

    status: int
    etag: str
    moment: float


class Exchange(asyncio.Protocol):
    """One request on a connection of its own; `answer` fails where none came."""

    def __init__(self, request: bytes) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._request = request
        self._received = b""
        self._moment = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note when the answer began."""
        self._moment = self._moment or time.monotonic()
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """The answer is complete: the request asked for the connection to be closed after it."""
        if self.answer.done():
            return
        if exc is not None or not self._received:
            self.answer.set_exception(exc or ConnectionError("no answer"))
            return
        head = self._received.split(b"\r\n\r\n", 1)[0].decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:])
        self.answer.set_result(Answer(int(head[0].split()[1]), fields.get("etag", ""), self._moment))


@dataclass
class Pollers:
    """All consumers, and who has which mapping."""

    url: str
    count: int
    moments: dict[str, list[float]] = field(default_factory=dict)

    async def run(self) -> None:
        """Poll until the process is ended; the first failure ends it too."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.count):
                group.create_task(self._poll())

    async def _poll(self) -> None:
        etag = ""
        while True:
            answer = await self._ask(etag)
            if answer.status == OK:
                etag = answer.etag
                self._take(answer)
                await asyncio.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - no secret
            elif answer.status != NOT_MODIFIED:
                raise ConnectionError(f"the mapping service answers HTTP {answer.status}")

    async def _ask(self, etag: str) -> Answer:
        parts = urlsplit(self.url)
        wait = f"?wait={WAIT_SECONDS}" if etag else ""
        known = f"If-None-Match: {etag}\r\n" if etag else ""
        request = f"GET {parts.path}{wait} HTTP/1.1\r\nHost: {parts.netloc}\r\n{known}Connection: close\r\n\r\n"
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(
            lambda: Exchange(request.encode()), parts.hostname or "", parts.port or 80
        )
        return await exchange.answer

    def _take(self, answer: Answer) -> None:
        moments = self.moments.setdefault(answer.etag, [])
        moments.append(answer.moment)
        if len(moments) == self.count:
            sys.stdout.write(json.dumps(self.moments.pop(answer.etag)) + "\n")
            sys.stdout.flush()


def main() -> None:
    """Run the command line."""
    url, count = sys.argv[1:]
    asyncio.run(Pollers(url, int(count)).run())


if __name__ == "__main__":
    main()
