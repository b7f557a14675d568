"""Objects of a Service with many tenants, each with a Sandbox, a fork Service and a fork Deployment; plain JSON."""

from sidestream.api.labels import BASELINE, BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE, ROUTING_KEY, SANDBOX
from sidestream.kube.port import DEPLOYMENTS, SANDBOXES, SERVICES, Object, Resource

SERVICE = "orders"
PORT = 8080


def tenant_name(number: int) -> str:
    """Tenants' keys; they are their Sandboxes' names, too."""
    return f"tenant-{number:04}"


def service(namespace: str, name: str = SERVICE, labels: dict[str, str] | None = None) -> Object:
    """A Service with one HTTP port."""
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT, "appProtocol": "http"}]}
    return _object(SERVICES, namespace, name, spec, labels)


def deployment(namespace: str, name: str = SERVICE, labels: dict[str, str] | None = None) -> Object:
    """A Deployment without pods."""
    pods = {"app": name, **(labels or {})}
    container = {"name": "app", "image": "bench.invalid/orders:1", "ports": [{"containerPort": PORT}]}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": pods}, "spec": {"containers": [container]}},
    }
    return _object(DEPLOYMENTS, namespace, name, spec, labels)


def sandbox(namespace: str, number: int) -> Object:
    """A tenant's Sandbox, which forks the Service's Deployment."""
    spec = {"workloads": [{"deployment": SERVICE, "containers": [{"name": "app", "image": "bench.invalid/orders:2"}]}]}
    return _object(SANDBOXES, namespace, tenant_name(number), spec, None)


def fork(namespace: str, number: int) -> tuple[Object, Object]:
    """What a Sandbox's reconciler makes of it: Service and Deployment."""
    tenant = tenant_name(number)
    labels = {MANAGED_BY: MANAGED_BY_VALUE, SANDBOX: tenant, BASELINE: SERVICE, ROUTING_KEY: tenant}
    name = f"{SERVICE}-{tenant}"
    return service(namespace, name, {**labels, BASELINE_SERVICE: SERVICE}), deployment(namespace, name, labels)


def _object(resource: Resource, namespace: str, name: str, spec: Object, labels: dict[str, str] | None) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": spec,
    }
