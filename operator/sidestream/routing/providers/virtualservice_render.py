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
from sidestream.routing.providers.virtualservice_memo import Measured, hash_of, joined, measured
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
    key = entry.key
    return mesh_name(key.name) if key.kind is EntryKind.MESH else gateway_name(key.namespace, key.name)


def parts_of(entry: Entry, tenants: Tenants, guards: Measured, base: Measured) -> tuple[Part, ...]:
    """The objects with the tenants' rules between `guards` and `base`.

    Raises:
        InvalidInputError: the rules are over the limit and cannot be divided.
    """
    clones = joined(tenants.values())
    if guards.size + clones.size + base.size <= MAX_BYTES:
        return (_whole(entry, joined([guards, clones, base]), _keys(tenants)),)
    if entry.mode is Mode.DELEGATE:
        own = f"{entry.key.namespace}/{object_name(entry)}"
        raise conflict(f"The rules of VirtualService {own} are over {MAX_BYTES} bytes; delegate less to it")
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
    probe = Probe(live["metadata"]["name"], hash_of({}, joined([ours, base])))
    obj = with_rules(live, [probe_rule(probe), *ours.rules])
    return Part(VIRTUAL_SERVICES, obj, probe, _keys(tenants), patches=live)


def _whole(entry: Entry, http: Measured, keys: frozenset[str]) -> Part:
    return _part(entry, object_name(entry), entry.place, http, keys)


def _divided(entry: Entry, tenants: Tenants, guards: Measured, base: Measured) -> tuple[Part, ...]:
    """Delegates with the tenants' rules, and last the root that hands over to each of them without a condition.

    All are of one stage: a delegate answers its probe only below its root. Istio sees objects in the order in which
    they are written, so it never has the root without the delegates. Their names say how many there are, so that a root
    never hands over to half of another division; those of before go after the root that named them.
    """
    shards = _shards(tenants)
    stem = f"{object_name(entry).removeprefix(ownership.NAME_PREFIX)}.{len(shards)}"
    place = {"exportTo": [entry.key.namespace]}
    delegates = [
        _part(entry, ownership.own_name(f"{stem}-{index}"), place, joined(shard.values()), _keys(shard))
        for index, shard in enumerate(shards)
        if shard
    ]
    handovers = measured(
        {"delegate": {"name": part.obj["metadata"]["name"], "namespace": entry.key.namespace}} for part in delegates
    )
    root = _whole(entry, joined([guards, handovers, base]), _keys(tenants))
    return (*delegates, root)


def _part(entry: Entry, name: str, place: dict[str, Any], http: Measured, keys: frozenset[str]) -> Part:
    probe = Probe(name, hash_of(place, http))
    spec = {**place, "http": [probe_rule(probe), *http.rules]}
    obj = ownership.marked(VIRTUAL_SERVICES, entry.key, entry.key.namespace, name, spec, source=entry.source)
    return Part(VIRTUAL_SERVICES, obj, probe, keys)


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


def probe_rule(probe: Probe) -> Rule:
    """Answered by the proxy itself, so whoever asks learns which rules that proxy has; no pod sees the request."""
    return {
        "name": "probe",
        "match": [{"headers": {PROBE_HEADER: {"exact": probe.name}}}],
        "directResponse": {"status": 200, "body": {"string": probe_answer(probe.config_hash)}},
    }


def _keys(tenants: Tenants) -> frozenset[str]:
    return frozenset(tenant.key for tenant in tenants)
