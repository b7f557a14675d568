"""Renders what Sidestream writes beside a user's IngressRoute: tenants' rules, and what these refer to.

Tenants are spread over a fixed number of IngressRoutes, the shelves, by their keys: none ever moves to another one, and
what changes for one is a small write. Each answers probes, for itself and for the objects that it refers to, by a
redirect whose Middleware is called by the hash: so the answer changes with the IngressRoute, not with the Middleware.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sidestream.api.conditions import Reason
from sidestream.api.names import MAX_LABEL, shortened
from sidestream.config import HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import INGRESS_ROUTES, MIDDLEWARES, TRAEFIK_SERVICES, Object, Resource
from sidestream.routing.entries import Entry, EntryKey
from sidestream.routing.ownership import NAME_PREFIX, config_hash, marked
from sidestream.routing.proof import probe_host
from sidestream.routing.providers.ingressroute_rules import FOR_PROBES, IngressRouteDialect, probe_rule
from sidestream.routing.providers.ingressroute_services import Backends, Place
from sidestream.routing.providers.provider import Part, Probe
from sidestream.routing.table import Rule, Tenant, guard_rules, tenant_rules

GUARDED_FROM: Final = 20
"""With more tenants than this, requests without one get rules of their own in front of the tenants'."""

LARGEST: Final = 900_000
"""Bytes of JSON in one object; etcd takes 1.5 MiB with what the API server adds."""

_GUARD: Final = "guard"
_UNAVAILABLE: Final = "unavailable"
_DIGEST_LENGTH: Final = 8
_NOBODYS_ADDRESS: Final = "255.255.255.255/32"
_REMEMBERED: Final = 2_000
"""Shelves; what is rendered again and is the same is the same object."""


def parts_of(entry: Entry, tenants: Sequence[Tenant], header: HeaderSettings, domain: str) -> Iterator[Part]:
    """All objects for an entry, each IngressRoute after the Middlewares and TraefikServices that it refers to.

    Raises:
        InvalidInputError: an object would be too large.
    """
    context = _Context(entry.key, json.dumps([entry.rules, entry.place], sort_keys=True), header, domain)
    shelves: dict[str, list[Tenant]] = defaultdict(list)
    for tenant in tenants:
        shelves[_shelf_of(tenant.key)].append(tenant)
    parts = [part for what, members in sorted(shelves.items()) for part in _shelf(context, what, tuple(members))]
    if parts and len(tenants) > GUARDED_FROM:
        yield from _shelf(context, _GUARD, ())
    yield from parts


@dataclass(frozen=True)
class Made:
    """An object of ours before it is marked as such; `keys` are the tenants that it is for."""

    resource: Resource
    namespace: str
    name: str
    spec: dict[str, Any]
    keys: frozenset[str]


@dataclass(frozen=True)
class _Context:
    """What decides the objects of an entry beside the tenants; `text` is its rules and place as JSON."""

    key: EntryKey
    text: str
    header: HeaderSettings
    domain: str


@lru_cache(maxsize=_REMEMBERED)
def _shelf(context: _Context, what: str, tenants: tuple[Tenant, ...]) -> tuple[Part, ...]:
    """An IngressRoute and what it refers to."""
    key = context.key
    rules, place = json.loads(context.text)
    backends = Backends({Place(*path): spec for *path, spec in place["services"]}, context.domain)
    routes: list[Rule] = []
    needed: list[Made] = []
    refusal = refusing(key.namespace, named(key, what, _UNAVAILABLE), frozenset(tenant.key for tenant in tenants))
    if what == _GUARD:
        routes = guard_rules(rules, IngressRouteDialect(context.header, key.namespace, backends, {}))
    for tenant in tenants:
        names = {at: named(key, tenant.key, at.namespace, at.name) for at in backends.specs}
        dialect = IngressRouteDialect(context.header, key.namespace, backends, names)
        changed: dict[Place, dict[str, Any]] = {}
        for rule, clone in zip(rules, tenant_rules(rules, tenant, dialect), strict=False):
            routes.append(clone)
            if dialect.leads_to_fork(rule, tenant):
                routes.append(dialect.for_want_of_it(rule, tenant, refusal.name))
                changed |= dialect.changed_for(rule, tenant)
        mine = frozenset({tenant.key})
        needed += [Made(TRAEFIK_SERVICES, at.namespace, names[at], changed[at], mine) for at in sorted(changed)]
    if not routes:
        return ()
    needed += [refusal] if tenants else []
    return tuple(
        proven(Written(key, key.namespace, f"{key.namespace}/{key.name}", place), named(key, what), routes, needed)
    )


