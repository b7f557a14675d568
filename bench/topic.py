"""A prefilled topic for benchmarks of consumers: orders as JSON with tracing headers, as services send them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Producer, TopicPartition

from sidestream_demo.errors import DemoError
from sidestream_demo.kafka import Kafka

PARTITIONS = 3
RECORDS = 300_000 - PARTITIONS
"""With the end of each partition, which comes as a message too, they make batches that are all full."""
TENANTS = ("alice", "bob", "carol", "dave", "erin")
VALUE_BYTES = 300

_SECONDS = 60.0


@dataclass(frozen=True)
class Topic:
    """`records` records, spread evenly over `partitions`, each with the key of one of TENANTS."""

    bootstrap: str
    name: str
    partitions: int = PARTITIONS
    records: int = RECORDS

    def beginning(self) -> list[TopicPartition]:
        """Every partition, to be assigned from its first record on."""
        return [TopicPartition(self.name, number, 0) for number in range(self.partitions)]

    def fill(self) -> None:
        """Write the records, and wait until all are stored."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, "log_level": 2})
        failures: list[str] = []
        for number in range(self.records):
            while True:
                try:
                    producer.produce(
                        self.name,
                        order(number),
                        str(number),
                        partition=number % self.partitions,
                        headers=headers(number),
                        on_delivery=lambda error, _: failures.append(str(error)) if error else None,
                    )
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        if producer.flush(_SECONDS) or failures:
            raise DemoError(f"The topic {self.name} could not be filled: {failures[:1] or 'no broker answered'}")


@contextmanager
def filled_topic(kafka: Kafka, name: str) -> Iterator[Topic]:
    """A topic with its records, deleted in the end."""
    topic = Topic(kafka.bootstrap, name)
    kafka.delete_topic(name)
    kafka.create_topic(name, topic.partitions)
    try:
        topic.fill()
        yield topic
    finally:
        kafka.delete_topic(name)


def order(number: int) -> bytes:
    """An order of VALUE_BYTES as JSON."""
    fields = {
        "order": f"order-{number:08d}",
        "customer": {"id": number % 9973, "country": "DE", "vip": number % 7 == 0},
        "items": [
            {"sku": f"sku-{number % 97:04d}", "quantity": 1 + number % 3, "price": 19.9},
            {"sku": f"sku-{number % 89:04d}", "quantity": 1, "price": 5},
        ],
        "note": "",
    }
    missing = VALUE_BYTES - len(json.dumps(fields))
    return json.dumps({**fields, "note": "n" * missing}).encode()


def headers(number: int) -> list[tuple[str, str | bytes | None]]:
    """What OpenTelemetry writes: a `traceparent` of its own for each record, a `baggage` that mostly repeats.

    Six in ten have the tenant alone, three in ten a member that repeats beside it, and one in ten a member that is
    new each time, so that remembering headers by their bytes does not help.
    """
    tenant = TENANTS[number % len(TENANTS)]
    match number % 10:
        case 0 | 1 | 2:
            baggage = f"region=eu-1,tenant={tenant},channel=web"
        case 3:
            baggage = f"tenant={tenant},session={number:016x}"
        case _:
            baggage = f"tenant={tenant}"
    trace = f"00-{number:032x}-{number:016x}-01"
    return [("traceparent", trace.encode()), ("baggage", baggage.encode())]
