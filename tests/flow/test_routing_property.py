"""The clone algorithm through a real istiod and real proxies: tenants' requests are decided as anybody's, with forks.

What `tests/unit/routing` shows of a model of the mesh, many thousand times, is shown here of the mesh itself. All of it
takes place in one namespace, at hosts that no two sets share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest

from flow.cluster import temporary_namespace
from flow.wire import httproutes, virtualservices
from flow.wire.gateways import GATEWAY, ISTIO_GATEWAY, address_of, start_gateway
from flow.wire.peers import MANAGER, Peers
from flow.wire.property import RouteSet, Trial
from flow.wire.tenants import roles_of
from flow.wire.virtualservices import ISTIO_DOMAIN
from sidestream.config import HeaderSettings
from sidestream.kube.client import connect
from sidestream.kube.port import DESTINATION_RULES
from sidestream.routing import table
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.httproute_precedence import Precedence
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.table import Dialect, Rule, Tenant

AT_LEAST = 300
"""Decisions with which each kind of route has to be tried."""

VIRTUAL_SERVICES = {
    "VirtualServices of our own": lambda namespace: virtualservices.owned_sets(namespace, 5),
    "overlays": lambda namespace: virtualservices.overlaid_sets(namespace, 14),
    "delegates": lambda namespace: virtualservices.delegating_sets(namespace, 7),
    "VirtualServices at a gateway": lambda namespace: virtualservices.gateway_sets(
        namespace, ISTIO_GATEWAY, address_of(namespace), 8
    ),
}
HTTP_ROUTES = {
    "guarded HTTPRoutes": lambda namespace: httproutes.guarded_sets(namespace, 5),
    "HTTPRoutes beside users'": lambda namespace: httproutes.mesh_sets(namespace, 12),
    "HTTPRoutes at a gateway": lambda namespace: httproutes.gateway_sets(namespace, GATEWAY, address_of(namespace), 8),
}
SETS: dict[str, Callable[[str], list[RouteSet]]] = {**VIRTUAL_SERVICES, **HTTP_ROUTES}


@cache
def sets_of(kind: str, namespace: str) -> tuple[RouteSet, ...]:
    return tuple(SETS[kind](namespace))


def provider_of(kind: str) -> Provider:
    settings = HeaderSettings()
    return VirtualServiceProvider(settings) if kind in VIRTUAL_SERVICES else HTTPRouteProvider(settings)


def all_roles(namespace: str) -> tuple[str, ...]:
    return roles_of(one.name for kind in SETS for one in sets_of(kind, namespace))


@pytest.fixture(scope="module")
def namespace(kubeconfig: str, image: str) -> Iterator[str]:
    """One with a gateway and pods that answer for all sets."""
    with temporary_namespace(kubeconfig) as name:
        asyncio.run(_furnish(kubeconfig, image, name))
        yield name


async def _furnish(kubeconfig: str, image: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        peers = Peers(api, kubeconfig, image, namespace, all_roles(namespace))
        await asyncio.gather(peers.start(), start_gateway(api, namespace, ISTIO_DOMAIN))
        for service in ("inventory", "ledger"):
            await api.apply(DESTINATION_RULES, virtualservices.subsets(namespace, service), manager=MANAGER)


Try = Callable[[Provider, Sequence[RouteSet]], int]


@pytest.fixture
def tried(kubeconfig: str, image: str, namespace: str) -> Try:
    """Tries sets with a provider; returns how many decisions were compared."""

    def try_all(provider: Provider, sets: Sequence[RouteSet]) -> int:
        async def run() -> int:
            async with connect(kubeconfig) as api:
                peers = Peers(api, kubeconfig, image, namespace, all_roles(namespace))
                async with peers.connected() as connected:
                    return await Trial(connected, provider, sets).run()

        return asyncio.run(run())

    return try_all


@pytest.mark.parametrize("kind", SETS)
def test_a_tenant_is_decided_as_anybody_with_its_forks_by(kind: str, tried: Try, namespace: str) -> None:
    assert tried(provider_of(kind), sets_of(kind, namespace)) >= AT_LEAST


def _clone_what_leads_to_forks_only(patch: pytest.MonkeyPatch) -> None:
    def to_forks_only(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
        return [rule for rule in rules if dialect.leads_to_fork(rule, tenant)]

    patch.setattr(table, "_up_to_the_last_fork", to_forks_only)


def _copy_what_leads_to_forks_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Precedence, "closure", lambda _, seeds: sorted(seeds))


def _forget_whom_a_fork_stands_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tenant, "fork_of", lambda self, _: self.stand_ins[0].fork)


_OF_MUTANTS = 7
"""Sets that are enough to see that something is wrong."""

MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "overlays without rules that lead elsewhere": (_clone_what_leads_to_forks_only, "overlays"),
    "HTTPRoutes without rules that lead elsewhere": (_copy_what_leads_to_forks_only, "HTTPRoutes beside users'"),
    "forks in place of any Service": (_forget_whom_a_fork_stands_for, "overlays"),
}


@pytest.mark.parametrize(("mutant", "kind"), MUTANTS.values(), ids=MUTANTS)
def test_the_property_sees(
    mutant: Callable[[pytest.MonkeyPatch], None],
    kind: str,
    tried: Try,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match="so it should be"):
        tried(provider_of(kind), sets_of(kind, namespace)[:_OF_MUTANTS])
