"""Reads what gateways do with the hosts of a user's VirtualService, or says why tenants cannot be given rules there.

At a gateway the rules of all VirtualServices for one host are joined: first those exported to the gateway's namespace
by name, then public ones, each time the oldest first, and in the end all that match everything. So the rules of an
object of ours, which is exported by name, come before those of users, and it needs tenants' rules only. They are made
from the joined list, whichever of the users' VirtualServices the object stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.kube.port import ISTIO_GATEWAYS, NAMESPACES, VIRTUAL_SERVICES, Object
from sidestream.kube.selectors import matches_labels
from sidestream.routing.entries import Entry, EntryKey, Mode
from sidestream.routing.ownership import is_ours
from sidestream.routing.providers.provider import Cluster, key_of
from sidestream.routing.providers.virtualservice_delegates import delegates_of, expanded, user_delegates
from sidestream.routing.providers.virtualservice_gateway import (
    Listener,
    doors_to,
    fronts,
    listeners_of,
    spots_of,
)
from sidestream.routing.providers.virtualservice_patch import is_patch_allowed, without_rules
from sidestream.routing.providers.virtualservice_rules import Match, matches_of, services_of
from sidestream.routing.providers.virtualservice_user import (
    own_delegates,
    refuse_a_bad_handover,
    refuse_rules,
    users_of,
)
from sidestream.routing.providers.virtualservice_words import (
    conflict,
    gateway_name,
    gateways_of,
    is_for_the_mesh,
    is_public,
    is_visible_anywhere,
)
from sidestream.routing.table import Rule

_WHERE: Final = frozenset(
    {"name", "statPrefix", "ignoreUriCase", "port", "gateways", "sourceLabels", "sourceNamespace"}
)
"""Conditions that decide whether a proxy has a rule at all, and what is no condition."""


@dataclass(frozen=True)
class GatewayView:
    """What the rules of a Gateway depend on; `ports` are those on which the VirtualService is served."""

    name: str
    labels: dict[str, str]
    namespaces: frozenset[str]
    ports: tuple[int, ...]


def sharing(virtual_service: Object, cluster: Cluster) -> list[Object]:
    """The users' VirtualServices with a host at a Gateway in common, itself among them, in effective order."""
    spots = spots_of(virtual_service, cluster)
    own = key_of(virtual_service)
    found = [
        item
        for item in users_of(cluster)
        if is_visible_anywhere(item) and gateways_of(item) and (key_of(item) == own or spots & spots_of(item, cluster))
    ]
    return in_order(found)


def in_order(virtual_services: Sequence[Object]) -> list[Object]:
    """Public VirtualServices as a gateway joins them."""
    return sorted(virtual_services, key=_age)


def edge_entry(key: EntryKey, cluster: Cluster, header: HeaderSettings) -> Entry | None:
    """The entry of a user's VirtualService that is bound to gateways; None when there is no such one with HTTP rules.

    Raises:
        InvalidInputError: tenants cannot be given rules there; the message names object and rule.
    """
    found = cluster.get(VIRTUAL_SERVICES, key.namespace, key.name)
    if found is None or is_ours(found) or not gateways_of(found) or not found["spec"].get("http"):
        return None
    virtual_service = without_rules(found)
    _refuse_missing_gateways(virtual_service, cluster)
    group = sharing(virtual_service, cluster)
    mode = _mode(virtual_service)
    _refuse_the_group(virtual_service, group, mode, cluster)
    for item in group:
        refuse_rules([item, *user_delegates(item, cluster, own_delegates(item, cluster))], header)
    listeners = listeners_of(virtual_service, cluster)
    rules = _uniform_table(virtual_service, group, listeners, cluster)
    doors = doors_to(listeners, cluster)
    listed = ", ".join(gateways_of(virtual_service))
    return Entry(
        key=key,
        mode=mode,
        rules=tuple(rules),
        reaches=services_of(rules, key.namespace, cluster.domain),
        source=key_of(virtual_service),
        place=_place(virtual_service, mode, cluster),
        doors=doors,
        why_unprovable="" if doors else f"no Service leads to an HTTP port of Gateway {listed}",
        why=f"VirtualService {key_of(virtual_service)} is bound to Gateway {listed}",
    )


