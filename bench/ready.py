"""How long a Sandbox takes from `apply` to Ready, beside the rollout of an equal Deployment in the same run.

Three things take turns in each round, so that whatever else slows the machine meets all of them:

- plain: a Deployment with the pod template of `orders`, until it is rolled out;
- http: a Sandbox that forks `orders`, until Ready: fork, Service, and the route proven in the mesh;
- kafka: a Sandbox that forks `fulfilment`, until Ready: also its group placed, its consumers joined.
"""

import statistics
import time
from collections.abc import Callable
from copy import deepcopy

from rich.console import Console

from bench.report import Figure, Report, conditions, versions
from bench.stage import installed_shop, live
from sidestream.kube.port import DEPLOYMENTS, PODS, Object
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment
from sidestream_demo.shop import NAMESPACE, is_rolled_out

ROUNDS = 7
SECONDS = 180.0
RATIO_LIMIT = 1.5
KAFKA_LIMIT_SECONDS = 2.0
PLAIN = "plain-orders"


def measure(environment: Environment, console: Console) -> Report:
    """Install Sidestream and the shop, take the times, and take the shop away again."""
    with installed_shop(environment, console, seconds=SECONDS) as shop:
        about, around = versions(shop.cluster), conditions(shop.cluster, environment)
        times = _take_turns(shop.cluster, console)
    return Report("ready", _figures(times), about, {**around, "poll interval": "1s"})


def _take_turns(cluster: Cluster, console: Console) -> dict[str, list[float]]:
    turns: dict[str, Callable[[Cluster], float]] = {"plain": _plain, "http": _http, "kafka": _kafka}
    times: dict[str, list[float]] = {name: [] for name in turns}
    # The first round warms up caches that no later one has to fill.
    for number in range(ROUNDS + 1):
        taken = {name: turn(cluster) for name, turn in turns.items()}
        told = "  ".join(f"{name} {seconds:5.2f} s" for name, seconds in taken.items())
        console.print(f"  round {number} of {ROUNDS}: {told}{'  (warming up, not counted)' if number == 0 else ''}")
        if number > 0:
            for name, seconds in taken.items():
                times[name].append(seconds)
    return times


def _figures(times: dict[str, list[float]]) -> dict[str, Figure]:
    median = {name: statistics.median(runs) for name, runs in times.items()}
    return {
        "ratio": Figure(round(median["http"] / median["plain"], 3), "times plain", RATIO_LIMIT),
        "kafka_s": Figure(round(median["kafka"] - median["http"], 3), "s", KAFKA_LIMIT_SECONDS),
        "kafka_total_s": Figure(
            round(median["kafka"], 3), "s", round(RATIO_LIMIT * median["plain"] + KAFKA_LIMIT_SECONDS, 3)
        ),
        **{f"{name}_s": Figure(round(value, 3), "s, median") for name, value in median.items() if name != "kafka"},
        **{f"{name}_runs_s": Figure([round(run, 3) for run in runs], "s") for name, runs in times.items()},
        "rounds": Figure(ROUNDS, ""),
    }


def _plain(cluster: Cluster) -> float:
    deployment = _plain_deployment(cluster.read(DEPLOYMENTS, NAMESPACE, "orders"))
    begin = time.monotonic()
    cluster.apply(DEPLOYMENTS, deployment)
    cluster.wait(DEPLOYMENTS, NAMESPACE, PLAIN, is_rolled_out, timeout=SECONDS, what="rolled out")
    seconds = time.monotonic() - begin
    cluster.delete(DEPLOYMENTS, NAMESPACE, PLAIN, propagation="Foreground")
    cluster.wait_gone(DEPLOYMENTS, NAMESPACE, PLAIN, timeout=SECONDS)
    _wait_for_no_pods(cluster, f"app={PLAIN}")
    return seconds


def _http(cluster: Cluster) -> float:
    ready, _ = live(cluster, "bench-orders", "orders", seconds=SECONDS)
    return ready


def _kafka(cluster: Cluster) -> float:
    ready, _ = live(cluster, "bench-fulfilment", "fulfilment", seconds=SECONDS)
    return ready


def _plain_deployment(orders: Object) -> Object:
    """The baseline's own template under labels that no Service selects."""
    template = deepcopy(orders["spec"]["template"])
    template["metadata"]["labels"] = {"app": PLAIN}
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {"name": PLAIN, "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": PLAIN}}, "template": template},
    }


def _wait_for_no_pods(cluster: Cluster, labels: str) -> None:
    """Pods that still end would slow down whatever is measured next."""
    for pod in cluster.objects(PODS, NAMESPACE, labels=labels):
        cluster.wait_gone(PODS, NAMESPACE, pod["metadata"]["name"], timeout=SECONDS)
