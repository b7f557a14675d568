"""Previews through a real Traefik, by an IngressRoute and by the Gateway API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from builders import in_namespace, sandbox
from flow.cluster import temporary_namespace, until
from flow.test_preview_live import MODE, OF_BOB, OTHER, marks
from flow.wire.asking import Ask
from flow.wire.peers import HTTP_PORT
from flow.wire.proving import Live, Proofs
from flow.wire.traefiks import GATEWAY, LISTENER_PORT, Callers, address_of, bring_up, open_door, start_gateway
from sidestream.kube.client import connect
from sidestream.kube.port import HTTP_ROUTES, INGRESS_ROUTES, SANDBOXES, Object, Resource
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.httproute_preview import HTTPRoutePreviews
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.ingressroute_preview import IngressRoutePreviews
from sidestream.routing.providers.provider import Provider
from sidestream.routing.table import StandIn, Tenant
from unit.routing.preview_things import previewing
from untouched import GITOPS, Snapshot, reapplied

ROLES = ("storefront", "storefront-alice")
HOST, PREVIEW = "shop.preview-test.example", "alice.preview-test.example"


@dataclass(frozen=True)
class Way:
    """How a team leads requests to `storefront`, and how a preview of that is asked for; `kept` is other baggage."""

    resource: Resource
    spec: dict[str, Any]
    reader: Provider
    provider: Provider
    kind: str
    gateway: str
    port: int
    kept: frozenset[str]

    def manifest(self, namespace: str) -> Object:
        """As its users write it."""
        metadata = {"name": "storefront", "namespace": namespace}
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": metadata,
            "spec": self.spec,
        }


WAYS = {
    "IngressRoute": Way(
        INGRESS_ROUTES,
        {
            "entryPoints": ["web"],
            "routes": [
                {
                    "kind": "Rule",
                    "match": f"Host(`{HOST}`) && PathPrefix(`/`)",
                    "services": [{"name": "storefront", "port": HTTP_PORT}],
                }
            ],
        },
        IngressRouteProvider(MODE),
        IngressRoutePreviews(MODE),
        "Traefik",
        "web",
        80,
        frozenset(),
    ),
    "Gateway": Way(
        HTTP_ROUTES,
        {
            "parentRefs": [{"name": GATEWAY}],
            "hostnames": [HOST],
            "rules": [{"backendRefs": [{"name": "storefront", "port": HTTP_PORT}]}],
        },
        HTTPRouteProvider(MODE),
        HTTPRoutePreviews(MODE),
        "Gateway",
        GATEWAY,
        LISTENER_PORT,
        frozenset({"user=7", "plan=pro"}),
    ),
}


@pytest.fixture(scope="module")
def namespace(kubeconfig: str, image: str) -> Iterator[str]:
    bring_up(kubeconfig)
    with temporary_namespace(kubeconfig) as name:
        asyncio.run(_furnish(kubeconfig, image, name))
        yield name


async def _furnish(kubeconfig: str, image: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        peers = Callers(api, kubeconfig, image, namespace, ROLES)
        await asyncio.gather(peers.start(), open_door(api, namespace), start_gateway(api, namespace))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_preview_shows_the_sandbox_to_who_sets_no_header(
    way: Way, kubeconfig: str, image: str, namespace: str
) -> None:
    async with connect(kubeconfig) as api:
        peers = Callers(api, kubeconfig, image, namespace, ROLES)
        proofs = Proofs(peers)
        theirs = await api.apply(way.resource, way.manifest(namespace), manager=GITOPS)
        users = Ask(HOST, port=way.port, address=address_of(namespace))
        ours = replace(users, host=PREVIEW)

        async def is_served() -> bool:
            return [told.who for told in await peers.ask([users])] == ["storefront"]

        await until(is_served, "Traefik leads to the baseline")
        alice = sandbox("alice", in_namespace(namespace), previewing(way.kind, way.gateway, host=PREVIEW))
        seen = await Live.of(api, way.reader, namespace)
        seen = Live({**seen.objects, SANDBOXES: [alice]})
        tenant = Tenant("alice", (StandIn(*(ServiceHost(namespace, name) for name in ROLES)),))
        key = EntryKey(EntryKind.PREVIEW, namespace, "alice")
        (written,) = await proofs.write(way.provider, [(key, [tenant])], seen)

        assert written.entry.place["address"] == f"http://{PREVIEW}"
        asks = [ours, ours.plus(OTHER), ours.plus(OF_BOB), ours.plus(("x-tenant-id", "bob"))]
        assert [marks(told) for told in await peers.ask(asks)] == [
            ("storefront-alice", {"tenant=alice"}, ["alice"]),
            ("storefront-alice", {"tenant=alice", *way.kept}, ["alice"]),
            ("storefront-alice", {"tenant=alice"}, ["alice"]),
            ("storefront-alice", {"tenant=alice"}, ["alice"]),
        ]
        assert [marks(told) for told in await peers.ask([users, users.plus(OTHER)])] == [
            ("storefront", set(), []),
            ("storefront", {"user=7", "plan=pro"}, []),
        ]
        now = await api.get(way.resource, namespace, "storefront")
        assert Snapshot.of([theirs]).differences([now] if now else []) == []
        assert await reapplied(api, [(way.resource, way.manifest(namespace))]) == []

        await proofs.delete([written])
        assert [told.who for told in await peers.ask([ours, users])] == [None, "storefront"]
