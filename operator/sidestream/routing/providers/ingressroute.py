"""Routes at Traefik, as IngressRoutes of our own beside a user's, in its namespace; users' objects are never written.

Traefik merges the rules of all IngressRoutes by priority, so ours hold the tenants' rules alone, above everybody's. A
request that names two tenants may go to either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sidestream.api.labels import GROUP, MANAGED_BY
from sidestream.config import HeaderSettings
from sidestream.kube.port import (
    INGRESS_CLASSES,
    INGRESS_ROUTES,
    INGRESSES,
    MIDDLEWARES,
    TRAEFIK_SERVICES,
    Object,
    Resource,
)
from sidestream.routing.entries import Entry, EntryKey, EntryKind, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.ingressroute_doors import doors_of
from sidestream.routing.providers.ingressroute_render import parts_of
from sidestream.routing.providers.ingressroute_services import (
    Backends,
    backends_of,
    refers_to,
    services_in,
    users_of,
)
from sidestream.routing.providers.ingressroute_user import concerned, concerned_by_ingress, read, said
from sidestream.routing.providers.ingressroute_view import INGRESS_CLASS
from sidestream.routing.providers.provider import Cluster, Provider, Rendered
from sidestream.routing.table import Tenant

_NOT_COPIED: Final = (
    "app.kubernetes.io/instance",
    MANAGED_BY,
    "argocd.argoproj.io/",
    "helm.sh/",
    "kapp.k14s.io/",
    "toolkit.fluxcd.io/",
    f"{GROUP}/",
)
"""Labels, by parts of their names, that say whose an object is; the others may be what Traefik selects objects by."""


class IngressRouteProvider(Provider):
    """Reads users' IngressRoutes and renders ours, for tenants named as `header` says."""

    name: Final = "IngressRoute"
    carries: Final = frozenset({EntryKind.INGRESS_ROUTE})
    reads: Final[tuple[Resource, ...]] = (INGRESS_ROUTES, TRAEFIK_SERVICES, INGRESSES, INGRESS_CLASSES)
    writes: Final[tuple[Resource, ...]] = (INGRESS_ROUTES, MIDDLEWARES, TRAEFIK_SERVICES)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header

    def entries_of(self, obj: Object, cluster: Cluster) -> Iterable[EntryKey]:
        """An IngressRoute and those that share requests with it; for a TraefikService, those that lead there.

        For an Ingress those that share requests with it, and for an IngressClass all.
        """
        if is_ours(obj):
            return ()
        users = (item for item in cluster.all(INGRESS_ROUTES) if not is_ours(item))
        found: Iterable[Object]
        match obj["kind"]:
            case INGRESS_ROUTES.kind:
                found = concerned(obj, cluster)
            case INGRESSES.kind:
                found = concerned_by_ingress(obj, cluster)
            case INGRESS_CLASSES.kind:
                found = users
            case _:
                places = list(users_of(obj, cluster))
                found = (item for item in users if any(refers_to(item, place) for place in places))
        return [_key(item) for item in found]

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services that the object itself names; what TraefikServices lead to is theirs to say."""
        return services_in(obj, domain)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """The rules of one IngressRoute.

        Raises:
            InvalidInputError: its rules cannot be repeated for tenants.
        """
        obj = cluster.get(INGRESS_ROUTES, key.namespace, key.name)
        if key.kind is not EntryKind.INGRESS_ROUTE or obj is None or is_ours(obj):
            return None
        reading = read(obj, cluster)
        backends, opaque = backends_of(reading.rules, key.namespace, cluster)
        doors = doors_of(obj, reading.scopes, cluster)
        return Entry(
            key=key,
            mode=Mode.BESIDE,
            rules=reading.rules,
            reaches=frozenset(host for rule in reading.rules for host in backends.reached_by(rule, key.namespace)),
            source=f"{key.namespace}/{key.name}",
            place=place_of(obj, backends, doors.host),
            doors=doors.doors,
            why_unprovable=doors.why_unprovable,
            finding=said([*reading.findings, *(_opaque(key, name) for name in opaque)]),
            why=f"IngressRoute {key.namespace}/{key.name} leads to it from outside",
        )

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """See `Provider.render`."""
        return Rendered(tuple(parts_of(entry, tenants, self._header, cluster.domain)))


def place_of(obj: Object, backends: Backends, host: str) -> dict[str, Any]:
    """What our objects have in common with the user's, and what decides them beside the rules."""
    metadata = obj["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    return {
        "spec": {key: value for key, value in obj["spec"].items() if key != "routes"},
        "annotations": {INGRESS_CLASS: annotations[INGRESS_CLASS]} if INGRESS_CLASS in annotations else {},
        "labels": {key: value for key, value in labels.items() if not any(part in key for part in _NOT_COPIED)},
        "host": host,
        "services": [[place.namespace, place.name, spec] for place, spec in sorted(backends.specs.items())],
    }


def _key(obj: Object) -> EntryKey:
    return EntryKey(EntryKind.INGRESS_ROUTE, obj["metadata"]["namespace"], obj["metadata"]["name"])


def _opaque(key: EntryKey, name: str) -> str:
    return (
        f"IngressRoute {key.namespace}/{key.name} leads to TraefikService {name}, into which Sidestream cannot see; "
        "requests that go there stay on the baseline"
    )
