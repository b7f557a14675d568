"""Writes a trial's records at a steady rate: `python -m bench.handoff.producer BOOTSTRAP TOPIC RECORDS RATE`.

The record key decides the partition, as it does where the order of a key's records matters.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from bench.handoff.records import record

SLICE_SECONDS = 0.01
FLUSH_SECONDS = 60.0
MOST_WAITING = 10_000


@contextmanager
def producing(bootstrap: str, topic: str, records: int, rate: float) -> "Iterator[subprocess.Popen[bytes]]":
    """The process that writes them; it ends by itself when all are stored."""
    command = [sys.executable, "-m", "bench.handoff.producer", bootstrap, topic, str(records), str(rate)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.terminate()


def produce(bootstrap: str, topic: str, records: int, rate: float) -> None:
    """Write so many records, so many a second; raises RuntimeError if one was not stored."""
    # Without idempotence a retry may store a record twice or behind its successor.
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2})
    failures: list[str] = []
    begin = time.monotonic()
    for number in range(records):
        while number > (time.monotonic() - begin) * rate or len(producer) > MOST_WAITING:
            producer.poll(SLICE_SECONDS)
        item = record(number)
        producer.produce(
            topic,
            str(item.sequence).encode(),
            item.key.encode(),
            headers=item.headers,
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )
    if producer.flush(FLUSH_SECONDS) or failures:
        raise RuntimeError(f"not all records were stored: {failures[:1] or 'no broker answered'}")


def main() -> None:
    """Run the command line."""
    bootstrap, topic, records, rate = sys.argv[1:]
    produce(bootstrap, topic, int(records), float(rate))


if __name__ == "__main__":
    main()
