"""Builders of what only routing tests speak of: forks and VirtualServices in namespace `shop`."""

from __future__ import annotations

from typing import Any

from builders import Modifier, deployment, labelled, ready_replicas, service, thing
from sidestream.api.labels import BASELINE, BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE, ROUTING_KEY, SANDBOX
from sidestream.kube.port import VIRTUAL_SERVICES, Object
from sidestream.routing.hosts import ServiceHost

ORDERS = ServiceHost("shop", "orders")
ORDERS_FQDN = "orders.shop.svc.cluster.local"


def virtual_service(name: str, *rules: dict[str, Any], **spec: Any) -> Object:
    """A user's VirtualService for host `orders`; `spec` adds to it or replaces its fields."""
    body = {"spec": {"hosts": ["orders"], "http": list(rules), **spec}}
    return thing(VIRTUAL_SERVICES, name, body)


def to(host: str = "orders", *, weight: int | None = None, **destination: Any) -> dict[str, Any]:
    """One entry of a rule's `route`."""
    route: dict[str, Any] = {"destination": {"host": host, **destination}}
    return route if weight is None else {**route, "weight": weight}


def fork_labels(sandbox: str = "alice", baseline: str = "orders") -> dict[str, str]:
    return {MANAGED_BY: MANAGED_BY_VALUE, SANDBOX: sandbox, BASELINE: baseline, ROUTING_KEY: sandbox}


def fork_service(sandbox: str = "alice", of: str = "orders", *modifiers: Modifier) -> Object:
    """The fork Service of a Sandbox's fork of Deployment and Service `of`."""
    labels = {**fork_labels(sandbox, of), BASELINE_SERVICE: of}
    return service(f"{of}-{sandbox}", labelled(labels), *modifiers)


def fork_deployment(sandbox: str = "alice", of: str = "orders", *, ready: int = 1) -> Object:
    return deployment(f"{of}-{sandbox}", labelled(fork_labels(sandbox, of)), ready_replicas(ready))
