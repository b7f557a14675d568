from __future__ import annotations

import asyncio
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.kafka import frames
from sidestream.kafka.frames import BrokenFrameError, Message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MESSAGES = st.dictionaries(st.text(), JSON, max_size=4)


async def received(*chunks: bytes) -> list[Message]:
    stream = asyncio.StreamReader()
    for chunk in chunks:
        stream.feed_data(chunk)
    stream.feed_eof()
    messages = []
    while (message := await frames.receive(stream)) is not None:
        messages.append(message)
    return messages


@given(st.lists(MESSAGES, max_size=4))
def test_what_is_written_is_read_on_both_sides(messages: list[Message]) -> None:
    data = b"".join(frames.encode(message) for message in messages)
    stream = io.BytesIO(data)
    assert [frames.read(stream) for _ in messages] == messages
    assert frames.read(stream) is None
    assert asyncio.run(received(data)) == messages


@given(MESSAGES, st.data())
def test_a_pipe_that_closes_in_the_middle_of_a_frame_has_just_ended(message: Message, data: st.DataObject) -> None:
    frame = frames.encode(message)
    part = frame[: data.draw(st.integers(0, len(frame) - 1))]
    assert frames.read(io.BytesIO(part)) is None
    assert asyncio.run(received(part)) == []


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"%3|FAIL|a line of a log, longer than four bytes", id="a log line"),
        pytest.param(struct.pack(">I", frames.MAX_BYTES + 1), id="a frame that is too long"),
        pytest.param(struct.pack(">I", 3) + b"abc", id="no json"),
        pytest.param(struct.pack(">I", 2) + b"[]", id="json that is no object"),
        pytest.param(struct.pack(">I", 2) + b"\xff\xfe", id="no utf-8"),
    ],
)
def test_garbage_is_told_from_frames(garbage: bytes) -> None:
    with pytest.raises(BrokenFrameError):
        frames.read(io.BytesIO(garbage))
    with pytest.raises(BrokenFrameError):
        asyncio.run(received(garbage))
