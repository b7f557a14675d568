"""Whether Sandboxes come and go while the brokers of a Kafka of three restart, one after the other, all the time.

Every Sandbox forks `fulfilment`: its life is apply, Ready, delete, gone. A broker is told to end (SIGTERM) and starts
again with its data; only when all three answer is it the next one's turn.
"""

import statistics
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from bench.report import Figure, Report, conditions, versions
from bench.stage import installed_shop, live
from sidestream.api import labels
from sidestream.kube.port import DEPLOYMENTS, KAFKA_ROUTES, PODS, SANDBOXES, SERVICES, Object
from sidestream_demo.cluster import Cluster
from sidestream_demo.environment import Environment
from sidestream_demo.errors import DemoError
from sidestream_demo.process import wait_until
from sidestream_demo.release import NAMESPACE as RELEASE_NAMESPACE
from sidestream_demo.shop import NAMESPACE, Shop
from sidestream_lab import kafka as lab_kafka
from sidestream_lab import up
from sidestream_lab.paths import Layout
from sidestream_lab.shell import Toolbox

LIVES = 20
AT_ONCE = 4
BROKERS = 3
SECONDS = 300.0
OPERATOR_PODS = "app.kubernetes.io/component=operator"
OURS = f"{labels.MANAGED_BY}={labels.MANAGED_BY_VALUE}"


@dataclass(frozen=True)
class Life:
    """How long one Sandbox took to be Ready and to be gone; `fault` says what never came."""

    ready_s: float = 0.0
    gone_s: float = 0.0
    fault: str = ""


def measure(environment: Environment, console: Console) -> Report:
    """Give the lab's Kafka three brokers, live through the Sandboxes, and go back to one broker."""
    tools = up.tools_of(Layout.from_environment())
    if not environment.is_lab or tools is None:
        raise DemoError("This benchmark restarts Kafka's brokers and runs on the lab's cluster only: `make lab-up`.")
    with _three_brokers(tools, console), installed_shop(environment, console, seconds=SECONDS) as shop:
        about, around = versions(shop.cluster), conditions(shop.cluster, environment)
        figures = _run(shop, tools, console)
    return Report("brokers", figures, about, {**around, "brokers": BROKERS})


def _run(shop: Shop, tools: Toolbox, console: Console) -> dict[str, Figure]:
    cluster = shop.cluster
    restarts_before = _operator_restarts(cluster)
    names = [f"bench-{number:02}" for number in range(LIVES)]
    with _rolling(cluster, tools) as rolling, ThreadPoolExecutor(AT_ONCE) as pool:
        lives = []
        for name, life in zip(names, pool.map(lambda name: _live(cluster, name), names), strict=True):
            told = life.fault or f"Ready after {life.ready_s:5.1f} s, gone after {life.gone_s:5.1f} s"
            console.print(f"  {name}: {told}  ({rolling.count} broker restarts so far)")
            lives.append(life)
    ready = [life.ready_s for life in lives if not life.fault] or [SECONDS]
    gone = [life.gone_s for life in lives if not life.fault] or [SECONDS]
    leaked = [name for name in shop.kafka.group_names() if ".sbx." in name]
    return {
        "sandboxes": Figure(LIVES, ""),
        "not_completed": Figure(sum(bool(life.fault) for life in lives), "", 0),
        "groups_leaked": Figure(len(leaked), "", 0),
        "objects_leaked": Figure(_objects_left(cluster), "", 0),
        "operator_restarts": Figure(_operator_restarts(cluster) - restarts_before, "", 0),
        "worker_deaths": Figure(_worker_deaths(cluster), "of the operator's Kafka process"),
        "broker_restarts": Figure(rolling.count, ""),
        "ready_p50_s": Figure(round(statistics.median(ready), 2), "s"),
        "ready_max_s": Figure(round(max(ready), 2), "s"),
        "gone_p50_s": Figure(round(statistics.median(gone), 2), "s"),
        "gone_max_s": Figure(round(max(gone), 2), "s"),
    }


def _live(cluster: Cluster, name: str) -> Life:
    try:
        return Life(*live(cluster, name, "fulfilment", seconds=SECONDS))
    except DemoError as error:
        return Life(fault=str(error))


class _Rolling:
    """Restarts the brokers in turn until `stopping` is set."""

    def __init__(self, cluster: Cluster, tools: Toolbox) -> None:
        self.count = 0
        self.stopping = threading.Event()
        self._cluster = cluster
        self._tools = tools

    def run(self) -> None:
        """Go round and round."""
        while not self.stopping.is_set():
            for broker in range(BROKERS):
                if not self.stopping.is_set():
                    self._restart(f"kafka-{broker}")

    def _restart(self, pod: str) -> None:
        before = self._restarts(pod)
        self._cluster.kubectl("--namespace", "kafka", "exec", pod, "--", "sh", "-c", "kill -TERM 1")
        wait_until(lambda: self._restarts(pod) > before, SECONDS, f"{pod} to start again")
        layout = self._tools.layout
        wait_until(lambda: lab_kafka.answering(layout) == BROKERS, SECONDS, f"all brokers after {pod} was restarted")
        self.count += 1

    def _restarts(self, pod: str) -> int:
        return _restart_count(self._cluster.read(PODS, "kafka", pod))


@contextmanager
def _rolling(cluster: Cluster, tools: Toolbox) -> Iterator[_Rolling]:
    rolling = _Rolling(cluster, tools)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(rolling.run)
        try:
            yield rolling
        finally:
            rolling.stopping.set()
        running.result()


@contextmanager
def _three_brokers(tools: Toolbox, console: Console) -> Iterator[None]:
    console.print("Kafka starts anew with three brokers (about 30 s) ...")
    lab_kafka.install(tools, BROKERS)
    try:
        yield
    finally:
        console.print("Kafka starts anew with one broker (about 20 s) ...")
        lab_kafka.install(tools)


def _operator_restarts(cluster: Cluster) -> int:
    return sum(_restart_count(pod) for pod in cluster.objects(PODS, RELEASE_NAMESPACE, labels=OPERATOR_PODS))


def _restart_count(pod: Object) -> int:
    return sum(int(item["restartCount"]) for item in pod["status"].get("containerStatuses") or ())


def _worker_deaths(cluster: Cluster) -> int:
    deaths = 0.0
    for pod in cluster.objects(PODS, RELEASE_NAMESPACE, labels=OPERATOR_PODS):
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{name}:8080/proxy/metrics"
        for family in text_string_to_metric_families(cluster.kubectl("get", "--raw", path)):
            if family.name == "sidestream_kafka_worker_ends":
                deaths += sum(sample.value for sample in family.samples if sample.name.endswith("_total"))
    return int(deaths)


def _objects_left(cluster: Cluster) -> int:
    kinds = (DEPLOYMENTS, SERVICES, KAFKA_ROUTES, PODS)
    return sum(len(cluster.objects(kind, NAMESPACE, labels=OURS)) for kind in kinds) + len(
        cluster.objects(SANDBOXES, NAMESPACE)
    )
