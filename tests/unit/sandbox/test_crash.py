"""A crash between any two writes leaves nothing that the next run does not bring to the same end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from fakes.kube import WRITES
from sidestream.kube import port
from sidestream.kube.port import KubeApi, Object
from unit.sandbox.cluster import Cluster
from unit.sandbox.scenes_live import fenced_shop, shop

Change = Callable[[Cluster], Awaitable[None]]


class CrashError(BaseException):
    """The end of the process: nothing may catch it."""


class CrashingApi:
    """The fake API server until its n-th write, which it still does or not; then the process is gone."""

    def __init__(self, cluster: Cluster, survived: int, *, is_last_done: bool) -> None:
        self._api = cluster.api
        self._left = survived
        self._is_last_done = is_last_done

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._api, verb)
        if verb not in WRITES:
            return method

        async def write(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0 and not self._is_last_done:
                raise CrashError
            result = await method(*args, **kwargs)
            if self._left < 0:
                raise CrashError
            return result

        return write


async def nothing(_: Cluster) -> None:
    """The Sandbox is new."""


async def change(cluster: Cluster) -> None:
    """Another image for one workload, the other taken out."""
    cluster.edit(workloads=[{"deployment": "orders", "containers": [{"image": "orders:2"}], "baselineUpdates": "Pin"}])


async def swap(cluster: Cluster) -> None:
    """The consumer stays, the one with the Service is taken out."""
    cluster.edit(workloads=[{"deployment": "fulfilment"}])


async def delete(cluster: Cluster) -> None:
    """A user deletes the Sandbox."""
    await cluster.delete()


async def suspend(cluster: Cluster) -> None:
    """A user suspends the Sandbox."""
    cluster.edit(suspended=True)


async def resume(cluster: Cluster) -> None:
    """A user suspends it and wakes it in the middle of that."""
    cluster.edit(suspended=True)
    for _ in range(5):
        await cluster.reconcile()
        await cluster.others()
    cluster.edit(suspended=False)


SCENARIOS: dict[str, tuple[bool, Change]] = {
    "creation": (False, nothing),
    "an update that pins and takes out a consumer": (True, change),
    "a workload behind a Service taken out": (True, swap),
    "deletion": (True, delete),
    "suspension": (True, suspend),
    "a suspension taken back": (True, resume),
}


async def prepared(scenario: str, make: Callable[[], Cluster] = shop) -> Cluster:
    is_settled_first, act = SCENARIOS[scenario]
    cluster = make()
    if is_settled_first:
        await cluster.settle()
    await act(cluster)
    return cluster


async def end_of(cluster: Cluster) -> Object:
    await cluster.settle()
    cluster.api.forget_requests()
    await cluster.reconcile()
    assert cluster.api.writes == []
    return cluster.state()


async def run_until_crash(cluster: Cluster, survived: int, *, is_last_done: bool) -> bool:
    """Work until the process dies; False when it comes to rest before that."""
    api = cast("KubeApi", CrashingApi(cluster, survived, is_last_done=is_last_done))
    for _ in range(20):
        try:
            await cluster.reconcile(api=api)
        except CrashError:
            return True
        await cluster.others()
    return False


@pytest.mark.parametrize(
    "is_last_done", [pytest.param(True, id="after the write"), pytest.param(False, id="before it")]
)
@pytest.mark.parametrize("make", [pytest.param(shop, id="Polling"), pytest.param(fenced_shop, id="Fenced")])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_every_crash_ends_as_if_there_had_been_none(
    scenario: str,
    make: Callable[[], Cluster],
    is_last_done: bool,  # noqa: FBT001
) -> None:
    expected = await end_of(await prepared(scenario, make))
    crashes = 0
    while True:
        cluster = await prepared(scenario, make)
        if not await run_until_crash(cluster, crashes, is_last_done=is_last_done):
            break
        assert await end_of(cluster) == expected, f"crash at write {crashes + 1}"
        crashes += 1
    assert crashes >= 5


async def test_the_finalizer_is_there_before_anything_else() -> None:
    cluster = await prepared("creation")
    await run_until_crash(cluster, 1, is_last_done=False)
    assert cluster.made() == []
    assert cluster.sandbox()["metadata"]["finalizers"]


@pytest.mark.parametrize("survived", range(4))
async def test_a_sandbox_deleted_after_a_crash_leaves_nothing(survived: int) -> None:
    cluster = await prepared("creation")
    await run_until_crash(cluster, survived, is_last_done=True)
    await cluster.delete()
    await cluster.settle()
    assert cluster.made() == []
    assert cluster.api.live(port.SANDBOXES, "alice") is None
