"""Leader election against a real API server, in real time with short leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flow.cluster import line_to, until
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.leases import KubeLeaseStore
from sidestream.kube.port import LEASES
from sidestream.runtime.clock import SystemClock
from sidestream.runtime.leader import Elector, LeadershipLostError, Timing

NAME = "sidestream-operator"
TIMING = Timing(lease=9.0, renew_within=6.0, retry=0.25)
"""Short, yet long enough for a machine that is busy with other tests."""


class Replica:
    """One process of two: an elector and work that goes on until it is cancelled."""

    def __init__(self, api: AioKubeApi, namespace: str, identity: str) -> None:
        self.identity = identity
        self.works = False
        self._elector = Elector(KubeLeaseStore(api, namespace, NAME), SystemClock(), identity, timing=TIMING)
        self.task = asyncio.create_task(self._elector.run(self._lead))

    async def _lead(self) -> None:
        self.works = True
        try:
            await asyncio.Event().wait()
        finally:
            self.works = False

    async def is_working(self) -> bool:
        return self.works

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@asynccontextmanager
async def replicas(api: AioKubeApi, namespace: str, *identities: str) -> AsyncIterator[list[Replica]]:
    """Replicas that were started in this order."""
    started = [Replica(api, namespace, identity) for identity in identities]
    try:
        yield started
    finally:
        for replica in started:
            await replica.stop()


async def holder(api: AioKubeApi, namespace: str) -> str:
    lease = await api.get(LEASES, namespace, NAME)
    return str(lease["spec"]["holderIdentity"]) if lease else ""


async def leader_of(pair: list[Replica]) -> Replica:
    async def somebody() -> bool:
        return any(replica.works for replica in pair)

    await until(somebody, "one replica leads")
    (leader,) = (replica for replica in pair if replica.works)
    return leader


async def test_of_two_replicas_one_leads_and_the_lease_says_which(kubeconfig: str, namespace: str) -> None:
    async with connect(kubeconfig) as api, replicas(api, namespace, "a", "b") as pair:
        leader = await leader_of(pair)
        assert await holder(api, namespace) == leader.identity
        first = await api.get(LEASES, namespace, NAME)

        async def is_renewed() -> bool:
            return await api.get(LEASES, namespace, NAME) != first

        await until(is_renewed, "the lease was renewed")
        assert [replica.works for replica in pair].count(True) == 1


async def test_the_other_takes_over_soon_after_a_leader_exits(kubeconfig: str, namespace: str) -> None:
    async with connect(kubeconfig) as api, replicas(api, namespace, "a", "b") as pair:
        leader = await leader_of(pair)
        (standby,) = (replica for replica in pair if replica is not leader)
        await leader.stop()
        assert not leader.works
        await until(standby.is_working, "the standby took over", within=TIMING.lease - 1)
        assert await holder(api, namespace) == standby.identity


async def test_a_leader_that_is_cut_off_stops_before_another_starts(
    kubeconfig: str, namespace: str, tmp_path: Path
) -> None:
    async with (
        line_to(kubeconfig, tmp_path) as (line, over_line),
        connect(over_line) as its_api,
        connect(kubeconfig) as api,
        replicas(its_api, namespace, "cut-off") as (first,),
    ):
        await until(first.is_working, "the first leads")
        async with replicas(api, namespace, "standby") as (second,):
            line.cut()

            async def second_works() -> bool:
                assert not (first.works and second.works)
                return second.works

            await until(second_works, "the standby took over")
            assert not first.works
            with pytest.raises(LeadershipLostError):
                await first.task
            line.mend()
            assert await holder(api, namespace) == "standby"


async def test_a_short_outage_costs_no_leadership(kubeconfig: str, namespace: str, tmp_path: Path) -> None:
    async with (
        line_to(kubeconfig, tmp_path) as (line, over_line),
        connect(over_line) as its_api,
        connect(kubeconfig) as api,
        replicas(its_api, namespace, "only") as (replica,),
    ):
        await until(replica.is_working, "it leads")
        for _ in range(3):
            line.cut()
            before = await api.get(LEASES, namespace, NAME)
            line.mend()

            async def is_renewed(before: object = before) -> bool:
                return await api.get(LEASES, namespace, NAME) != before

            await until(is_renewed, "the lease was renewed over the mended line")
        assert replica.works
