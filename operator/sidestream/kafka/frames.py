"""Framing of the pipes to a worker process: four bytes of length, big-endian, then that much JSON in UTF-8."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import IO, Any, Final

Message = dict[str, Any]

MAX_BYTES: Final = 64 * 1024 * 1024
"""A longer frame is no frame: somebody else wrote into the pipe."""

_LENGTH: Final = struct.Struct(">I")


class BrokenFrameError(Exception):
    """What came through the pipe is not ours."""


def encode(message: Message) -> bytes:
    """One frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


def read(stream: IO[bytes]) -> Message | None:
    """The next message, waiting for it; None when the other side has closed the pipe."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length = _length(head)
    body = stream.read(length)
    return _decode(body) if len(body) == length else None


async def receive(stream: asyncio.StreamReader) -> Message | None:
    """The next message; None when the other side has closed the pipe, also in the middle of a frame."""
    try:
        body = await stream.readexactly(_length(await stream.readexactly(_LENGTH.size)))
    except asyncio.IncompleteReadError:
        return None
    return _decode(body)


def _length(head: bytes) -> int:
    (length,) = _LENGTH.unpack(head)
    if length > MAX_BYTES:
        raise BrokenFrameError(f"a frame of {length} bytes")
    return int(length)


def _decode(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BrokenFrameError("a frame that is no JSON") from error
    if not isinstance(message, dict):
        raise BrokenFrameError("a frame that is no JSON object")
    return message
