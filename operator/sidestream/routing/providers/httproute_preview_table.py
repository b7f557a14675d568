"""Which users' routes a preview at a Gateway repeats, and at which of its listeners.

Listeners of one port may have routes of their own: often one redirects what the other serves. So for each port of the
preview's host the routes count that hold for the users' host at that port. Where several host names of routes cover the
users' host, gateways use the routes of the narrowest; only Traefik uses all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sidestream.errors import InvalidInputError
from sidestream.kube.apply import canonical_hash
from sidestream.kube.port import GATEWAYS, HTTP_ROUTES, Object
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.httproute_answers import answer_at
from sidestream.routing.providers.httproute_grants import is_granted
from sidestream.routing.providers.httproute_groups import Group
from sidestream.routing.providers.httproute_listeners import (
    Attachment,
    admits,
    attachments,
    is_class_accepted,
    is_for_http,
    is_of_traefik,
    listeners_of,
    narrower,
)
from sidestream.routing.providers.httproute_precedence import Condition, conditions
from sidestream.routing.providers.httproute_rules import leads_to
from sidestream.routing.providers.httproute_user import (
    gateway_parents,
    hostnames_of,
    resource_of,
    user_rules,
    users_routes,
)
from sidestream.routing.providers.preview import ANY_HOST, Asked, conflict, covers, refuse_a_used_host, users_host
from sidestream.routing.providers.provider import Cluster, title_of

Listener = dict[str, Any]
Spot = tuple[str, int]
"""Protocol and port of a listener."""

_STEM_LENGTH = 8


@dataclass(frozen=True)
class Repeated:
    """A user's route and the names of the listeners at which the preview is to have it."""

    route: Object
    listeners: tuple[str, ...]


@dataclass(frozen=True)
class PreviewGroup:
    """Routes whose rules come into common objects; `granted` are the Services that the users let them name."""

    group: Group
    listeners: tuple[str, ...]
    ports: frozenset[int]
    granted: frozenset[ServiceHost]
    conditions: tuple[Condition, ...]


def listeners_for(preview: Asked, cluster: Cluster) -> list[Listener]:
    """The Gateway's listeners that take the preview's host, of each port the one whose hostname is the narrowest.

    Raises:
        InvalidInputError: there is none.
    """
    gateway = cluster.get(GATEWAYS, preview.namespace, preview.name)
    if gateway is None:
        raise conflict(f"Gateway {preview.gateway} ({GATEWAYS.api_version}) does not exist")
    if not is_class_accepted(gateway, cluster):
        name = gateway["spec"]["gatewayClassName"]
        raise conflict(f"No controller has accepted GatewayClass {name} of Gateway {preview.gateway}; install one")
    found: dict[Spot, Listener] = {}
    for item in sorted(listeners_of(gateway), key=_hostname_rank):
        if is_for_http(item) and _is_for(item.get("hostname") or ANY_HOST, preview.host):
            found[_spot(item)] = item
    if not found:
        raise conflict(
            f"No HTTP listener of Gateway {preview.gateway} takes host {preview.host}; add one whose hostname covers it"
        )
    return list(found.values())


def tables_of(preview: Asked, listeners: Sequence[Listener], cluster: Cluster) -> list[Repeated]:
    """The users' routes to repeat, the oldest first.

    Raises:
        InvalidInputError: there is none, or the preview's listeners do not admit its namespace; or the preview's host
            is used.
    """
    attached = list(_attached(preview, cluster))
    refuse_a_used_host(
        preview,
        [(host.lower(), title_of(route)) for route, _ in attached for host in hostnames_of(route) or (ANY_HOST,)],
    )
    hosts = {host for _, item in attached for host in item.hosts}
    # such as a listener for previews alone, to which routes without hostnames are attached too
    hosts = {host for host in hosts if host == ANY_HOST or not covers(host, preview.host)}
    of = users_host(preview, hosts, f"Gateway {preview.gateway}")
    if attached and is_of_traefik(attached[0][1].gateway, cluster):
        _refuse_different_hosts(attached, of)
    tables = _narrowest(attached, of)
    common = [item for item in listeners if _spot(item) in tables]
    if not common:
        shown = ", ".join(f"{item['name']} ({item['protocol']} {item['port']})" for item in listeners)
        raise conflict(
            f"Gateway {preview.gateway} takes host {preview.host} at listener {shown} alone, where nobody has rules "
            f"for {of or 'any host'}; add a listener for it at the same port and protocol as those rules"
        )
    found: dict[str, Repeated] = {}
    for listener in common:
        # whoever may not attach a route there must not get one by a Sandbox
        _refuse_a_foreigner(preview, listener, cluster)
        for route in tables[_spot(listener)]:
            _refuse_if_not_admitted(preview, listener, route, cluster)
            before = found.get(title_of(route))
            names = (*(before.listeners if before else ()), listener["name"])
            found[title_of(route)] = Repeated(route, tuple(sorted(names)))
    order = [title_of(route) for route in users_routes(cluster)]
    return sorted(found.values(), key=lambda item: order.index(title_of(item.route)))


def groups_of(preview: Asked, routes: Sequence[Repeated], cluster: Cluster) -> tuple[PreviewGroup, ...]:
    """Routes of one kind, namespace and attachment together, for only within an object their order is certain.

    Traefik weighs a rule by its place in its own route, so there each is alone.

    Raises:
        InvalidInputError: a rule is refused by proxies, or policies hold for a route by its name.
    """
    gateway = cluster.get(GATEWAYS, preview.namespace, preview.name)
    if gateway is None:
        return ()
    is_weighted = is_of_traefik(gateway, cluster)
    alike: dict[str, list[Repeated]] = {}
    for item in routes:
        metadata = item.route["metadata"]
        alone = metadata["name"] if is_weighted else ""
        which = [item.route["kind"], metadata["namespace"], item.listeners, _others(item.route), alone]
        alike.setdefault(json.dumps(which, sort_keys=True), []).append(item)
    return tuple(
        _group(preview, which, items, gateway, cluster, is_weighted=is_weighted) for which, items in alike.items()
    )


