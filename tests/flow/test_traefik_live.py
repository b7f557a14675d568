"""The clone algorithm through a real Traefik, by IngressRoutes and by the Gateway API, over the wire.

What `tests/unit/routing` shows of a model of Traefik, many thousand times, is shown here of Traefik itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache

import pytest

from flow.cluster import temporary_namespace, until
from flow.wire import httproutes, ingressroutes
from flow.wire.asking import GRPC, HTTP1, HTTP2, WEBSOCKET, Ask, Line
from flow.wire.peers import GRPC_PORT, HTTP_PORT, MANAGER, Peers
from flow.wire.property import RouteSet, Trial
from flow.wire.proving import Proofs
from flow.wire.tenants import roles_of
from flow.wire.traefiks import GATEWAY, LISTENER_PORT, Callers, address_of, bring_up, open_door, start_gateway
from sidestream.config import HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.port import INGRESS_ROUTES, INGRESSES, SERVICES, Object
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.providers import ingressroute_render, ingressroute_user
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.ingressroute_rules import IngressRouteDialect
from sidestream.routing.providers.provider import Provider
from sidestream.routing.table import StandIn, Tenant
from untouched import GITOPS

AT_LEAST = 300
"""Decisions with which each kind of route has to be tried."""

SHOP = "shop.example"
GRPC_SHOP = "grpc.shop.example"
OWN = ("storefront", "storefront-alice", "storefront-bob", "storefront-carol")

IS_OF_ALICE: dict[str, tuple[Line, ...]] = {
    "the member alone": (("baggage", "tenant=alice"),),
    "first in a list": (("baggage", "tenant=alice,a=b"),),
    "in the middle of a list": (("baggage", "a=b,tenant=alice,c=d"),),
    "with spaces": (("baggage", "a=b ,  tenant = alice ,c=d"),),
    "with tabs": (("baggage", "a=b,\ttenant\t=\talice"),),
    "with properties": (("baggage", "tenant=alice;ttl=1;x,a=b"),),
    "on the second of two lines": (("baggage", "a=b"), ("baggage", "tenant=alice")),
    "with the header's name in capitals": (("BAGGAGE", "tenant=alice"),),
}
IS_NOT_OF_ALICE: dict[str, tuple[Line, ...]] = {
    "no baggage": (),
    "a longer value": (("baggage", "tenant=alice2"),),
    "a longer key": (("baggage", "xtenant=alice"),),
    "a key in capitals": (("baggage", "Tenant=alice"),),
    "a value in capitals": (("baggage", "tenant=Alice"),),
    "a percent-encoded value": (("baggage", "tenant=al%69ce"),),
    "a property of another member": (("baggage", "a=b;tenant=alice"),),
    "a value that looks like it": (("baggage", "a=tenant=alice"),),
    "another tenant": (("baggage", "tenant=dave"),),
    "a member over two lines": (("baggage", "tenant="), ("baggage", "alice")),
}

SETS: dict[str, Callable[[str], list[RouteSet]]] = {
    "IngressRoutes": lambda namespace: ingressroutes.sets(namespace, address_of(namespace), 12),
    "HTTPRoutes at a Gateway of Traefik": lambda namespace: [
        at_the_entry_point(one)
        for one in httproutes.gateway_sets(namespace, GATEWAY, address_of(namespace), 30)
        # between rules of several routes with one precedence Traefik chooses at random
        if len(one.entries) == 1
    ],
}


def at_the_entry_point(one: RouteSet) -> RouteSet:
    """The set with its requests sent where the Gateway's listener says, and without what Traefik does not do."""
    users = tuple((resource, fitted(manifest)) for resource, manifest in one.users)
    asks = tuple(replace(ask, port=LISTENER_PORT) for ask in one.asks)
    effective = tuple(replace(ask, port=LISTENER_PORT) for ask in one.effective)
    return replace(one, users=users, asks=asks, effective=effective)


