"""One trial: records are written, the baseline and two forks share them, and in the end each is accounted for."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from bench.handoff.crew import Crew, crew, kill_on_and_on
from bench.handoff.forks import Fork, Life
from bench.handoff.handled import BASELINE, read
from bench.handoff.place import KAFKA_CLUSTER, NAMESPACE, Place
from bench.handoff.post import Post
from bench.handoff.producer import producing
from bench.handoff.records import FORKED
from bench.handoff.verdict import Verdict, verdict
from sidestream.api.kafka import DEFAULT_GROUP_NAME, Coordination
from sidestream.api.names import fork_group
from sidestream.kube.port import DEPLOYMENTS, KAFKA_CONSUMERS, Object
from sidestream_demo.kafka import Kafka, Position
from sidestream_demo.process import wait_until

PARTITIONS = 3
BASELINE_MEMBERS = 2
FORK_MEMBERS = {"alice": 1, "bob": 2}
POLL_INTERVAL = "1s"
JOIN_SECONDS = 30.0
CATCH_UP_SECONDS = 120.0


@dataclass(frozen=True)
class Trial:
    """What is tried: so many records at so many a second. `calm` is for how many seconds no member is killed, None for
    ever; `lag` makes members read the mapping only so often.
    """

    name: str
    records: int
    rate: float
    coordination: Coordination
    seed: int
    calm: float | None = None
    lag: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of it: the lives of all forks, and those that ended before the first kill."""

    verdict: Verdict
    lives: tuple[Life, ...]
    calm_lives: tuple[Life, ...]
    kills: int
    crashes: int


def run(place: Place, trial: Trial, console: Console) -> Outcome:
    """Go through with it, and take away what it needed in the cluster and in Kafka."""
    console.print(
        f"Trial {trial.name}: {trial.records} records at {trial.rate:.0f}/s under {trial.coordination}, "
        f"seed {trial.seed} (about {trial.records / trial.rate:.0f} s) ..."
    )
    folder = place.folder / trial.name
    folder.mkdir()
    with prepared(place, trial.name, trial.coordination) as topic, crew() as members:
        baseline = posts(place, trial, topic, BASELINE, BASELINE_MEMBERS)
        members.start(baseline)
        wait_until(lambda: has_joined(place.kafka, topic), JOIN_SECONDS, "the baseline's members to join their group")
        forks = [_fork(place, trial, topic, members, tenant) for tenant in FORKED]
        lives, calm_until = _live_through(place, trial, topic, members, forks)
        wait_until(lambda: _has_caught_up(place.kafka, topic), CATCH_UP_SECONDS, "the baseline to handle what is left")
        ends = {(item.topic, item.partition): item.end for item in _positions(place.kafka, topic)}
        members.stop_all()
        found = verdict(read(folder), ends)
    calm_lives = tuple(life for life in lives if life.gone < calm_until)
    return Outcome(found, tuple(lives), calm_lives, members.kills, members.crashes)


def _live_through(place: Place, trial: Trial, topic: str, members: Crew, forks: list[Fork]) -> tuple[list[Life], float]:
    """Until all records are written; returns all lives, and when members were killed from."""
    done = threading.Event()
    calm_until = time.monotonic() + trial.calm if trial.calm is not None else float("inf")
    with (
        ThreadPoolExecutor(len(forks) + 1) as pool,
        producing(place.kafka.bootstrap, topic, trial.records, trial.rate) as producer,
    ):
        work: list[Future[list[Life]]] = []
        try:
            work += [pool.submit(fork.come_and_go, trial.seed + n, done) for n, fork in enumerate(forks)]
            killing = pool.submit(_kill_from, calm_until, members, trial.seed, done)
            while producer.poll() is None and not killing.done() and not any(item.done() for item in work):
                time.sleep(0.2)
        finally:
            done.set()
        lives = [life for item in work for life in item.result()]
        killing.result()
        if producer.wait() != 0:
            raise AssertionError("the producer says above why it failed")
    return lives, calm_until


def _kill_from(moment: float, members: Crew, seed: int, until: threading.Event) -> None:
    if not until.wait(min(moment - time.monotonic(), threading.TIMEOUT_MAX)):
        kill_on_and_on(members, seed, until)


@contextmanager
def prepared(place: Place, name: str, coordination: Coordination) -> Iterator[str]:
    """A topic and a KafkaConsumer of it, of which topic, Deployment and group have one name; all go in the end."""
    workload = f"handoff-{name}"
    place.kafka.delete_topic(workload)
    _delete_groups(place.kafka, workload)
    place.kafka.create_topic(workload, PARTITIONS)
    for resource, obj in ((DEPLOYMENTS, _deployment(workload)), (KAFKA_CONSUMERS, _consumer(workload, coordination))):
        place.cluster.apply(resource, obj)
    try:
        yield workload
    finally:
        place.cluster.delete(KAFKA_CONSUMERS, NAMESPACE, workload)
        place.cluster.delete(DEPLOYMENTS, NAMESPACE, workload)
        _delete_groups(place.kafka, workload)
        place.kafka.delete_topic(workload)


def posts(place: Place, trial: Trial, topic: str, version: str, members: int) -> tuple[Post, ...]:
    """The posts of a version's members; the baseline's group has the name of the topic."""
    group = topic if version == BASELINE else _fork_group(topic, version)
    return tuple(
        Post(
            version,
            number,
            bootstrap=place.kafka.bootstrap,
            group=group,
            topic=topic,
            mapping_url=place.mapping_url,
            consumer=f"{NAMESPACE}/{topic}",
            folder=str(place.folder / trial.name),
            lag=trial.lag,
        )
        for number in range(members)
    )


def has_joined(kafka: Kafka, group: str, members: int = BASELINE_MEMBERS) -> bool:
    """Whether a group has all its members."""
    found = kafka.group(group)
    return found is not None and found.state == "Stable" and found.members == members


def _fork(place: Place, trial: Trial, topic: str, members: Crew, tenant: str) -> Fork:
    return Fork(
        place.cluster,
        members,
        consumer=topic,
        tenant=tenant,
        group=_fork_group(topic, tenant),
        topic=topic,
        coordination=trial.coordination,
        poll_interval=POLL_INTERVAL,
        posts=posts(place, trial, topic, tenant, FORK_MEMBERS[tenant]),
    )


def _fork_group(group: str, tenant: str) -> str:
    return fork_group(DEFAULT_GROUP_NAME, group=group, namespace=NAMESPACE, sandbox=tenant)


def _positions(kafka: Kafka, group: str) -> tuple[Position, ...]:
    found = kafka.group(group)
    return found.positions if found is not None else ()


def _has_caught_up(kafka: Kafka, group: str) -> bool:
    positions = _positions(kafka, group)
    return len(positions) == PARTITIONS and all(item.committed == item.end for item in positions)


def _delete_groups(kafka: Kafka, workload: str) -> None:
    kafka.delete_groups({name for name in kafka.group_names() if name.startswith(workload)})


def _deployment(name: str) -> Object:
    """The baseline as the cluster knows it; its members are no pods."""
    labels = {"app": name}
    container = {"name": "app", "image": "registry.k8s.io/pause:3.10"}
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _consumer(name: str, coordination: Coordination) -> Object:
    return {
        "apiVersion": KAFKA_CONSUMERS.api_version,
        "kind": KAFKA_CONSUMERS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "cluster": KAFKA_CLUSTER,
            "deployment": name,
            "group": name,
            "topics": [name],
            "groupEnv": {"name": "KAFKA_GROUP_ID"},
            "coordination": coordination,
            "pollInterval": POLL_INTERVAL,
        },
    }
