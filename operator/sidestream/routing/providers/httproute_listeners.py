"""Gateways as a route sees them: which listeners it is attached to, for which hosts, and where to ask these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sidestream.api.selectors import matches_selector
from sidestream.kube.port import GATEWAY_CLASSES, GATEWAYS, NAMESPACES, SERVICES, Object
from sidestream.routing.entries import Door
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.httproute_groups import conflict
from sidestream.routing.providers.httproute_user import Place, hostnames_of
from sidestream.routing.providers.ingressroute_doors import is_traefik
from sidestream.routing.providers.provider import Cluster, title_of

_GATEWAY_NAME: Final = "gateway.networking.k8s.io/gateway-name"
"""Label: whose Service it is, after GEP-1762."""

_PROTOCOLS: Final = ("HTTP", "HTTPS")
_ANY: Final = ("",)
_PROBE_LABEL: Final = "sidestream-probe"


@dataclass(frozen=True)
class Attachment:
    """A listener that takes requests for the route, with the hosts for which it does ("" for any)."""

    gateway: Object
    listener: dict[str, Any]
    hosts: tuple[str, ...]


def attachments(route: Object, place: Place, ref: dict[str, Any], cluster: Cluster) -> list[Attachment]:
    """The listeners of one parent that the route is attached to.

    Raises:
        InvalidInputError: there is none; the message names the Gateway and says why.
    """
    gateway = cluster.get(GATEWAYS, place.namespace, place.name)
    if gateway is None:
        raise conflict(f"{title_of(route)} names Gateway {place} as its parent, which does not exist")
    if not is_class_accepted(gateway, cluster):
        raise conflict(
            f"No controller has accepted GatewayClass {gateway['spec']['gatewayClassName']} of {title_of(gateway)}, so "
            f"nothing serves {title_of(route)}; install one, or name another class"
        )
    named = [item for item in listeners_of(gateway) if _is_named(item, ref)]
    if not named:
        raise conflict(f"{title_of(route)} names a listener that Gateway {place} does not have: {_described(ref)}")
    admitting = [item for item in named if admits(item, gateway, route, cluster)]
    if not admitting:
        raise conflict(
            f"Gateway {place} admits no {route['kind']} from namespace {route['metadata']['namespace']} (allowedRoutes "
            f"of listener {named[0]['name']}), so {title_of(route)} and tenants' routes beside it take no requests; "
            "change allowedRoutes or move the route"
        )
    found = [Attachment(gateway, item, _common_hosts(item, hostnames_of(route))) for item in admitting]
    attached = [item for item in found if item.hosts]
    if not attached:
        raise conflict(
            f"No hostname of {title_of(route)} is one of listener {admitting[0]['name']} of Gateway {place} "
            f"({admitting[0].get('hostname')}), so it takes no requests there"
        )
    return attached


def is_of_traefik(gateway: Object, cluster: Cluster) -> bool:
    """Whether Traefik serves the Gateway."""
    return is_controlled_by(class_of(gateway, cluster), "traefik.io/")


def is_controlled_by(gateway_class: Object | None, product: str) -> bool:
    """Whether a class is of a product's controller, whose name begins with that."""
    return gateway_class is not None and gateway_class["spec"]["controllerName"].startswith(product)


def class_of(gateway: Object, cluster: Cluster) -> Object | None:
    """The Gateway's class, None where there is none of that name."""
    return cluster.get(GATEWAY_CLASSES, "", gateway["spec"]["gatewayClassName"])


def doors(attached: Iterable[Attachment], cluster: Cluster) -> tuple[Door, ...]:
    """Where each listener can be asked for the first of the route's hosts; none where no Service leads there."""
    found: dict[Door, None] = {}
    for item in attached:
        for service in _services(item.gateway, cluster):
            port = _exposed(service, item.listener["port"])
            if port is not None:
                metadata = service["metadata"]
                address = ServiceHost(metadata["namespace"], metadata["name"], cluster.domain).fqdn
                is_tls = item.listener["protocol"] == "HTTPS"
                found[Door(address, port, _concrete(item.hosts[0]) or address, is_gateway=True, is_tls=is_tls)] = None
                break
    return tuple(found)


def _exposed(service: Object, listened: int) -> int | None:
    """The Service's port that leads to a listener's: Traefik's listeners have the ports of its pods."""
    ports = service["spec"].get("ports") or ()
    found = [exposed["port"] for field in ("port", "targetPort") for exposed in ports if exposed.get(field) == listened]
    return found[0] if found else None


