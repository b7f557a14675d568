"""The leader's lease as a Kubernetes Lease object."""

from __future__ import annotations

from datetime import datetime

from sidestream.api.times import format_micro_time, parse_time
from sidestream.kube.port import LEASES, KubeApi, Object
from sidestream.runtime.leader import Lease


class KubeLeaseStore:
    """Implements `LeaseStore` with one Lease object; only a replace guarded by resourceVersion ever changes it."""

    def __init__(self, api: KubeApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def read(self) -> Lease | None:
        """See `LeaseStore`."""
        found = await self._api.get(LEASES, self._namespace, self._name)
        return None if found is None else _lease(found)

    async def write(self, lease: Lease) -> Lease:
        """See `LeaseStore`."""
        metadata: Object = {"name": self._name, "namespace": self._namespace}
        if lease.version:
            metadata["resourceVersion"] = lease.version
        obj: Object = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": lease.holder,
                "leaseDurationSeconds": max(1, round(lease.seconds)),
                "acquireTime": _text(lease.acquired_at),
                "renewTime": _text(lease.renewed_at),
                "leaseTransitions": lease.transitions,
            },
        }
        written = await (self._api.replace if lease.version else self._api.create)(LEASES, obj)
        return _lease(written)


def _lease(obj: Object) -> Lease:
    spec = obj.get("spec", {})
    return Lease(
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        acquired_at=_moment(spec.get("acquireTime")),
        renewed_at=_moment(spec.get("renewTime")),
        transitions=spec.get("leaseTransitions") or 0,
        version=obj["metadata"]["resourceVersion"],
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_micro_time(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
