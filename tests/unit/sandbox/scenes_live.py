"""A shop with a consumer, for tests of the reconciler in a small cluster."""

from __future__ import annotations

from typing import Any

from builders import (
    deployment,
    forking,
    having,
    kafka_cluster,
    kafka_consumer,
    sandbox,
    service,
)
from sidestream.kube import port
from sidestream.kube.port import Object
from sidestream.runtime.reconcile import ObjectKey
from unit.sandbox.cluster import Cluster

FENCED = having("spec.coordination", "Fenced")
"""For `kafka_consumer` and `kafka_route`."""


def shop(*modifiers: Any, consumer: Object | None = None) -> Cluster:
    """A cluster where Sandbox alice forks orders (behind a Service) and fulfilment (a consumer)."""
    item = sandbox("alice", forking("orders", "fulfilment"), *modifiers)
    consumer = consumer or kafka_consumer()
    return Cluster(deployment(), service(), deployment("fulfilment"), kafka_cluster(), consumer, item)


def fenced_shop(*modifiers: Any) -> Cluster:
    """The same, with a consumer that hands over by offsets."""
    return shop(*modifiers, consumer=kafka_consumer("fulfilment-orders", FENCED))


def replicas(cluster: Cluster, name: str) -> int:
    live = cluster.api.live(port.DEPLOYMENTS, name)
    assert live is not None
    count: int = live["spec"]["replicas"]
    return count


def key_of(name: str) -> ObjectKey:
    return ObjectKey("shop", name)


def workloads(*names: str, **fields: Any) -> list[Object]:
    return [{"deployment": name, **fields} for name in names]


MADE = [
    "deployments/fulfilment-alice",
    "deployments/orders-alice",
    "kafkaroutes/fulfilment-orders-alice",
    "services/orders-alice",
]
AS_SANDBOX = " as sidestream-sandbox"
STATUS = f"apply_status sandboxes shop/alice{AS_SANDBOX}"
