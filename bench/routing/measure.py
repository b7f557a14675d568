"""What routing costs: tenants to requests through proxies and to the operator, and how soon a Sandbox is routed.

The first needs the cluster for itself, without an operator; the second is a process of its own; the third installs the
operator as users do.
"""

import json
import subprocess
import sys
from dataclasses import dataclass

from rich.console import Console

from bench.report import Figure, Report, conditions, versions
from bench.routing import arrivals, latency
from bench.routing.pods import Pods
from bench.stage import definitions, namespace, refuse_release
from sidestream.kube.port import DEPLOYMENTS, NAMESPACES
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment, program
from sidestream_demo.process import run
from sidestream_demo.release import REPOSITORY, Release

NAMESPACE = "sidestream-bench-routing"
RECONCILED = ("VirtualService", "HTTPRoute")
RECONCILE_LIMIT_MS = 100.0
RECONCILE_ROUNDS = 30
_TRAEFIK_SECONDS = 1800.0


@dataclass(frozen=True)
class Options:
    """How large the benchmark is."""

    tenants: int = 1000
    requests: int = latency.ROUNDS
    sandboxes: int = 100


def measure(environment: Environment, console: Console, options: Options = Options()) -> Report:
    """Go through all parts, and leave the cluster as it was."""
    with environment.cluster() as cluster:
        refuse_release(cluster)
        about, around = versions(cluster), conditions(cluster, environment)
        images = environment.images()
        with definitions(cluster):
            has_traefik = _bring_traefik(environment, cluster, console)
            figures = _latency(cluster, images["operator"], options, console, has_traefik=has_traefik)
        for provider in RECONCILED:
            console.print(f"  {provider}: what one tenant more of {options.tenants} costs the operator ...")
            figures |= reconcile_figures(provider, options.tenants, RECONCILE_ROUNDS)
        figures |= _arrivals(cluster, images["operator"], options, console)
    around |= {"tenants": options.tenants, "baggage bytes": latency.BAGGAGE_BYTES}
    return Report("routing", figures, about, around)


def reconcile_figures(provider: str, tenants: int, rounds: int) -> dict[str, Figure]:
    """CPU time and writes of the reconciler when a tenant comes."""
    command = [sys.executable, "-m", "bench.routing.reconcile", provider, str(tenants), str(rounds)]
    done = subprocess.run(command, capture_output=True, check=True)
    cost = json.loads(done.stdout)
    name = provider.lower()
    return {
        f"reconcile_cpu_ms_{name}": Figure(round(cost["cpu_ms"], 1), "ms of CPU, median", RECONCILE_LIMIT_MS),
        f"reconcile_cpu_max_ms_{name}": Figure(round(cost["cpu_max_ms"], 1), "ms of CPU"),
        f"reconcile_idle_ms_{name}": Figure(round(cost["idle_ms"], 1), "ms of CPU where nothing has changed"),
        f"route_writes_{name}": Figure(cost["route_writes"], "each time", 1),
        f"row_writes_{name}": Figure(cost["row_writes"], "of the Sandbox's status, each time"),
    }


def _bring_traefik(environment: Environment, cluster: Cluster, console: Console) -> bool:
    """Have Traefik in the lab; elsewhere it is measured where it is."""
    if environment.is_lab:
        console.print("  Traefik (minutes where it has to be built first) ...")
        run([str(REPOSITORY / "hack" / "lab"), "up", "--only", "traefik"], timeout=_TRAEFIK_SECONDS)
    return cluster.get(DEPLOYMENTS, latency.TRAEFIK.namespace, latency.TRAEFIK.name) is not None


def _latency(
    cluster: Cluster, image: str, options: Options, console: Console, *, has_traefik: bool
) -> dict[str, Figure]:
    with namespace(cluster, NAMESPACE):
        _put_in_mesh(cluster)
        pods = Pods(cluster, image, NAMESPACE)
        return latency.measure(pods, options.tenants, options.requests, console, has_traefik=has_traefik)


def _arrivals(cluster: Cluster, image: str, options: Options, console: Console) -> dict[str, Figure]:
    release = Release(cluster, program("helm"), image)
    release.install()
    try:
        with namespace(cluster, NAMESPACE):
            _put_in_mesh(cluster)
            return arrivals.measure(Pods(cluster, image, NAMESPACE), options.sandboxes, console)
    finally:
        release.uninstall()


def _put_in_mesh(cluster: Cluster) -> None:
    cluster.patch(NAMESPACES, "", NAMESPACE, {"metadata": {"labels": {"istio-injection": "enabled"}}})
