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
from sidestream.kube.port import NAMESPACES
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment, program
from sidestream_demo.release import Release

NAMESPACE = "sidestream-bench-routing"
RECONCILED = ("VirtualService", "HTTPRoute")
RECONCILE_LIMIT_MS = 100.0
RECONCILE_ROUNDS = 30


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
            figures = _latency(cluster, images["operator"], options, console)
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


def _latency(cluster: Cluster, image: str, options: Options, console: Console) -> dict[str, Figure]:
    with namespace(cluster, NAMESPACE):
        _put_in_mesh(cluster)
        return latency.measure(Pods(cluster, image, NAMESPACE), options.tenants, options.requests, console)


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
