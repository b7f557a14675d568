"""What a thousand tenants cost requests that name none: through a real proxy, beside a host that has no tenants.

All hosts lead to the same backend by Services of their own. Every tenant of a host has the same fork, so that there are
a thousand rules and not a thousand clusters. Requests to all hosts take turns over connections that are kept.
"""

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from bench.handoff.verdict import percentile
from bench.report import Figure
from bench.routing.pods import BACKEND, BASELINE, CLIENT, FORK, PORT, Pods, Request
from bench.routing.population import tenant_name
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.port import INGRESS_ROUTES, Object
from sidestream.routing.checks.findings import READS
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.proof import PROBE_HEADER, PROBE_METHOD, PROBE_PATH, hash_told
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.provider import Part, Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.store import RoutingStore
from sidestream.routing.table import StandIn, Tenant
from sidestream.runtime.clock import SystemClock
from sidestream_demo.errors import DemoError
from sidestream_demo.process import wait_until

FORK_SERVICE = "everybodys-fork"
QUIET, ALSO_QUIET, QUIET_AT_TRAEFIK = "quiet", "also-quiet", "quiet-traefik"
ROUNDS, WARM_UP = 4000, 500
RATIO_LIMIT = 1.1
BAGGAGE_BYTES = 300
PROOF_SECONDS = 120.0
_WRITERS = 8
DOMAIN = "bench.example"
"""Of the hosts that IngressRoutes are for."""

Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Way:
    """One way to route tenants: the Service that has them, and whether the ratio is to keep its limit.

    `kind` says whether requests come through the client's sidecar or by an IngressRoute of Traefik's.
    """

    name: str
    host: str
    provider: Provider
    tenant_header: str
    has_limit: bool
    kind: EntryKind = EntryKind.MESH

    @property
    def quiet(self) -> str:
        """The Service without tenants to compare with."""
        return QUIET if self.kind is EntryKind.MESH else QUIET_AT_TRAEFIK

    @property
    def client(self) -> str:
        """From whose pod requests are sent: those to Traefik from where no sidecar is in their way."""
        return CLIENT if self.kind is EntryKind.MESH else BACKEND


EXACT = HeaderSettings(mode=HeaderMode.EXACT)
WAYS = (
    Way("virtualservice", "crowded-vs", VirtualServiceProvider(HeaderSettings()), "baggage", has_limit=True),
    Way("httproute", "crowded-route", HTTPRouteProvider(HeaderSettings()), "baggage", has_limit=False),
    Way("virtualservice_exact", "crowded-exact", VirtualServiceProvider(EXACT), EXACT.name, has_limit=True),
)
"""HTTPRoutes cannot say "names no tenant": their requests walk past all tenants' rules; the number is as it is."""
AT_TRAEFIK = Way(
    "traefik",
    "crowded-traefik",
    IngressRouteProvider(HeaderSettings()),
    "baggage",
    has_limit=True,
    kind=EntryKind.INGRESS_ROUTE,
)
TRAEFIK = ServiceHost("traefik", "traefik")


def measure(pods: Pods, tenants: int, rounds: int, console: Console, *, has_traefik: bool) -> dict[str, Figure]:
    """Bring all ways about and compare; what was written stays in the namespace."""
    pods.start()
    pods.serve(FORK_SERVICE, FORK)
    for service in (QUIET, ALSO_QUIET, *(way.host for way in WAYS)):
        pods.serve(service, BASELINE)
    if has_traefik:
        for service in (QUIET_AT_TRAEFIK, AT_TRAEFIK.host):
            pods.serve(service, BASELINE)
            pods.cluster.apply(INGRESS_ROUTES, _ingress_route(pods, service))
    for way in (*WAYS, *([AT_TRAEFIK] if has_traefik else [])):
        console.print(f"  {way.name}: {tenants} tenants on {way.host} ...")
        _bring_about(pods, way, tenants)
    hosts = [QUIET, ALSO_QUIET, *(way.host for way in WAYS)]
    asked = [_at_mesh(pods, host, _BASELINES) for host in hosts]
    times = dict(zip(hosts, pods.times(asked, rounds, WARM_UP), strict=True))
    if has_traefik:
        hosts = [QUIET_AT_TRAEFIK, AT_TRAEFIK.host]
        asked = [_at_traefik(host, _BASELINES) for host in hosts]
        times |= dict(zip(hosts, pods.times(asked, rounds, WARM_UP, client=BACKEND), strict=True))
    return dict(figures(times))


