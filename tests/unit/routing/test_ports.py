"""Which ports and Services can be routed by HTTP header."""

from __future__ import annotations

from typing import Any

import pytest

from builders import having, service
from sidestream.routing.ports import service_ports, why_unroutable

HTTP = {
    "named http": {"name": "http", "port": 80},
    "named http-web": {"name": "http-web", "port": 80},
    "named grpc": {"name": "grpc", "port": 80},
    "named grpc-web": {"name": "grpc-web", "port": 80},
    "named http2": {"name": "HTTP2-api", "port": 80},
    "unnamed, so sniffed": {"port": 80},
    "named after nothing known, so sniffed": {"name": "web", "port": 80},
    "appProtocol": {"name": "tcp-web", "appProtocol": "http", "port": 80},
    "appProtocol h2c": {"appProtocol": "kubernetes.io/h2c", "port": 80},
    "appProtocol ws": {"appProtocol": "kubernetes.io/ws", "port": 80},
    "a database's port that is declared": {"name": "http", "port": 3306},
}
OTHER = {
    "named tcp": {"name": "tcp", "port": 80},
    "named tcp-x": {"name": "tcp-db", "port": 80},
    "named https": {"name": "https", "port": 443},
    "named tls-x": {"name": "tls-x", "port": 443},
    "named redis": {"name": "redis", "port": 6379},
    "appProtocol wss": {"name": "http", "appProtocol": "kubernetes.io/wss", "port": 80},
    "appProtocol over name": {"name": "http", "appProtocol": "tcp", "port": 80},
    "UDP": {"name": "http", "protocol": "UDP", "port": 80},
    "a database's port, never sniffed": {"name": "db", "port": 3306},
}


@pytest.mark.parametrize("port", HTTP.values(), ids=HTTP)
def test_a_port_carries_http(port: dict[str, Any]) -> None:
    ports = service_ports(service("orders", having("spec.ports", [port])))
    assert (ports.http, ports.other) == ((port["port"],), ())


@pytest.mark.parametrize("port", OTHER.values(), ids=OTHER)
def test_a_port_carries_something_else(port: dict[str, Any]) -> None:
    ports = service_ports(service("orders", having("spec.ports", [port])))
    assert ports.http == ()
    assert len(ports.other) == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("spec.type", "ExternalName", "ExternalName"),
        ("spec.clusterIP", "None", "headless"),
        ("spec.ports", [{"name": "tcp-db", "port": 5432}], r"no HTTP port \(ports: 5432 \(tcp-db\)\)"),
        ("spec.ports", [], "no HTTP port"),
    ],
    ids=["ExternalName", "headless", "no HTTP port", "no port"],
)
def test_a_service_that_cannot_be_routed_is_told_why(field: str, value: Any, words: str) -> None:
    sentence = why_unroutable(service("orders", having(field, value)))
    assert sentence is not None
    assert sentence.startswith("Service shop/orders ")
    with pytest.raises(ValueError, match=words):
        raise ValueError(sentence)


def test_an_ordinary_service_can_be_routed() -> None:
    assert why_unroutable(service("orders")) is None
