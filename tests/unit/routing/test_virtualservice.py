"""The VirtualService that Sidestream writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.port import Object
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.proof import hash_in
from sidestream.routing.providers.provider import Rendered
from sidestream.routing.providers.virtualservice import GUARDED_FROM, OVERLAYS, VirtualServiceProvider
from sidestream.routing.table import RouteTable, Tenant
from unit.routing.things import ORDERS, ORDERS_FQDN, to, virtual_service

DEFAULT = {"route": [to(ORDERS_FQDN)]}


def tenant(key: str) -> Tenant:
    return Tenant(key, ServiceHost("shop", f"orders-{key}"))


def render(
    *tenants: str,
    rules: Sequence[dict[str, Any]] = (DEFAULT,),
    source: str | None = None,
    namespaces: Sequence[str] = (),
    mode: HeaderMode = HeaderMode.BAGGAGE,
) -> Rendered:
    table = RouteTable(ORDERS, (80,), tuple(rules), tuple(tenant(key) for key in tenants), source)
    rendered = VirtualServiceProvider(HeaderSettings(mode=mode)).render(table, namespaces)
    assert rendered is not None
    return rendered


def names(obj: Object) -> list[str]:
    return [rule.get("name", "") for rule in obj["spec"]["http"]]


def test_a_service_without_users_rules_gets_a_public_one_of_ours() -> None:
    rendered = render("alice")
    pattern = r"^(?:.*,)?[ \t]*tenant[ \t]*=[ \t]*alice[ \t]*(?:[;,].*)?$"
    assert rendered.obj == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": "sidestream-orders",
            "namespace": "shop",
            "labels": {
                "app.kubernetes.io/managed-by": "sidestream",
                "sidestream.dev/baseline-service": "orders",
            },
            "annotations": {
                "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
                "argocd.argoproj.io/sync-options": "Prune=false",
            },
        },
        "spec": {
            "hosts": [ORDERS_FQDN],
            "exportTo": ["*"],
            "http": [
                {
                    "name": "probe",
                    "match": [{"headers": {"x-sidestream-probe": {"exact": "1"}}}],
                    "directResponse": {
                        "status": 200,
                        "body": {"string": f"sidestream-probe {rendered.config_hash}"},
                    },
                },
                {
                    "name": "tenant-alice",
                    "match": [{"headers": {"baggage": {"regex": pattern}}}],
                    "route": [{"destination": {"host": "orders-alice.shop.svc.cluster.local"}}],
                },
                DEFAULT,
            ],
        },
    }


def test_over_a_users_rules_it_names_the_namespaces_and_what_it_overlays() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "api", "match": [{"uri": {"prefix": "/api"}}], "route": [to(ORDERS_FQDN)]},
        DEFAULT,
    ]
    obj = render("alice", rules=rules, source="shop/orders", namespaces=["web", "sidestream-system"]).obj
    assert obj["spec"]["exportTo"] == ["shop", "sidestream-system", "web"]
    assert obj["metadata"]["annotations"][OVERLAYS] == "shop/orders"
    assert names(obj) == ["probe", "tenant-alice-api", "tenant-alice", "api", ""]


def test_tenants_stand_in_the_order_of_their_keys() -> None:
    assert names(render("alice", "bob").obj) == ["probe", "tenant-alice", "tenant-bob", ""]


def test_the_hash_follows_the_rules_and_nothing_else() -> None:
    assert render("alice").config_hash == render("alice").config_hash
    assert render("alice").config_hash != render("bob").config_hash
    overlaid = render("alice", source="shop/orders", namespaces=["web"])
    assert overlaid.config_hash != render("alice", source="shop/orders", namespaces=["web", "shop2"]).config_hash


def test_the_probe_answers_with_the_hash() -> None:
    rendered = render("alice")
    assert hash_in(rendered.obj["spec"]["http"][0]["directResponse"]["body"]["string"]) == rendered.config_hash


@pytest.mark.parametrize(
    ("count", "mode", "is_guarded"),
    [
        (GUARDED_FROM, HeaderMode.BAGGAGE, False),
        (GUARDED_FROM + 1, HeaderMode.BAGGAGE, True),
        (GUARDED_FROM + 1, HeaderMode.EXACT, False),
        (GUARDED_FROM + 1, HeaderMode.BOTH, True),
    ],
)
def test_many_tenants_are_guarded_where_matching_costs(count: int, mode: HeaderMode, *, is_guarded: bool) -> None:
    rules = names(render(*(f"t{number:02}" for number in range(count)), mode=mode).obj)
    assert (rules[1] == "no-tenant") is is_guarded
    assert len(rules) == count + 2 + is_guarded


def test_rules_that_never_lead_to_the_service_make_no_object() -> None:
    table = RouteTable(ORDERS, (80,), ({"route": [to("elsewhere")]},), (tenant("alice"),), "shop/orders")
    assert VirtualServiceProvider(HeaderSettings()).render(table, []) is None


def test_destinations_are_all_hosts_that_rules_send_to() -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    assert provider.destinations(render("alice").obj) == {ORDERS_FQDN, "orders-alice.shop.svc.cluster.local"}


def test_ours_is_known_by_its_labels_not_its_name() -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    assert provider.is_ours(render("alice").obj)
    assert not provider.is_ours(virtual_service("sidestream-orders"))


def test_our_own_object_is_nobodys_rules() -> None:
    provider = VirtualServiceProvider(HeaderSettings())
    base = provider.base_rules([render("alice").obj], ORDERS, [80])
    assert (base.rules, base.source) == ((DEFAULT,), None)
