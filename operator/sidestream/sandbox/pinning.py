"""Snapshots of baselines for forks that do not follow them, kept in ControllerRevisions; pure."""

from __future__ import annotations

from typing import Final

from sidestream.api.names import fork_name
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import CONTROLLER_REVISIONS, DEPLOYMENTS, Object
from sidestream.sandbox.ownership import made, made_metadata, name_of

_METADATA_KEPT: Final = ("name", "namespace", "labels", "annotations", "generation")


def snapshot(baseline: Object, sandbox: Sandbox) -> Object:
    """The ControllerRevision that keeps what a fork is rendered from. It is written once: its data cannot change."""
    metadata = baseline["metadata"]
    kept = {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {name: metadata[name] for name in _METADATA_KEPT if name in metadata},
        "spec": baseline["spec"],
    }
    name = name_of(baseline)
    return made(
        CONTROLLER_REVISIONS,
        made_metadata(sandbox, name, fork_name(name, sandbox.metadata.name)),
        data=kept,
        revision=1,
    )


def pinned_baseline(revision: Object) -> Object:
    """The baseline as it was when the snapshot was taken."""
    kept: Object = revision["data"]
    return kept
