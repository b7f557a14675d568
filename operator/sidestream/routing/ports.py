"""Which ports of a Service a mesh routes by HTTP header, after Istio's rules for declared protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidestream.kube.port import Object

_HTTP: Final = frozenset({"http", "http2", "grpc", "grpc-web"})
_NOT_HTTP: Final = frozenset({"tcp", "udp", "https", "tls", "mongo", "redis", "mysql", "http_proxy"})
_STANDARD: Final = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
_NEVER_SNIFFED: Final = frozenset({25, 53, 3306, 27017})
"""Ports of protocols in which the server speaks first: Istio takes them for TCP unless told otherwise."""


@dataclass(frozen=True)
class ServicePorts:
    """A Service's ports: the numbers that carry HTTP (or may, and are sniffed), and the others as users know them."""

    http: tuple[int, ...]
    other: tuple[str, ...]


def service_ports(service: Object) -> ServicePorts:
    """The ports of a Service, in its order."""
    ports = service["spec"].get("ports", [])
    return ServicePorts(
        http=tuple(port["port"] for port in ports if _carries_http(port)),
        other=tuple(_described(port) for port in ports if not _carries_http(port)),
    )


def why_unroutable(service: Object) -> str | None:
    """The sentence that says why no mesh can route this Service by header, or None when it can."""
    metadata, spec = service["metadata"], service["spec"]
    subject = f"Service {metadata['namespace']}/{metadata['name']}"
    if spec.get("type") == "ExternalName":
        return (
            f"{subject} is of type ExternalName and has no pods of its own, so its requests cannot be routed by tenant"
        )
    if spec.get("clusterIP") == "None":
        return (
            f"{subject} is headless (clusterIP: None), so clients connect to single pods and their requests cannot be "
            "routed by tenant; call a Service with a cluster IP instead"
        )
    ports = service_ports(service)
    if not ports.http:
        listed = ", ".join(ports.other) or "none"
        return (
            f"{subject} has no HTTP port (ports: {listed}); if it does serve HTTP, name the port http-... or grpc-..., "
            "or set its appProtocol"
        )
    return None


def _carries_http(port: Mapping[str, Any]) -> bool:
    if port.get("protocol", "TCP") != "TCP":
        return False
    declared = _declared(port)
    if declared in _HTTP:
        return True
    return declared not in _NOT_HTTP and port["port"] not in _NEVER_SNIFFED


def _declared(port: Mapping[str, Any]) -> str:
    app_protocol = port.get("appProtocol")
    name = str(port.get("name", "") if app_protocol is None else _STANDARD.get(app_protocol, app_protocol)).lower()
    return "grpc-web" if name.startswith("grpc-web") else name.partition("-")[0]


def _described(port: Mapping[str, Any]) -> str:
    name = port.get("name")
    return f"{port['port']} ({name})" if name else f"{port['port']}"
