"""Builders of the objects that tests speak of: raw JSON as the API server returns it, `thing(name, *modifiers)`.

A modifier takes the object and changes it in place. Everything lives in namespace `shop` unless told otherwise.
"""

from __future__ import annotations

import asyncio
import copy
import heapq
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sidestream.kube import port
from sidestream.kube.port import Object, Resource

Modifier = Callable[[Object], None]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = "2026-01-01T00:00:00Z"
NAMESPACE = "shop"


# --- time


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = EPOCH) -> None:
        self._start = now
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, future))
        await future

    @property
    def sleeping(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def move(self, seconds: float) -> None:
        """Let time pass without giving way to anybody: for code that only reads the clock."""
        self._elapsed += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass; each sleeper wakes at its own moment and runs until nothing more happens."""
        end = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not future.done():
                future.set_result(None)
            await settle()
        self._elapsed = end


async def settle(turns: int = 50) -> None:
    """Let every task that can run without waiting do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


# --- modifiers for every kind


def having(path: str, value: Any) -> Modifier:
    """Set the field at a dotted path, making the objects on the way: `having("spec.replicas", 2)`."""

    def modify(obj: Object) -> None:
        *parents, last = path.split(".")
        node = obj
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value

    return modify


def without(path: str) -> Modifier:
    """Remove the field at a dotted path."""

    def modify(obj: Object) -> None:
        *parents, last = path.split(".")
        node = obj
        for name in parents:
            node = node[name]
        del node[last]

    return modify


def in_namespace(namespace: str) -> Modifier:
    return having("metadata.namespace", namespace)


def labelled(labels: dict[str, str]) -> Modifier:
    def modify(obj: Object) -> None:
        obj["metadata"].setdefault("labels", {}).update(labels)

    return modify


def annotated(annotations: dict[str, str]) -> Modifier:
    def modify(obj: Object) -> None:
        obj["metadata"].setdefault("annotations", {}).update(annotations)

    return modify


def finalized(*finalizers: str) -> Modifier:
    return having("metadata.finalizers", list(finalizers))


def created(at: str) -> Modifier:
    return having("metadata.creationTimestamp", at)


def deleting(at: str = CREATED) -> Modifier:
    return having("metadata.deletionTimestamp", at)


def generation(number: int) -> Modifier:
    return having("metadata.generation", number)


def conditioned(type_: str, status: str, reason: str, message: str = "") -> Modifier:
    """Append a condition to the status."""

    def modify(obj: Object) -> None:
        obj.setdefault("status", {}).setdefault("conditions", []).append(
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message,
                "observedGeneration": obj["metadata"].get("generation", 0),
                "lastTransitionTime": CREATED,
            }
        )

    return modify


# --- kinds


def thing(resource: Resource, name: str, body: Object, *modifiers: Modifier) -> Object:
    """An object of any kind: identity, then `body`, then the modifiers."""
    metadata: Object = {
        "name": name,
        "uid": f"uid-{resource.plural}-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": CREATED,
    }
    if resource.namespaced:
        metadata["namespace"] = NAMESPACE
    obj: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    obj.update(copy.deepcopy(body))
    for modify in modifiers:
        modify(obj)
    return obj


def sandbox(name: str = "alice", *modifiers: Modifier) -> Object:
    """A Sandbox that forks `orders` with another image."""
    workload = {"deployment": "orders", "containers": [{"name": "app", "image": "orders:pr-42"}]}
    return thing(port.SANDBOXES, name, {"spec": {"workloads": [workload]}}, *modifiers)


def forking(*deployments: str) -> Modifier:
    """For `sandbox`: fork these Deployments, nothing else changed about them."""
    return having("spec.workloads", [{"deployment": deployment} for deployment in deployments])


def routing_key(key: str) -> Modifier:
    return having("spec.routingKey", key)


def ttl(length: str, since: str = "Creation") -> Modifier:
    return having("spec.lifetime", {"ttl": length, "from": since})


def route_group(name: str = "release-42", *modifiers: Modifier) -> Object:
    """A RouteGroup whose key is its name; its members are alice and bob."""
    spec = {"routingKey": name, "sandboxes": {"names": ["alice", "bob"]}}
    return thing(port.ROUTE_GROUPS, name, {"spec": spec}, *modifiers)


def of_sandboxes(*names: str) -> Modifier:
    """For `route_group`: its members are these."""
    return having("spec.sandboxes", {"names": list(names)})


def of_labels(labels: dict[str, str]) -> Modifier:
    """For `route_group`: its members are the Sandboxes with these labels."""
    return having("spec.sandboxes", {"selector": {"matchLabels": labels}})


def deployment(name: str = "orders", *modifiers: Modifier) -> Object:
    """A rolled-out Deployment with one container `app` on port 8080 and label `app: <name>`."""
    container = {"name": "app", "image": f"{name}:1", "ports": [{"containerPort": 8080}]}
    body = {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1},
    }
    return thing(port.DEPLOYMENTS, name, body, *modifiers)


