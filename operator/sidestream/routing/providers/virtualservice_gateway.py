"""Where Istio's gateways listen: which hosts of a VirtualService a Gateway lets in, and which Services lead there.

After `buildGatewayHTTPRouteConfig` in Istio's pilot/pkg/networking/core: the hosts of a server and of a VirtualService
are intersected, the narrower name of two counts, and all VirtualServices of a Gateway that have a name in common are
joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidestream.kube.port import ISTIO_GATEWAYS, SERVICES, Object
from sidestream.kube.selectors import matches_labels
from sidestream.routing.entries import Door
from sidestream.routing.hosts import ServiceHost, qualified
from sidestream.routing.providers.provider import Cluster, key_of
from sidestream.routing.providers.virtualservice_words import gateways_of

_PLAIN: Final = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB"})
_SECURE: Final = frozenset({"HTTPS"})
_ASKABLE_TLS: Final = frozenset({"SIMPLE", "OPTIONAL_MUTUAL", ""})
"""Modes in which a client without a certificate is let in."""

_A_NAME: Final = "sidestream-probe"
"""Stands for the part of a wildcard host that may be anything."""


@dataclass(frozen=True)
class Spot:
    """A host at a Gateway (`namespace/name`): where VirtualServices meet."""

    gateway: str
    host: str


@dataclass(frozen=True)
class Listener:
    """A port of a Gateway on which a host is served over HTTP."""

    spot: Spot
    port: int
    is_tls: bool
    is_askable: bool


def listeners_of(virtual_service: Object, cluster: Cluster) -> list[Listener]:
    """Where gateways serve the hosts of a VirtualService; Gateways that do not exist serve nothing."""
    return [
        listener
        for name in gateways_of(virtual_service)
        if (gateway := cluster.get(ISTIO_GATEWAYS, *name.split("/", 1))) is not None
        for listener in _listeners(gateway, virtual_service, cluster.domain)
    ]


def spots_of(virtual_service: Object, cluster: Cluster) -> frozenset[Spot]:
    """The hosts at Gateways that a VirtualService has rules for."""
    return frozenset(listener.spot for listener in listeners_of(virtual_service, cluster))


def fronts(gateway: Object, cluster: Cluster) -> list[Object]:
    """The Services behind which the pods of a Gateway stand, as far as their selectors tell."""
    selector: Mapping[str, str] = gateway["spec"].get("selector") or {}
    services = [item for item in cluster.all(SERVICES) if item["spec"].get("selector")]
    within = [item for item in services if matches_labels(selector, item["spec"]["selector"])]
    return within or [item for item in services if matches_labels(item["spec"]["selector"], selector)]


def doors_to(listeners: list[Listener], cluster: Cluster) -> tuple[Door, ...]:
    """The doors through which a request without a certificate of its own comes to the listeners."""
    doors: dict[Door, None] = {}
    for listener in listeners:
        gateway = cluster.get(ISTIO_GATEWAYS, *listener.spot.gateway.split("/", 1))
        if gateway is None or not listener.is_askable:
            continue
        host = _A_NAME + listener.spot.host[1:] if listener.spot.host.startswith("*") else listener.spot.host
        for service in fronts(gateway, cluster):
            for port in _ports_to(service, listener.port):
                metadata = service["metadata"]
                address = ServiceHost(metadata["namespace"], metadata["name"], cluster.domain).fqdn
                doors[Door(address, port, host, is_gateway=True, is_tls=listener.is_tls)] = None
    return tuple(doors)


def _listeners(gateway: Object, virtual_service: Object, domain: str) -> Iterator[Listener]:
    namespace = virtual_service["metadata"]["namespace"]
    hosts = [qualified(host, namespace, domain).lower() for host in virtual_service["spec"].get("hosts") or ()]
    for server in gateway["spec"].get("servers") or ():
        protocol = str((server.get("port") or {}).get("protocol", "")).upper()
        tls: Mapping[str, Any] = server.get("tls") or {}
        if protocol not in _PLAIN | _SECURE or tls.get("mode") in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
            continue
        is_askable = not tls.get("httpsRedirect") and tls.get("mode", "") in _ASKABLE_TLS
        admitted = _admitted(server, namespace, gateway["metadata"]["namespace"])
        for host in dict.fromkeys(both for own in hosts for other in admitted if (both := _narrower(own, other))):
            yield Listener(Spot(key_of(gateway), host), server["port"]["number"], protocol in _SECURE, is_askable)


def _admitted(server: Mapping[str, Any], namespace: str, own: str) -> list[str]:
    """The hosts that a server takes from VirtualServices of `namespace`."""
    admitted = []
    for item in server.get("hosts") or ():
        before, slash, host = item.partition("/")
        if not slash:
            admitted.append(item.lower())
        elif before in ("*", namespace) or (before == "." and namespace == own):
            admitted.append(host.lower())
    return admitted


def _narrower(one: str, other: str) -> str | None:
    """The host of the two that the other one covers; None when they have nothing in common."""
    if _covers(other, one):
        return one
    return other if _covers(one, other) else None


def _covers(wide: str, narrow: str) -> bool:
    if wide.startswith("*"):
        return narrow.removeprefix("*").endswith(wide[1:])
    return wide == narrow


def _ports_to(service: Object, number: int) -> list[int]:
    """The Service's ports that lead to a Gateway's: known by the same number, or as what they lead to."""
    ports = service["spec"].get("ports") or []
    same = [port["port"] for port in ports if port["port"] == number]
    return same or [port["port"] for port in ports if port.get("targetPort") == number]