@dataclass(frozen=True)
class Written:
    """What objects are written for: the entry, where, after whose IngressRoute (`source`), and its `place`.

    `probes_at` is the priority of the rule that answers probes, above all others of ours that it may meet.
    """

    key: EntryKey
    namespace: str
    source: str
    place: dict[str, Any]
    probes_at: int = FOR_PROBES


def proven(for_: Written, name: str, routes: list[Rule], needed: list[Made]) -> Iterator[Part]:
    """What is needed, then the IngressRoute that refers to it and answers for it.

    Raises:
        InvalidInputError: it would be too large.
    """
    place = for_.place
    body = {**place["spec"], "routes": routes}
    digest = config_hash([body, [made.spec for made in needed]])
    keys = frozenset[str]().union(*(made.keys for made in needed))
    # nobody's host (RFC 2606): the prober reads it and does not go there
    answer = {"redirectRegex": {"regex": "^.*$", "replacement": f"http://{probe_host(digest)}/"}}
    redirect = Made(MIDDLEWARES, for_.namespace, f"{name}-{digest[:_DIGEST_LENGTH]}", answer, keys)
    names = [name, redirect.name, *(made.name for made in needed)]
    probe = probe_rule(names, place["host"], redirect.name, routes[0], for_.probes_at)
    whole = Made(INGRESS_ROUTES, for_.namespace, name, {**body, "routes": [probe, *routes]}, keys)
    if len(json.dumps(whole.spec)) > LARGEST:
        raise InvalidInputError(
            Reason.ROUTE_CONFLICT,
            f"The tenants' rules for {for_.key} do not fit into objects of {LARGEST} bytes; divide it into several, or "
            "have fewer rules in it",
        )
    for made in (*needed, redirect, whole):
        yield Part(made.resource, _marked(for_, made), Probe(made.name, digest), made.keys)


def refusing(namespace: str, name: str, keys: frozenset[str]) -> Made:
    """The Middleware that answers 503 for a fork without a ready pod: it lets only nobody's address pass."""
    spec = {"ipAllowList": {"sourceRange": [_NOBODYS_ADDRESS], "rejectStatusCode": 503}}
    return Made(MIDDLEWARES, namespace, name, spec, keys)


def _marked(for_: Written, made: Made) -> Object:
    place = for_.place
    obj = marked(
        made.resource, for_.key, made.namespace, made.name, made.spec, source=for_.source, labels=place["labels"]
    )
    obj["metadata"]["annotations"] |= place["annotations"]
    return obj


def named(key: EntryKey, *words: str) -> str:
    """`sidestream-<IngressRoute>-<words>-<digest>`, which is unique in the cluster, for probes call objects by it."""
    digest = hashlib.sha256("/".join((key.namespace, key.name, *words)).encode()).hexdigest()[:_DIGEST_LENGTH]
    plain = f"{NAME_PREFIX}{'-'.join((key.name, *words))}"
    return f"{shortened(plain, MAX_LABEL - _DIGEST_LENGTH - 1)}-{digest}"


def _shelf_of(key: str) -> str:
    """One of sixteen."""
    return hashlib.sha256(key.encode()).hexdigest()[0]
