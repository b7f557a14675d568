"""Baseline and fork share a topic of a real Kafka while the mapping changes, as the operator changes it."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but not for its types

from fakes.brokers import tagged
from fakes.mapping_server import MappingServer, change_json, mapping_json, mapping_server
from sidestream_sdk import Identity, SandboxConsumer

PARTITIONS: Final = 3
DEADLINE: Final = 120.0
SIDES: Final = {"baseline": None, "fork": "alice"}
KEYS: Final = ("alice", None, "alice", "bob", "carol")


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Wait for a condition, asking a hundred times a second."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, f"still not after {DEADLINE:.0f} s: {what}"
        time.sleep(0.01)


class Topic:
    """A topic of the test's own, and its two groups."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.name = f"sdk-{uuid.uuid4().hex[:12]}"
        self.groups = {"baseline": f"{self.name}-b", "fork": f"{self.name}-b.sbx.alice"}
        self.partitions = [TopicPartition(self.name, number) for number in range(PARTITIONS)]
        self._reader = Consumer({"bootstrap.servers": bootstrap, "group.id": self.groups["baseline"]})

    def ends(self) -> list[int]:
        return [self._reader.get_watermark_offsets(item, timeout=10)[1] for item in self.partitions]

    def committed(self, side: str) -> list[int]:
        with self._client(side) as client:
            return [item.offset for item in client.committed(self.partitions, timeout=10)]

    def wait_for_commits(self, side: str, until: list[int]) -> None:
        """Until the side has handled, or skipped, everything below `until`."""
        with self._client(side) as client:
            wait_until(
                lambda: all(
                    item.offset >= end
                    for item, end in zip(client.committed(self.partitions, timeout=10), until, strict=True)
                ),
                f"{side} committed {until}",
            )

    def place_fork(self) -> None:
        """What the operator does: the fork's group begins where the baseline's stands."""
        offsets = [max(offset, 0) for offset in self.committed("baseline")]
        with self._client("fork") as client:
            placed = [TopicPartition(self.name, number, offset) for number, offset in enumerate(offsets)]
            client.commit(offsets=placed, asynchronous=False)

    def mapping(self, phase: str | None) -> dict[str, Any]:
        changes = [] if phase is None else [change_json("alice", phase, group=self.groups["fork"])]
        return mapping_json(*changes, topic=self.name, group=self.groups["baseline"])

    def close(self) -> None:
        self._reader.close()

    @contextmanager
    def _client(self, side: str) -> Iterator[Consumer]:
        client = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.groups[side]})
        try:
            yield client
        finally:
            client.close()


class Traffic(threading.Thread):
    """Produces without a pause; each record's value is its number and the label of the time it was made in."""

    def __init__(self, topic: Topic) -> None:
        super().__init__(daemon=True)
        self.label = "before"
        self.sent: dict[int, tuple[str, str | None]] = {}
        """Label and key of every record that the broker has."""
        self._topic = topic
        self._produced = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self._topic.bootstrap, "linger.ms": 0})
        for number, key in enumerate(itertools.cycle(KEYS)):
            if self._stopped.wait(0.004):
                break
            self._produce(producer, number, self.label, key)
            self._produced = number + 1
            producer.poll(0)
        assert producer.flush(DEADLINE) == 0

    def turn(self, label: str) -> None:
        """Begin a new time, and let it last until the broker has every older record and a hundred new ones."""
        self.label = label
        enough = range(self._produced + 100)
        wait_until(lambda: all(number in self.sent for number in enough), f"the broker has the records of {label}")

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _produce(self, producer: Producer, number: int, label: str, key: str | None) -> None:
        def note(error: object, _: object) -> None:
            assert error is None, error
            self.sent[number] = (label, key)

        value = f"{number} {label}".encode()
        producer.produce(self._topic.name, value, str(number), headers=tagged(key), on_delivery=note)