def fitted(route: Object) -> Object:
    """The route without the filters that Traefik refuses, and to ports to which it speaks HTTP/1.1, as it does."""
    rules = []
    for rule in route["spec"]["rules"]:
        kept = {name: value for name, value in rule.items() if name not in ("filters", "backendRefs")}
        filters = [item for item in rule.get("filters", ()) if item["type"] != "RequestMirror"]
        backends = [{**item, "port": HTTP_PORT} for item in rule.get("backendRefs", ())]
        kept |= {"filters": filters} if filters else {}
        rules.append(kept | ({"backendRefs": backends} if backends else {}))
    return {**route, "spec": {**route["spec"], "rules": rules}}


@cache
def sets_of(kind: str, namespace: str) -> tuple[RouteSet, ...]:
    return tuple(SETS[kind](namespace))


def provider_of(kind: str) -> Provider:
    settings = HeaderSettings()
    return IngressRouteProvider(settings) if kind == "IngressRoutes" else HTTPRouteProvider(settings)


def all_roles(namespace: str) -> tuple[str, ...]:
    return (*roles_of(one.name for kind in SETS for one in sets_of(kind, namespace)), *OWN)


@pytest.fixture(scope="module")
def namespace(kubeconfig: str, image: str) -> Iterator[str]:
    """One with pods that answer for all sets, and ways to Traefik."""
    bring_up(kubeconfig)
    with temporary_namespace(kubeconfig) as name:
        asyncio.run(_furnish(kubeconfig, image, name))
        yield name


