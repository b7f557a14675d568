"""Previews at real gateways: a browser's request meets the fork, marked as the tenant's, and nobody else's changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from builders import in_namespace, sandbox
from flow.cluster import until
from flow.test_gateway_live import DOMAIN, ROLES, WAYS, Way, evidence, namespace, tenants
from flow.wire.asking import Ask, Line, Told
from flow.wire.gateways import GATEWAY, ISTIO_GATEWAY, address_of
from flow.wire.peers import HTTP_PORT, Peers
from flow.wire.proving import Live, Proofs
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.port import SANDBOXES
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.proof import Evidence
from sidestream.routing.providers.httproute_preview import HTTPRoutePreviews
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice_preview import VirtualServicePreviews
from unit.routing.preview_things import previewing
from untouched import GITOPS, Snapshot, reapplied

__all__ = ["namespace"]  # the fixture

MODE = HeaderSettings(HeaderMode.BOTH)
OTHER: Line = ("baggage", "user=7,plan=pro")
OF_BOB: Line = ("baggage", "user=7,tenant=bob")


@dataclass(frozen=True)
class Preview:
    """How a preview of one of the ways is asked for."""

    way: Way
    provider: Provider
    kind: str
    gateway: str
    host: str


PREVIEWS = {
    "Gateway": Preview(WAYS["HTTPRoute"], HTTPRoutePreviews(MODE), "Gateway", GATEWAY, "alice.preview.example"),
    "IstioGateway": Preview(
        WAYS["VirtualService"], VirtualServicePreviews(MODE), "IstioGateway", ISTIO_GATEWAY, f"alice.{DOMAIN}"
    ),
}


def marks(told: Told) -> tuple[str | None, set[str], list[str]]:
    """Who answered, and as whose the request came there: the members of its baggage, and the plain header."""
    members = {item.strip() for line in told.seen.get("baggage", ()) for item in line.split(",")}
    return told.who, members, told.seen.get("x-tenant-id", [])


@pytest.mark.parametrize("preview", PREVIEWS.values(), ids=PREVIEWS)
async def test_a_preview_shows_the_sandbox_to_who_sets_no_header(
    preview: Preview, kubeconfig: str, image: str, namespace: str
) -> None:
    async with connect(kubeconfig) as api:
        peers, way = Peers(api, kubeconfig, image, namespace, ROLES), preview.way
        proofs = Proofs(peers)
        theirs = await api.apply(way.resource, way.manifest(namespace), manager=GITOPS)
        users = Ask(way.host, port=HTTP_PORT, address=address_of(namespace))
        ours = replace(users, host=preview.host)

        async def is_served() -> bool:
            return [told.who for told in await peers.ask([users])] == ["storefront"]

        await until(is_served, "the gateway leads to the baseline")
        alice = sandbox("alice", in_namespace(namespace), previewing(preview.kind, preview.gateway, host=preview.host))
        seen = await Live.of(api, way.provider, namespace)
        seen = Live({**seen.objects, SANDBOXES: [alice]})
        key = EntryKey(EntryKind.PREVIEW, namespace, "alice")
        (written,) = await proofs.write(preview.provider, [(key, tenants(namespace))], seen)

        assert written.entry.place["address"] == f"http://{preview.host}"
        assert await evidence(peers, written, is_there=True) == {Evidence.PROVEN}
        asks = [ours, replace(ours, path="/elsewhere"), ours.plus(OTHER), ours.plus(OF_BOB)]
        assert [marks(told) for told in await peers.ask(asks)] == [
            ("storefront-alice", {"tenant=alice"}, ["alice"]),
            ("storefront-alice", {"tenant=alice"}, ["alice"]),
            ("storefront-alice", {"user=7", "plan=pro", "tenant=alice"}, ["alice"]),
            ("storefront-alice", {"tenant=alice"}, ["alice"]),
        ]
        (told,) = await peers.ask([ours.plus(("x-tenant-id", "bob"))])
        assert marks(told) == ("storefront-alice", {"tenant=alice"}, ["alice"])
        assert [marks(told) for told in await peers.ask([users, users.plus(OTHER)])] == [
            ("storefront", set(), []),
            ("storefront", {"user=7", "plan=pro"}, []),
        ]
        now = await api.get(way.resource, namespace, "storefront")
        assert Snapshot.of([theirs]).differences([now] if now else []) == []
        assert await reapplied(api, [(way.resource, way.manifest(namespace))]) == []

        await proofs.delete([written])
        assert await evidence(peers, written, is_there=False) == {Evidence.PROVEN}
        assert [told.who for told in await peers.ask([ours, users])] == [None, "storefront"]
