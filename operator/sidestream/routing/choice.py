"""Chooses what carries the routes of an entry: from what users have, what the cluster serves, and what they ask for.

Pure. The rules are those of docs/decisions/0013; each choice comes with its reason for the status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.api.labels import PROVIDER
from sidestream.errors import InvalidInputError
from sidestream.kube.port import NAMESPACES, SERVICES, Object, Resource
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ports import service_ports, why_unroutable
from sidestream.routing.providers.provider import Cluster, Provider

_NO_PROVIDER: Final = "None"

_AMBIENT: Final = "istio.io/dataplane-mode"
_WAYPOINT: Final = "istio.io/use-waypoint"


@dataclass(frozen=True)
class Choice:
    """The provider and the entry as it sees it; or `refusal`, why there can be none; or `unrouted`, why none is wanted.

    Neither of the three: there is no such entry. `services` are those whose forks the entry is about. `doors` are
    where proxies can be asked even when nothing may be written.
    """

    provider: Provider | None = None
    entry: Entry | None = None
    refusal: InvalidInputError | None = None
    unrouted: str = ""
    services: frozenset[ServiceHost] = frozenset()
    doors: tuple[Door, ...] = ()


def choose(key: EntryKey, cluster: Cluster, providers: Sequence[Provider]) -> Choice:
    """What carries the routes of an entry."""
    match key.kind:
        case EntryKind.MESH:
            return _for_the_mesh(key, cluster, providers)
        case EntryKind.PREVIEW:
            return _for_a_preview(key, cluster, providers)
        case _:
            return _for_a_gateway(key, cluster, providers)


def _for_a_preview(key: EntryKey, cluster: Cluster, providers: Sequence[Provider]) -> Choice:
    """The one provider that knows the kind of gateway that the Sandbox names."""
    for provider in providers:
        if EntryKind.PREVIEW not in provider.carries:
            continue
        try:
            entry = provider.entry(key, cluster)
        except InvalidInputError as error:
            return Choice(refusal=error)
        if entry is not None:
            return Choice(provider, entry, services=entry.reaches, doors=entry.doors)
    return Choice()


def _for_a_gateway(key: EntryKey, cluster: Cluster, providers: Sequence[Provider]) -> Choice:
    for provider in providers:
        resource = next((item for item in provider.reads if item.kind == key.kind), None)
        source = None if resource is None else cluster.get(resource, key.namespace, key.name)
        if resource is None or source is None:
            continue
        try:
            entry = provider.entry(key, cluster)
        except InvalidInputError as error:
            return Choice(refusal=error, services=provider.destinations(source, cluster.domain))
        if entry is not None:
            why = f"requests come in by {key}"
            return Choice(provider, replace(entry, why=why), services=entry.reaches, doors=entry.doors)
    return Choice()


def _for_the_mesh(key: EntryKey, cluster: Cluster, providers: Sequence[Provider]) -> Choice:
    host = ServiceHost(key.namespace, key.name, cluster.domain)
    service = cluster.get(SERVICES, key.namespace, key.name)
    if service is None:
        problem = InvalidInputError(Reason.BASELINE_NOT_FOUND, f"Service {key.namespace}/{key.name} does not exist")
        return Choice(refusal=problem, services=frozenset([host]))
    asked = (service["metadata"].get("annotations") or {}).get(PROVIDER)
    if asked == _NO_PROVIDER:
        subject = f"Service {key.namespace}/{key.name}"
        text = f"{subject} is annotated {PROVIDER}: {_NO_PROVIDER}, so the mesh does not route it"
        return Choice(unrouted=text, services=frozenset([host]), doors=mesh_doors(host, service))
    try:
        provider, entry = _carrier(key, cluster, providers, service, asked)
    except InvalidInputError as error:
        return Choice(refusal=error, services=frozenset([host]), doors=mesh_doors(host, service))
    return Choice(provider, entry, services=entry.reaches | {host}, doors=entry.doors)


def mesh_doors(host: ServiceHost, service: Object) -> tuple[Door, ...]:
    """Where callers in the mesh come in: every HTTP port of the Service."""
    return tuple(Door(host.fqdn, port, host.fqdn) for port in service_ports(service).http)


def _carrier(
    key: EntryKey, cluster: Cluster, providers: Sequence[Provider], service: Object, asked: str | None
) -> tuple[Provider, Entry]:
    unroutable = why_unroutable(service)
    if unroutable is not None:
        raise InvalidInputError(Reason.PORT_NOT_HTTP, unroutable)
    meshes = [item for item in providers if EntryKind.MESH in item.carries]
    served = [item for item in meshes if any(cluster.is_served(resource) for resource in item.writes)]
    if asked is not None:
        return _asked_for(asked, key, cluster, meshes, served)
    if not served:
        listed = " nor ".join(_api(item.writes[0]) for item in meshes)
        text = (
            f"The cluster serves neither {listed}; install a mesh, or annotate Service {key.namespace}/{key.name} with "
            f"{PROVIDER}: {_NO_PROVIDER} if only its gateways are to route tenants"
        )
        raise InvalidInputError(Reason.MESH_NOT_FOUND, text)
    found = [(item, entry) for item in served if (entry := item.entry(key, cluster)) is not None]
    users = [(item, entry) for item, entry in found if entry.source is not None]
    if len(users) > 1:
        listed = " and ".join(f"{item.name} {entry.source}" for item, entry in users)
        text = (
            f"{listed} both have rules for service {key.name}, which a mesh takes as it happens; keep one of them, or "
            f"annotate the Service with {PROVIDER} to say which one holds"
        )
        raise InvalidInputError(Reason.ROUTE_CONFLICT, text)
    if users:
        provider, entry = users[0]
        return provider, replace(entry, why=f"{provider.name} {entry.source} has rules for the Service")
    return _by_default(found, key, cluster, service)


def _asked_for(
    asked: str, key: EntryKey, cluster: Cluster, meshes: Sequence[Provider], served: Sequence[Provider]
) -> tuple[Provider, Entry]:
    subject = f"Service {key.namespace}/{key.name} is annotated {PROVIDER}: {asked}"
    provider = next((item for item in meshes if item.name == asked), None)
    if provider is None:
        known = ", ".join([*(item.name for item in meshes), _NO_PROVIDER])
        raise InvalidInputError(Reason.ROUTE_CONFLICT, f"{subject}, which is none of {known}")
    if provider not in served:
        api = _api(provider.writes[0])
        raise InvalidInputError(Reason.MESH_NOT_FOUND, f"{subject}, but the cluster does not serve {api}")
    entry = provider.entry(key, cluster)
    if entry is None:
        raise InvalidInputError(Reason.ROUTE_CONFLICT, f"{subject}, which cannot route it")
    return provider, replace(entry, why=f"the Service is annotated {PROVIDER}: {asked}")


def _by_default(
    found: Sequence[tuple[Provider, Entry]], key: EntryKey, cluster: Cluster, service: Object
) -> tuple[Provider, Entry]:
    """The first provider, but in ambient mode the last: VirtualServices are alpha there, and HTTPRoutes are not."""
    if not found:
        raise InvalidInputError(Reason.ROUTE_CONFLICT, f"No mesh can route service {key.namespace}/{key.name}")
    if _is_ambient(key, cluster, service):
        provider, entry = found[-1]
        return provider, replace(entry, why="nobody else routes the Service, and it is in Istio's ambient mode")
    provider, entry = found[0]
    return provider, replace(entry, why=f"nobody else routes the Service, and the cluster serves {provider.name}")


def _is_ambient(key: EntryKey, cluster: Cluster, service: Object) -> bool:
    namespace = cluster.get(NAMESPACES, "", key.namespace)
    labels = [(item or {}).get("metadata", {}).get("labels") or {} for item in (service, namespace)]
    return any(item.get(_AMBIENT) == "ambient" or item.get(_WAYPOINT, "none") != "none" for item in labels)


def _api(resource: Resource) -> str:
    return f"{resource.kind} ({resource.api_version})"
