"""Previews at Istio's gateways, as VirtualServices of our own for hosts of their own, in the Sandbox's namespace.

Envoy looks for a request's host first and then for a rule, so our rules meet no other host's. They repeat what gateways
have for the users' host: see `virtualservice_edge`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.kube.port import ISTIO_GATEWAYS, VIRTUAL_SERVICES, Object, Resource
from sidestream.routing.entries import Entry, EntryKey, Mode
from sidestream.routing.headers import tenant_matches
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.ownership import marked, own_name
from sidestream.routing.providers.preview import (
    ADDRESS,
    ANY_HOST,
    TENANT,
    Asked,
    Marking,
    PreviewCarrier,
    address_of,
    asked,
    conflict,
    covers,
    markings,
    not_served,
    refuse_a_used_host,
    users_host,
)
from sidestream.routing.providers.provider import Cluster, Part, Probe, Rendered, key_of
from sidestream.routing.providers.virtualservice_delegates import user_delegates
from sidestream.routing.providers.virtualservice_edge import in_order, rules_at, view_of
from sidestream.routing.providers.virtualservice_gateway import Listener, doors_to, listeners_of, spots_of
from sidestream.routing.providers.virtualservice_memo import hash_of, measured
from sidestream.routing.providers.virtualservice_render import MAX_BYTES, probe_rule
from sidestream.routing.providers.virtualservice_rules import (
    VirtualServiceDialect,
    matches_of,
    narrowed,
    routes_of,
    services_of,
)
from sidestream.routing.providers.virtualservice_user import own_delegates, refuse_rules, users_of
from sidestream.routing.providers.virtualservice_words import (
    gateways_of,
    is_public,
    is_visible_anywhere,
    rule_of,
)
from sidestream.routing.table import Rule, Tenant

_SPEC: Final = "spec"
"""Key in `Entry.place`: our object's spec without rules."""


class VirtualServicePreviews(PreviewCarrier):
    """Reads what a preview at an Istio Gateway is to repeat, and renders it, for tenants named as `header` says."""

    name: Final = "VirtualService"
    writes: Final[tuple[Resource, ...]] = (VIRTUAL_SERVICES,)

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header

    def destinations(self, obj: Object, domain: str) -> frozenset[ServiceHost]:
        """The Services of all routes."""
        return services_of(obj["spec"].get("http") or (), obj["metadata"]["namespace"], domain)

    def entry(self, key: EntryKey, cluster: Cluster) -> Entry | None:
        """The rules for the host of which it is a preview; None where none is asked for at an Istio Gateway.

        Raises:
            InvalidInputError: the Gateway does not take the preview's host, or users' rules cannot be repeated.
        """
        preview = asked(key, cluster, "IstioGateway")
        if preview is None:
            return None
        listeners = _listeners(preview, cluster)
        group = _group(preview, cluster)
        self._refuse_what_cannot_be_repeated(group, cluster)
        rules = rules_at(group, view_of(preview.gateway, listeners, cluster), cluster)
        doors = doors_to(listeners, cluster)
        ports = [(door.port, door.is_tls) for door in doors] or [(item.port, item.is_tls) for item in listeners]
        return Entry(
            key=key,
            mode=Mode.BESIDE,
            rules=tuple(rules),
            reaches=services_of(rules, key.namespace, cluster.domain),
            source=" and ".join(key_of(item) for item in group),
            place={
                _SPEC: {"hosts": [preview.host], "gateways": [preview.gateway], "exportTo": ["*"]},
                TENANT: preview.tenant,
                ADDRESS: address_of(preview.host, ports),
            },
            doors=doors,
            why_unprovable="" if doors else f"no Service leads to an HTTP port of Gateway {preview.gateway}",
            why=f"the preview is at Gateway {preview.gateway}",
        )

    def render(self, entry: Entry, tenants: Sequence[Tenant], cluster: Cluster) -> Rendered:
        """One VirtualService: the probe, rules for requests that name a tenant themselves, then those for all others.

        Raises:
            InvalidInputError: it would be over the size limit.
        """
        (tenant,) = tenants
        key = entry.key
        dialect = VirtualServiceDialect(self._header, key.namespace, cluster.domain)
        forked = [dialect.with_forks(rule, tenant) for rule in entry.rules]
        rules = measured(_marked(rule, marking) for marking in markings(self._header, tenant.key) for rule in forked)
        if rules.size > MAX_BYTES:
            raise conflict(f"The preview's rules are over {MAX_BYTES} bytes; write fewer rules for its host")
        spec = entry.place[_SPEC]
        name = own_name(f"{key.namespace}.{key.name}.preview")
        probe = Probe(name, hash_of(spec, rules))
        whole = {**spec, "http": [probe_rule(probe), *rules.rules]}
        obj = marked(VIRTUAL_SERVICES, key, key.namespace, name, whole, source=entry.source)
        return Rendered((Part(VIRTUAL_SERVICES, obj, probe, frozenset({tenant.key})),))

    def _refuse_what_cannot_be_repeated(self, group: Sequence[Object], cluster: Cluster) -> None:
        names = {match.name for match in tenant_matches(self._header, "any")}
        for item in group:
            if not is_public(item):
                raise conflict(
                    f"VirtualService {key_of(item)} sets exportTo, so it is not known whether the gateway has its "
                    "rules; remove it"
                )
            of_all = [item, *user_delegates(item, cluster, own_delegates(item, cluster))]
            refuse_rules(of_all, self._header)
            for holder in of_all:
                for index, rule in enumerate(holder["spec"].get("http") or []):
                    _refuse_rule(rule, rule_of(holder, index), names)


