"""What flow tests need of a real cluster: our CRDs, a namespace per test, waiting, and a line that can be cut."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sidestream.api.labels import FINALIZER
from sidestream.kube.apply import remove_finalizer
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.port import (
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    KAFKA_ROUTES,
    NAMESPACES,
    SANDBOXES,
    Object,
    Resource,
)
from sidestream_demo.release import CRDS, adoptable

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
DEADLINE = 60.0
PAUSE = 0.1

FILES = sorted((Path(__file__).resolve().parents[2] / "crds").glob("*.yaml"))


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(3)}"


QUIET_GROUP = f"{unique('flow')}.sidestream.dev"
"""API group of copies of our kinds that no operator in the cluster watches; another one in each run."""


def quiet(resource: Resource) -> Resource:
    """The copy of one of our kinds."""
    return replace(resource, group=QUIET_GROUP)


def _definitions(group: str) -> Iterator[Object]:
    """Our CRDs as the repository has them, moved to this group."""
    for path in FILES:
        crd: Object = yaml.safe_load(path.read_text())
        crd["metadata"]["name"] = f"{crd['spec']['names']['plural']}.{group}"
        crd["spec"]["group"] = group
        yield crd


async def until(condition: Callable[[], Awaitable[bool]], what: str, within: float = DEADLINE) -> None:
    """Wait until `condition` holds, asking often; fails with `what` was waited for."""
    try:
        async with asyncio.timeout(within):
            while not await condition():  # noqa: ASYNC110 - another process makes it true
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise AssertionError(f"waited {within:g} seconds in vain until {what}") from None


async def _install(kubeconfig: str, group: str) -> list[str]:
    """Bring our CRDs to what the files say; returns the names of those that were not there."""
    added = []
    async with connect(kubeconfig) as api:
        for crd in _definitions(group):
            name = crd["metadata"]["name"]
            found = await api.get(CRDS, "", name)
            if found is not None and "deletionTimestamp" in found["metadata"]:
                await until(lambda name=name: _is_gone(api, name), f"{name} was gone")  # type: ignore[misc]
                found = None
            if found is None:
                added.append(name)
            await api.apply(CRDS, adoptable(crd), manager="sidestream-flow-tests")
            await until(lambda name=name: _is_established(api, name), f"{name} is served")  # type: ignore[misc]
    return added


async def _is_established(api: AioKubeApi, name: str) -> bool:
    crd = await api.get(CRDS, "", name)
    conditions = crd.get("status", {}).get("conditions") if crd else None
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions or ())


async def _is_gone(api: AioKubeApi, name: str) -> bool:
    return await api.get(CRDS, "", name) is None


async def _uninstall(kubeconfig: str, group: str, names: list[str]) -> None:
    """Delete these CRDs; no operator is there to finish what a failed test left behind."""
    async with connect(kubeconfig) as api:
        for resource in (SANDBOXES, KAFKA_CLUSTERS, KAFKA_CONSUMERS, KAFKA_ROUTES):
            if f"{resource.plural}.{group}" in names:
                await _let_go(api, replace(resource, group=group))
        for name in names:
            await api.delete(CRDS, "", name)
        for name in names:
            await until(lambda name=name: _is_gone(api, name), f"{name} was gone")  # type: ignore[misc]


async def _let_go(api: AioKubeApi, resource: Resource) -> None:
    for item in await api.list(resource):
        if item["metadata"].get("finalizers"):
            await remove_finalizer(api, resource, item, FINALIZER)


@contextmanager
def installed_crds(kubeconfig: str, group: str) -> Iterator[None]:
    """Our CRDs; those that were not there before are gone afterwards."""
    added = asyncio.run(_install(kubeconfig, group))
    try:
        yield
    finally:
        asyncio.run(_uninstall(kubeconfig, group, added))


@contextmanager
def temporary_namespace(kubeconfig: str) -> Iterator[str]:
    """A namespace of its own; its deletion is asked for and not awaited."""
    name = unique("flow")

    async def create() -> None:
        async with connect(kubeconfig) as api:
            await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def delete() -> None:
        async with connect(kubeconfig) as api:
            await api.delete(NAMESPACES, "", name)

    asyncio.run(create())
    try:
        yield name
    finally:
        asyncio.run(delete())


class Line:
    """A TCP line to the API server that a test can cut."""

    def __init__(self, host: str, port: int) -> None:
        self.is_cut = False
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self.is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its opening to its end; what a listener calls."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = {writer}
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.add(far_writer)
            self._open |= ends
            if not self.is_cut:
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            self._carrying.discard(task)
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def close(self) -> None:
        """Cut it for good and wait until nothing is left of it."""
        self.cut()
        for task in self._carrying:
            task.cancel()
        if self._carrying:
            await asyncio.wait(set(self._carrying))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def line_to(kubeconfig: str, folder: Path) -> AsyncIterator[tuple[Line, str]]:
    """A line to the kubeconfig's API server, and a kubeconfig that uses it."""
    settings: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())  # noqa: ASYNC240 - small and local
    server = urlsplit(settings["clusters"][0]["cluster"]["server"])
    line = Line(server.hostname or "", server.port or 443)
    listener = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    settings["clusters"][0]["cluster"].update(
        {"server": f"{server.scheme}://127.0.0.1:{port}", "tls-server-name": server.hostname}
    )
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(settings))
    try:
        yield line, str(path)
    finally:
        listener.close()
        await listener.wait_closed()
        await line.close()
