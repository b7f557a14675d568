"""Which installation resourceVersions are of: they say nothing about those of another cluster."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Protocol

from sidestream.errors import KubeError
from sidestream.kube.port import NAMESPACES, Object, Resource

LENGTH: Final = 8
"""Enough to tell clusters apart, and short because every commit of every consumer carries it."""

_NAMESPACE: Final = "kube-system"
"""Every cluster has it for as long as it lives, so its uid stands for the cluster."""


class ReadableApi(Protocol):
    """What reading the epoch needs of the API server."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when it does not exist."""
        ...


async def read_epoch(api: ReadableApi) -> str:
    """The cluster's epoch: it never changes, so one read serves a process for life.

    Raises:
        TransientError: the API server is away.
        KubeError: it lets us not read the namespace, or there is none.
    """
    found = await api.get(NAMESPACES, "", _NAMESPACE)
    if found is None:
        raise KubeError(f"there is no namespace {_NAMESPACE} to tell this cluster by", status=HTTPStatus.NOT_FOUND)
    return str(found["metadata"]["uid"])[:LENGTH]
