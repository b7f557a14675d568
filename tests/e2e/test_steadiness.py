"""A Sandbox that is as it should be is left alone; one that is not becomes so, whatever dies on the way."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from e2e.faults import Operator
from e2e.place import Place
from sidestream.kube.port import (
    DEPLOYMENTS,
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    KAFKA_ROUTES,
    SANDBOXES,
    SERVICES,
    VIRTUAL_SERVICES,
    Object,
)
from sidestream_demo.cluster import Cluster
from sidestream_demo.forward import PortForward
from sidestream_demo.process import wait_until
from sidestream_demo.release import NAMESPACE, Release

WATCHED = (DEPLOYMENTS, SERVICES, VIRTUAL_SERVICES, SANDBOXES, KAFKA_ROUTES, KAFKA_CONSUMERS)
WRITES = {"apply", "create", "delete", "patch", "replace"}
ROUNDS = 3
"""So often has every reconciler to look at everything before it counts as left alone."""


@pytest.fixture
def impatient(release: Release, operator: Operator) -> Iterator[Operator]:
    """An operator that looks at everything again every second."""
    release.install({"operator.resyncSeconds": "1", "operator.replicas": "1"})
    operator.wait()
    wait_until(lambda: len(operator.pods()) == 1, 60, "the operator's other pods to end")
    yield operator
    release.install()


@pytest.fixture
def metrics(impatient: Operator) -> Iterator[Callable[[], dict[str, float]]]:
    """Asks the operator for its metrics."""
    with ExitStack() as stack:
        (pod,) = impatient.pods()
        url = stack.enter_context(PortForward(impatient.cluster, NAMESPACE, f"pod/{pod}", 8080))

        def ask() -> dict[str, float]:
            text = httpx.get(f"{url}/metrics", trust_env=False).text
            return {name: float(value) for name, value in re.findall(r"^(\w+\{[^}]*\}) (\S+)$", text, re.MULTILINE)}

        yield ask


def writes(metrics: dict[str, float]) -> dict[str, float]:
    """Write requests so far, those for the leader's Lease aside."""
    return {
        name: value
        for name, value in metrics.items()
        if name.startswith("sidestream_kube_requests_total")
        and re.search(r'verb="(\w+)"', name)[1] in WRITES  # type: ignore[index]
        and 'resource="leases"' not in name
    }


def reconciles(metrics: dict[str, float]) -> dict[str, float]:
    """Reconciles so far by reconciler, whatever their outcome."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if match := re.match(r'sidestream_reconciles_total\{.*reconciler="([^"]+)"', name):
            found[match[1]] = found.get(match[1], 0) + value
    return found


def await_looks(metrics: Callable[[], dict[str, float]], rounds: int) -> None:
    """Return once every reconciler has looked at everything so often again."""
    first = reconciles(metrics())

    def has_looked_again() -> bool:
        now = reconciles(metrics())
        return bool(now) and all(now[name] >= first.get(name, 0) + rounds for name in now)

    wait_until(has_looked_again, 60, "every reconciler to look at everything again")


def versions(place: Place) -> dict[str, str]:
    """The resourceVersion of everything that Sidestream could write."""
    found = {
        f"{resource.kind}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for resource in WATCHED
        for item in place.cluster.objects(resource, place.namespace)
    }
    cluster = place.cluster.read(KAFKA_CLUSTERS, "", place.namespace)
    return found | {"KafkaCluster": cluster["metadata"]["resourceVersion"]}


def test_an_unchanged_sandbox_causes_no_write(place: Place, metrics: Callable[[], dict[str, float]]) -> None:
    place.deploy("web")
    place.expose("web")
    place.deploy_consumer("worker")
    place.sandbox("alice", "web", "worker")
    place.ready("alice")
    # the Event that tells of it is written after the status
    await_looks(metrics, 1)
    before, versions_before = metrics(), versions(place)
    await_looks(metrics, ROUNDS)
    assert versions(place) == versions_before
    assert writes(metrics()) == writes(before)


def has_finalizer(place: Place) -> bool:
    found = place.cluster.get(SANDBOXES, place.namespace, "alice")
    return bool(found and found["metadata"].get("finalizers"))


def has_fork(place: Place) -> bool:
    return place.cluster.get(DEPLOYMENTS, place.namespace, "worker-alice") is not None


def has_recorded_group(place: Place) -> bool:
    route = place.cluster.get(KAFKA_ROUTES, place.namespace, "worker-alice")
    return bool(route and route.get("status", {}).get("group"))


@pytest.mark.parametrize("moment", [has_finalizer, has_fork, has_recorded_group])
def test_an_operator_killed_while_it_creates_finishes_after_its_restart(
    place: Place, operator: Operator, moment: Callable[[Place], bool]
) -> None:
    place.deploy_consumer("worker")
    place.sandbox("alice", "worker")
    wait_until(lambda: moment(place), 30, moment.__name__, every=0.02)
    operator.kill()
    place.ready("alice")
    place.delete("alice")
    operator.kill()
    place.gone("alice")
    wait_until(lambda: not place.made(), 30, "nothing to be left")
    assert place.fork_group("worker", "alice") not in place.kafka.group_names()


def test_a_fork_follows_its_baseline(place: Place) -> None:
    place.deploy("web", env={"COLOUR": "red", "SIZE": "small"})
    change = {"deployment": "web", "containers": [{"env": [{"name": "SIZE", "value": "large"}]}]}
    place.sandbox("alice", workloads=[change])
    place.ready("alice")
    place.deploy("web", env={"COLOUR": "blue", "SIZE": "small"})

    def is_blue(fork: Object | None) -> bool:
        return environment(fork).get("COLOUR") == "blue"

    fork = place.until(DEPLOYMENTS, "web-alice", is_blue)
    assert environment(fork)["SIZE"] == "large", "the change of the Sandbox stays on top"
    place.ready("alice")


def test_a_pinned_fork_does_not(place: Place) -> None:
    place.deploy("web", env={"COLOUR": "red"})
    workload = {"deployment": "web", "baselineUpdates": "Pin"}
    place.sandbox("alice", workloads=[workload])
    place.ready("alice")
    place.deploy("web", env={"COLOUR": "blue"})
    place.sandbox("alice", workloads=[workload], lifetime={"ttl": "1h"})
    place.until(SANDBOXES, "alice", lambda found: bool((found or {}).get("status", {}).get("expiresAt")))
    assert environment(place.cluster.read(DEPLOYMENTS, place.namespace, "web-alice"))["COLOUR"] == "red"


def test_a_fork_that_somebody_deleted_comes_back(place: Place) -> None:
    place.deploy("web")
    place.sandbox("alice", "web")
    place.ready("alice")
    old = place.cluster.read(DEPLOYMENTS, place.namespace, "web-alice")["metadata"]["uid"]
    place.cluster.delete(DEPLOYMENTS, place.namespace, "web-alice")
    place.until(DEPLOYMENTS, "web-alice", lambda found: (found or {}).get("metadata", {}).get("uid", old) != old)
    place.ready("alice")


def test_a_workload_taken_out_of_the_sandbox_loses_its_fork(place: Place, cluster: Cluster) -> None:
    place.deploy("web")
    place.deploy("api")
    place.sandbox("alice", "web", "api")
    place.ready("alice")
    place.sandbox("alice", "web")
    cluster.wait_gone(DEPLOYMENTS, place.namespace, "api-alice", timeout=60)
    place.ready("alice")


def environment(deployment: Object | None) -> dict[str, str]:
    if deployment is None:
        return {}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item.get("value", "") for item in container["env"]}