def _listeners(preview: Asked, cluster: Cluster) -> list[Listener]:
    """Where the Gateway takes requests for the preview's host."""
    if not (cluster.is_served(VIRTUAL_SERVICES) and cluster.is_served(ISTIO_GATEWAYS)):
        raise not_served(f"Gateway ({ISTIO_GATEWAYS.api_version})")
    if cluster.get(ISTIO_GATEWAYS, preview.namespace, preview.name) is None:
        raise conflict(f"Gateway {preview.gateway} ({ISTIO_GATEWAYS.api_version}) does not exist")
    ours = {
        "metadata": {"namespace": preview.key.namespace, "name": preview.key.name},
        "spec": {"hosts": [preview.host], "gateways": [preview.gateway]},
    }
    found = listeners_of(ours, cluster)
    if not found:
        raise conflict(
            f"No server of Gateway {preview.gateway} takes host {preview.host} from namespace {preview.key.namespace} "
            "over HTTP; add it to the hosts of one"
        )
    return found


def _group(preview: Asked, cluster: Cluster) -> list[Object]:
    """The users' VirtualServices of which the preview repeats the rules, in effective order."""
    hosts: dict[str, list[Object]] = {}
    for item in users_of(cluster):
        if not (is_visible_anywhere(item) and item["spec"].get("http") and preview.gateway in gateways_of(item)):
            continue
        for host in sorted({spot.host for spot in spots_of(item, cluster) if spot.gateway == preview.gateway}):
            hosts.setdefault(ANY_HOST if host == "*" else host, []).append(item)
    where = f"Gateway {preview.gateway}"
    refuse_a_used_host(
        preview,
        [(host, f"VirtualService {key_of(item)}") for host, items in sorted(hosts.items()) for item in items],
    )
    of = users_host(preview, hosts, where)
    narrowest = max((host for host in hosts if host == of or covers(host, of)), key=len, default=ANY_HOST)
    return in_order(hosts[of if of in hosts else narrowest])


def _refuse_rule(rule: Rule, subject: str, names: set[str]) -> None:
    for match in matches_of(rule):
        if match.get("authority"):
            raise conflict(f"{subject} looks at the request's host (authority), which is another one at a preview")
        excluded = {name.lower() for name in match.get("withoutHeaders") or ()} & names
        if excluded:
            raise conflict(
                f"{subject} excludes requests by header {min(excluded)}, which names the tenants; take another header"
            )
    for holder in (rule, *routes_of(rule)):
        request = (holder.get("headers") or {}).get("request") or {}
        changed = {name.lower() for field in ("set", "add", "remove") for name in request.get(field) or ()} & names
        if changed:
            raise conflict(f"{subject} changes header {min(changed)}, by which a preview's requests name their tenant")


def _marked(rule: Rule, marking: Marking) -> Rule:
    """The rule for requests that are to be marked in this way; one that leads nowhere needs no mark."""
    clone = copy.deepcopy(rule)
    if marking.naming is not None:
        clone["match"] = list(narrowed(clone, (marking.naming,)))
    if not routes_of(clone):
        return clone
    headers: dict[str, Any] = clone.get("headers") or {}
    request: dict[str, Any] = headers.get("request") or {}
    more = {
        field: {**(request.get(field) or {}), **values}
        for field, values in (("set", marking.set), ("add", marking.add))
        if values
    }
    clone["headers"] = {**headers, "request": {**request, **more}}
    return clone