def _group(
    preview: Asked, which: str, items: Sequence[Repeated], gateway: Object, cluster: Cluster, *, is_weighted: bool
) -> PreviewGroup:
    first = items[0].route
    namespace, listeners = first["metadata"]["namespace"], items[0].listeners
    parent = {"group": GATEWAYS.group, "kind": GATEWAYS.kind, "namespace": preview.namespace, "name": preview.name}
    rules = tuple(rule for item in items for rule in user_rules(item.route))
    granted = {
        service
        for item in items
        for rule in user_rules(item.route)
        for service in leads_to(rule.rule, namespace, cluster.domain)
        if is_granted(item.route, service, cluster)
    }
    group = Group(
        resource_of(first),
        namespace,
        f"{preview.key.name}.{preview.key.namespace}.preview-{canonical_hash(which)[:_STEM_LENGTH]}",
        {
            **_others(first),
            "hostnames": [preview.host],
            "parentRefs": [{**parent, "sectionName": name} for name in listeners],
        },
        rules,
        is_weighted=is_weighted,
        needs_grants=True,
        can_answer=answer_at(resource_of(first), [gateway], cluster),
    )
    found = conditions([item.rule for item in rules], is_grpc=[item.is_grpc for item in rules])
    ports = frozenset(item["port"] for item in listeners_of(gateway) if item["name"] in listeners)
    return PreviewGroup(group, listeners, ports, frozenset(granted), found)


def _attached(preview: Asked, cluster: Cluster) -> Iterator[tuple[Object, Attachment]]:
    """Every user's route at the Gateway with each listener that it is attached to."""
    for route in users_routes(cluster):
        for place, ref in gateway_parents(route):
            if (place.namespace, place.name) != (preview.namespace, preview.name):
                continue
            try:
                found = attachments(route, place, ref, cluster)
            except InvalidInputError:
                # it takes no requests there, so there is nothing to repeat
                continue
            yield from ((route, item) for item in found)


def _narrowest(attached: Sequence[tuple[Object, Attachment]], of: str) -> dict[Spot, list[Object]]:
    """For each port the routes of the narrowest listener, and there of the narrowest host name, that cover the host."""
    best: dict[Spot, tuple[Any, ...]] = {}
    tables: dict[Spot, list[Object]] = {}
    for route, item in attached:
        hosts = [host for host in item.hosts if _is_for(host, of)]
        if not hosts:
            continue
        spot = _spot(item.listener)
        rank = (_hostname_rank(item.listener), max(map(_rank, hosts)))
        if spot not in best or rank > best[spot]:
            best[spot], tables[spot] = rank, []
        if rank == best[spot] and route not in tables[spot]:
            tables[spot].append(route)
    return tables


def _refuse_different_hosts(attached: Sequence[tuple[Object, Attachment]], of: str) -> None:
    """Traefik tries the rules of all routes whose hosts cover a request's, and adds the length of these to the weight.

    So where they differ, no routes for one and the same host have the rules in this order.
    """
    routes = [route for route, item in attached if any(_is_for(host, of) for host in item.hosts)]
    for route in routes:
        if set(hostnames_of(route)) != set(hostnames_of(routes[0])):
            raise conflict(
                f"{title_of(routes[0])} and {title_of(route)} both have rules for {of or 'any host'} and differ in "
                "their hostnames, by which Traefik weighs rules, which a preview cannot repeat; give them the same"
            )


def _refuse_a_foreigner(preview: Asked, listener: Listener, cluster: Cluster) -> None:
    gateway = cluster.get(GATEWAYS, preview.namespace, preview.name)
    own = {"kind": HTTP_ROUTES.kind, "metadata": {"namespace": preview.key.namespace}}
    if gateway is not None and not admits(listener, gateway, own, cluster):
        raise conflict(
            f"Listener {listener['name']} of Gateway {preview.gateway} admits no {HTTP_ROUTES.kind} from namespace "
            f"{preview.key.namespace} (allowedRoutes), and so no preview of its Sandboxes; change allowedRoutes"
        )


def _refuse_if_not_admitted(preview: Asked, listener: Listener, route: Object, cluster: Cluster) -> None:
    gateway = cluster.get(GATEWAYS, preview.namespace, preview.name)
    if gateway is not None and not admits(listener, gateway, route, cluster):
        raise conflict(
            f"Listener {listener['name']} of Gateway {preview.gateway} admits no {route['kind']} from namespace "
            f"{route['metadata']['namespace']} (allowedRoutes), where {title_of(route)} is, which the preview has to "
            "repeat; change allowedRoutes"
        )


def _is_for(host: str, name: str) -> bool:
    """Whether a listener or route of this hostname takes requests for host `name` ("" is any)."""
    return host == ANY_HOST or (name != ANY_HOST and narrower(host, name) == name)


def _rank(host: str) -> tuple[bool, int]:
    return host != ANY_HOST and not host.startswith("*"), len(host)


def _hostname_rank(listener: Listener) -> tuple[bool, int]:
    return _rank(listener.get("hostname") or ANY_HOST)


def _spot(listener: Listener) -> Spot:
    return listener["protocol"], listener["port"]


def _others(route: Object) -> dict[str, Any]:
    """What a route says beside its rules, and where and for whom it holds."""
    return {field: value for field, value in route["spec"].items() if field not in ("parentRefs", "hostnames", "rules")}
