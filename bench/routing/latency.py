"""What a thousand tenants cost requests that name none: through a real sidecar, beside a host that has no tenants.

All hosts lead to the same backend by Services of their own. Every tenant of a host has the same fork, so that there are
a thousand rules and not a thousand clusters. Requests to all hosts take turns over connections that are kept.
"""

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from bench.handoff.verdict import percentile
from bench.report import Figure
from bench.routing.pods import BASELINE, FORK, Pods, Request
from bench.routing.population import tenant_name
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.client import connect
from sidestream.routing.checks.findings import READS
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.proof import PROBE_HEADER, PROBE_METHOD, PROBE_PATH, hash_in, hash_in_redirect
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.provider import Part, Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.store import RoutingStore
from sidestream.routing.table import StandIn, Tenant
from sidestream.runtime.clock import SystemClock
from sidestream_demo.errors import DemoError
from sidestream_demo.process import wait_until

FORK_SERVICE = "everybodys-fork"
QUIET, ALSO_QUIET = "quiet", "also-quiet"
ROUNDS, WARM_UP = 4000, 500
RATIO_LIMIT = 1.1
BAGGAGE_BYTES = 300
PROOF_SECONDS = 120.0
_WRITERS = 8


@dataclass(frozen=True)
class Way:
    """One way to route tenants: the host that has them, and whether the ratio is to keep its limit."""

    name: str
    host: str
    provider: Provider
    tenant_header: str
    has_limit: bool


EXACT = HeaderSettings(mode=HeaderMode.EXACT)
WAYS = (
    Way("virtualservice", "crowded-vs", VirtualServiceProvider(HeaderSettings()), "baggage", has_limit=True),
    Way("httproute", "crowded-route", HTTPRouteProvider(HeaderSettings()), "baggage", has_limit=False),
    Way("virtualservice_exact", "crowded-exact", VirtualServiceProvider(EXACT), EXACT.name, has_limit=False),
)
"""HTTPRoutes cannot say "no tenant": their requests walk past all tenants' rules, and the number is given as it is."""


def measure(pods: Pods, tenants: int, rounds: int, console: Console) -> dict[str, Figure]:
    """Bring all ways about and compare; what was written stays in the namespace."""
    pods.start()
    pods.serve(FORK_SERVICE, FORK)
    for service in (QUIET, ALSO_QUIET, *(way.host for way in WAYS)):
        pods.serve(service, BASELINE)
    for way in WAYS:
        console.print(f"  {way.name}: {tenants} tenants on {way.host} ...")
        _bring_about(pods, way, tenants)
    hosts = [QUIET, ALSO_QUIET, *(way.host for way in WAYS)]
    times = pods.times([_baseline(pods, host) for host in hosts], rounds, WARM_UP)
    return dict(figures(dict(zip(hosts, times, strict=True))))


def baggage(size: int = BAGGAGE_BYTES) -> str:
    """So many bytes of other members, as tracing puts them there."""
    members: list[str] = []
    number = 0
    while len(",".join(members)) < size:
        members.append(f"member-{number}=value-of-some-length-{number}")
        number += 1
    return ",".join(members)[:size]


def _bring_about(pods: Pods, way: Way, tenants: int) -> None:
    parts = asyncio.run(_rendered(pods, way, tenants))
    for stage in sorted({part.stage for part in parts}):
        due = [part for part in parts if part.stage == stage]
        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(lambda part: pods.cluster.apply(part.resource, part.obj), due))
        wait_until(partial(_are_proven, pods, way, due), PROOF_SECONDS, f"the sidecar to have {way.name}")
    _check(pods, way, tenants)


async def _rendered(pods: Pods, way: Way, tenants: int) -> Sequence[Part]:
    host, fork = (ServiceHost(pods.namespace, name) for name in (way.host, FORK_SERVICE))
    async with connect(str(pods.cluster.kubeconfig)) as api:
        store = RoutingStore(api, SystemClock(), (way.provider,), extra=READS)
        watching = asyncio.create_task(store.run(lambda _: None))
        await store.wait_until_complete()
        entry = way.provider.entry(EntryKey(EntryKind.MESH, pods.namespace, way.host), store)
        if entry is None:
            raise DemoError(f"The cluster cannot route by {way.provider.name}.")
        everybody = [Tenant(tenant_name(number), (StandIn(host, fork),)) for number in range(tenants)]
        rendered = way.provider.render(entry, everybody, store)
        watching.cancel()
    return rendered.parts


def _are_proven(pods: Pods, way: Way, parts: Sequence[Part]) -> bool:
    probes = [part.probe for part in parts if part.probe is not None]
    asked = [Request(pods.host(way.host), ((PROBE_HEADER, probe.name),), PROBE_METHOD, PROBE_PATH) for probe in probes]
    told = [hash_in_redirect(item["location"]) or hash_in(item["body"]) for item in pods.ask(asked)]
    return told == [probe.config_hash for probe in probes]


def _check(pods: Pods, way: Way, tenants: int) -> None:
    """A benchmark of rules that do nothing would tell nothing."""
    of_tenants = [_of_tenant(pods, way, number) for number in (0, tenants // 2, tenants - 1)]
    answers = [item["body"] for item in pods.ask([_baseline(pods, way.host), *of_tenants])]
    if answers != [BASELINE, FORK, FORK, FORK]:
        raise DemoError(f"{way.name} routes wrongly: {answers}")


def _baseline(pods: Pods, service: str) -> Request:
    return Request(pods.host(service), (("baggage", baggage()),))


def _of_tenant(pods: Pods, way: Way, number: int) -> Request:
    value = tenant_name(number)
    line = ("baggage", f"{baggage()},tenant={value}") if way.tenant_header == "baggage" else (way.tenant_header, value)
    return Request(pods.host(way.host), (line,))


def figures(times: dict[str, list[int]]) -> Iterator[tuple[str, Figure]]:
    """What is told of the microseconds at each host."""
    quiet = statistics.median(times[QUIET])
    for way in WAYS:
        median = statistics.median(times[way.host])
        limit = RATIO_LIMIT if way.has_limit else None
        yield f"median_ratio_1000_tenants_{way.name}", Figure(round(median / quiet, 3), "times no tenants", limit)
        yield f"{way.name}_added_us", Figure(round(median - quiet, 1), "us, median")
        yield f"{way.name}_p99_us", Figure(percentile(times[way.host], 99), "us")
    control = statistics.median(times[ALSO_QUIET])
    yield "control_ratio", Figure(round(control / quiet, 3), "of two hosts without tenants")
    yield "quiet_us", Figure(quiet, "us, median")
    yield "quiet_p99_us", Figure(percentile(times[QUIET], 99), "us")
    yield "requests", Figure(len(times[QUIET]), "to each host")