def _mode(virtual_service: Object) -> Mode:
    metadata = virtual_service["metadata"]
    if is_patch_allowed(virtual_service) and not is_for_the_mesh(virtual_service):
        return Mode.PATCH
    if _own_delegate(metadata["namespace"], metadata["name"]) in delegates_of(virtual_service):
        return Mode.DELEGATE
    return Mode.BESIDE


def _own_delegate(namespace: str, name: str) -> str:
    return f"{namespace}/{gateway_name(namespace, name)}"


def _place(virtual_service: Object, mode: Mode, cluster: Cluster) -> dict[str, Any]:
    spec, namespace = virtual_service["spec"], virtual_service["metadata"]["namespace"]
    match mode:
        case Mode.DELEGATE:
            return {"exportTo": [namespace]}
        case Mode.BESIDE:
            # by name to all: the pods of a gateway may run in any namespace, and ours must come first wherever they do
            exported = {namespace, *(item["metadata"]["name"] for item in cluster.all(NAMESPACES))}
            return {
                "hosts": list(spec["hosts"]),
                "gateways": gateways_of(virtual_service),
                "exportTo": sorted(exported),
            }
        case _:
            return {}


def _refuse_missing_gateways(virtual_service: Object, cluster: Cluster) -> None:
    subject = f"VirtualService {key_of(virtual_service)}"
    served = {listener.spot.gateway for listener in listeners_of(virtual_service, cluster)}
    for name in gateways_of(virtual_service):
        if cluster.get(ISTIO_GATEWAYS, *name.split("/", 1)) is None:
            raise conflict(f"{subject} is bound to Gateway {name}, which does not exist; create it or remove its name")
        if name not in served:
            hosts = ", ".join(virtual_service["spec"]["hosts"])
            raise conflict(
                f"Gateway {name} admits no host of {subject} ({hosts}) from namespace "
                f"{virtual_service['metadata']['namespace']} over HTTP; add one to the hosts of its servers"
            )


def _refuse_the_group(virtual_service: Object, group: Sequence[Object], mode: Mode, cluster: Cluster) -> None:
    own = key_of(virtual_service)
    others = [item for item in group if key_of(item) != own]
    if mode is Mode.DELEGATE:
        target = _own_delegate(virtual_service["metadata"]["namespace"], virtual_service["metadata"]["name"])
        refuse_a_bad_handover(virtual_service, target, own_delegates(virtual_service, cluster))
    if mode is not Mode.BESIDE and others:
        listed = " and ".join(sorted(key_of(item) for item in others))
        raise conflict(
            f"VirtualService {own} shares a host at a gateway with {listed}, so rules within it would not come first; "
            f"remove the {'delegate' if mode is Mode.DELEGATE else 'annotation'}"
        )
    for item in group if mode is Mode.BESIDE else ():
        if not is_public(item):
            raise conflict(
                f"VirtualService {key_of(item)} sets exportTo, so no other VirtualService can take precedence over it; "
                "remove it"
            )
    spots = spots_of(virtual_service, cluster)
    for item in others:
        missing = sorted(f"{spot.host} at Gateway {spot.gateway}" for spot in spots - spots_of(item, cluster))
        if missing:
            raise conflict(
                f"VirtualServices {own} and {key_of(item)} share hosts at a gateway but not {missing[0]}; "
                "give them the same hosts and gateways, or none in common"
            )


def _uniform_table(
    virtual_service: Object, group: Sequence[Object], listeners: Sequence[Listener], cluster: Cluster
) -> list[Rule]:
    tables = [rules_at(group, view_of(name, listeners, cluster), cluster) for name in gateways_of(virtual_service)]
    if any(table != tables[0] for table in tables[1:]):
        listed = ", ".join(gateways_of(virtual_service))
        raise conflict(
            f"The rules of VirtualService {key_of(virtual_service)} differ between Gateways {listed}; "
            "give each a VirtualService of its own"
        )
    return tables[0]