class Member(threading.Thread):
    """One consumer of a side, which notes what it was given, in the way of an ordinary application."""

    def __init__(self, topic: Topic, side: str, server: MappingServer, config: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.handled: list[int] = []
        self.assigned = threading.Event()
        self._topic = topic.name
        self._stopped = threading.Event()
        base = {"bootstrap.servers": topic.bootstrap, "group.id": topic.groups[side], "auto.offset.reset": "earliest"}
        identity = Identity(server.url, "shop/fulfilment", SIDES[side])
        self._commits = config.get("enable.auto.commit") is False
        self.consumer = SandboxConsumer({**base, **config}, identity=identity)
        self.start()

    def run(self) -> None:
        with self.consumer as consumer:
            consumer.subscribe([self._topic], on_assign=self._note_assignment)
            while not self._stopped.is_set():
                message = consumer.poll(0.1)
                if message is None:
                    continue
                assert message.error() is None, message.error()
                self.handled.append(int((message.value() or b"").split()[0]))
                if self._commits:
                    consumer.commit(message)

    def _note_assignment(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            self.assigned.set()

    def has_read(self, phase: str) -> bool:
        mapping = self.consumer._client.mapping
        return mapping is not None and any(
            change.phase == phase for topic in mapping.topics.values() for change in topic.changes
        )

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.fixture
def topic(bootstrap: str) -> Iterator[Topic]:
    made = Topic(bootstrap)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(made.name, PARTITIONS, 1)])[made.name].result(30)
    try:
        yield made
    finally:
        made.close()
        for future in admin.delete_consumer_groups([*made.groups.values()]).values():
            future.result(30)
        admin.delete_topics([made.name])[made.name].result(30)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"auto.commit.interval.ms": 200}, id="automatic commits"),
        pytest.param(
            {"enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky"},
            id="own commits, cooperative",
        ),
        pytest.param({"enable.auto.commit": False, "group.protocol": "consumer"}, id="own commits, KIP-848"),
    ],
)
def test_every_record_is_handled_and_outside_of_changes_by_its_owner_alone(
    topic: Topic, config: dict[str, Any]
) -> None:
    with mapping_server() as server, ExitStack() as cleanup:
        server.publish(topic.mapping(None))
        baseline = [Member(topic, "baseline", server, config) for _ in range(2)]
        for member in baseline:
            cleanup.callback(member.stop)
        wait_until(lambda: all(member.assigned.is_set() for member in baseline), "both members have partitions")
        traffic = Traffic(topic)
        traffic.start()
        cleanup.callback(traffic.stop)
        traffic.turn("before")

        def publish(phase: str, members: list[Member]) -> None:
            server.publish(topic.mapping(phase))
            wait_until(lambda: all(member.has_read(phase) for member in members), f"everybody has read {phase}")

        # the fork comes
        traffic.turn("on")
        publish("Creating", baseline)
        topic.place_fork()
        publish("Preparing", baseline)
        fork = Member(topic, "fork", server, config)
        cleanup.callback(fork.stop)
        publish("Active", [*baseline, fork])
        traffic.turn("active")

        # and goes
        traffic.turn("off")
        topic.wait_for_commits("baseline", topic.ends())
        publish("Draining", [*baseline, fork])
        topic.wait_for_commits("fork", topic.ends())
        publish("Drained", [*baseline, fork])
        fork.stop()
        traffic.turn("after")
        traffic.stop()
        topic.wait_for_commits("baseline", topic.ends())

    by_baseline = Counter(itertools.chain.from_iterable(member.handled for member in baseline))
    by_fork = Counter(fork.handled)
    assert set(by_baseline) | set(by_fork) == set(traffic.sent), "records were lost"
    for number, (label, key) in traffic.sent.items():
        handled = (by_baseline[number], by_fork[number])
        if key != "alice" or label == "after":
            assert handled == (1, 0), (number, label, key)
        elif label == "active":
            assert handled == (0, 1), (number, label, key)
        elif label == "before":
            assert handled[0] == 1, (number, label, key)
    assert by_fork.total() >= sum(label == "active" and key == "alice" for label, key in traffic.sent.values()) > 0
