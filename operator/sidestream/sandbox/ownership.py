"""How an object says that it was made for a Sandbox, and how to tell whose an object is; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidestream.api.labels import BASELINE, MANAGED_BY, MANAGED_BY_VALUE, ROUTING_KEY, SANDBOX
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import SANDBOXES, Object, Resource

_NO_GITOPS: Final = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
}
"""Tells Argo CD to leave alone what is in no repository."""


def made_labels(sandbox: Sandbox, baseline: str) -> dict[str, str]:
    """The labels of every object made for a Sandbox, and of its forks' pods."""
    return {
        MANAGED_BY: MANAGED_BY_VALUE,
        SANDBOX: sandbox.metadata.name,
        BASELINE: baseline,
        ROUTING_KEY: sandbox.routing_key,
    }


def fork_selector(sandbox: Sandbox, baseline: str) -> dict[str, str]:
    """What selects a fork's pods and no others."""
    return {SANDBOX: sandbox.metadata.name, BASELINE: baseline}


def made_metadata(
    sandbox: Sandbox,
    baseline: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """The metadata of an object made for a Sandbox; our own labels and annotations win over those given."""
    return {
        "name": name,
        "namespace": sandbox.metadata.namespace,
        "labels": {**(labels or {}), **made_labels(sandbox, baseline)},
        "annotations": {**(annotations or {}), **_NO_GITOPS},
        "ownerReferences": [
            {
                "apiVersion": SANDBOXES.api_version,
                "kind": SANDBOXES.kind,
                "name": sandbox.metadata.name,
                "uid": sandbox.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def made(resource: Resource, metadata: Object, **fields: Any) -> Object:
    """An object of a kind with these top-level fields."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


def is_made(obj: Object) -> bool:
    """Whether Sidestream made the object, for whichever Sandbox."""
    labels = _labels(obj)
    return labels.get(MANAGED_BY) == MANAGED_BY_VALUE and SANDBOX in labels


def is_ours(obj: Object, sandbox: Sandbox) -> bool:
    """Whether the object was made for this very Sandbox.

    One of an earlier Sandbox of the same name is not: the garbage collector removes it. One that has lost its owner
    is, and gets it back.
    """
    if not is_made(obj) or _labels(obj)[SANDBOX] != sandbox.metadata.name:
        return False
    owners = [item for item in obj["metadata"].get("ownerReferences") or () if item.get("controller")]
    return all(item["uid"] == sandbox.metadata.uid for item in owners)


def baseline_of(obj: Object) -> str:
    """The baseline Deployment that a made object stands for."""
    return _labels(obj).get(BASELINE, "")


def name_of(obj: Object) -> str:
    """`metadata.name`."""
    return str(obj["metadata"]["name"])


def is_going(obj: Object) -> bool:
    """Whether somebody has deleted the object and it is not gone yet."""
    return obj["metadata"].get("deletionTimestamp") is not None


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}
