"""Routes in a real mesh, one example each: what a real istiod and real proxies make of what Sidestream renders.

They are written here without an operator; one in the same cluster leaves them alone, since no Sandbox wants them.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from flow.cluster import temporary_namespace, until
from flow.wire.asking import GRPC, HTTP1, HTTP2, WEBSOCKET, Ask, Line, Told
from flow.wire.peers import GRPC_PORT, HTTP2_PORT, HTTP_PORT, MANAGER, Peers
from flow.wire.proving import Proofs, Written
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.port import GRPC_ROUTES, HTTP_ROUTES, VIRTUAL_SERVICES, Object
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.table import StandIn, Tenant
from untouched import GITOPS, Snapshot, reapplied

ROLES = ("orders", "orders-alice", "orders-bob", "inventory")
OF_ALICE: Line = ("baggage", "tenant=alice")
OF_BOB: Line = ("baggage", "tenant=bob")
PORTS = {HTTP1: HTTP_PORT, WEBSOCKET: HTTP_PORT, HTTP2: HTTP2_PORT, GRPC: GRPC_PORT}


ProviderOf = Callable[[HeaderSettings], Provider]


@dataclass(frozen=True)
class Place:
    """Services `orders`, two forks of it and `inventory` in a real mesh."""

    peers: Peers

    @property
    def proofs(self) -> Proofs:
        return Proofs(self.peers)

    def host(self, name: str = "orders") -> ServiceHost:
        return ServiceHost(self.peers.namespace, name)

    def tenant(self, key: str, fork: str = "") -> Tenant:
        """A tenant with a fork of `orders`, `orders-<key>` unless it is said."""
        return Tenant(key, (StandIn(self.host(), self.host(fork or f"orders-{key}")),))

    async def user_writes(
        self, *rules: dict[str, Any], wait_for: str = "", hosts: Sequence[str] = ("orders",), at: str = "orders"
    ) -> Object:
        """The VirtualService of a team; waits until requests that call themselves `at` follow the rule of this name."""
        obj = {
            "apiVersion": VIRTUAL_SERVICES.api_version,
            "kind": VIRTUAL_SERVICES.kind,
            "metadata": {"name": "orders", "namespace": self.peers.namespace},
            "spec": {"hosts": list(hosts), "http": list(rules)},
        }
        written = await self.peers.api.apply(VIRTUAL_SERVICES, obj, manager=GITOPS)

        async def is_followed() -> bool:
            (told,) = await self.ask(Ask(at))
            return told.headers.get("x-rule") == wait_for

        if wait_for:
            await until(is_followed, f"the proxies follow rule {wait_for}")
        return written

    async def route(
        self, *tenants: Tenant, mode: HeaderMode = HeaderMode.BAGGAGE, by: ProviderOf = VirtualServiceProvider
    ) -> Written:
        """Write what Sidestream renders for these tenants, and wait until the proxies prove it."""
        provider = by(HeaderSettings(mode=mode))
        key = EntryKey(EntryKind.MESH, self.peers.namespace, "orders")
        (written,) = await self.proofs.write(provider, [(key, tenants)])
        return written

    async def ask(self, *asks: Ask) -> list[Told]:
        return await self.peers.ask(asks)

    async def who(self, *lines: Line, paths: Sequence[str] = ("/",)) -> list[str | None]:
        """Who answers a request with these header lines to each path of `orders`."""
        return [told.who for told in await self.ask(*(Ask(self.host().fqdn, path, headers=lines) for path in paths))]

    async def clear(self) -> None:
        for resource in (VIRTUAL_SERVICES, HTTP_ROUTES, GRPC_ROUTES):
            for item in await self.peers.api.list(resource, self.peers.namespace):
                await self.peers.api.delete(resource, self.peers.namespace, item["metadata"]["name"])


@pytest.fixture(scope="module")
def namespace(kubeconfig: str, image: str) -> Iterator[str]:
    with temporary_namespace(kubeconfig) as name:
        asyncio.run(_start(kubeconfig, image, name))
        yield name


async def _start(kubeconfig: str, image: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        await Peers(api, kubeconfig, image, namespace, ROLES).start()


Open = Callable[[], AbstractAsyncContextManager[Place]]


@pytest.fixture
def opened(kubeconfig: str, image: str, namespace: str) -> Open:
    """Opens the place; when it closes all routes are gone."""

    @asynccontextmanager
    async def open_place() -> AsyncIterator[Place]:
        async with connect(kubeconfig) as api, Peers(api, kubeconfig, image, namespace, ROLES).connected() as peers:
            place = Place(peers)
            try:
                yield place
            finally:
                await place.clear()

    return open_place


def rule(name: str, *matches: dict[str, Any], to: Sequence[str] = ("orders",), **fields: Any) -> dict[str, Any]:
    """A rule that leads to these Services in equal shares and says its name in the answer."""
    weight = {} if len(to) == 1 else {"weight": 100 // len(to)}
    body = {
        "name": name,
        "headers": {"response": {"set": {"x-rule": name}}},
        "route": [{"destination": {"host": host}, **weight} for host in to],
        **fields,
    }
    return {**body, "match": list(matches)} if matches else body


NAMED_BY_BAGGAGE: dict[str, tuple[tuple[Line, ...], str]] = {
    "alone": ((("baggage", "tenant=alice"),), "orders-alice"),
    "first": ((("baggage", "tenant=alice,a=b"),), "orders-alice"),
    "in the middle": ((("baggage", "a=b,tenant=alice,c=d"),), "orders-alice"),
    "last": ((("baggage", "a=b,tenant=alice"),), "orders-alice"),
    "with spaces": ((("baggage", "a=b , tenant = alice , c=d"),), "orders-alice"),
    "with tabs": ((("baggage", "a=b,\ttenant\t=\talice\t,c=d"),), "orders-alice"),
    "with properties": ((("baggage", "tenant=alice;p=1;q,c=d"),), "orders-alice"),
    "in the second line": ((("baggage", "a=b"), ("baggage", "tenant=alice")), "orders-alice"),
    "in the first line": ((("baggage", "tenant=alice;p"), ("baggage", "a=b")), "orders-alice"),
    "under a name in capitals": ((("BAGGAGE", "tenant=alice"),), "orders-alice"),
    "after four kilobytes": ((("baggage", f"{'k=v,' * 1000}tenant=alice"),), "orders-alice"),
    "by another": ((("baggage", "tenant=bob"),), "orders-bob"),
    "twice, where the tenants' order counts": ((("baggage", "tenant=bob,tenant=alice"),), "orders-alice"),
    "by nothing": ((), "orders"),
    "by an empty header": ((("baggage", ""),), "orders"),
    "by a longer key": ((("baggage", "xtenant=alice"),), "orders"),
    "by a longer value": ((("baggage", "tenant=alice1"),), "orders"),
    "by a value with a blank": ((("baggage", "tenant=alice 1"),), "orders"),
    "by a property": ((("baggage", "a=b;tenant=alice"),), "orders"),
    "by a value": ((("baggage", "a=tenant=alice"),), "orders"),
    "by a key in capitals": ((("baggage", "Tenant=alice"),), "orders"),
    "by a value in capitals": ((("baggage", "tenant=ALICE"),), "orders"),
    "by a value that is encoded": ((("baggage", "tenant=%61lice"),), "orders"),
    "by nobody that is known": ((("baggage", "tenant=carol"),), "orders"),
    "by another header": ((("x-tenant-id", "alice"),), "orders"),
}


@pytest.mark.parametrize("provider", [VirtualServiceProvider, HTTPRouteProvider])
async def test_a_tenant_is_named_by_a_member_of_the_baggage_in_every_protocol(
    opened: Open, provider: ProviderOf
) -> None:
    async with opened() as place:
        await place.route(place.tenant("alice"), place.tenant("bob"), by=provider)
        cases = [(protocol, name) for protocol in PORTS for name in NAMED_BY_BAGGAGE]
        asks = [
            Ask(place.host().fqdn, "/", "GET", NAMED_BY_BAGGAGE[name][0], protocol, PORTS[protocol])
            for protocol, name in cases
        ]
        told = {case: answer.who or answer for case, answer in zip(cases, await place.ask(*asks), strict=True)}

        assert told == {(protocol, name): NAMED_BY_BAGGAGE[name][1] for protocol, name in cases}


NAMED_BY_HEADER: dict[str, tuple[tuple[Line, ...], str]] = {
    "exactly": ((("x-tenant-id", "alice"),), "orders-alice"),
    "under a name in capitals": ((("X-Tenant-ID", "alice"),), "orders-alice"),
    "by a longer value": ((("x-tenant-id", "alice1"),), "orders"),
    "by a value in capitals": ((("x-tenant-id", "Alice"),), "orders"),
    "twice, where the tenants' order counts": ((("x-tenant-id", "bob"), ("x-tenant-id", "alice")), "orders-alice"),
}


@pytest.mark.parametrize(
    ("mode", "by_baggage"), [(HeaderMode.EXACT, "orders"), (HeaderMode.BOTH, "orders-alice")], ids=["alone", "too"]
)
async def test_a_tenant_is_named_by_a_header_of_its_own(opened: Open, mode: HeaderMode, by_baggage: str) -> None:
    async with opened() as place:
        await place.route(place.tenant("alice"), place.tenant("bob"), mode=mode)
        answers = await place.ask(*(Ask(place.host().fqdn, headers=lines) for lines, _ in NAMED_BY_HEADER.values()))

        assert [told.who for told in answers] == [who for _, who in NAMED_BY_HEADER.values()]
        assert await place.who(OF_ALICE) == [by_baggage]


async def test_a_tenant_meets_its_fork_however_the_service_is_spelled(opened: Open) -> None:
    async with opened() as place:
        await place.route(place.tenant("alice"))
        spellings = ["orders", f"orders.{place.peers.namespace}", f"orders.{place.peers.namespace}.svc"]
        asks = [Ask(spelling, headers=(OF_ALICE,)) for spelling in spellings]

        assert [told.who for told in await place.ask(*asks)] == ["orders-alice"] * 3


async def test_calls_that_a_users_grpc_route_divides_meet_the_fork_of_theirs_and_are_proven_to(opened: Open) -> None:
    async with opened() as place:
        other: dict[str, Any] = {"backendRefs": [{"name": "orders", "port": GRPC_PORT}]}
        cart = {
            "matches": [{"method": {"service": "shop.Cart"}}],
            "backendRefs": [{"name": "inventory", "port": GRPC_PORT}],
        }
        parent: dict[str, Any] = {"group": "", "kind": "Service", "name": "orders", "port": GRPC_PORT}
        users = {
            "apiVersion": GRPC_ROUTES.api_version,
            "kind": GRPC_ROUTES.kind,
            "metadata": {"name": "calls", "namespace": place.peers.namespace},
            "spec": {"parentRefs": [parent], "rules": [cart, other]},
        }
        theirs = await place.peers.api.apply(GRPC_ROUTES, users, manager=GITOPS)

        async def who() -> list[str | None]:
            calls = [
                Ask(place.host().fqdn, path, "POST", lines, GRPC, GRPC_PORT)
                for path in ("/shop.Cart/Get", "/shop.Orders/Get")
                for lines in ((OF_ALICE,), (OF_BOB,), ())
            ]
            return [told.who for told in await place.ask(*calls)]

        async def is_divided() -> bool:
            return await who() == ["inventory"] * 3 + ["orders"] * 3

        await until(is_divided, "the proxies follow the user's route")
        written = await place.route(place.tenant("alice"), by=HTTPRouteProvider)
        assert all(part.probe is not None for part in written.parts)
        assert GRPC_ROUTES in {part.resource for part in written.parts}
        assert await who() == ["inventory"] * 3 + ["orders-alice", "orders", "orders"]
        now = await place.peers.api.get(GRPC_ROUTES, place.peers.namespace, "calls")
        assert Snapshot.of([theirs]).differences([now] if now else []) == []

        await place.proofs.delete([written])
        assert await is_divided()


async def test_an_overlay_wins_over_an_older_rule_of_the_user_because_it_names_namespaces(opened: Open) -> None:
    async with opened() as place:
        await place.user_writes(rule("theirs"), wait_for="theirs")
        written = await place.route(place.tenant("alice"))
        assert await place.who(OF_ALICE) == ["orders-alice"]

        (part,) = written.parts
        public = copy.deepcopy(part.obj)
        public["spec"]["exportTo"] = ["*"]
        await place.peers.api.apply(VIRTUAL_SERVICES, public, manager=MANAGER)
        await place.proofs.gone([written])
        assert await place.who(OF_ALICE) == ["orders"], "the older one wins where both are public"


async def test_a_name_between_the_short_and_the_full_one_is_that_of_another_host(opened: Open) -> None:
    async with opened() as place:
        half = f"orders.{place.peers.namespace}"
        await place.user_writes(rule("far", to=(f"inventory.{place.peers.namespace}",)), wait_for="far")
        (told,) = await place.ask(Ask(place.host().fqdn))
        assert (told.status, told.who) == (503, None), "a destination spelled so leads nowhere"

        await place.user_writes(rule("near"), wait_for="near")
        await place.user_writes(rule("half", to=("inventory",)), hosts=(half,), wait_for="half", at=half)
        assert [told.who for told in await place.ask(Ask("orders"), Ask(half))] == ["orders", "inventory"]


async def test_a_gitops_controller_meets_whoever_writes_to_its_objects(opened: Open) -> None:
    async with opened() as place:
        before = await place.user_writes(rule("theirs"), wait_for="theirs")
        manifest = {name: before[name] for name in ("apiVersion", "kind", "spec")}
        manifest["metadata"] = {"name": "orders", "namespace": place.peers.namespace}
        assert await reapplied(place.peers.api, [(VIRTUAL_SERVICES, manifest)]) == []

        edited = {**manifest, "spec": {"hosts": ["orders"], "http": [rule("ours")]}}
        after = await place.peers.api.apply(VIRTUAL_SERVICES, edited, manager=MANAGER)
        assert Snapshot.of([before]).differences([after])
        (line,) = await reapplied(place.peers.api, [(VIRTUAL_SERVICES, manifest)])
        assert "conflict" in line.lower()


async def test_what_a_team_tries_on_its_baseline_spares_tenants(opened: Open) -> None:
    async with opened() as place:
        fault = {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}
        mirror = {"host": "inventory"}
        await place.user_writes(rule("broken", fault=fault, mirror=mirror), wait_for="")
        await place.route(place.tenant("alice"))
        of_alice, of_bob = await place.ask(
            *(Ask(place.host().fqdn, headers=(line,)) for line in (OF_ALICE, OF_BOB)),
        )

        assert (of_alice.status, of_alice.who) == (200, "orders-alice")
        assert (of_bob.status, of_bob.who) == (418, None)


async def test_other_services_keep_their_share_of_a_tenants_requests(opened: Open) -> None:
    async with opened() as place:
        await place.user_writes(rule("split", to=("orders", "inventory")), wait_for="split")
        await place.route(place.tenant("alice"))
        many = ["/"] * 60

        assert set(await place.who(OF_ALICE, paths=many)) == {"orders-alice", "inventory"}
        assert set(await place.who(OF_BOB, paths=many)) == {"orders", "inventory"}


async def test_a_fork_without_pods_is_an_error_and_not_the_baseline(opened: Open) -> None:
    async with opened() as place:
        await place.route(place.tenant("alice", fork="nowhere"))
        (told,) = await place.ask(Ask(place.host().fqdn, headers=(OF_ALICE,)))

        assert told.who is None
        assert told.status >= 500
        assert await place.who() == ["orders"]