def baggage(size: int = BAGGAGE_BYTES) -> str:
    """So many bytes of other members, as tracing puts them there."""
    members: list[str] = []
    number = 0
    while len(",".join(members)) < size:
        members.append(f"member-{number}=value-of-some-length-{number}")
        number += 1
    return ",".join(members)[:size]


_BASELINES: Lines = (("baggage", baggage()),)


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
        entry = way.provider.entry(EntryKey(way.kind, pods.namespace, way.host), store)
        if entry is None:
            raise DemoError(f"The cluster cannot route by {way.provider.name}.")
        everybody = [Tenant(tenant_name(number), (StandIn(host, fork),)) for number in range(tenants)]
        rendered = way.provider.render(entry, everybody, store)
        watching.cancel()
    return rendered.parts


def _are_proven(pods: Pods, way: Way, parts: Sequence[Part]) -> bool:
    probes = [part.probe for part in parts if part.probe is not None]
    if not probes:
        return True
    asked = [
        replace(_to(pods, way, ((PROBE_HEADER, probe.name),)), method=PROBE_METHOD, path=PROBE_PATH) for probe in probes
    ]
    told = [hash_told({"location": item["location"]}, item["body"]) for item in pods.ask(asked, client=way.client)]
    return told == [probe.config_hash for probe in probes]


def _check(pods: Pods, way: Way, tenants: int) -> None:
    """A benchmark of rules that do nothing would tell nothing."""
    some = [(_of_tenant(way, tenant_name(number)),) for number in (0, tenants // 2, tenants - 1)]
    asked = [_to(pods, way, lines) for lines in (_BASELINES, *some)]
    answers = [item["body"] for item in pods.ask(asked, client=way.client)]
    if answers != [BASELINE, FORK, FORK, FORK]:
        raise DemoError(f"{way.name} routes wrongly: {answers}")


def _to(pods: Pods, way: Way, lines: Lines) -> Request:
    return _at_mesh(pods, way.host, lines) if way.kind is EntryKind.MESH else _at_traefik(way.host, lines)


def _at_mesh(pods: Pods, service: str, lines: Lines) -> Request:
    return Request(pods.host(service), lines)


def _at_traefik(service: str, lines: Lines) -> Request:
    return Request(f"{service}.{DOMAIN}", lines, address=TRAEFIK.fqdn)


def _of_tenant(way: Way, tenant: str) -> tuple[str, str]:
    return (
        ("baggage", f"{baggage()},tenant={tenant}") if way.tenant_header == "baggage" else (way.tenant_header, tenant)
    )


def _ingress_route(pods: Pods, service: str) -> Object:
    rule = {
        "kind": "Rule",
        "match": f"Host(`{service}.{DOMAIN}`)",
        "services": [{"name": service, "port": PORT}],
    }
    return {
        "apiVersion": INGRESS_ROUTES.api_version,
        "kind": INGRESS_ROUTES.kind,
        "metadata": {"name": service, "namespace": pods.namespace},
        "spec": {"entryPoints": ["web"], "routes": [rule]},
    }


def figures(times: dict[str, list[int]]) -> Iterator[tuple[str, Figure]]:
    """What is told of the microseconds at each host."""
    for way in (*WAYS, AT_TRAEFIK):
        if way.host not in times:
            continue
        quiet = statistics.median(times[way.quiet])
        median = statistics.median(times[way.host])
        limit = RATIO_LIMIT if way.has_limit else None
        yield f"median_ratio_1000_tenants_{way.name}", Figure(round(median / quiet, 3), "times no tenants", limit)
        yield f"{way.name}_added_us", Figure(round(median - quiet, 1), "us, median")
        yield f"{way.name}_p99_us", Figure(percentile(times[way.host], 99), "us")
    quiet = statistics.median(times[QUIET])
    control = statistics.median(times[ALSO_QUIET])
    yield "control_ratio", Figure(round(control / quiet, 3), "of two hosts without tenants")
    yield "quiet_us", Figure(quiet, "us, median")
    yield "quiet_p99_us", Figure(percentile(times[QUIET], 99), "us")
    yield "requests", Figure(len(times[QUIET]), "to each host")
