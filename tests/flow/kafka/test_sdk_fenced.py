"""Baseline and fork share a topic of a real Kafka under Fenced: no record is lost, and none is handled by both."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but not for its types

from fakes.brokers import tagged
from fakes.handover import Handover, eventually
from fakes.mapping_server import MappingServer, mapping_server
from sidestream_sdk.notes import Kind

PARTITIONS: Final = 3
KEYS: Final = ("alice", None, "alice", "bob", "alice")
PROGRAM: Final = Path(__file__).with_name("member_process.py")
EVERYWHERE: Final = range(PARTITIONS)
SOON_OUT: Final = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
"""A member that was killed is out of its group soon."""
STATIC: Final = "static"


class Traffic(threading.Thread):
    """Produces without a pause; each record's value is its number, its key by turns one of `KEYS`."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.produced = 0
        self._servers = bootstrap
        self._topic = topic
        self._stopped = threading.Event()

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self._servers, "linger.ms": 0})
        for number, key in enumerate(itertools.cycle(KEYS)):
            if self._stopped.wait(0.002):
                break
            producer.produce(self._topic, str(number), str(number), headers=tagged(key))
            producer.poll(0)
            self.produced = number + 1
        assert producer.flush(30) == 0

    def go_on(self, records: int) -> None:
        goal = self.produced + records
        eventually(lambda: self.produced >= goal, f"{records} records more")

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@dataclass
class Side:
    """The members of one group, each a process, and the files in which they note what they handle."""

    bootstrap: str
    topic: str
    group: str
    url: str
    sandbox: str | None
    config: dict[str, Any]
    folder: Path
    batch: bool
    is_static: bool = False
    members: list[tuple[int, subprocess.Popen[bytes]]] = field(default_factory=list)
    started: int = 0

    def start(self, number: int | None = None) -> None:
        """Start a member, as number so-and-so of a static group."""
        self.started += 1
        number = len(self.members) if number is None else number
        base = {"bootstrap.servers": self.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest"}
        if self.is_static:
            base["group.instance.id"] = f"member-{number}"
        order = {
            "url": self.url,
            "sandbox": self.sandbox,
            "topic": self.topic,
            "config": {**base, **self.config},
            "out": str(self.folder / f"{self.group}-{self.started}"),
            "batch": self.batch,
        }
        self.members.append((number, subprocess.Popen([sys.executable, str(PROGRAM), json.dumps(order)])))

    def kill_one(self) -> None:
        """Without a word to anybody, and start another in its place."""
        number, victim = self.members.pop(0)
        victim.kill()
        victim.wait()
        self.start(number)

    def stop(self) -> None:
        for _, member in self.members:
            member.terminate()
        for _, member in self.members:
            assert member.wait(60) == 0
        self.members.clear()

    def handled(self) -> set[int]:
        lines = [path.read_text().splitlines() for path in self.folder.glob(f"{self.group}-*")]
        return {int(line) for line in itertools.chain.from_iterable(lines)}


@pytest.fixture
def topic(bootstrap: str) -> Iterator[str]:
    name = f"fenced-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


@pytest.fixture
def server() -> Iterator[MappingServer]:
    with mapping_server() as running:
        yield running


MODES: Final = [
    pytest.param({"auto.commit.interval.ms": 300, **SOON_OUT}, False, id="automatic commits, eager"),
    pytest.param({"auto.commit.interval.ms": 300, **SOON_OUT}, True, id="automatic commits, in batches"),
    pytest.param(
        {"enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky", **SOON_OUT},
        False,
        id="own commits, cooperative",
    ),
    pytest.param(
        {"enable.auto.offset.store": False, "auto.commit.interval.ms": 300, **SOON_OUT}, False, id="own stores, eager"
    ),
    pytest.param({"auto.commit.interval.ms": 300, STATIC: True, **SOON_OUT}, False, id="static members"),
    pytest.param({"enable.auto.commit": False, "group.protocol": "consumer"}, True, id="own commits, KIP-848"),
]


def come_and_go(step: Handover, baseline: Side, fork: Side, traffic: Traffic) -> None:
    """A fork from the first question to the last; members are killed at every stage of it."""
    step.fences = {}
    step.say("Ask", EVERYWHERE, phase="Preparing")
    baseline.kill_one()
    begins = step.answers(step.baseline, Kind.FROM, EVERYWHERE)
    for number, begin in begins.items():
        step.say("From", [number], phase="Creating", begin=begin)
    step.place(step.fork, begins)
    step.say("From", [], phase="Active")
    fork.start()
    fork.start()
    traffic.go_on(500)
    fork.kill_one()
    baseline.kill_one()
    traffic.go_on(500)
    step.say("Freeze", EVERYWHERE, phase="Freezing")
    fork.kill_one()
    for number, hold in step.answers(step.fork, Kind.HOLD, EVERYWHERE).items():
        step.say("Hold", [number], phase="PreparingOff", hold=hold)
    baseline.kill_one()
    for number, until in step.answers(step.baseline, Kind.UNTIL, EVERYWHERE).items():
        step.say("Until", [number], phase="Draining", until=until)
    fork.kill_one()
    eventually(lambda: step.has_passed(step.fork), "the fork has drained")
    fork.stop()
    step.say("Retire", EVERYWHERE, phase="Retiring")
    step.answers(step.baseline, Kind.GONE, EVERYWHERE)
    step.publish(is_listed=False)


@pytest.mark.parametrize(("config", "batch"), MODES)
def test_no_record_is_lost_and_none_handled_by_both_while_members_are_killed(
    bootstrap: str, topic: str, server: MappingServer, tmp_path: Path, config: dict[str, Any], *, batch: bool
) -> None:
    config = dict(config)
    is_static = config.pop(STATIC, False)
    turns = 1 if "group.protocol" in config else 2  # its session timeout is the broker's, and long
    chance = random.Random(4711)  # noqa: S311 - no secret
    server.behind = lambda: chance.choice((0, 0, 1, 3))
    step = Handover(server, bootstrap, topic, f"{topic}-b", "")
    step.publish(is_listed=False)
    baseline = Side(bootstrap, topic, step.baseline, server.url, None, config, tmp_path, batch, is_static=is_static)
    forks: list[Side] = []
    with ExitStack() as cleanup:
        cleanup.callback(step.close)
        cleanup.callback(baseline.stop)
        traffic = Traffic(bootstrap, topic)
        traffic.start()
        cleanup.callback(traffic.stop)
        baseline.start()
        baseline.start()
        traffic.go_on(300)
        for turn in range(turns):
            step.change, step.fork = f"alice-{turn}", f"{topic}-b.sbx.alice{turn}"
            fork = Side(bootstrap, topic, step.fork, server.url, "alice", config, tmp_path, batch, is_static=is_static)
            forks.append(fork)
            cleanup.callback(fork.stop)
            come_and_go(step, baseline, fork, traffic)
            traffic.go_on(300)
        traffic.stop()
        step.wait_for_commits(step.baseline, step.ends(EVERYWHERE))

    by_baseline = baseline.handled()
    by_fork = set[int]().union(*(fork.handled() for fork in forks))
    assert set(range(traffic.produced)) - by_baseline - by_fork == set(), "records were lost"
    assert by_baseline & by_fork == set(), "records were handled by both"
    assert len(by_fork) > 100
