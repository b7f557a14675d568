"""What SandboxConsumer costs beside a plain `confluent_kafka.Consumer` that runs the very same loop on the same topic.

Each round reads a prefilled topic to its end in turns, plain and under Sidestream, so that whatever else slows the
machine meets both. Under Sidestream the consumer is a baseline, in three cases:

- skip: every record is of a tenant that a fork takes. The plain loop is given each record and only counts it;
- skip_own_commits: the same where the application commits, so that the SDK keeps account of skipped records;
- json: no record is of a forked tenant, and the loop decodes each as JSON. Headers must be read all the same.

A ratio is the throughput of SandboxConsumer over the plain one's, the median over the rounds, of the slower of the
loops by `poll` and by `consume`. `added_us` is processor time of the thread that reads, a record, at the worst case.
For a fair comparison librdkafka must not pause the fetch for a second when its queue is full (QUEUE_BACKOFF_MS).
"""

import json
import statistics
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Message
from rich.console import Console

from bench.loops import BATCH, LOOPS, Cost, Handle, cost_of
from bench.mapping_process import served
from bench.report import Figure, Report, conditions, versions
from bench.topic import PARTITIONS, TENANTS, VALUE_BYTES, Topic, filled_topic
from sidestream_demo.environment import Environment
from sidestream_demo.errors import DemoError
from sidestream_demo.kafka import Kafka
from sidestream_sdk import MappingClient, SandboxConsumer

ROUNDS = 7
SKIP_LIMIT = 0.8
JSON_LIMIT = 0.95
ADDED_LIMIT_US = 1.0
POLL_INTERVAL_SECONDS = 1.0
QUEUE_BACKOFF_MS = 1
"""By default librdkafka stops fetching for a second when its queue is full. Whether a run met none, one or two of these
pauses would decide its throughput, and hide what either consumer costs."""


def decode(message: Message) -> object:
    """The handler of an application that does nothing but look at its record."""
    return json.loads(message.value() or b"")


@dataclass(frozen=True)
class Case:
    """What the mapping claims (`forked` keys), what the loop does with a record, how the consumer is configured."""

    forked: tuple[str, ...]
    handle: Handle | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skips(self) -> bool:
        """Whether SandboxConsumer gives the loop nothing; else it gives it everything."""
        return self.handle is None


CASES = {
    "skip": Case(TENANTS),
    "skip_own_commits": Case(TENANTS, config={"enable.auto.commit": False}),
    "json": Case(tuple(f"other-{tenant}" for tenant in TENANTS), decode),
}

Key = tuple[str, str]
"""A case and a loop, by their names."""


@dataclass(frozen=True)
class Pair:
    """One round of one case and loop."""

    plain: Cost
    sandbox: Cost

    @property
    def ratio(self) -> float:
        """How the throughputs compare: 1 is as fast as plain."""
        return self.plain.seconds / self.sandbox.seconds


Runs = Mapping[Key, list[Pair]]


def measure(environment: Environment, console: Console) -> Report:
    """Fill a topic, read it over and over, and take it away again."""
    kafka = Kafka(environment.kafka_bootstrap)
    with environment.cluster() as cluster:
        about = {**versions(cluster), **client_versions()}
        around = conditions(cluster, environment)
    name = f"sidestream-bench-{uuid.uuid4().hex[:8]}"
    console.print("Filling a topic (about 20 s) ...")
    with filled_topic(kafka, name) as topic:
        runs = take_turns(topic, console)
    kafka.delete_groups({group for group in kafka.group_names() if group.startswith(name)})
    around |= {
        "records": topic.records,
        "value bytes": VALUE_BYTES,
        "partitions": PARTITIONS,
        "batch": BATCH,
        "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
        "poll interval": f"{POLL_INTERVAL_SECONDS:.0f}s",
    }
    return Report("sdk", figures(runs, topic.records), about, around)


def client_versions() -> dict[str, str]:
    """Of the Kafka client, which has the largest part in either loop."""
    return {"confluent-kafka": version("confluent-kafka"), "librdkafka": str(confluent_kafka.libversion()[0])}


