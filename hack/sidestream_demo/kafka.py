"""What the demo and the tests look at and make in Kafka, through its own admin protocol."""

import json
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sidestream_demo.errors import DemoError
from sidestream_demo.process import wait_until

SECONDS = 20.0


@dataclass(frozen=True)
class Position:
    """Where a group stands on one partition: the next record it reads (None: it never said), and where records end."""

    topic: str
    partition: int
    committed: int | None
    end: int


@dataclass(frozen=True)
class Group:
    """A consumer group as its coordinator describes it."""

    name: str
    state: str
    members: int
    positions: tuple[Position, ...]


class Writer:
    """Writes JSON records to a topic, each to a partition by chance, without waiting for one before the next."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._failures: list[str] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})

    def write(self, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Hand one record over."""
        self._producer.produce(
            self._topic,
            json.dumps(value).encode(),
            headers=list((headers or {}).items()),
            on_delivery=lambda error, _: self._failures.append(str(error)) if error else None,
        )
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until all of them are stored.

        Raises:
            DemoError: one of them is not.
        """
        left = self._producer.flush(SECONDS)
        if left or self._failures:
            told = sorted(set(self._failures)) or "no broker answered"
            raise DemoError(f"Records for {self._topic} could not be written: {told}")


class Kafka:
    """The brokers at `bootstrap`, reached from where this program runs."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.reconnect()

    def reconnect(self) -> None:
        """Ask by new clients from now on: librdkafka's may never again find a broker that has hung."""
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        # Never subscribed, so it joins no group; it only looks where partitions end.
        self._reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "sidestream-demo", "log_level": 2})

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic unless there is one, and wait until brokers serve it."""
        if name not in self._topics():
            self._admin.create_topics([NewTopic(name, num_partitions=partitions)])[name].result(SECONDS)
        wait_until(lambda: name in self._topics(), SECONDS, f"the topic {name}")

    def delete_topic(self, name: str) -> None:
        """Delete a topic if it exists, and wait until it is gone."""
        if name in self._topics():
            self._admin.delete_topics([name])[name].result(SECONDS)
        wait_until(lambda: name not in self._topics(), SECONDS, f"the topic {name} to be gone")

    def group_names(self) -> set[str]:
        """The names of all groups."""
        listing = self._admin.list_consumer_groups(request_timeout=SECONDS).result(SECONDS)
        return {group.group_id for group in listing.valid}

    def delete_groups(self, names: set[str]) -> None:
        """Delete groups that have no members; what cannot be deleted is left."""
        if not names:
            return
        for future in self._admin.delete_consumer_groups(sorted(names)).values():
            future.exception(SECONDS)

    def group(self, name: str) -> Group | None:
        """A group with its committed offsets, None when there is none of this name."""
        if name not in self.group_names():
            return None
        described = self._admin.describe_consumer_groups([name])[name].result(SECONDS)
        request = ConsumerGroupTopicPartitions(name)
        answer = self._admin.list_consumer_group_offsets([request])[name].result(SECONDS).topic_partitions
        committed = {(item.topic, item.partition): item.offset for item in answer}
        topics = self._admin.list_topics(timeout=SECONDS).topics
        positions = tuple(
            Position(topic, partition, committed.get((topic, partition)), self._end(topic, partition))
            for topic in sorted({topic for topic, _ in committed} & set(topics))
            for partition in sorted(topics[topic].partitions)
        )
        return Group(name, described.state.name.capitalize(), len(described.members), positions)

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        """Set a group's offsets, which creates it where there is none."""
        partitions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        request = ConsumerGroupTopicPartitions(group, partitions)
        self._admin.alter_consumer_group_offsets([request])[group].result(SECONDS)

    def produce(self, topic: str, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Write one JSON record and wait until it is stored."""
        writer = self.writer(topic)
        writer.write(value, headers)
        writer.finish()

    def writer(self, topic: str) -> "Writer":
        """For many records of one topic."""
        return Writer(self.bootstrap, topic)

    def is_reachable(self) -> bool:
        """Whether a broker answers within a second."""
        try:
            self._admin.list_topics(timeout=1)
        except KafkaException:
            return False
        return True

    def _topics(self) -> set[str]:
        return set(self._admin.list_topics(timeout=SECONDS).topics)

    def _end(self, topic: str, partition: int) -> int:
        _, end = self._reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=SECONDS)
        return end
