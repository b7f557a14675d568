"""Entries of the mesh: what callers inside it do with requests for one Service, as routes with that Service as parent.

Where users have no such route, a route for tenants alone would leave everybody else without a rule. So a guard that
sends all to the Service comes first. It speaks of no port where the Service has but one, as most users' routes do;
else of each HTTP port on its own, for a backend has a fixed one. Istio merges routes only where they say the same about
the port, so ours follow the users'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sidestream.kube.port import HTTP_ROUTES, SERVICES, Object, Resource
from sidestream.routing.entries import Door, Entry, EntryKey, Mode
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ports import service_ports
from sidestream.routing.providers.httproute_answers import GRPC_IS_UNPROVABLE, answer_in_the_mesh
from sidestream.routing.providers.httproute_groups import GROUPS, Group, UserRule, conflict
from sidestream.routing.providers.httproute_rules import leads_to, to_service
from sidestream.routing.providers.httproute_user import (
    ROUTES,
    Place,
    resource_of,
    service_parents,
    user_rules,
    users_routes,
)
from sidestream.routing.providers.provider import Cluster, key_of, title_of


def mesh_entry(key: EntryKey, cluster: Cluster) -> Entry | None:
    """The entry of one Service; None where there is no Service, no HTTP port, or the kind of route is not served.

    Raises:
        InvalidInputError: users' routes for it leave no room for tenant rules.
    """
    service = cluster.get(SERVICES, key.namespace, key.name)
    if service is None or not service_ports(service).http:
        return None
    host = ServiceHost(key.namespace, key.name, cluster.domain)
    numbers = {None, *service_ports(service).http}
    # callers in other namespaces may have routes of their own there, and then do not follow these
    producers = [
        item
        for item in users_routes(cluster)
        if item["metadata"]["namespace"] == host.namespace and numbers & set(_ports_of(item, host))
    ]
    if not producers and not cluster.is_served(HTTP_ROUTES):
        return None
    _refuse_two_forms(producers, host)
    groups = (
        *_users_groups(producers, host, numbers, cluster),
        *_guarded_groups(service, producers, host),
    )
    rules = [item for group in groups for item in group.rules if item.is_seed]
    return Entry(
        key,
        Mode.BESIDE if producers else Mode.OWNED,
        tuple(item.rule for item in rules),
        frozenset[ServiceHost]().union(*(leads_to(item.rule, host.namespace, host.domain) for item in rules)),
        source=", ".join(key_of(item) for item in producers) or None,
        place={GROUPS: groups},
        doors=_doors(service, groups, host),
        why_unprovable="" if any(group.can_answer for group in groups) else GRPC_IS_UNPROVABLE,
        why=f"{_titles(producers)} {'has' if len(producers) == 1 else 'have'} it as parent"
        if producers
        else "nobody has written a route for it and the cluster serves HTTPRoute",
    )


def _ports_of(route: Object, host: ServiceHost) -> list[int | None]:
    parent = Place(host.namespace, host.name)
    return [port for place, port in service_parents(route) if place == parent]


def _refuse_two_forms(producers: Sequence[Object], host: ServiceHost) -> None:
    without = [item for item in producers if None in _ports_of(item, host)]
    with_port = [item for item in producers if any(_ports_of(item, host))]
    if without and with_port:
        raise conflict(
            f"{title_of(without[0])} names Service {host.namespace}/{host.name} without a port and "
            f"{title_of(with_port[0])} with one; Istio then uses only one of the two, so write both in the same way"
        )


def _users_groups(
    producers: Sequence[Object], host: ServiceHost, numbers: set[int | None], cluster: Cluster
) -> Iterable[Group]:
    taken = {port for item in producers for port in _ports_of(item, host)}
    for port in sorted(taken & numbers, key=lambda number: number or 0):
        attached = [item for item in producers if port in _ports_of(item, host)]
        for resource in ROUTES:
            if any(resource_of(item) == resource for item in attached):
                can_answer = answer_in_the_mesh(resource, cluster)
                yield _group(resource, host, port, _rules(attached, resource), can_answer=can_answer)


def _rules(attached: Sequence[Object], resource: Resource) -> tuple[UserRule, ...]:
    """The rules of one kind, and of the other those that no object of this kind can repeat."""
    return tuple(
        rule
        for item in attached
        for rule in user_rules(item, is_seed=resource_of(item) == resource, is_foreign=resource_of(item) != resource)
    )


def _guarded_groups(service: Object, producers: Sequence[Object], host: ServiceHost) -> Iterable[Group]:
    taken = {port for item in producers for port in _ports_of(item, host)}
    if None in taken:
        return
    ports = service_ports(service)
    is_only_port = len(ports.http) + len(ports.other) == 1
    for number in ports.http:
        if number not in taken:
            guard = to_service(host, number)
            rules = (UserRule(guard, f"the rule for port {number} of Service {host.namespace}/{host.name}"),)
            yield _group(HTTP_ROUTES, host, None if is_only_port and not taken else number, rules, is_guarded=True)


def _group(
    resource: Resource,
    host: ServiceHost,
    port: int | None,
    rules: tuple[UserRule, ...],
    *,
    is_guarded: bool = False,
    can_answer: bool = True,
) -> Group:
    parent = {"group": "", "kind": "Service", "name": host.name, **({} if port is None else {"port": port})}
    word = "mesh" if resource == HTTP_ROUTES else "mesh-grpc"
    return Group(
        resource,
        host.namespace,
        # a dot, since neither names of Services nor keys have one: other words could be another Service's
        f"{host.name}.{word}" + ("" if port is None else f"-{port}"),
        {"parentRefs": [parent]},
        rules,
        guard=rules[0].rule if is_guarded else None,
        port=port,
        can_answer=can_answer,
    )


def _doors(service: Object, groups: Sequence[Group], host: ServiceHost) -> tuple[Door, ...]:
    asked = [group.port for group in groups if group.can_answer]
    return tuple(
        Door(host.fqdn, number, host.fqdn) for number in service_ports(service).http if None in asked or number in asked
    )


def _titles(routes: Sequence[Object]) -> str:
    return " and ".join(title_of(item) for item in routes)
