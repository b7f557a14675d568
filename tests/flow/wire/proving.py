"""Writes what a provider renders into a real cluster and waits until the proxies prove it, as the operator would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from flow.cluster import until
from flow.wire.asking import Ask
from flow.wire.peers import MANAGER, Peers
from sidestream.errors import NotServedError
from sidestream.kube.client import AioKubeApi
from sidestream.kube.port import NAMESPACES, SERVICES, Object, Resource
from sidestream.routing.entries import Entry, EntryKey
from sidestream.routing.hosts import DEFAULT_DOMAIN
from sidestream.routing.proof import PROBE_HEADER, PROBE_METHOD, PROBE_PATH, hash_told
from sidestream.routing.providers.provider import Part, Provider
from sidestream.routing.table import Tenant

_ATTEMPTS = 2
"""Questions at each door for one proof."""


@dataclass(frozen=True)
class Written:
    """What the provider rendered for one entry."""

    entry: Entry
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Live:
    """What a provider is shown of a real cluster: the kinds that it reads, of one namespace, as they are now."""

    objects: Mapping[Resource, Sequence[Object]]
    domain: str = DEFAULT_DOMAIN

    @classmethod
    async def of(cls, api: AioKubeApi, provider: Provider, namespace: str) -> Live:
        """Read it; kinds that are not served are left out."""
        objects: dict[Resource, Sequence[Object]] = {NAMESPACES: await api.list(NAMESPACES)}
        for kind in (SERVICES, *provider.reads):
            with suppress(NotServedError):
                objects[kind] = await api.list(kind, namespace if kind.namespaced else "")
        return cls(objects)

    def is_served(self, resource: Resource) -> bool:
        """See `Cluster`."""
        return resource in self.objects

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """See `Cluster`."""
        found = self.objects.get(resource, ())
        return [item for item in found if namespace in ("", item["metadata"].get("namespace", ""))]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See `Cluster`."""
        return next((item for item in self.all(resource, namespace) if item["metadata"]["name"] == name), None)


@dataclass(frozen=True)
class Proofs:
    """Writes and proves many entries at once, with the client of `peers` as the prober."""

    peers: Peers

    async def write(
        self, provider: Provider, entries: Sequence[tuple[EntryKey, Sequence[Tenant]]], cluster: Live | None = None
    ) -> list[Written]:
        """Stage by stage, each as soon as the one before is proven; `cluster` is read where it is not given."""
        cluster = cluster or await Live.of(self.peers.api, provider, self.peers.namespace)
        written = []
        for key, tenants in entries:
            entry = provider.entry(key, cluster)
            assert entry is not None, key
            written.append(Written(entry, provider.render(entry, tenants, cluster).parts))
        for stage in _stages(written):
            for part in _parts(written, stage):
                await self.peers.api.apply(part.resource, part.obj, manager=MANAGER)
            await self._proven(written, stage, are_there=True)
        return written

    async def delete(self, written: Sequence[Written]) -> None:
        """The last stage first, each when the one after it is proven to be gone."""
        for stage in reversed(_stages(written)):
            for part in _parts(written, stage):
                metadata = part.obj["metadata"]
                await self.peers.api.delete(part.resource, metadata["namespace"], metadata["name"])
            await self._proven(written, stage, are_there=False)

    async def gone(self, written: Sequence[Written]) -> None:
        """Wait until no proxy uses any of it."""
        for stage in _stages(written):
            await self._proven(written, stage, are_there=False)

    async def _proven(self, written: Sequence[Written], stage: int, *, are_there: bool) -> None:
        wanted, asks = [], []
        for item in written:
            for part in item.parts:
                if part.probe is None or part.stage != stage:
                    continue
                ports = part.probe.ports
                doors = [door for door in item.entry.doors if ports is None or door.port in ports]
                for door in doors * _ATTEMPTS:
                    line = (PROBE_HEADER, part.probe.name)
                    address = door.address if door.is_gateway else ""
                    asks.append(Ask(door.host, PROBE_PATH, PROBE_METHOD, (line,), port=door.port, address=address))
                    wanted.append(part.probe.config_hash if are_there else None)

        async def are_proven() -> bool:
            return [hash_told(told.headers, told.text) for told in await self.peers.ask(asks)] == wanted

        await until(are_proven, f"all proxies show that our routes are {'there' if are_there else 'gone'}")


def _stages(written: Sequence[Written]) -> list[int]:
    return sorted({part.stage for item in written for part in item.parts})


def _parts(written: Sequence[Written], stage: int) -> list[Part]:
    return [part for item in written for part in item.parts if part.stage == stage]
