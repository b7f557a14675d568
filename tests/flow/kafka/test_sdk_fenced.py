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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but not for its types

from fakes.brokers import tagged
from fakes.handover import Handover, eventually
from fakes.mapping_server import mapping_server
from sidestream_sdk.notes import Kind

PARTITIONS: Final = 3
KEYS: Final = ("alice", None, "alice", "bob", "alice")
PROGRAM: Final = Path(__file__).with_name("member_process.py")
EVERYWHERE: Final = range(PARTITIONS)
SOON_OUT: Final = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
"""A member that was killed is out of its group soon."""


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
    is_static: bool
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


@contextmanager
def topic_on(bootstrap: str) -> Iterator[str]:
    name = f"fenced-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


@dataclass(frozen=True)
class Mode:
    """How all members commit, and how they share their partitions."""

    name: str
    config: dict[str, Any]
    batch: bool = False
    is_static: bool = False
    turns: int = 2


MODES: Final = (
    Mode("automatic commits, eager", {"auto.commit.interval.ms": 300, **SOON_OUT}),
    Mode("automatic commits, in batches", {"auto.commit.interval.ms": 300, **SOON_OUT}, batch=True),
    Mode(
        "own commits, cooperative",
        {"enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky", **SOON_OUT},
    ),
    Mode("own stores, eager", {"enable.auto.offset.store": False, "auto.commit.interval.ms": 300, **SOON_OUT}),
    Mode("static members", {"auto.commit.interval.ms": 300, **SOON_OUT}, is_static=True),
    # its session timeout is the broker's, and long
    Mode("own commits, KIP-848", {"enable.auto.commit": False, "group.protocol": "consumer"}, batch=True, turns=1),
)


@dataclass(frozen=True)
class Outcome:
    """Which records there were, and who handled which."""

    produced: int
    by_baseline: set[int]
    by_fork: set[int]


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


def live_through(bootstrap: str, folder: Path, mode: Mode) -> Outcome:
    """Two forks, one after the other, under traffic; replicas of the mapping service that lag behind one another."""
    chance = random.Random(4711)  # noqa: S311 - no secret
    forks: list[Side] = []
    with ExitStack() as cleanup:
        server = cleanup.enter_context(mapping_server())
        topic = cleanup.enter_context(topic_on(bootstrap))
        server.behind = lambda: chance.choice((0, 0, 1, 3))
        step = Handover(server, bootstrap, topic, f"{topic}-b", "")

        def side(group: str, sandbox: str | None) -> Side:
            return Side(bootstrap, topic, group, server.url, sandbox, mode.config, folder, mode.batch, mode.is_static)

        step.publish(is_listed=False)
        baseline = side(step.baseline, None)
        cleanup.callback(step.close)
        cleanup.callback(baseline.stop)
        traffic = Traffic(bootstrap, topic)
        traffic.start()
        cleanup.callback(traffic.stop)
        baseline.start()
        baseline.start()
        traffic.go_on(300)
        for turn in range(mode.turns):
            step.change, step.fork = f"alice-{turn}", f"{topic}-b.sbx.alice{turn}"
            fork = side(step.fork, "alice")
            forks.append(fork)
            cleanup.callback(fork.stop)
            come_and_go(step, baseline, fork, traffic)
            traffic.go_on(300)
        traffic.stop()
        step.wait_for_commits(step.baseline, step.ends(EVERYWHERE))
    return Outcome(traffic.produced, baseline.handled(), set[int]().union(*(fork.handled() for fork in forks)))


@pytest.fixture(scope="module")
def outcomes(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
    """All modes at once: most of the time everybody waits for a session to end."""
    with ThreadPoolExecutor(len(MODES)) as pool:
        yield {
            mode.name: pool.submit(live_through, bootstrap, tmp_path_factory.mktemp("handled"), mode) for mode in MODES
        }


@pytest.mark.parametrize("mode", [mode.name for mode in MODES])
def test_no_record_is_lost_and_none_handled_by_both_while_members_are_killed(
    outcomes: dict[str, Future[Outcome]], mode: str
) -> None:
    found = outcomes[mode].result()
    assert set(range(found.produced)) - found.by_baseline - found.by_fork == set(), "records were lost"
    assert found.by_baseline & found.by_fork == set(), "records were handled by both"
    assert len(found.by_fork) > 100