def view_of(name: str, listeners: Sequence[Listener], cluster: Cluster) -> GatewayView:
    """The Gateway `name` (`namespace/name`) with the ports of those of the listeners that are its own."""
    gateway = cluster.get(ISTIO_GATEWAYS, *name.split("/", 1))
    pods = fronts(gateway, cluster) if gateway is not None else []
    return GatewayView(
        name,
        dict((gateway or {}).get("spec", {}).get("selector") or {}),
        frozenset(item["metadata"]["namespace"] for item in pods),
        tuple(sorted({listener.port for listener in listeners if listener.spot.gateway == name})),
    )


def rules_at(group: Sequence[Object], gateway: GatewayView, cluster: Cluster) -> list[Rule]:
    """The joined rules of VirtualServices at a Gateway in effective order, spelled so that they hold anywhere.

    Raises:
        InvalidInputError: a delegate is missing, or rules are for callers of whom nobody knows whether they are meant.
    """
    lists = []
    for item in group:
        rules = expanded(item, cluster, own_delegates(item, cluster))
        lists.append([(kept, item) for rule in rules if (kept := _of_gateway(rule, gateway, item)) is not None])
    by_port = any("port" in match for rules in lists for rule, _ in rules for match in matches_of(rule))
    joined: list[Rule] = []
    for port in gateway.ports if by_port else (None,):
        joined += _joined([[rule for rule, _ in rules] for rules in lists], port)
    return joined


def _joined(lists: Sequence[Sequence[Rule]], port: int | None) -> list[Rule]:
    first: list[Rule] = []
    last: list[Rule] = []
    for rules in lists:
        for rule in rules:
            matches = _on_port(rule, port)
            if matches is None:
                continue
            end = next((place for place, match in enumerate(matches) if _is_catch_all(match)), None)
            if end is None:
                first.append({**rule, "match": matches})
                continue
            if matches[:end]:
                first.append({**rule, "match": matches[:end]})
            last.append({**rule, "match": [matches[end]]})
            # of this VirtualService Istio takes nothing more
            break
    return [*first, *last]


def _on_port(rule: Rule, port: int | None) -> list[Match] | None:
    """The alternatives that hold on the port, saying so; None when there is none."""
    matches = matches_of(rule) or [{}]
    if port is None:
        return matches
    return [{**match, "port": port} for match in matches if match.get("port", port) == port] or None


def _of_gateway(rule: Rule, gateway: GatewayView, source: Object) -> Rule | None:
    """The rule as the Gateway's pods have it; None when it is for others only."""
    if not matches_of(rule):
        return rule
    kept = [_anywhere(match) for match in matches_of(rule) if _is_for(match, gateway, source)]
    return {**rule, "match": kept} if kept else None


def _anywhere(match: Match) -> Match:
    return {key: value for key, value in match.items() if key not in ("gateways", "sourceLabels", "sourceNamespace")}


def _is_for(match: Match, gateway: GatewayView, source: Object) -> bool:
    if match.get("gateways"):
        return gateway.name in match["gateways"]
    labels: dict[str, str] = match.get("sourceLabels") or {}
    namespace = match.get("sourceNamespace")
    if any(gateway.labels.get(key, value) != value for key, value in labels.items()):
        return False
    if namespace and namespace not in gateway.namespaces:
        return False
    if (labels and not matches_labels(labels, gateway.labels)) or (namespace and len(gateway.namespaces) > 1):
        raise conflict(
            f"VirtualService {key_of(source)} has rules for some callers only (sourceLabels, sourceNamespace), and it "
            f"is not known whether the pods of Gateway {gateway.name} are among them; limit the rules to gateways"
        )
    return True


def _is_catch_all(match: Match) -> bool:
    """Whether Istio moves it to the end (`IsCatchAllRoute`): it looks at nothing in a request."""
    uri = match.get("uri")
    is_any_path = uri is None or uri.get("prefix") == "/" or uri.get("regex") == ".*"
    return is_any_path and {key for key, value in match.items() if value} <= _WHERE | {"uri"}


def _age(virtual_service: Object) -> tuple[str, str, str]:
    metadata = virtual_service["metadata"]
    return metadata["creationTimestamp"], metadata["name"], metadata["namespace"]
