"""Puts rules of tenants into VirtualServices: one, or where it would be too large a root that hands over to several.

The first rule of an object is the probe, which the proxy answers by itself with a hash of all that follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sidestream.kube.port import VIRTUAL_SERVICES, Object
from sidestream.routing import ownership
from sidestream.routing.entries import Entry, EntryKind, Mode
from sidestream.routing.proof import PROBE_HEADER, probe_answer
from sidestream.routing.providers.provider import Part, Probe
from sidestream.routing.providers.virtualservice_memo import Measured, hash_of, joined
from sidestream.routing.providers.virtualservice_patch import with_rules
from sidestream.routing.providers.virtualservice_words import conflict, gateway_name, mesh_name
from sidestream.routing.table import Rule, Tenant

MAX_BYTES: Final = 900_000
"""Of one object's rules as JSON. etcd takes no request over 1.5 MiB (its --max-request-bytes, 1572864); what is left is
for metadata and for characters that the API server escapes."""

_MOST_SHARDS: Final = 1024

Tenants = Mapping[Tenant, Measured]
"""Each tenant with its rules."""


def object_name(entry: Entry) -> str:
    """The name of our object for an entry, and what users hand over to."""
    return mesh_name(entry.key.name) if entry.key.kind is EntryKind.MESH else gateway_name(entry.key.name)


def parts_of(entry: Entry, tenants: Tenants, guards: Measured, base: Measured) -> tuple[Part, ...]:
    """The objects with the tenants' rules between `guards` and `base`.

    Raises:
        InvalidInputError: the rules are over the limit and cannot be divided.
    """
    clones = joined(tenants.values())
    if guards.size + clones.size + base.size <= MAX_BYTES:
        return (_whole(entry, joined([guards, clones, base]), _keys(tenants)),)
    if entry.mode is Mode.DELEGATE:
        raise conflict(
            f"The rules of VirtualService {_object_of(entry)} are over {MAX_BYTES} bytes; delegate less to it"
        )
    if guards.size + base.size > MAX_BYTES:
        raise conflict(
            f"The rules of VirtualService {entry.source} take over {MAX_BYTES} bytes around those of tenants; "
            "shorten them"
        )
    return _divided(entry, tenants, guards, base)


def patch_of(entry: Entry, live: Object, tenants: Tenants, guards: Measured, base: Measured) -> Part:
    """The user's own object with our rules.

    Raises:
        InvalidInputError: it would be over the limit.
    """
    ours = joined([guards, *tenants.values()])
    if ours.size + base.size > MAX_BYTES:
        raise conflict(
            f"VirtualService {entry.source} would be over {MAX_BYTES} bytes with the tenants' rules; "
            "remove its annotation to have them in objects of their own"
        )
    probe = _probe(entry, hash_of({}, ours, *base.hashes))
    obj = with_rules(live, [_probe_rule(probe), *ours.rules])
    return Part(VIRTUAL_SERVICES, obj, probe, _keys(tenants), patches=live)


def _whole(entry: Entry, http: Measured, keys: frozenset[str]) -> Part:
    probe = _probe(entry, hash_of(entry.place, http))
    spec = {**entry.place, "http": [_probe_rule(probe), *http.rules]}
    return Part(VIRTUAL_SERVICES, _object(entry, object_name(entry), spec), probe, keys)


def _divided(entry: Entry, tenants: Tenants, guards: Measured, base: Measured) -> tuple[Part, ...]:
    """Delegates with the tenants' rules, and last the root that hands over to each of them without a condition.

    Only the root has a probe. Its hash covers those of the delegates, and Istio sees the objects in the order in which
    they were written: a proxy that has the root has them all. The delegates' names say how many there are, so that a
    root never hands over to those of another division; those go when the proxies have the new root.
    """
    shards = _shards(tenants)
    name, namespace = object_name(entry), entry.key.namespace
    stem = f"{name.removeprefix(ownership.NAME_PREFIX)}.{len(shards)}"
    names = [ownership.own_name(f"{stem}-{index}") for index in range(len(shards))]
    contents = [joined(shard.values()) for shard in shards]
    delegates = [
        Part(
            VIRTUAL_SERVICES,
            _object(entry, shard_name, {"exportTo": [namespace], "http": list(content.rules)}),
            keys=_keys(shard),
        )
        for shard_name, shard, content in zip(names, shards, contents, strict=True)
        if content.rules
    ]
    handovers = [{"delegate": {"name": part.obj["metadata"]["name"], "namespace": namespace}} for part in delegates]
    probe = _probe(entry, hash_of(entry.place, joined([guards, *contents, base]), *names))
    http = [_probe_rule(probe), *guards.rules, *handovers, *base.rules]
    root = _object(entry, name, {**entry.place, "http": http})
    return (*delegates, Part(VIRTUAL_SERVICES, root, probe, _keys(tenants), stage=1))


def _shards(tenants: Tenants) -> list[dict[Tenant, Measured]]:
    """The tenants divided so that each shard is within the limit and a tenant more changes one of them."""
    for tenant, rules in tenants.items():
        if rules.size > MAX_BYTES:
            raise conflict(
                f"The rules of tenant {tenant.key} alone are over {MAX_BYTES} bytes; shorten the user's rules"
            )
    count = 2
    while count <= _MOST_SHARDS:
        shards: list[dict[Tenant, Measured]] = [{} for _ in range(count)]
        for tenant, rules in tenants.items():
            shards[_number(tenant.key) % count][tenant] = rules
        if all(joined(shard.values()).size <= MAX_BYTES for shard in shards):
            return shards
        count *= 2
    raise conflict(f"The tenants' rules do not fit into {_MOST_SHARDS} objects; shorten the user's rules")


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def _object(entry: Entry, name: str, spec: dict[str, Any]) -> Object:
    return ownership.marked(VIRTUAL_SERVICES, entry.key, entry.key.namespace, name, spec, source=entry.source)


def _object_of(entry: Entry) -> str:
    return f"{entry.key.namespace}/{object_name(entry)}"


def _probe(entry: Entry, config_hash: str) -> Probe:
    """Named as the object is; at gateways, where objects of several namespaces meet, with its namespace."""
    is_alone = entry.key.kind is EntryKind.MESH
    return Probe(object_name(entry) if is_alone else _object_of(entry), config_hash)


def _probe_rule(probe: Probe) -> Rule:
    """Answered by the proxy itself, so whoever asks learns which rules that proxy has; no pod sees the request."""
    return {
        "name": "probe",
        "match": [{"headers": {PROBE_HEADER: {"exact": probe.name}}}],
        "directResponse": {"status": 200, "body": {"string": probe_answer(probe.config_hash)}},
    }


def _keys(tenants: Tenants) -> frozenset[str]:
    return frozenset(tenant.key for tenant in tenants)
