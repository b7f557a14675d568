"""The two loops that applications read Kafka with, run on any consumer until it has seen all of a topic."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from bench.topic import Topic
from sidestream_demo.errors import DemoError

BATCH = 1000
TIMEOUT = 0.1
"""Short, because the last batch of a topic waits for it where it is not full."""

Handle = Callable[[Message], object]


@dataclass(frozen=True)
class Cost:
    """What reading a topic took: seconds on the clock, and of processor time in the thread that called the consumer."""

    seconds: float
    cpu_seconds: float
    given: int


Loop = Callable[[Consumer, int, Handle | None], int]


def poll_loop(consumer: Consumer, partitions: int, handle: Handle | None) -> int:
    """`poll` record by record; how many records it gave before the end of every partition."""
    given = ended = 0
    while ended < partitions:
        message = consumer.poll(TIMEOUT)
        if message is None:
            continue
        error = message.error()
        if error is not None:
            ended += _is_end(error)
            continue
        given += 1
        if handle is not None:
            handle(message)
    return given


def consume_loop(consumer: Consumer, partitions: int, handle: Handle | None) -> int:
    """As `poll_loop`, by `consume` of BATCH records at a time."""
    given = ended = 0
    while ended < partitions:
        for message in consumer.consume(BATCH, TIMEOUT):
            error = message.error()
            if error is not None:
                ended += _is_end(error)
                continue
            given += 1
            if handle is not None:
                handle(message)
    return given


LOOPS: dict[str, Loop] = {"poll": poll_loop, "consume": consume_loop}


def cost_of(loop: Loop, consumer: Consumer, topic: Topic, handle: Handle | None) -> Cost:
    """Read the whole topic with a new consumer, and close it."""
    try:
        # So that connecting is no part of what is measured.
        consumer.list_topics(topic.name, timeout=30)
        consumer.assign(topic.beginning())
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        given = loop(consumer, topic.partitions, handle)
        return Cost(time.perf_counter() - begin, time.thread_time() - cpu_begin, given)
    finally:
        consumer.close()


def _is_end(error: KafkaError) -> bool:
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name for an event that is no failure
        return True
    if error.fatal() or not error.retriable():
        raise DemoError(f"The topic could not be read: {KafkaException(error)}")
    return False