async def _furnish(kubeconfig: str, image: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        peers = Callers(api, kubeconfig, image, namespace, all_roles(namespace))
        await asyncio.gather(peers.start(), open_door(api, namespace), start_gateway(api, namespace))
        for resource, manifest in ingressroutes.middlewares(namespace):
            await api.apply(resource, manifest, manager=MANAGER)


Try = Callable[[str], int]


@pytest.fixture
def tried(kubeconfig: str, image: str, namespace: str) -> Try:
    """Tries the sets of a kind; returns how many decisions were compared."""

    def try_all(kind: str) -> int:
        async def run() -> int:
            async with connect(kubeconfig) as api:
                peers = Callers(api, kubeconfig, image, namespace, all_roles(namespace))
                return await Trial(peers, provider_of(kind), sets_of(kind, namespace)).run()

        return asyncio.run(run())

    return try_all


@pytest.mark.parametrize("kind", SETS)
def test_a_tenant_is_decided_as_anybody_with_its_forks_by(kind: str, tried: Try) -> None:
    assert tried(kind) >= AT_LEAST


def _ignore_other_ingress_routes(patch: pytest.MonkeyPatch) -> None:
    real = ingressroute_user._portable
    patch.setattr(ingressroute_user, "_portable", lambda rule, _before: real(rule, ()))


def _all_at_one_priority(patch: pytest.MonkeyPatch) -> None:
    real = IngressRouteDialect.for_tenant
    patch.setattr(
        IngressRouteDialect, "for_tenant", lambda self, rule, of: {**real(self, rule, of), "priority": 1_000_000_000}
    )


MUTANTS = {
    "IngressRoutes that give no way to others": _ignore_other_ingress_routes,
    "IngressRoutes of one priority": _all_at_one_priority,
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_property_sees(
    mutant: Callable[[pytest.MonkeyPatch], None], tried: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingressroute_render._shelf.cache_clear()
    mutant(monkeypatch)
    try:
        with pytest.raises(AssertionError, match="so it should be"):
            tried("IngressRoutes")
    finally:
        ingressroute_render._shelf.cache_clear()


# --- single cases


@asynccontextmanager
async def _callers(kubeconfig: str, image: str, namespace: str) -> AsyncIterator[Peers]:
    async with connect(kubeconfig) as api:
        yield Callers(api, kubeconfig, image, namespace, all_roles(namespace))


def shop(namespace: str) -> Object:
    """An IngressRoute that leads one host to the storefront, and another one to its gRPC port."""
    routes = [
        {"kind": "Rule", "match": f"Host(`{SHOP}`)", "services": [{"name": "storefront", "port": HTTP_PORT}]},
        {
            "kind": "Rule",
            "match": f"Host(`{GRPC_SHOP}`)",
            "services": [{"name": "storefront", "port": GRPC_PORT, "scheme": "h2c"}],
        },
    ]
    return {
        "apiVersion": INGRESS_ROUTES.api_version,
        "kind": INGRESS_ROUTES.kind,
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {"entryPoints": ["web"], "routes": routes},
    }


def tenant(namespace: str, key: str) -> Tenant:
    return Tenant(key, (StandIn(ServiceHost(namespace, "storefront"), ServiceHost(namespace, f"storefront-{key}")),))


@asynccontextmanager
async def routed(peers: Peers, *keys: str, path: str = "/") -> AsyncIterator[Ask]:
    """The shop with routes for these tenants; gives a request to it."""
    ask = Ask(SHOP, path, port=HTTP_PORT, address=address_of(peers.namespace))
    await peers.api.apply(INGRESS_ROUTES, shop(peers.namespace), manager=GITOPS)

    async def is_served() -> bool:
        return [told.who for told in await peers.ask([ask])] == ["storefront"]

    await until(is_served, "Traefik leads to the baseline")
    key = EntryKey(EntryKind.INGRESS_ROUTE, peers.namespace, "shop")
    proofs, provider = Proofs(peers), IngressRouteProvider(HeaderSettings())
    written = await proofs.write(provider, [(key, [tenant(peers.namespace, name) for name in keys])])
    try:
        yield ask
    finally:
        await proofs.delete(written)
        await peers.api.delete(INGRESS_ROUTES, peers.namespace, "shop")


async def test_a_tenant_is_known_by_its_member_of_baggage_and_by_nothing_like_it(
    kubeconfig: str, image: str, namespace: str
) -> None:
    async with _callers(kubeconfig, image, namespace) as peers, routed(peers, "alice", "bob") as ask:
        cases = [
            (what, replace(ask, protocol=protocol).plus(*lines), who)
            for lines_of, who in ((IS_OF_ALICE, "storefront-alice"), (IS_NOT_OF_ALICE, "storefront"))
            for what, lines in lines_of.items()
            for protocol in (HTTP1, HTTP2)
        ]
        answers = await peers.ask([case for _, case, _ in cases])
        told = {(what, case.protocol): answer.who for (what, case, _), answer in zip(cases, answers, strict=True)}
        assert told == {(what, case.protocol): who for what, case, who in cases}


async def test_every_protocol_is_routed_for_a_tenant(kubeconfig: str, image: str, namespace: str) -> None:
    async with _callers(kubeconfig, image, namespace) as peers, routed(peers, "alice") as ask:
        asks = [
            replace(ask, protocol=HTTP1),
            replace(ask, protocol=HTTP2),
            replace(ask, protocol=WEBSOCKET),
            replace(ask, protocol=GRPC, host=GRPC_SHOP, method="POST"),
        ]
        of_alice: Line = ("baggage", "tenant=alice")
        answers = await peers.ask([*asks, *(one.plus(of_alice) for one in asks)])
        assert [answer.who for answer in answers] == ["storefront"] * 4 + ["storefront-alice"] * 4
        # Traefik speaks HTTP/1.1 to a Service unless its reference says otherwise
        assert [answer.protocol for answer in answers] == ["http1", "http1", "websocket", "grpc"] * 2


def ingress_of(namespace: str, *paths: str, priority: str = "") -> Object:
    """A user's Ingress for the shop's host, whose requests go to `storefront-bob`."""
    backend = {"service": {"name": "storefront-bob", "port": {"number": HTTP_PORT}}}
    found = [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]
    annotations = {"traefik.ingress.kubernetes.io/router.priority": priority} if priority else {}
    return {
        "apiVersion": INGRESSES.api_version,
        "kind": INGRESSES.kind,
        "metadata": {"name": f"shop{priority}", "namespace": namespace, "annotations": annotations},
        "spec": {"rules": [{"host": SHOP, "http": {"paths": found}}]},
    }


@pytest.mark.parametrize("is_overlooked", [False, True], ids=["as it is", "were it overlooked"])
async def test_a_tenants_request_that_an_ingress_takes_first_goes_there_too(
    kubeconfig: str, image: str, namespace: str, monkeypatch: pytest.MonkeyPatch, *, is_overlooked: bool
) -> None:
    if is_overlooked:
        monkeypatch.setattr(ingressroute_user, "ingresses_beside", lambda _own, _cluster: ())
    async with _callers(kubeconfig, image, namespace) as peers:
        for obj in (ingress_of(namespace, "/api"), ingress_of(namespace, "/low", priority="1")):
            await peers.api.apply(INGRESSES, obj, manager=GITOPS)
        try:
            base = Ask(SHOP, port=HTTP_PORT, address=address_of(namespace))

            async def are_served() -> bool:
                return [told.who for told in await peers.ask([replace(base, path="/api")])] == ["storefront-bob"]

            await until(are_served, "Traefik serves the Ingress")
            async with routed(peers, "alice", path="/low") as ask:
                of_alice = ask.plus(("baggage", "tenant=alice"))
                asks = [replace(one, path=path) for one in (ask, of_alice) for path in ("/low", "/api", "/api/1")]
                *users, low, api, below = [told.who for told in await peers.ask(asks)]
                assert users == ["storefront", "storefront-bob", "storefront-bob"]
                assert low == "storefront-alice"
                assert [api, below] == ["storefront-alice" if is_overlooked else "storefront-bob"] * 2
        finally:
            for name in ("shop", "shop1"):
                await peers.api.delete(INGRESSES, namespace, name)


async def _pods(peers: Peers, key: str, *, ready: bool) -> None:
    """Give the tenant's fork Service pods, or take them away."""
    service = await peers.api.get(SERVICES, peers.namespace, f"storefront-{key}")
    assert service is not None
    path = "/spec/selector/app"
    value = "echo" if ready else "nobody"
    await peers.api.patch(
        SERVICES, peers.namespace, service["metadata"]["name"], [{"op": "replace", "path": path, "value": value}]
    )


async def _answers(peers: Peers, ask: Ask) -> list[tuple[int, str | None]]:
    of_carol: Line = ("baggage", "tenant=carol")
    asks = [
        ask.plus(of_carol),
        replace(ask, protocol=HTTP2).plus(of_carol),
        replace(ask, protocol=WEBSOCKET).plus(of_carol),
        ask,
    ]
    return [(told.status, told.who) for told in await peers.ask(asks)]


FORKED = [(200, "storefront-carol"), (200, "storefront-carol"), (101, "storefront-carol"), (200, "storefront")]
REFUSED = [(503, None), (503, None), (503, None), (200, "storefront")]
FALLEN = [(200, "storefront"), (200, "storefront"), (101, "storefront"), (200, "storefront")]


async def test_a_fork_without_pods_is_missed_with_503_and_not_made_up_for_by_the_baseline(
    kubeconfig: str, image: str, namespace: str
) -> None:
    async with _callers(kubeconfig, image, namespace) as peers, routed(peers, "alice", "carol") as ask:
        try:
            assert await _answers(peers, ask) == FORKED
            await _pods(peers, "carol", ready=False)
            seen = []

            async def is_noticed() -> bool:
                seen.append(await _answers(peers, ask))
                return seen[-1] == REFUSED

            await until(is_noticed, "Traefik knows that the fork has no pods")
            assert not any("storefront" in [who for _, who in answers[:-1]] for answers in seen)
            await _pods(peers, "carol", ready=True)

            async def is_back() -> bool:
                return await _answers(peers, ask) == FORKED

            await until(is_back, "requests come to the fork again")
        finally:
            await _pods(peers, "carol", ready=True)


async def test_without_the_second_rule_they_would_fall_to_the_baseline(
    kubeconfig: str, image: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = IngressRouteDialect.for_want_of_it
    ingressroute_render._shelf.cache_clear()
    monkeypatch.setattr(IngressRouteDialect, "for_want_of_it", lambda *arguments: {**real(*arguments), "priority": 1})
    async with _callers(kubeconfig, image, namespace) as peers, routed(peers, "alice", "carol") as ask:
        ingressroute_render._shelf.cache_clear()
        try:
            await _pods(peers, "carol", ready=False)

            async def have_fallen() -> bool:
                return await _answers(peers, ask) == FALLEN

            await until(have_fallen, "requests of the tenant come to the baseline")
        finally:
            await _pods(peers, "carol", ready=True)
