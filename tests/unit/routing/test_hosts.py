"""Which spelling of a host means which Service."""

from __future__ import annotations

import pytest

from sidestream.routing.hosts import ServiceHost, qualified
from unit.routing.things import ORDERS

NAMED = {
    "short, same namespace": ("orders", "shop", True),
    "short, another namespace": ("orders", "billing", False),
    "with namespace": ("orders.shop", "shop", False),
    "with namespace and svc": ("orders.shop.svc", "shop", False),
    "full": ("orders.shop.svc.cluster.local", "billing", True),
    "full, other letters": ("Orders.shop.svc.cluster.local", "billing", True),
    "another Service": ("orders2", "shop", False),
    "same name elsewhere": ("orders.billing", "shop", False),
    "another domain": ("orders.shop.svc.example.org", "shop", False),
    "a name that only begins so": ("orders.shop.example.com", "shop", False),
    "a wildcard names nobody": ("*.shop.svc.cluster.local", "shop", False),
}


@pytest.mark.parametrize(("host", "namespace", "is_named"), NAMED.values(), ids=NAMED)
def test_a_host_names_the_service(host: str, namespace: str, *, is_named: bool) -> None:
    assert ORDERS.is_named_by(host, namespace) is is_named


HALF_NAMED = {
    "with namespace": ("orders.shop", True),
    "with namespace and svc": ("orders.shop.svc", True),
    "with other letters": ("Orders.Shop", True),
    "short": ("orders", False),
    "full": ("orders.shop.svc.cluster.local", False),
    "same name elsewhere": ("orders.billing", False),
}


@pytest.mark.parametrize(("host", "is_half_named"), HALF_NAMED.values(), ids=HALF_NAMED)
def test_clients_spell_it_in_ways_that_mean_another_host_to_istio(host: str, *, is_half_named: bool) -> None:
    assert ORDERS.is_half_named_by(host) is is_half_named


COVERED = {
    "its namespace": ("*.shop.svc.cluster.local", True),
    "the cluster": ("*.cluster.local", True),
    "everything": ("*", True),
    "another namespace": ("*.billing.svc.cluster.local", False),
    "no wildcard": ("orders.shop.svc.cluster.local", False),
}


@pytest.mark.parametrize(("host", "is_covered"), COVERED.values(), ids=COVERED)
def test_a_wildcard_covers_the_service(host: str, *, is_covered: bool) -> None:
    assert ORDERS.is_covered_by(host) is is_covered


def test_the_domain_is_the_clusters_own() -> None:
    host = ServiceHost("shop", "orders", "corp.example")
    assert host.fqdn == "orders.shop.svc.corp.example"
    assert host.is_named_by("orders.shop.svc.corp.example", "shop")


@pytest.mark.parametrize(
    ("host", "spelled"),
    [
        ("inventory", "inventory.shop.svc.cluster.local"),
        ("inventory.shop", "inventory.shop"),
        ("api.example.com", "api.example.com"),
        ("*", "*"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_only_short_names_depend_on_the_namespace(host: str, spelled: str) -> None:
    assert qualified(host, "shop", "cluster.local") == spelled
