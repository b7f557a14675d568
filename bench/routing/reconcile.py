"""What one tenant more costs the operator: `python -m bench.routing.reconcile PROVIDER TENANTS ROUNDS` prints JSON.

A process of its own, so that its CPU time is that of the routing reconciler, its live copies and its client's coding of
JSON, and nothing else. The API server is in memory; its own work is left out. Proxies prove at once what is written.
"""

import asyncio
import json
import logging
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from bench.routing.memory import MemoryApi
from bench.routing.population import SERVICE, deployment, fork, sandbox, service
from sidestream.api.labels import PROVIDER
from sidestream.config import HeaderSettings
from sidestream.kube.events import EventRecorder
from sidestream.kube.port import DEPLOYMENTS, EVENTS, NAMESPACES, ROUTE_GROUPS, SANDBOXES, SERVICES, Object, Resource
from sidestream.routing.carriers import all_providers
from sidestream.routing.checks.findings import READS
from sidestream.routing.entries import Door, EntryKey, EntryKind
from sidestream.routing.proof import PROBE_HEADER, hash_in, hash_in_redirect
from sidestream.routing.reconcile import RoutingReconciler, Sight
from sidestream.routing.store import RoutingStore
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.memory import keep_many_objects

NAMESPACE = "bench"
KEY = EntryKey(EntryKind.MESH, NAMESPACE, SERVICE)


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds of each round, the most writes of any, and the milliseconds of a look that changes nothing."""

    cpu_ms: Sequence[float]
    route_writes: int
    row_writes: int
    idle_ms: float


class Proxies(MemoryApi):
    """The API server, and proxies that have at once what it gets; a `Prober`, too."""

    def __init__(self, *served: Resource) -> None:
        super().__init__(*served)
        self._answers: dict[str, str] = {}

    def put(self, resource: Resource, obj: Object) -> None:
        """See `MemoryApi.put`."""
        super().put(resource, obj)
        for rule in obj.get("spec", {}).get("http") or obj.get("spec", {}).get("rules") or ():
            self._learn(rule)

    async def ask(self, door: Door, name: str) -> tuple[str | None, ...]:
        """See `Prober.ask`."""
        del door
        return (self._answers.get(name),)

    def _learn(self, rule: Object) -> None:
        if "directResponse" in rule:
            found = hash_in(rule["directResponse"]["body"]["string"])
            name = rule["match"][0]["headers"][PROBE_HEADER]["exact"]
        else:
            redirects = [item["requestRedirect"] for item in rule.get("filters") or () if "requestRedirect" in item]
            found = hash_in_redirect(f"http://{redirects[0].get('hostname')}/") if redirects else None
            name = rule["matches"][0]["headers"][0]["value"] if found else ""
        if found:
            self._answers[name] = found


async def measure(provider: str, tenants: int, rounds: int) -> Cost:
    """Let tenants come one after the other to a Service that has so many."""
    async with _operator(provider, tenants) as (api, reconciler):
        await reconciler.reconcile(KEY)
        cpu_ms, writes = [], []
        # the first round fills memories that no later one has to
        for number in range(tenants, tenants + rounds + 1):
            _join(api, number)
            cpu_ms.append(await _cpu_ms(api, reconciler))
            writes.append(Counter(_kind(resource) for _, resource, _ in api.writes))
        idle_ms = await _cpu_ms(api, reconciler)
    found = writes[1:]
    return Cost(cpu_ms[1:], max(item["route"] for item in found), max(item["row"] for item in found), idle_ms)


@asynccontextmanager
async def _operator(provider: str, tenants: int) -> AsyncIterator[tuple[Proxies, RoutingReconciler]]:
    clock, providers = SystemClock(), all_providers(HeaderSettings())
    carried = {resource for item in providers for resource in (*item.reads, *item.writes)}
    api = Proxies(*{SANDBOXES, ROUTE_GROUPS, NAMESPACES, SERVICES, DEPLOYMENTS, *READS, *carried})
    _settle(api, provider, tenants)
    store = RoutingStore(api, clock, providers, extra=READS)
    watching = asyncio.create_task(store.run(lambda _: None))
    await store.wait_until_complete()
    sight = Sight(store, store.index, store, providers)
    try:
        yield api, RoutingReconciler(api, EventRecorder(api, clock), clock, sight, api)
    finally:
        watching.cancel()


async def _cpu_ms(api: Proxies, reconciler: RoutingReconciler) -> float:
    """From the news at the live copies until they have our own writes."""
    api.writes.clear()
    api.served_seconds = 0.0
    begin = time.process_time()
    await _let_watches_read()
    await reconciler.reconcile(KEY)
    await _let_watches_read()
    return (time.process_time() - begin - api.served_seconds) * 1000


async def _let_watches_read() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _settle(api: Proxies, provider: str, tenants: int) -> None:
    labels = {"istio-injection": "enabled"}
    api.put(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    baseline = service(NAMESPACE)
    baseline["metadata"]["annotations"] = {PROVIDER: provider}
    api.put(SERVICES, baseline)
    api.put(DEPLOYMENTS, {**deployment(NAMESPACE), "status": {"readyReplicas": 1}})
    for number in range(tenants):
        _join(api, number)


def _join(api: Proxies, number: int) -> None:
    stand_in, pods = fork(NAMESPACE, number)
    api.put(SANDBOXES, sandbox(NAMESPACE, number))
    api.put(SERVICES, stand_in)
    api.put(DEPLOYMENTS, {**pods, "status": {"readyReplicas": 1}})


def _kind(resource: Resource) -> str:
    if resource == SANDBOXES:
        return "row"
    return "event" if resource == EVENTS else "route"


def main() -> None:
    """Run the command line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    keep_many_objects()
    provider, tenants, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cost = asyncio.run(measure(provider, tenants, rounds))
    told = {
        "cpu_ms": statistics.median(cost.cpu_ms),
        "cpu_max_ms": max(cost.cpu_ms),
        "route_writes": cost.route_writes,
        "row_writes": cost.row_writes,
        "idle_ms": cost.idle_ms,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
