"""A Kafka broker for unit tests: the one that librdkafka brings along, inside this process.

It knows groups, commits and fetches; it creates a topic with four partitions when somebody asks for it. It is reached
through the library's C interface, because a client made in Python cannot set how long a new group waits for members.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

_PRODUCER = 0  # rd_kafka_type_t


def tagged(key: str | None) -> list[tuple[str, str | bytes | None]]:
    """A record's headers for a tenant (None: nobody's)."""
    return [("baggage", f"tenant={key}".encode())] if key is not None else []


@dataclass(frozen=True)
class Broker:
    """`bootstrap` is what clients connect to."""

    bootstrap: str

    def produce(self, topic: str, keys: Iterable[str | None], *, partition: int = 0) -> None:
        """One record for each tenant key, its value the record's number from 0 on."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number, key in enumerate(keys):
            producer.produce(topic, str(number).encode(), partition=partition, headers=tagged(key))
        assert producer.flush(10) == 0

    def committed(self, group: str, topic: str, *, partition: int = 0) -> int:
        """The group's committed offset, -1001 when there is none."""
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            return int(reader.committed([TopicPartition(topic, partition)], timeout=10)[0].offset)
        finally:
            reader.close()


@contextmanager
def mock_broker() -> Iterator[Broker]:
    """Runs as long as the `with`."""
    library = _librdkafka()
    error = ctypes.create_string_buffer(512)
    host = library.rd_kafka_new(_PRODUCER, None, error, len(error))
    assert host, error.value
    cluster = library.rd_kafka_mock_cluster_new(host, 1)
    assert cluster
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    try:
        yield Broker(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(host)


def _librdkafka() -> Any:
    """The very library that confluent-kafka uses: it comes in the wheel, its name with a hash."""
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    (path,) = folder.glob("librdkafka*.so*")
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_new": (pointer, [number, pointer, ctypes.c_char_p, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
