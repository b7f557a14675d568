"""Routes in a real mesh: what a real istiod and real proxies make of the VirtualServices that Sidestream renders.

They are written here without Sidestream's labels, so that an operator in the same cluster leaves them alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from flow.cluster import temporary_namespace, until
from flow.mesh_peers import MANAGER, PORTS, Peers
from sidestream.config import HeaderSettings
from sidestream.kube.client import AioKubeApi, connect
from sidestream.kube.port import NAMESPACES, VIRTUAL_SERVICES, Object
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.proof import Claim, Evidence, prove
from sidestream.routing.providers.virtualservice import GUARDED_FROM, VirtualServiceProvider
from sidestream.routing.table import RouteTable, Tenant
from sidestream_demo.environment import Environment

OF_ALICE = {"baggage": "a=b, tenant=alice;p=1,c=d"}
OF_BOB = {"baggage": "tenant=bob"}
OURS = "overlay"
THEIRS = "orders"


class PodProber:
    """Asks the prober in its pod."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def ask(self, host: str, port: int) -> tuple[str | None, ...]:
        return await self._peers.probe(host, port)


@dataclass(frozen=True)
class Place:
    """Services `orders` and `orders-alice` in a real mesh; requests come from a namespace of their callers."""

    api: AioKubeApi
    peers: Peers

    def host(self, name: str = "orders") -> ServiceHost:
        return ServiceHost(self.peers.namespace, name)

    async def users_rules(self, *rules: dict[str, Any]) -> None:
        """Write the VirtualService that a team would have for `orders`."""
        await self._write(THEIRS, {"hosts": ["orders"], "http": list(rules)})

    async def route(self, *tenants: Tenant) -> Object:
        """Write what Sidestream renders for Alice and `tenants`, and wait until the proxies prove it."""
        provider = VirtualServiceProvider(HeaderSettings())
        users = [item for item in await self._virtual_services() if item["metadata"]["name"] != OURS]
        base = provider.base_rules(users, self.host(), tuple(PORTS))
        everybody = (Tenant("alice", self.host("orders-alice")), *tenants)
        table = RouteTable(self.host(), tuple(PORTS), base.rules, everybody, base.source)
        rendered = provider.render(table, [self.peers.outside])
        assert rendered is not None
        await self._write(OURS, rendered.obj["spec"])
        await self._proven(rendered.config_hash)
        return rendered.obj

    async def unroute(self) -> None:
        """Delete it, and wait until the proxies prove that it is gone."""
        await self.api.delete(VIRTUAL_SERVICES, self.peers.namespace, OURS)
        await self._proven(None)

    async def ask(self, paths: Sequence[str], headers: dict[str, str] | None = None) -> list[tuple[str, str | None]]:
        """Who answered each path of `orders`, by which of the user's rules."""
        answers = await self.peers.ask([f"http://{self.host().fqdn}{path}" for path in paths], headers)
        return [(answer["who"], answer["rule"]) for answer in answers]

    async def who(self, headers: dict[str, str] | None = None) -> set[str]:
        """Who answers, however the host is spelled and whichever port is asked."""
        hosts = (self.host().fqdn, f"orders.{self.peers.namespace}", f"orders.{self.peers.namespace}.svc")
        answers = await self.peers.ask([f"http://{host}:{port}/" for host in hosts for port in PORTS], headers)
        assert [answer["port"] for answer in answers] == list(PORTS.values()) * len(hosts)
        return {answer["who"] for answer in answers}

    async def clear(self) -> None:
        for item in await self._virtual_services():
            await self.api.delete(VIRTUAL_SERVICES, self.peers.namespace, item["metadata"]["name"])

    async def _virtual_services(self) -> list[Object]:
        return await self.api.list(VIRTUAL_SERVICES, self.peers.namespace)

    async def _write(self, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": self.peers.namespace}
        obj = {"apiVersion": VIRTUAL_SERVICES.api_version, "kind": VIRTUAL_SERVICES.kind, "metadata": metadata}
        await self.api.apply(VIRTUAL_SERVICES, {**obj, "spec": spec}, manager=MANAGER)

    async def _proven(self, config_hash: str | None) -> None:
        claim = Claim(self.host().fqdn, tuple(PORTS), config_hash)

        async def is_proven() -> bool:
            return (await prove(claim, PodProber(self.peers))).evidence is Evidence.PROVEN

        await until(is_proven, f"every proxy answers with {config_hash}")


@pytest.fixture(scope="module")
def image() -> str:
    return Environment.from_variables().images()["operator"]


@pytest.fixture(scope="module")
def namespaces(kubeconfig: str, image: str) -> Iterator[tuple[str, str]]:
    """A namespace whose pods all have proxies, where the Services are, and one without that, where the prober is."""
    with temporary_namespace(kubeconfig) as inside, temporary_namespace(kubeconfig) as outside:
        asyncio.run(_furnish(kubeconfig, image, inside, outside))
        yield inside, outside


async def _furnish(kubeconfig: str, image: str, inside: str, outside: str) -> None:
    async with connect(kubeconfig) as api:
        metadata = {"name": inside, "labels": {"istio-injection": "enabled"}}
        await api.apply(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, manager=MANAGER)
        peers = Peers(api, kubeconfig, image, inside, outside)
        await asyncio.gather(peers.deploy("orders"), peers.deploy("orders-alice"), peers.start_prober())


Open = Callable[[], AbstractAsyncContextManager[Place]]


@pytest.fixture
def opened(kubeconfig: str, image: str, namespaces: tuple[str, str]) -> Open:
    """Opens the place; when it closes all VirtualServices are gone."""

    @asynccontextmanager
    async def open_place() -> AsyncIterator[Place]:
        async with connect(kubeconfig) as api:
            place = Place(api, Peers(api, kubeconfig, image, *namespaces))
            try:
                yield place
            finally:
                await place.clear()

    return open_place


def rule(name: str, *matches: dict[str, Any]) -> dict[str, Any]:
    """A rule that leads to `orders` and says its name in the answer."""
    told = {"response": {"set": {"x-rule": name}}}
    body = {"name": name, "headers": told, "route": [{"destination": {"host": "orders"}}]}
    return {**body, "match": list(matches)} if matches else body


async def test_a_tenant_meets_its_fork_from_the_proof_on_and_until_the_proof_that_it_is_gone(opened: Open) -> None:
    async with opened() as place:
        await place.route()
        assert await place.who(OF_ALICE) == {"orders-alice"}
        assert await place.who(OF_BOB) == {"orders"}
        assert await place.who() == {"orders"}

        await place.unroute()
        assert await place.who(OF_ALICE) == {"orders"}


async def test_a_users_older_rules_hold_for_everybody_with_the_fork_for_the_tenant(opened: Open) -> None:
    async with opened() as place:
        paths = ["/api/x", "/other"]

        async def is_followed(name: str) -> bool:
            return await place.ask(paths) == [("orders", name), ("orders", "rest")]

        await place.users_rules(rule("api", {"uri": {"prefix": "/api"}}), rule("rest"))
        await until(lambda: is_followed("api"), "the user's own rules are followed")
        await place.route()
        assert await place.ask(paths, OF_ALICE) == [("orders-alice", "api"), ("orders-alice", "rest")]
        assert await is_followed("api")

        await place.users_rules(rule("edited", {"uri": {"prefix": "/api"}}), rule("rest"))
        await place.route()
        assert await place.ask(paths, OF_ALICE) == [("orders-alice", "edited"), ("orders-alice", "rest")]
        assert await is_followed("edited")

        await place.unroute()
        assert await place.ask(paths, OF_ALICE) == [("orders", "edited"), ("orders", "rest")]


async def test_rules_for_one_port_leave_the_other_as_it_was(opened: Open) -> None:
    async with opened() as place:
        await place.users_rules(rule("eighty", {"port": 80}))
        await place.route()
        assert await place.who(OF_ALICE) == {"orders-alice"}
        assert await place.who() == {"orders"}


async def test_many_tenants_stand_behind_the_guard(opened: Open) -> None:
    async with opened() as place:
        obj = await place.route(*(Tenant(f"t{number:02}", place.host()) for number in range(GUARDED_FROM)))
        assert obj["spec"]["http"][1]["name"] == "no-tenant"
        assert await place.who(OF_ALICE) == {"orders-alice"}
        assert await place.who() == {"orders"}
        assert await place.who({"baggage": "a=b"}) == {"orders"}
        assert await place.who(OF_BOB) == {"orders"}
