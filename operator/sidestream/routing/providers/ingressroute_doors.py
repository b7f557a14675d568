"""Where Traefik can be asked for what it has: the Services in front of it, as its chart makes and labels them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidestream.api.labels import GROUP
from sidestream.kube.port import SERVICES, Object
from sidestream.routing.entries import Door
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.ingressroute_match import conditions_of, parsed
from sidestream.routing.providers.ingressroute_scope import Scope
from sidestream.routing.providers.ingressroute_tokens import MatchError
from sidestream.routing.providers.ingressroute_view import INGRESS_CLASS
from sidestream.routing.providers.provider import Cluster
from sidestream.routing.table import Rule

SERVED_CLASS: Final = f"{GROUP}/ingress-class"
"""Annotation on a Service of Traefik: the `kubernetes.io/ingress.class` of the IngressRoutes that it takes."""

_NAME_LABEL: Final = "app.kubernetes.io/name"
_TRAEFIK: Final = "traefik"
_DEFAULT_ENTRY_POINTS: Final = ("web", "websecure")
_SECURE: Final = "websecure"
_HTTPS_PORT: Final = 443


@dataclass(frozen=True)
class Doors:
    """The doors to an entry, or why there are none; `host` is what the probe's rule asks for, empty for any."""

    doors: tuple[Door, ...] = ()
    host: str = ""
    why_unprovable: str = ""


def doors_of(obj: Object, scopes: Sequence[Scope], cluster: Cluster) -> Doors:
    """The doors to a user's IngressRoute: one for each Traefik that may take it."""
    hosts = sorted(host for scope in scopes for host in scope.hosts or ())
    if not hosts and all(_asks_for_hosts(rule) for rule in obj["spec"]["routes"]):
        return Doors(why_unprovable="no rule names a host in full, so no request of ours is known to come there")
    host = hosts[0] if hosts else ""
    wanted = obj["spec"].get("entryPoints") or _DEFAULT_ENTRY_POINTS
    has_tls = obj["spec"].get("tls") is not None
    found = []
    for service in cluster.all(SERVICES):
        metadata = service["metadata"]
        port = _port(service, wanted, has_tls=has_tls)
        if port is None or not is_traefik(service) or not _takes(service, obj):
            continue
        address = ServiceHost(metadata["namespace"], metadata["name"], cluster.domain).fqdn
        is_tls = has_tls or _is_secure(port)
        found.append(Door(address, port["port"], host or address, is_gateway=True, is_tls=is_tls))
    if not found:
        listed = " or ".join(wanted)
        why = f"no Service labelled {_NAME_LABEL}={_TRAEFIK} has a port named {listed}"
        return Doors(host=host, why_unprovable=why)
    return Doors(tuple(found), host)


def _asks_for_hosts(rule: Rule) -> bool:
    try:
        return any(found.name in ("Host", "HostRegexp") for found in conditions_of(parsed(rule["match"])))
    except MatchError:
        return True


def is_traefik(service: Object) -> bool:
    """Whether a Service is in front of Traefik, as the label of its chart says."""
    return (service["metadata"].get("labels") or {}).get(_NAME_LABEL) == _TRAEFIK


def _takes(service: Object, obj: Object) -> bool:
    served = (service["metadata"].get("annotations") or {}).get(SERVED_CLASS)
    return served is None or served == (obj["metadata"].get("annotations") or {}).get(INGRESS_CLASS, "")


def _port(service: Object, wanted: Sequence[str], *, has_tls: bool) -> dict[str, Any] | None:
    """The port of one of the entry points; one is enough, for Traefik changes all of them at once."""
    ports = [
        port
        for port in service["spec"].get("ports") or []
        if port.get("name") in wanted and port.get("protocol", "TCP") == "TCP"
    ]
    return min(ports, key=lambda port: (_is_secure(port) is not has_tls, port["port"]), default=None)


def _is_secure(port: dict[str, Any]) -> bool:
    return port.get("name") == _SECURE or port["port"] == _HTTPS_PORT