def ready_replicas(count: int) -> Modifier:
    """For `deployment`: so many Pods are ready, of so many."""

    def modify(obj: Object) -> None:
        obj["spec"]["replicas"] = count
        obj["status"].update(replicas=count, updatedReplicas=count, readyReplicas=count)

    return modify


def service(name: str = "orders", *modifiers: Modifier) -> Object:
    """A ClusterIP Service that selects `app: <name>`, HTTP on port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"}]
    spec = {"type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": {"app": name}, "ports": ports}
    return thing(port.SERVICES, name, {"spec": spec}, *modifiers)


def selecting(selector: dict[str, str]) -> Modifier:
    """For `service`: select these labels."""
    return having("spec.selector", selector)


def pod(name: str, *modifiers: Modifier) -> Object:
    """A running Pod with one container `app`."""
    body = {"spec": {"containers": [{"name": "app", "image": "app:1"}]}, "status": {"phase": "Running"}}
    return thing(port.PODS, name, body, *modifiers)


def namespace(name: str = NAMESPACE, *modifiers: Modifier) -> Object:
    return thing(port.NAMESPACES, name, {}, *modifiers)


def disruption_budget(name: str = "orders", selector: Object | None = None, *modifiers: Modifier) -> Object:
    """A PodDisruptionBudget that selects `app: <name>`, or by another LabelSelector."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": name}} if selector is None else selector}
    return thing(port.DISRUPTION_BUDGETS, name, {"spec": spec}, *modifiers)


def horizontal_autoscaler(name: str = "orders", *modifiers: Modifier) -> Object:
    """A HorizontalPodAutoscaler of the Deployment of its name."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return thing(port.HORIZONTAL_AUTOSCALERS, name, {"spec": {"scaleTargetRef": target, "maxReplicas": 9}}, *modifiers)


def vertical_autoscaler(name: str = "orders", *modifiers: Modifier) -> Object:
    """A VerticalPodAutoscaler of the Deployment of its name."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return thing(port.VERTICAL_AUTOSCALERS, name, {"spec": {"targetRef": target}}, *modifiers)


def scaled_object(name: str = "orders", *modifiers: Modifier) -> Object:
    """KEDA's autoscaler of the Deployment of its name, by the lag of the consumer group of its name."""
    trigger = {"type": "kafka", "metadata": {"consumerGroup": name, "topic": "orders.created"}}
    return thing(
        port.SCALED_OBJECTS, name, {"spec": {"scaleTargetRef": {"name": name}, "triggers": [trigger]}}, *modifiers
    )


def kafka_cluster(name: str = "main", *modifiers: Modifier) -> Object:
    return thing(port.KAFKA_CLUSTERS, name, {"spec": {"bootstrapServers": ["kafka:9092"]}}, *modifiers)


def kafka_consumer(name: str = "fulfilment-orders", *modifiers: Modifier) -> Object:
    """The consumer of Deployment `fulfilment`: group `fulfilment`, topic `orders.created`, cluster `main`."""
    spec = {
        "cluster": "main",
        "deployment": "fulfilment",
        "group": "fulfilment",
        "topics": ["orders.created"],
        "groupEnv": {"name": "KAFKA_GROUP_ID", "container": "app"},
        "coordination": "Polling",
        "pollInterval": "5s",
    }
    return thing(port.KAFKA_CONSUMERS, name, {"spec": spec}, *modifiers)


def kafka_route(name: str = "fulfilment-orders-alice", *modifiers: Modifier) -> Object:
    """Alice's fork of `kafka_consumer()`."""
    spec = {
        "sandbox": "alice",
        "consumer": "fulfilment-orders",
        "cluster": "main",
        "deployment": "fulfilment",
        "fork": "fulfilment-alice",
        "baselineGroup": "fulfilment",
        "forkGroup": "fulfilment.sbx.alice",
        "topics": ["orders.created"],
        "keys": ["alice"],
        "pollInterval": "5s",
    }
    return thing(port.KAFKA_ROUTES, name, {"spec": spec}, *modifiers)


def in_phase(phase: str, since: str = CREATED) -> Modifier:
    """For `kafka_route`: the hand-off stands here."""

    def modify(obj: Object) -> None:
        obj.setdefault("status", {}).update(phase=phase, phaseSince=since)

    return modify


def claiming(id_: str, key: str, fences: Mapping[int, Object], *, topic: str = "orders.created") -> Modifier:
    """For `kafka_route`: under Fenced, with one claim more, or of a claim that is there with more fences."""

    def modify(obj: Object) -> None:
        obj["spec"]["coordination"] = "Fenced"
        claims = obj.setdefault("status", {}).setdefault("claims", [])
        claim = next((item for item in claims if item["id"] == id_), None)
        if claim is None:
            claim = {"id": id_, "key": key, "fences": []}
            claims.append(claim)
        claim["fences"] += [{"topic": topic, "partition": number, **item} for number, item in fences.items()]

    return modify


def fence(state: str, begin: int | None = None, hold: int | None = None, until: int | None = None) -> Object:
    """For `claiming`: how a claim stands on a partition."""
    numbers = {"from": begin, "hold": hold, "until": until}
    return {"state": state, **{name: number for name, number in numbers.items() if number is not None}}
