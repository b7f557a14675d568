"""How objects that carry routes are marked as Sidestream's, and for which entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidestream.api.labels import BASELINE_SERVICE, GROUP, MANAGED_BY, MANAGED_BY_VALUE
from sidestream.api.names import shortened
from sidestream.kube.apply import canonical_hash
from sidestream.kube.port import Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind

ENTRY: Final = f"{GROUP}/entry"
"""Annotation: the entry that an object of ours was written for, such as `Mesh shop/orders`."""

SOURCE: Final = f"{GROUP}/overlays"
"""Annotation: the user's object whose rules ours repeats."""

NAME_PREFIX: Final = "sidestream-"
HASH_LENGTH: Final = 20
"""Hex digits of a config's hash."""

# Argo CD: an object that no repository holds is neither a difference nor to be pruned
_GITOPS: Final = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
}


def marked(
    resource: Resource,
    key: EntryKey,
    namespace: str,
    name: str,
    spec: Mapping[str, Any],
    *,
    source: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """An object of ours for the entry `key`."""
    of_service = {BASELINE_SERVICE: key.name} if key.kind is EntryKind.MESH else {}
    overlays = {} if source is None else {SOURCE: source}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGED_BY_VALUE, **of_service, **(labels or {})},
            "annotations": {**_GITOPS, ENTRY: str(key), **overlays},
        },
        "spec": spec,
    }


def is_ours(obj: Object) -> bool:
    """Whether Sidestream wrote this object."""
    labels = obj["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == MANAGED_BY_VALUE


def entry_of(obj: Object) -> EntryKey | None:
    """The entry that an object of ours was written for; None for others' objects."""
    if not is_ours(obj):
        return None
    metadata = obj["metadata"]
    said = EntryKey.parse((metadata.get("annotations") or {}).get(ENTRY, ""))
    if said is not None:
        return said
    # written before there were entries other than Services
    service = (metadata.get("labels") or {}).get(BASELINE_SERVICE)
    return None if service is None else EntryKey(EntryKind.MESH, metadata["namespace"], service)


def own_name(*words: str) -> str:
    """`sidestream-<words>`, cut and hashed where it would be too long for a label."""
    return shortened(NAME_PREFIX + "-".join(words))


def config_hash(spec: Any) -> str:
    """With what proxies that have this answer the probe."""
    return canonical_hash(spec)[:HASH_LENGTH]
