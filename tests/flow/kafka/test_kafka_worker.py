from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Self

from flow.kafka.cluster import eventually, real_arena
from sidestream.errors import KafkaUnavailableError
from sidestream.kafka.client import WorkerAdmin
from sidestream.kafka.config import ClientConfig
from sidestream.kafka.supervisor import Supervisor
from sidestream.kafka.translation import Endpoint
from unit.kafka.admin_contract import at

SECRET = "s3cret-passw0rd"


class Supervised:
    """An admin whose worker process a test can get at."""

    def __init__(self, bootstrap: str, **properties: str) -> None:
        config = ClientConfig({"bootstrap.servers": bootstrap, **properties})
        self.supervisor = Supervisor(Endpoint("main", bootstrap), config)
        self.admin = WorkerAdmin(self.supervisor)

    async def __aenter__(self) -> Self:
        self.supervisor.start()
        try:
            await self.admin.cluster()
        except BaseException:
            await self.admin.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.admin.aclose()

    @property
    def pid(self) -> int:
        assert self.supervisor.pid is not None
        return self.supervisor.pid


async def test_a_worker_killed_under_load_fails_some_calls_and_hangs_none(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena, Supervised(bootstrap) as it:
        topic = await arena.topic(partitions=2)
        groups = [arena.name("group") for _ in range(8)]
        killed: list[int] = []
        outcomes: list[str] = []

        async def make_and_remove(group: str) -> None:
            while len(killed) < 3 or outcomes.count("lost") == 0:
                try:
                    await it.admin.place(group, at(1, 1, topic=topic))
                    assert await it.admin.committed(group) == at(1, 1, topic=topic)
                    await it.admin.delete_group(group)
                    outcomes.append("done")
                except KafkaUnavailableError:
                    outcomes.append("lost")

        async def kill_now_and_then() -> None:
            for _ in range(3):
                count = len(outcomes)

                async def is_busy(enough: int = count + 20) -> bool:
                    return len(outcomes) >= enough and it.supervisor.pid not in (None, *killed)

                await eventually(is_busy, "calls go through again")
                killed.append(it.pid)
                os.kill(it.pid, signal.SIGKILL)

        await asyncio.gather(kill_now_and_then(), *(make_and_remove(group) for group in groups))
        assert len(set(killed)) == 3
        assert outcomes.count("done") > outcomes.count("lost") > 0

        # every verb may be repeated: whatever the kills interrupted is finished by doing it again
        for group in groups:
            await it.admin.delete_group(group)
            assert (await it.admin.group(group)).is_absent


async def test_credentials_show_neither_in_the_arguments_nor_in_the_environment(bootstrap: str) -> None:
    async with Supervised(bootstrap, **{"sasl.password": SECRET}) as it:
        process = Path("/proc") / str(it.pid)
        assert b"sidestream.kafka.worker" in (process / "cmdline").read_bytes()
        assert SECRET.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()


async def test_a_closed_admin_leaves_no_process(bootstrap: str) -> None:
    async with Supervised(bootstrap) as it:
        pid = it.pid
        calls = [asyncio.create_task(it.admin.group(f"test-{number}")) for number in range(20)]
        await asyncio.sleep(0)
    assert not (Path("/proc") / str(pid)).exists()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert not [error for error in ended if isinstance(error, BaseException) and not _is_lost(error)]


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, KafkaUnavailableError)