def take_turns(topic: Topic, console: Console, rounds: int = ROUNDS) -> Runs:
    """Read the topic in every case by every loop, plain and under Sidestream, `rounds` times."""
    runs: dict[Key, list[Pair]] = defaultdict(list)
    with ExitStack() as stack:
        identities = stack.enter_context(served({name: _mapping(case, topic) for name, case in CASES.items()}))
        clients = {name: MappingClient(identity) for name, identity in identities.items()}
        for name, client in clients.items():
            stack.callback(client.close)
            client.start()
            if not client.wait_until_loaded(30):
                raise DemoError(f"The mapping of {name} could not be read from {client.identity.url}")
        # The first round warms up caches that no later one has to fill.
        for number in range(rounds + 1):
            told = []
            for name, case in CASES.items():
                for loop in LOOPS:
                    pair = _read_twice(case, loop, topic, clients[name], sandbox_first=number % 2 == 1)
                    told.append(f"{name}/{loop} {pair.ratio:.2f}")
                    if number > 0:
                        runs[name, loop].append(pair)
            note = "  (warming up, not counted)" if number == 0 else ""
            console.print(f"  round {number} of {rounds}: {'  '.join(told)}{note}")
    return runs


def figures(runs: Runs, records: int) -> dict[str, Figure]:
    """The ratios and costs of these runs, those with limits first."""
    ratio = {key: statistics.median(pair.ratio for pair in pairs) for key, pairs in runs.items()}
    added = {
        key: statistics.median(
            _microseconds(pair.sandbox, records) - _microseconds(pair.plain, records) for pair in pairs
        )
        for key, pairs in runs.items()
    }
    worst = {name: min(ratio[name, loop] for loop in LOOPS) for name in CASES}
    return {
        "skip_ratio": Figure(round(worst["skip"], 3), "times plain", at_least=SKIP_LIMIT),
        "json_handler_ratio": Figure(round(worst["json"], 3), "times plain", at_least=JSON_LIMIT),
        "added_us": Figure(round(max(added.values()), 3), "us a record", ADDED_LIMIT_US),
        **{f"{name}_{loop}_ratio": Figure(round(ratio[name, loop], 3), "times plain") for name, loop in runs},
        **{f"{name}_{loop}_added_us": Figure(round(added[name, loop], 3), "us a record") for name, loop in runs},
        **{
            f"{name}_{loop}_plain_per_s": Figure(
                round(statistics.median(records / pair.plain.seconds for pair in pairs)), "records/s"
            )
            for (name, loop), pairs in runs.items()
        },
        **{
            f"{name}_{loop}_plain_us": Figure(
                round(statistics.median(_microseconds(pair.plain, records) for pair in pairs), 3), "us a record"
            )
            for (name, loop), pairs in runs.items()
        },
        **{
            f"{name}_{loop}_ratios": Figure([round(pair.ratio, 3) for pair in pairs], "times plain")
            for (name, loop), pairs in runs.items()
        },
        "rounds": Figure(len(next(iter(runs.values()))), ""),
    }


def _read_twice(case: Case, loop: str, topic: Topic, client: MappingClient, *, sandbox_first: bool) -> Pair:
    makers: dict[str, Callable[[dict[str, Any]], Consumer]] = {
        "plain": Consumer,
        "sandbox": lambda config: SandboxConsumer(config, mapping=client),
    }
    costs: dict[str, Cost] = {}
    for side in sorted(makers, reverse=sandbox_first):
        config = {
            "bootstrap.servers": topic.bootstrap,
            "group.id": f"{topic.name}-{side}",
            "enable.partition.eof": True,
            "log_level": 2,
            "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
            **case.config,
        }
        costs[side] = cost_of(LOOPS[loop], makers[side](config), topic, case.handle)
        expected = 0 if side == "sandbox" and case.skips else topic.records
        if costs[side].given != expected:
            raise DemoError(f"The {side} consumer gave {costs[side].given} records instead of {expected}")
    return Pair(costs["plain"], costs["sandbox"])


def _microseconds(cost: Cost, records: int) -> float:
    return cost.cpu_seconds / records * 1e6


def _mapping(case: Case, topic: Topic) -> dict[str, Any]:
    return {
        "consumer": "bench/reader",
        "header": {"mode": "baggage", "baggageKey": "tenant", "baggageKeys": ["tenant"], "name": "x-tenant-id"},
        "pollIntervalSeconds": POLL_INTERVAL_SECONDS,
        "topics": {
            topic.name: {
                "group": f"{topic.name}-sandbox",
                "changes": [
                    {
                        "id": key,
                        "sandbox": key,
                        "keys": [key],
                        "group": f"{topic.name}-sandbox.sbx.{key}",
                        "phase": "Active",
                    }
                    for key in case.forked
                ],
            }
        },
    }
