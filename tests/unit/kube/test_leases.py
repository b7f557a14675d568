from __future__ import annotations

from dataclasses import replace

import pytest

from builders import EPOCH
from fakes.kube import FakeKubeApi
from sidestream.errors import ConflictError
from sidestream.kube.leases import KubeLeaseStore
from sidestream.kube.port import LEASES
from sidestream.runtime.leader import Lease

MINE = Lease(holder="a", seconds=15, acquired_at=EPOCH, renewed_at=EPOCH, transitions=1)


async def test_what_is_written_is_read() -> None:
    store = KubeLeaseStore(FakeKubeApi(), "sidestream-system", "sidestream-operator")
    assert await store.read() is None
    written = await store.write(MINE)
    assert written == replace(MINE, version=written.version)
    assert await store.read() == written


async def test_the_object_is_a_lease_as_kubernetes_writes_them() -> None:
    api = FakeKubeApi()
    await KubeLeaseStore(api, "sidestream-system", "sidestream-operator").write(MINE)
    found = api.live(LEASES, "sidestream-operator", "sidestream-system")
    assert found is not None
    assert found["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 1,
    }


async def test_of_two_writers_the_slower_one_conflicts() -> None:
    api = FakeKubeApi()
    store = KubeLeaseStore(api, "sidestream-system", "sidestream-operator")
    first = await store.write(MINE)
    with pytest.raises(ConflictError):
        await store.write(replace(MINE, holder="b"))
    await store.write(replace(first, transitions=2))
    with pytest.raises(ConflictError):
        await store.write(replace(first, holder="b"))
