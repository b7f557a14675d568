"""Builders of what tests of the Gateway API provider speak of, and a cluster to keep it in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from builders import Modifier, thing
from sidestream.kube.port import GATEWAY_CLASSES, GATEWAYS, GRPC_ROUTES, HTTP_ROUTES, REFERENCE_GRANTS, Object, Resource

GATEWAY = {"name": "edge", "namespace": "infra"}


class FakeCluster:
    """Objects in memory; kinds that are not named as `unserved` are served."""

    domain = "cluster.local"

    def __init__(self, *objects: Object, unserved: Iterable[Resource] = ()) -> None:
        self._objects = list(objects)
        self._unserved = set(unserved)

    def is_served(self, resource: Resource) -> bool:
        return resource not in self._unserved and resource.version != "v1alpha2"

    def all(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        if resource in self._unserved:
            return ()
        found = [item for item in self._objects if (item["apiVersion"], item["kind"]) == _type(resource)]
        return [item for item in found if namespace in ("", item["metadata"].get("namespace"))]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return next((item for item in self.all(resource, namespace) if item["metadata"]["name"] == name), None)


def http_route(name: str, *rules: dict[str, Any], modifiers: Iterable[Modifier] = (), **spec: Any) -> Object:
    """A user's HTTPRoute; its parent is Service `orders` unless `spec` says otherwise."""
    return thing(HTTP_ROUTES, name, {"spec": {"parentRefs": [mesh()], "rules": list(rules), **spec}}, *modifiers)


def grpc_route(name: str, *rules: dict[str, Any], modifiers: Iterable[Modifier] = (), **spec: Any) -> Object:
    """A user's GRPCRoute; its parent is Service `orders` unless `spec` says otherwise."""
    return thing(GRPC_ROUTES, name, {"spec": {"parentRefs": [mesh()], "rules": list(rules), **spec}}, *modifiers)


def mesh(service: str = "orders", **more: Any) -> dict[str, Any]:
    """A parentRef to a Service."""
    return {"group": "", "kind": "Service", "name": service, **more}


def to(name: str = "orders", **more: Any) -> dict[str, Any]:
    """A backendRef to a Service."""
    return {"group": "", "kind": "Service", "name": name, "port": 80, **more}


def rule(*backends: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A rule that leads to these backends; to Service `orders` where none is named."""
    return {"backendRefs": list(backends) or [to()], **fields}


def prefix(value: str = "/", **more: Any) -> dict[str, Any]:
    """A match on the beginning of the path."""
    return {"path": {"type": "PathPrefix", "value": value}, **more}


def exact(value: str, **more: Any) -> dict[str, Any]:
    """A match on the whole path."""
    return {"path": {"type": "Exact", "value": value}, **more}


def regex(value: str, **more: Any) -> dict[str, Any]:
    """A match on the path by a regular expression."""
    return {"path": {"type": "RegularExpression", "value": value}, **more}


def header(name: str = "x-beta", value: str = "1", kind: str = "Exact") -> dict[str, str]:
    """A condition on a header."""
    return {"type": kind, "name": name, "value": value}


def listener(name: str = "http", **more: Any) -> dict[str, Any]:
    """A listener on port 80 that takes routes of all namespaces."""
    base = {"name": name, "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    return {**base, **more}


def gateway(*listeners: dict[str, Any], modifiers: Iterable[Modifier] = (), **spec: Any) -> Object:
    """Gateway infra/edge of class `edge`."""
    body = {"spec": {"gatewayClassName": "edge", "listeners": list(listeners) or [listener()], **spec}}
    obj = thing(GATEWAYS, "edge", body, *modifiers)
    obj["metadata"]["namespace"] = "infra"
    return obj


def gateway_class(controller: str = "istio.io/gateway-controller", *, is_accepted: bool = True) -> Object:
    """GatewayClass `edge`."""
    conditions = [{"type": "Accepted", "status": "True" if is_accepted else "False"}]
    body = {"spec": {"controllerName": controller}, "status": {"conditions": conditions}}
    return thing(GATEWAY_CLASSES, "edge", body)


def grant(name: str, *targets: str, source: str = "web", of: str = "shop", kind: str = "HTTPRoute") -> Object:
    """A user's ReferenceGrant in namespace `of`; for all its Services where none is named."""
    to_ = [{"group": "", "kind": "Service", "name": target} for target in targets]
    spec = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": source}],
        "to": to_ or [{"group": "", "kind": "Service"}],
    }
    obj = thing(REFERENCE_GRANTS, name, {"spec": spec})
    obj["metadata"]["namespace"] = of
    return obj


def _type(resource: Resource) -> tuple[str, str]:
    return resource.api_version, resource.kind
