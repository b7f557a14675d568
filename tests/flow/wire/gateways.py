"""A gateway for routing tests: what istiod deploys for a Gateway of class `istio`, and an Istio Gateway on the same."""

from __future__ import annotations

from flow.cluster import until
from flow.wire.peers import MANAGER
from sidestream.kube.client import AioKubeApi
from sidestream.kube.port import GATEWAYS, ISTIO_GATEWAYS, Object, Resource
from sidestream.routing.hosts import ServiceHost
from sidestream_demo.cluster import is_condition

CLASS = "istio"
GATEWAY = "ingress"
"""Name of the Gateway; HTTPRoutes for any host attach to it."""

ISTIO_GATEWAY = "edge"
"""Name of the Istio Gateway; it takes hosts under its domain only."""

_START_SECONDS = 120.0


def address_of(namespace: str) -> str:
    """Where the gateway is reached."""
    return ServiceHost(namespace, f"{GATEWAY}-{CLASS}").fqdn


async def start_gateway(api: AioKubeApi, namespace: str, istio_domain: str) -> None:
    """Both Gateways, served on port 80; ready when this returns."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    spec = {"gatewayClassName": CLASS, "listeners": [listener]}
    await api.apply(GATEWAYS, _object(GATEWAYS, namespace, GATEWAY, spec), manager=MANAGER)
    await api.apply(ISTIO_GATEWAYS, _istio_gateway(namespace, istio_domain), manager=MANAGER)

    async def is_programmed() -> bool:
        return is_condition("Programmed")(await api.get(GATEWAYS, namespace, GATEWAY))

    await until(is_programmed, f"Gateway {namespace}/{GATEWAY} is programmed", _START_SECONDS)


def _istio_gateway(namespace: str, domain: str) -> Object:
    selector = {"gateway.networking.k8s.io/gateway-name": GATEWAY}
    server = {"port": {"name": "http", "number": 80, "protocol": "HTTP"}, "hosts": [f"*.{domain}"]}
    return _object(ISTIO_GATEWAYS, namespace, ISTIO_GATEWAY, {"selector": selector, "servers": [server]})


def _object(resource: Resource, namespace: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
