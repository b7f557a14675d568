"""The clone algorithm through a real istiod and real proxies: tenants' requests are decided as anybody's, with forks.

What `tests/unit/routing` shows of a model of the mesh, many thousand times, is shown here of the mesh itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest

from flow.cluster import temporary_namespace
from flow.wire.peers import MANAGER, Peers
from flow.wire.property import RouteSet, Trial
from flow.wire.virtualservices import DESTINATION_RULES, overlaid_sets, owned_sets, roles_of, subsets
from sidestream.config import HeaderSettings
from sidestream.kube.client import connect
from sidestream.routing import table
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.table import Dialect, Rule, Tenant

OVERLAID, OWNED = 20, 4
AT_LEAST = 300
"""Decisions that each kind of route has to be tried with."""


@pytest.fixture(scope="module")
def namespace(kubeconfig: str, image: str) -> Iterator[str]:
    """One with pods that answer for all sets."""
    with temporary_namespace(kubeconfig) as name:
        asyncio.run(_furnish(kubeconfig, image, name))
        yield name


def every_set(namespace: str) -> list[RouteSet]:
    return [*overlaid_sets(namespace, OVERLAID), *owned_sets(namespace, OWNED)]


async def _furnish(kubeconfig: str, image: str, namespace: str) -> None:
    async with connect(kubeconfig) as api:
        await Peers(api, kubeconfig, image, namespace, roles_of(every_set(namespace))).start()
        for service in ("inventory", "ledger"):
            await api.apply(DESTINATION_RULES, subsets(namespace, service), manager=MANAGER)


Try = Callable[[Provider, Sequence[RouteSet]], int]


@pytest.fixture
def tried(kubeconfig: str, image: str, namespace: str) -> Try:
    """Tries sets with a provider; returns how many decisions were compared."""

    def try_all(provider: Provider, sets: Sequence[RouteSet]) -> int:
        async def run() -> int:
            async with connect(kubeconfig) as api:
                peers = Peers(api, kubeconfig, image, namespace, roles_of(every_set(namespace)))
                return await Trial(peers, provider, sets).run()

        return asyncio.run(run())

    return try_all


def test_a_virtual_service_decides_for_a_tenant_as_for_anybody_with_its_forks(tried: Try, namespace: str) -> None:
    assert tried(VirtualServiceProvider(HeaderSettings()), every_set(namespace)) >= AT_LEAST


def test_the_property_sees_rules_that_lead_elsewhere_left_out(
    tried: Try, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_forks_only(rules: Sequence[Rule], tenant: Tenant, dialect: Dialect) -> list[Rule]:
        return [rule for rule in rules if dialect.leads_to_fork(rule, tenant)]

    monkeypatch.setattr(table, "_up_to_the_last_fork", to_forks_only)
    with pytest.raises(AssertionError, match="so it should be"):
        tried(VirtualServiceProvider(HeaderSettings()), overlaid_sets(namespace, OVERLAID)[:8])
