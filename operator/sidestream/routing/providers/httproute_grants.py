"""ReferenceGrants: which Services of other namespaces a gateway's route may name, and ours for forks of these."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from sidestream.api.labels import ROUTING_KEY
from sidestream.kube.port import REFERENCE_GRANTS, Object
from sidestream.routing.entries import EntryKey
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import is_ours, marked, own_name
from sidestream.routing.providers.httproute_groups import Group
from sidestream.routing.providers.provider import Cluster, Part
from sidestream.routing.table import Tenant

MAX_TARGETS: Final = 16
"""Targets of one ReferenceGrant, as its CRD validates."""


def is_granted(route: Object, service: ServiceHost, cluster: Cluster) -> bool:
    """Whether the users allow the route to name the Service as a backend at a gateway."""
    if service.namespace == route["metadata"]["namespace"]:
        return True
    grants = (item for item in cluster.all(REFERENCE_GRANTS, service.namespace) if not is_ours(item))
    return any(_names_source(item, route) and _names_target(item, service) for item in grants)


def grants_for(tenant: Tenant, group: Group, key: EntryKey) -> tuple[Part, ...]:
    """The grants that let the group's objects name the tenant's forks; none for forks in their own namespace."""
    names: dict[str, list[str]] = defaultdict(list)
    for item in tenant.stand_ins:
        if item.fork.namespace != group.namespace:
            names[item.fork.namespace].append(item.fork.name)
    source = {"group": group.resource.group, "kind": group.resource.kind, "namespace": group.namespace}
    parts = []
    for namespace, forks in sorted(names.items()):
        for number, start in enumerate(range(0, len(forks), MAX_TARGETS)):
            targets = [{"group": "", "kind": "Service", "name": name} for name in forks[start : start + MAX_TARGETS]]
            name = own_name(f"{group.stem}.{tenant.key}.{number}")
            spec = {"from": [source], "to": targets}
            obj = marked(REFERENCE_GRANTS, key, namespace, name, spec, labels={ROUTING_KEY: tenant.key})
            # without a key: a grant holds no rule, and tells nothing about where a tenant's requests go
            parts.append(Part(REFERENCE_GRANTS, obj))
    return tuple(parts)


def _names_source(grant: Object, route: Object) -> bool:
    wanted = (route["apiVersion"].partition("/")[0], route["kind"], route["metadata"]["namespace"])
    return any((item["group"], item["kind"], item["namespace"]) == wanted for item in grant["spec"]["from"])


def _names_target(grant: Object, service: ServiceHost) -> bool:
    return any(
        item["group"] == "" and item["kind"] == "Service" and item.get("name") in (None, "", service.name)
        for item in grant["spec"]["to"]
    )
