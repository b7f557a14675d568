"""Checks of the Service itself and of what users have written to route it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.api.findings import FindingReason, listed
from sidestream.api.labels import PROVIDER
from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES, SERVICE_PROFILES, VIRTUAL_SERVICES, Object
from sidestream.routing.checks.subject import Finding, Subject, titles
from sidestream.routing.ownership import is_ours
from sidestream.routing.ports import service_ports, why_unroutable
from sidestream.routing.providers.provider import key_of

_GATEWAY_API: Final = frozenset({HTTP_ROUTES.kind, GRPC_ROUTES.kind})
_EVERYBODY: Final = "*"


def unroutable_service(subject: Subject) -> Iterator[Finding]:
    """A Service that is headless, has no pods of its own or no port that carries HTTP."""
    why = why_unroutable(subject.service)
    if why is not None:
        yield Finding(FindingReason.SERVICE_NOT_ROUTABLE, why, Reason.PORT_NOT_HTTP)


def other_ports(subject: Subject) -> Iterator[Finding]:
    """Ports beside those that carry HTTP."""
    ports = service_ports(subject.service)
    if ports.http and ports.other:
        yield Finding(
            FindingReason.PORTS_NOT_HTTP,
            f"These ports of {subject.title} carry no HTTP and stay on the baseline for everybody: "
            f"{', '.join(ports.other)}; if one does serve HTTP, name it http-... or grpc-..., or set its appProtocol",
        )


def mixed_kinds(subject: Subject) -> Iterator[Finding]:
    """A VirtualService and a route of Gateway API for the same Service, of which a mesh takes one as it happens.

    Where the Service is annotated with the kind that is to carry tenants' rules, users have decided.
    """
    virtual_services = _virtual_services(subject)
    routes = [item for item in _mesh_routes(subject) if item["metadata"]["namespace"] == subject.host.namespace]
    if not virtual_services or not routes:
        return
    is_decided = PROVIDER in (subject.service["metadata"].get("annotations") or {})
    yield Finding(
        FindingReason.MIXED_ROUTE_KINDS,
        f"{titles(virtual_services)} and {titles(routes)} both have rules for {subject.title}, of which a mesh takes "
        "one as it happens; keep one of the two kinds"
        + ("" if is_decided else f", or annotate the Service with {PROVIDER} to say which one holds"),
        None if is_decided else Reason.ROUTE_CONFLICT,
    )


def duplicate_virtual_services(subject: Subject) -> Iterator[Finding]:
    """VirtualServices for the same host and the same callers: of these a sidecar uses one and drops the others."""
    found = _virtual_services(subject)
    rivals = [item for item in found if any(_share_callers(item, other) for other in found if other is not item)]
    if rivals:
        follows = f" (tenants' rules follow {subject.source})" if subject.source else ""
        yield Finding(
            FindingReason.DUPLICATE_VIRTUAL_SERVICES,
            f"VirtualServices {listed([key_of(item) for item in rivals])} are all for host {subject.host.fqdn}, and a "
            f"sidecar uses one of them and drops the others{follows}; merge them into one",
        )


def service_profiles(subject: Subject) -> Iterator[Finding]:
    """ServiceProfiles of Linkerd: for the host they have a proxy ignore every HTTPRoute, without a word."""
    if subject.provider not in _GATEWAY_API:
        return
    host = subject.host
    for item in subject.cluster.all(SERVICE_PROFILES):
        if item["metadata"]["name"].lower() != host.fqdn:
            continue
        namespace = item["metadata"]["namespace"]
        is_for_all = namespace == host.namespace
        whose = "" if is_for_all else f" of callers in namespace {namespace}"
        yield Finding(
            FindingReason.SERVICE_PROFILE,
            f"ServiceProfile {key_of(item)} makes the Linkerd proxies{whose} ignore all HTTPRoutes of {subject.title}, "
            "so their requests cannot be routed by tenant; replace it by HTTPRoutes with timeouts and retries",
            Reason.ROUTE_CONFLICT if is_for_all else None,
        )


def consumer_routes(subject: Subject) -> Iterator[Finding]:
    """Routes in the namespaces of callers, who then ignore those in the Service's own namespace."""
    routes = [item for item in _mesh_routes(subject) if item["metadata"]["namespace"] != subject.host.namespace]
    if routes:
        namespaces = listed([item["metadata"]["namespace"] for item in routes])
        yield Finding(
            FindingReason.CONSUMER_ROUTE,
            f"Callers in namespace {namespaces} go by {titles(routes)} alone when they call {subject.title}, so their "
            f"requests never meet a fork; move the rules to a route in namespace {subject.host.namespace}",
        )


def _virtual_services(subject: Subject) -> list[Object]:
    """Users' VirtualServices for this very host in the mesh; one for a wildcard yields to them."""
    return [item for item in subject.cluster.all(VIRTUAL_SERVICES) if not is_ours(item) and _names(item, subject)]


def _names(virtual_service: Object, subject: Subject) -> bool:
    spec, namespace = virtual_service.get("spec") or {}, virtual_service["metadata"]["namespace"]
    is_in_mesh = "mesh" in (spec.get("gateways") or ["mesh"])
    return is_in_mesh and any(subject.host.is_named_by(host, namespace) for host in spec.get("hosts") or ())


def _mesh_routes(subject: Subject) -> list[Object]:
    """Users' HTTPRoutes and GRPCRoutes, in whichever namespace, with the Service as a parent."""
    found = [item for resource in (HTTP_ROUTES, GRPC_ROUTES) for item in subject.cluster.all(resource)]
    return [item for item in found if not is_ours(item) and _has_parent(item, subject)]


def _has_parent(route: Object, subject: Subject) -> bool:
    return any(
        parent.get("kind") == "Service"
        and parent.get("group") in ("", "core")
        and parent.get("name") == subject.host.name
        and parent.get("namespace", route["metadata"]["namespace"]) == subject.host.namespace
        for parent in (route.get("spec") or {}).get("parentRefs") or ()
    )


def _share_callers(one: Object, other: Object) -> bool:
    first, second = _callers(one), _callers(other)
    return _EVERYBODY in first or _EVERYBODY in second or bool(first & second)


def _callers(virtual_service: Object) -> frozenset[str]:
    """The namespaces for whose callers it is; where it does not say so, for all (unless the mesh's default differs)."""
    namespace = virtual_service["metadata"]["namespace"]
    told: list[Any] = (virtual_service.get("spec") or {}).get("exportTo") or [_EVERYBODY]
    return frozenset(namespace if item == "." else item for item in told)
