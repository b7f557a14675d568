"""Routes at a real gateway, one example for each way to it, proven by the real prober through the gateway's door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from flow.cluster import temporary_namespace, until
from flow.wire.asking import GRPC, HTTP1, Ask, Line
from flow.wire.gateways import GATEWAY, ISTIO_GATEWAY, address_of, start_gateway
from flow.wire.peers import GRPC_PORT, HTTP_PORT, Peers
from flow.wire.prober import PodProber, start_prober
from flow.wire.proving import Proofs, Written
from sidestream.config import HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES, VIRTUAL_SERVICES, Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.proof import Claim, Evidence, prove
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.table import StandIn, Tenant
from untouched import GITOPS, Snapshot, reapplied

ROLES = ("storefront", "storefront-alice")
DOMAIN = "istio.example"
OF_ALICE: Line = ("baggage", "tenant=alice")
OF_BOB: Line = ("baggage", "tenant=bob")


@dataclass(frozen=True)
class Way:
    """One way to lead requests of a host at a gateway to `storefront`.

    `name` is the object's: Istio takes an HTTPRoute and a GRPCRoute of one name for the same, and drops the latter.
    """

    provider: Provider
    resource: Resource
    kind: EntryKind
    host: str
    spec: dict[str, Any]
    protocol: str = HTTP1
    name: str = "storefront"

    def manifest(self, namespace: str) -> Object:
        """As its users write it."""
        metadata = {"name": self.name, "namespace": namespace}
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": metadata,
            "spec": self.spec,
        }


def attached(host: str, port: int) -> dict[str, Any]:
    """The spec of a route of the Gateway API that leads a host at the gateway to a port of `storefront`."""
    return {
        "parentRefs": [{"name": GATEWAY}],
        "hostnames": [host],
        "rules": [{"backendRefs": [{"name": "storefront", "port": port}]}],
    }


WAYS = {
    "HTTPRoute": Way(
        HTTPRouteProvider(HeaderSettings()),
        HTTP_ROUTES,
        EntryKind.HTTP_ROUTE,
        "shop.example",
        attached("shop.example", HTTP_PORT),
    ),
    "GRPCRoute": Way(
        HTTPRouteProvider(HeaderSettings()),
        GRPC_ROUTES,
        EntryKind.GRPC_ROUTE,
        "calls.example",
        attached("calls.example", GRPC_PORT),
        GRPC,
        "calls",
    ),
    "VirtualService": Way(
        VirtualServiceProvider(HeaderSettings()),
        VIRTUAL_SERVICES,
        EntryKind.VIRTUAL_SERVICE,
        f"shop.{DOMAIN}",
        {
            "hosts": [f"shop.{DOMAIN}"],
            "gateways": [ISTIO_GATEWAY],
            "http": [{"route": [{"destination": {"host": "storefront", "port": {"number": HTTP_PORT}}}]}],
        },
    ),
}


@pytest.fixture(scope="module")
def namespace(kubeconfig: str, image: str) -> Iterator[str]:
    with temporary_namespace(kubeconfig) as name:
        asyncio.run(_furnish(kubeconfig, image, name))
        yield name


async def _furnish(kubeconfig: str, image: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        peers = Peers(api, kubeconfig, image, namespace, ROLES)
        await asyncio.gather(peers.start(), start_prober(peers), start_gateway(api, namespace, DOMAIN))


def tenants(namespace: str) -> tuple[Tenant, ...]:
    return (Tenant("alice", (StandIn(*(ServiceHost(namespace, name) for name in ROLES)),)),)


async def evidence(peers: Peers, written: Written, *, is_there: bool) -> set[Evidence]:
    """What the real prober finds of each part at the gateway."""
    probes = [part.probe for part in written.parts if part.probe is not None]
    claims = [Claim(item.name, item.config_hash if is_there else None, written.entry.doors) for item in probes]
    return {(await prove(claim, PodProber(peers))).evidence for claim in claims}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_tenants_request_at_a_gateway_reaches_its_fork_and_nobody_elses_does(
    way: Way, kubeconfig: str, image: str, namespace: str
) -> None:
    async with connect(kubeconfig) as api, Peers(api, kubeconfig, image, namespace, ROLES).connected() as peers:
        proofs = Proofs(peers)
        theirs = await api.apply(way.resource, way.manifest(namespace), manager=GITOPS)

        async def who() -> list[str | None]:
            ask = Ask(way.host, "/", "POST", (), way.protocol, HTTP_PORT, address_of(namespace))
            asks = [ask.plus(OF_ALICE), ask.plus(OF_BOB), ask, replace(ask, path="/elsewhere").plus(OF_ALICE)]
            return [told.who for told in await peers.ask(asks)]

        async def is_served() -> bool:
            return await who() == ["storefront"] * 4

        await until(is_served, "the gateway leads to the baseline")
        key = EntryKey(way.kind, namespace, way.name)
        (written,) = await proofs.write(way.provider, [(key, tenants(namespace))])

        assert {door.address for door in written.entry.doors} == {address_of(namespace)}
        assert await evidence(peers, written, is_there=True) == {Evidence.PROVEN}
        assert await who() == ["storefront-alice", "storefront", "storefront", "storefront-alice"]
        now = await api.get(way.resource, namespace, way.name)
        assert Snapshot.of([theirs]).differences([now] if now else []) == []
        assert await reapplied(api, [(way.resource, way.manifest(namespace))]) == []

        await proofs.delete([written])
        assert await evidence(peers, written, is_there=False) == {Evidence.PROVEN}
        assert await who() == ["storefront"] * 4
