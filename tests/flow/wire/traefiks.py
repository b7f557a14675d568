"""Traefik for routing tests: the lab's, which a test asks for, and the ways in which namespaces of tests come to it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import pytest

from flow.cluster import until
from flow.wire import programs
from flow.wire.peers import CLIENT, MANAGER, Peers
from sidestream.kube.client import AioKubeApi
from sidestream.kube.port import GATEWAYS, SERVICES, Object, Resource
from sidestream.routing.hosts import ServiceHost
from sidestream_demo.cluster import is_condition
from sidestream_lab.paths import REPOSITORY, Layout

CLASS = "traefik"
GATEWAY = "edge"
"""Name of the Gateway of that class."""

LISTENER_PORT = 8000
"""Where Traefik's entry point listens itself: a Gateway of its must name that port."""

_SERVICE = ServiceHost("traefik", "traefik")
_ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
_FRONT = "front"
_START_SECONDS = 120.0


def bring_up(kubeconfig: str) -> None:
    """Have Traefik in the lab's cluster; takes minutes the first time, and tells how far it is."""
    if kubeconfig != str(Layout.from_environment().kubeconfig):
        pytest.skip("Traefik is brought into the lab's own cluster only")
    subprocess.run([str(REPOSITORY / "hack" / "lab"), "up", "--only", "traefik"], check=True)


def address_of(namespace: str) -> str:
    """Where Traefik is reached by a name of this namespace."""
    return ServiceHost(namespace, _FRONT).fqdn


@dataclass(frozen=True)
class Callers(Peers):
    """Peers whose client has no proxy of its own: what Traefik is sent is what the test says."""

    async def start(self) -> None:
        """See `Peers.start`; every Service has its pods by then, for Traefik leaves out rules to one without."""
        await super().start()
        await until(self._have_pods, "every Service has its pods", _START_SECONDS)

    async def _have_pods(self) -> bool:
        slices = await self.api.list(_ENDPOINT_SLICES, self.namespace)
        served = {
            item["metadata"]["labels"].get("kubernetes.io/service-name")
            for item in slices
            if any((endpoint.get("conditions") or {}).get("ready") for endpoint in item.get("endpoints") or ())
        }
        return set(self.roles) <= served

    async def _start_client(self) -> None:
        container = programs.container(self.image, "python", "-c", "import signal; signal.pause()")
        await self.run(CLIENT, container, {"sidecar.istio.io/inject": "false"})


async def open_door(api: AioKubeApi, namespace: str) -> None:
    """A Service of the namespace that leads to Traefik: of other namespaces a test's providers see nothing."""
    labels = {"app.kubernetes.io/name": CLASS, "gateway.networking.k8s.io/gateway-name": GATEWAY}
    ports = [{"name": "web", "port": 80}, {"name": "gateway", "port": LISTENER_PORT}]
    spec = {"type": "ExternalName", "externalName": _SERVICE.fqdn, "ports": ports}
    await api.apply(SERVICES, _object(SERVICES, namespace, _FRONT, spec, labels), manager=MANAGER)


async def start_gateway(api: AioKubeApi, namespace: str) -> None:
    """A Gateway that Traefik serves; ready when this returns."""
    listener = {"name": "http", "port": LISTENER_PORT, "protocol": "HTTP"}
    spec = {"gatewayClassName": CLASS, "listeners": [listener]}
    await api.apply(GATEWAYS, _object(GATEWAYS, namespace, GATEWAY, spec, {}), manager=MANAGER)

    async def is_programmed() -> bool:
        return is_condition("Programmed")(await api.get(GATEWAYS, namespace, GATEWAY))

    await until(is_programmed, f"Gateway {namespace}/{GATEWAY} is programmed", _START_SECONDS)


def _object(resource: Resource, namespace: str, name: str, spec: Object, labels: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
