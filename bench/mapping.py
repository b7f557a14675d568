"""How soon consumers learn of a change: from the API server's answer to a write until each has the new mapping.

One replica of the mapping service runs as a process of its own against the cluster's API server, and so do the
consumers, all of one Deployment, so that every change is for all of them. Each round turns the phase of one KafkaRoute.
A third process measures the memory that many objects take; it needs no cluster.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.process import cpu_seconds, resident_bytes
from bench.replica import Pollers, Replica, pollers, replica
from bench.report import Figure, Report, conditions, versions
from bench.stage import definitions, namespace, refuse_release
from sidestream.kube.client import connect
from sidestream.kube.port import KAFKA_CONSUMERS, KAFKA_ROUTES, Object
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment
from sidestream_demo.process import run

CONSUMERS = 500
ROUNDS = 40
WARMING_UP = 3
P99_LIMIT_MS = 250.0
SECONDS = 60.0
FLEET = (1000, 20, 100)
"""Consumers, tenants of each, partitions of each, whose memory is measured."""

NAMESPACE = "sidestream-bench"
DEPLOYMENT = "fulfilment"
MANAGER = "sidestream-bench"
PHASES = ("Active", "Draining")
KILOBYTE = 1024
MEGABYTE = KILOBYTE * KILOBYTE


@dataclass
class Taken:
    """What the rounds gave: milliseconds from the write's answer to each receipt, and of each write itself."""

    receipts: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    resident_bytes: int = 0


def measure(environment: Environment, console: Console) -> Report:
    """Measure, and leave the cluster as it was."""
    with environment.cluster() as cluster:
        refuse_release(cluster)
        around = conditions(cluster, environment)
        console.print(f"Measuring the memory of {' x '.join(map(str, FLEET))} objects (about 10 s) ...")
        fleet = json.loads(run([sys.executable, "-m", "bench.fleet", *map(str, FLEET)]))
        console.print(f"Starting one replica and {CONSUMERS} consumers ...")
        with definitions(cluster), _objects(cluster), replica(environment.kubeconfig) as service:
            url = f"{service.url}/v1/consumers/{NAMESPACE}/{DEPLOYMENT}"
            with pollers(url, CONSUMERS) as consumers:
                taken = asyncio.run(_take_rounds(environment.kubeconfig, service, consumers))
        return Report("mapping", {**_figures(taken), **_fleet_figures(fleet)}, versions(cluster), around)


async def _take_rounds(kubeconfig: Path, service: Replica, consumers: Pollers) -> Taken:
    taken = Taken()
    consumers.moments(SECONDS)
    async with connect(str(kubeconfig)) as api:
        before = 0.0
        for number in range(WARMING_UP + ROUNDS):
            service.wait_for_waiters(CONSUMERS, SECONDS)
            if number == WARMING_UP:
                taken = Taken()
                before = cpu_seconds(service.pid)
            begin = time.monotonic()
            await api.apply_status(KAFKA_ROUTES, _route(PHASES[number % len(PHASES)]), manager=MANAGER)
            acknowledged = time.monotonic()
            moments = consumers.moments(SECONDS)
            taken.receipts += [(moment - acknowledged) * 1000 for moment in moments]
            taken.writes.append((acknowledged - begin) * 1000)
        service.wait_for_waiters(CONSUMERS, SECONDS)
        taken.cpu_seconds = cpu_seconds(service.pid) - before
        taken.resident_bytes = resident_bytes(service.pid)
    return taken


def _figures(taken: Taken) -> dict[str, Figure]:
    cuts = statistics.quantiles(taken.receipts, n=100)
    return {
        "p99_ms": Figure(round(cuts[98], 1), "ms", P99_LIMIT_MS),
        "p50_ms": Figure(round(cuts[49], 1), "ms"),
        "max_ms": Figure(round(max(taken.receipts), 1), "ms"),
        "write_p50_ms": Figure(round(statistics.median(taken.writes), 1), "ms, the API server's answer"),
        "cpu_s_per_change": Figure(round(taken.cpu_seconds / ROUNDS, 4), "s, waiting anew included"),
        "rss_mb": Figure(round(taken.resident_bytes / MEGABYTE, 1), "MiB, all consumers waiting"),
        "consumers": Figure(CONSUMERS, ""),
        "rounds": Figure(ROUNDS, ""),
        "receipts": Figure(len(taken.receipts), ""),
    }


def _fleet_figures(fleet: dict[str, float]) -> dict[str, Figure]:
    return {
        "fleet": Figure(" x ".join(map(str, FLEET)), "consumers x tenants x partitions"),
        "fleet_rss_mb": Figure(round(fleet["after_bytes"] / MEGABYTE, 1), "MiB, the whole process"),
        "fleet_answer_kb": Figure(round(fleet["answer_bytes"] / KILOBYTE, 1), "KiB, one answer"),
        "fleet_answers_s": Figure(round(fleet["answers_seconds"], 3), "s, making every answer once"),
    }


@contextmanager
def _objects(cluster: Cluster) -> Iterator[None]:
    """A consumer with one fork, in a namespace of their own."""
    with namespace(cluster, NAMESPACE):
        cluster.apply(KAFKA_CONSUMERS, _consumer())
        cluster.apply(KAFKA_ROUTES, _route())
        yield


def _consumer() -> Object:
    return {
        "apiVersion": KAFKA_CONSUMERS.api_version,
        "kind": KAFKA_CONSUMERS.kind,
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "cluster": "main",
            "deployment": DEPLOYMENT,
            "group": DEPLOYMENT,
            "topics": ["orders.created"],
            "groupEnv": {"name": "KAFKA_GROUP_ID"},
            "pollInterval": "1h",
        },
    }


def _route(phase: str = "") -> Object:
    """The fork as it is made, or its status in this phase."""
    name = f"{DEPLOYMENT}-alice"
    about: Object = {
        "apiVersion": KAFKA_ROUTES.api_version,
        "kind": KAFKA_ROUTES.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    if phase:
        return {**about, "status": {"phase": phase}}
    spec = {
        "sandbox": "alice",
        "consumer": DEPLOYMENT,
        "cluster": "main",
        "deployment": DEPLOYMENT,
        "fork": name,
        "baselineGroup": DEPLOYMENT,
        "forkGroup": f"{DEPLOYMENT}.sbx.alice",
        "topics": ["orders.created"],
        "keys": ["alice"],
        "pollInterval": "1h",
    }
    return {**about, "spec": spec}
