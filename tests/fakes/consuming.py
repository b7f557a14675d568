"""How tests read from a consumer: to a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, Message

from sidestream_sdk import SandboxConsumer

DEADLINE: Final = 30.0
"""Seconds; generous, for a machine that does much else."""


class Start(Protocol):
    """Make a consumer that is closed in the end."""

    def __call__(self, config: dict[str, Any], *, sandbox: str | None = None) -> SandboxConsumer: ...


def read_numbers(consumer: Consumer, count: int) -> list[int]:
    """The numbers of the next `count` records."""
    numbers: list[int] = []
    end = time.monotonic() + DEADLINE
    while len(numbers) < count and time.monotonic() < end:
        message = consumer.poll(0.2)
        if message is not None:
            numbers.append(number_of(message))
    return numbers


def number_of(message: Message) -> int:
    assert message.error() is None, message.error()
    value = message.value()
    assert value is not None
    return int(value)


def poll_until(consumer: Consumer, done: Callable[[], bool]) -> None:
    """Poll, expecting no record, until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, "the deadline passed"
        message = consumer.poll(0.1)
        assert message is None, f"record {number_of(message)} is not ours"
