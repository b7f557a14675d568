"""How soon after `apply` a tenant's first request comes to its fork, with the installed operator in a real mesh.

A client in the mesh asks for each tenant without pause, over a connection that it keeps, from the moment of `apply` on.
One Sandbox comes after the other, each when the one before is gone; then many come at once. And how soon a user's edit
of their VirtualService is in the object that repeats it.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Event

from rich.console import Console

from bench.handoff.verdict import percentile
from bench.report import Figure
from bench.routing.pods import BASELINE, FORK, Pods, Request
from bench.routing.population import tenant_name
from sidestream.api.labels import SANDBOX
from sidestream.kube.port import DEPLOYMENTS, SANDBOXES, VIRTUAL_SERVICES, Object
from sidestream_demo.cluster import Cluster, is_condition
from sidestream_demo.process import wait_until

WEB = "web"
SECONDS = 180.0
AT_ONCE, EDITS = 20, 20
EDIT_LIMIT_SECONDS = 2.0
_SHOWN_EVERY = 10
_LOOK_SECONDS = 0.1


class Asker:
    """A program in the client's pod that tells when a tenant's requests come to a fork."""

    def __init__(self, pods: Pods, process: "subprocess.Popen[str]") -> None:
        self._pods = pods
        self._process = process

    def ask_for(self, tenants: Sequence[str]) -> None:
        """Begin to ask."""
        for tenant in tenants:
            request = Request(self._pods.host(WEB), (("baggage", f"tenant={tenant}"),))
            self._write({"tenant": tenant, "until": FORK, **request.to_json()})

    def next_routed(self) -> str:
        """Wait for the next tenant that has come to its fork."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        return str(json.loads(line))

    def _write(self, line: Object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()


@dataclass(frozen=True)
class Times:
    """Seconds from `apply` to the first routed request, and to Ready, one after the other and all at once.

    `after_pods` are those from when the fork's pod was ready, of all at once: what is not the cluster's own work.
    """

    routed: Sequence[float]
    ready: Sequence[float]
    routed_at_once: Sequence[float]
    after_pods: Sequence[float]
    edits: Sequence[float]


def measure(pods: Pods, sandboxes: int, console: Console) -> dict[str, Figure]:
    """Let Sandboxes come and go, and leave none."""
    pods.start()
    _serve_web(pods)
    with _asker(pods) as asker:
        routed, ready = [], []
        for number in range(sandboxes + 1):
            times = _live(pods, asker, tenant_name(number))
            # the first fills memories that no later one has to
            if number > 0:
                routed.append(times[0])
                ready.append(times[1])
            if number % _SHOWN_EVERY == 0:
                console.print(f"  {number} of {sandboxes} Sandboxes: {times[0]:.2f} s to the first routed request")
        at_once, after_pods = _live_at_once(pods, asker, [f"crowd-{number}" for number in range(AT_ONCE)])
    return figures(Times(routed, ready, at_once, after_pods, _edits(pods)))


def figures(times: Times) -> dict[str, Figure]:
    """What is told of them."""
    return {
        "routed_p50_s": Figure(round(percentile(times.routed, 50), 3), "s from apply"),
        "routed_p99_s": Figure(round(percentile(times.routed, 99), 3), "s from apply"),
        "ready_p50_s": Figure(round(percentile(times.ready, 50), 3), "s from apply"),
        "ready_p99_s": Figure(round(percentile(times.ready, 99), 3), "s from apply"),
        "sandboxes": Figure(len(times.routed), "one after the other"),
        "at_once_p50_s": Figure(round(percentile(times.routed_at_once, 50), 3), f"s, {AT_ONCE} at once"),
        "at_once_p99_s": Figure(round(percentile(times.routed_at_once, 99), 3), f"s, {AT_ONCE} at once"),
        "at_once_after_pod_p50_s": Figure(
            round(percentile(times.after_pods, 50), 3), "s from the fork's pod being ready"
        ),
        "at_once_after_pod_p99_s": Figure(
            round(percentile(times.after_pods, 99), 3), "s from the fork's pod being ready"
        ),
        "edit_p50_s": Figure(round(percentile(times.edits, 50), 3), "s until the overlay has it"),
        "edit_max_s": Figure(round(max(times.edits), 3), "s until the overlay has it", EDIT_LIMIT_SECONDS),
    }


def _serve_web(pods: Pods) -> None:
    pods.deploy_named(WEB, BASELINE)
    pods.cluster.wait(
        DEPLOYMENTS,
        pods.namespace,
        WEB,
        lambda found: bool(found and found.get("status", {}).get("readyReplicas")),
        timeout=SECONDS,
        what="ready",
    )


@contextmanager
def _asker(pods: Pods) -> Iterator[Asker]:
    command = pods.command("watch")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Asker(pods, process)
        finally:
            process.kill()


def _live(pods: Pods, asker: Asker, tenant: str) -> tuple[float, float]:
    begin = time.monotonic()
    asker.ask_for([tenant])
    pods.cluster.apply(SANDBOXES, _sandbox(pods, tenant))
    asker.next_routed()
    routed = time.monotonic() - begin
    _wait_ready(pods.cluster, pods.namespace, tenant)
    ready = time.monotonic() - begin
    _leave(pods, tenant)
    return routed, ready


def _live_at_once(pods: Pods, asker: Asker, tenants: Sequence[str]) -> tuple[list[float], list[float]]:
    """Seconds to the first routed request of each, from `apply` and from when the fork's pod was ready."""
    begin, routed, is_over = time.monotonic(), dict[str, float](), Event()
    asker.ask_for(tenants)
    with ThreadPoolExecutor(len(tenants) + 1) as pool:
        watching = pool.submit(_when_ready, pods, len(tenants), is_over)
        try:
            list(pool.map(lambda tenant: pods.cluster.apply(SANDBOXES, _sandbox(pods, tenant)), tenants))
            while len(routed) < len(tenants):
                routed[asker.next_routed()] = time.monotonic()
            ready = watching.result()
        finally:
            is_over.set()
        list(pool.map(lambda tenant: _leave(pods, tenant), tenants))
    return [at - begin for at in routed.values()], [max(0.0, at - ready[tenant]) for tenant, at in routed.items()]


def _when_ready(pods: Pods, count: int, is_over: Event) -> dict[str, float]:
    """When each Sandbox's fork has its first ready pod, as one sees it who looks every tenth of a second."""
    found: dict[str, float] = {}
    while len(found) < count and not is_over.wait(_LOOK_SECONDS):
        for item in pods.cluster.objects(DEPLOYMENTS, pods.namespace, labels=SANDBOX):
            if item.get("status", {}).get("readyReplicas"):
                found.setdefault(item["metadata"]["labels"][SANDBOX], time.monotonic())
    return found


def _edits(pods: Pods) -> list[float]:
    """Seconds from a user's write of their VirtualService until the overlay says the same."""
    pods.cluster.apply(VIRTUAL_SERVICES, _users_route(pods, 1))
    pods.cluster.apply(SANDBOXES, _sandbox(pods, "editor"))
    _wait_ready(pods.cluster, pods.namespace, "editor")
    (row,) = pods.cluster.read(SANDBOXES, pods.namespace, "editor")["status"]["routes"]
    times = []
    for number in range(2, EDITS + 2):
        begin = time.monotonic()
        pods.cluster.apply(VIRTUAL_SERVICES, _users_route(pods, number))
        wait_until(partial(_has, pods, row["object"], number), SECONDS, "the overlay", every=0.02)
        times.append(time.monotonic() - begin)
    _leave(pods, "editor")
    return times


def _has(pods: Pods, overlay: str, seconds: int) -> bool:
    rules = pods.cluster.read(VIRTUAL_SERVICES, pods.namespace, overlay)["spec"]["http"]
    return {rule["timeout"] for rule in rules if "timeout" in rule} == {f"{seconds}s"}


def _wait_ready(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.wait(SANDBOXES, namespace, name, is_condition("Ready"), timeout=SECONDS, what="Ready")


def _leave(pods: Pods, tenant: str) -> None:
    pods.cluster.delete(SANDBOXES, pods.namespace, tenant)
    pods.cluster.wait_gone(SANDBOXES, pods.namespace, tenant, timeout=SECONDS)


def _sandbox(pods: Pods, tenant: str) -> Object:
    container = {"env": [{"name": "WHO", "value": FORK}]}
    return {
        "apiVersion": SANDBOXES.api_version,
        "kind": SANDBOXES.kind,
        "metadata": {"name": tenant, "namespace": pods.namespace},
        "spec": {"workloads": [{"deployment": WEB, "containers": [container]}]},
    }


def _users_route(pods: Pods, seconds: int) -> Object:
    host = pods.host(WEB)
    rule = {"timeout": f"{seconds}s", "route": [{"destination": {"host": host}}]}
    return {
        "apiVersion": VIRTUAL_SERVICES.api_version,
        "kind": VIRTUAL_SERVICES.kind,
        "metadata": {"name": "users", "namespace": pods.namespace},
        "spec": {"hosts": [host], "http": [rule]},
    }