def may_share_a_host(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether a request's host may fall under both lists of a route's hostnames; an empty one stands for all hosts."""
    others = tuple(other) or _ANY
    return any(narrower(first, second) is not None for first in tuple(one) or _ANY for second in others)


def is_class_accepted(gateway: Object, cluster: Cluster) -> bool:
    """Whether a controller has taken over the Gateway's class."""
    gateway_class = class_of(gateway, cluster)
    return gateway_class is not None and is_accepted(gateway_class)


def is_accepted(gateway_class: Object) -> bool:
    """Whether a controller has taken over a class."""
    found = (gateway_class.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Accepted" and item["status"] == "True" for item in found)


def is_for_http(listener: dict[str, Any]) -> bool:
    """Whether requests can be routed there by host and header."""
    return listener["protocol"] in _PROTOCOLS


def listeners_of(gateway: Object) -> list[dict[str, Any]]:
    """The listeners as they are written."""
    return list(gateway["spec"].get("listeners") or ())


def _is_named(listener: dict[str, Any], ref: dict[str, Any]) -> bool:
    names = ref.get("sectionName") in (None, listener["name"])
    return names and ref.get("port") in (None, listener["port"])


def _described(ref: dict[str, Any]) -> str:
    return ", ".join(f"{field} {ref[field]}" for field in ("sectionName", "port") if field in ref) or "it has none"


def admits(listener: dict[str, Any], gateway: Object, route: Object, cluster: Cluster) -> bool:
    """Whether the listener takes routes of this one's kind from its namespace."""
    allowed = listener.get("allowedRoutes") or {}
    kinds = [item["kind"] for item in allowed.get("kinds") or ()]
    if not is_for_http(listener) or (kinds and route["kind"] not in kinds):
        return False
    namespace = route["metadata"]["namespace"]
    namespaces = allowed.get("namespaces") or {}
    match namespaces.get("from", "Same"):
        case "All":
            return True
        case "Selector":
            found = cluster.get(NAMESPACES, "", namespace)
            labels = {} if found is None else found["metadata"].get("labels") or {}
            return matches_selector(namespaces.get("selector"), labels)
        case "Same":
            return bool(namespace == gateway["metadata"]["namespace"])
        case _:
            return False


def _common_hosts(listener: dict[str, Any], hostnames: tuple[str, ...]) -> tuple[str, ...]:
    common = (narrower(listener.get("hostname") or "", name) for name in hostnames or _ANY)
    return tuple(name for name in common if name is not None)


def narrower(one: str, other: str) -> str | None:
    """The narrower of two host names, of which "" stands for any; None where no host falls under both."""
    first, second = one.lower(), other.lower()
    if not first or first == second:
        return second
    if not second:
        return first
    if first.startswith("*") and second.endswith(first[1:]):
        return second
    if second.startswith("*") and first.endswith(second[1:]):
        return first
    return None


def _concrete(host: str) -> str:
    return f"{_PROBE_LABEL}{host[1:]}" if host.startswith("*") else host


def _services(gateway: Object, cluster: Cluster) -> Iterator[Object]:
    """The Services that lead to the Gateway's proxies: those labelled so, then those of its addresses."""
    namespace, name = gateway["metadata"]["namespace"], gateway["metadata"]["name"]
    if is_of_traefik(gateway, cluster):
        yield from filter(is_traefik, cluster.all(SERVICES))
    for service in cluster.all(SERVICES, namespace):
        if (service["metadata"].get("labels") or {}).get(_GATEWAY_NAME) == name:
            yield service
    addresses = {
        item["value"]
        for holder in (gateway.get("status") or {}, gateway["spec"])
        for item in holder.get("addresses") or ()
        if item.get("value")
    }
    if addresses:
        yield from (item for item in cluster.all(SERVICES) if addresses & set(_addresses(item, cluster.domain)))


def _addresses(service: Object, domain: str) -> Iterator[str]:
    """By what a Service may be known as a Gateway's address."""
    metadata, spec = service["metadata"], service["spec"]
    yield ServiceHost(metadata["namespace"], metadata["name"], domain).fqdn
    yield from (
        item for item in (spec.get("clusterIP"), *(spec.get("externalIPs") or ())) if item not in (None, "None")
    )
    for item in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
        yield from (item[field] for field in ("ip", "hostname") if item.get(field))
