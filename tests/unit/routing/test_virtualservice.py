"""The VirtualService that Sidestream writes for a Service in the mesh."""

from __future__ import annotations

import pytest

from builders import having, in_namespace, selecting, service
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.port import VIRTUAL_SERVICES, Object
from sidestream.routing import ownership
from sidestream.routing.entries import Door, Entry, EntryKey, EntryKind, Mode
from sidestream.routing.proof import hash_in
from sidestream.routing.providers.provider import Part
from sidestream.routing.providers.virtualservice import GUARDED_FROM, VirtualServiceProvider
from sidestream.routing.table import Rule, Tenant
from unit.routing.istio_things import MESH_ORDERS, Objects, host, mesh_entry, shop, tenant
from unit.routing.things import ORDERS_FQDN, to, virtual_service

DEFAULT = {"route": [to(ORDERS_FQDN)]}
PROVIDER = VirtualServiceProvider(HeaderSettings())


def entry(cluster: Objects, key: EntryKey = MESH_ORDERS) -> Entry:
    found = PROVIDER.entry(key, cluster)
    assert found is not None
    return found


def part(of: Entry, *tenants: Tenant | str, mode: HeaderMode = HeaderMode.BAGGAGE) -> Part:
    """The one object for an entry; a tenant that is only named has a fork of `orders`."""
    known = [tenant(item) if isinstance(item, str) else item for item in tenants]
    (only,) = VirtualServiceProvider(HeaderSettings(mode=mode)).render(of, known, shop()).parts
    return only


def names(obj: Object) -> list[str]:
    return [rule.get("name", "") for rule in obj["spec"]["http"]]


def hash_of(item: Part) -> str:
    assert item.probe is not None
    return item.probe.config_hash


# --- what is read


def test_a_service_without_users_rules_is_an_entry_of_our_own() -> None:
    assert entry(shop()) == Entry(
        key=MESH_ORDERS,
        mode=Mode.OWNED,
        rules=(DEFAULT,),
        reaches=frozenset([host("orders")]),
        place={"hosts": [ORDERS_FQDN], "exportTo": ["*"]},
        doors=(Door(ORDERS_FQDN, 80, ORDERS_FQDN),),
        why="no VirtualService or HTTPRoute of a user names its host",
    )


def test_over_a_users_rules_it_is_exported_to_the_namespaces_by_name() -> None:
    rule = {
        "route": [
            to(weight=1),
            to("inventory", weight=0),
            to("ledger.billing.svc.cluster.local", weight=1),
            to("api.example.com"),
        ]
    }
    found = entry(shop(virtual_service("mine", rule)))
    assert (found.mode, found.source) == (Mode.OVERLAY, "shop/mine")
    assert found.place["exportTo"] == ["shop", "web"]
    assert found.reaches == {host("orders"), host("inventory"), host("ledger", "billing")}
    assert found.why == "VirtualService shop/mine names its host"


def test_a_user_whose_rules_lead_elsewhere_leaves_the_service_itself_in_reach() -> None:
    assert entry(shop(virtual_service("mine", {"route": [to("inventory")]}))).reaches == {
        host("orders"),
        host("inventory"),
    }


def test_there_is_a_door_for_each_port_that_carries_http() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "grpc-x", "port": 81}, {"name": "tcp-db", "port": 5432}]
    doors = entry(shop(service("orders", having("spec.ports", ports)))).doors
    assert [(door.address, door.port, door.host) for door in doors] == [
        (ORDERS_FQDN, 80, ORDERS_FQDN),
        (ORDERS_FQDN, 81, ORDERS_FQDN),
    ]


NO_ENTRY = {
    "a Service that does not exist": (shop(), EntryKey(EntryKind.MESH, "shop", "ledger")),
    "another kind of entry": (shop(), EntryKey(EntryKind.HTTP_ROUTE, "shop", "orders")),
    "a cluster without Istio": (shop(missing=[VIRTUAL_SERVICES]), MESH_ORDERS),
}


@pytest.mark.parametrize(("cluster", "key"), NO_ENTRY.values(), ids=NO_ENTRY)
def test_there_is_no_entry_for(cluster: Objects, key: EntryKey) -> None:
    assert PROVIDER.entry(key, cluster) is None


def test_our_own_object_is_nobodys_rules() -> None:
    ours = part(entry(shop()), "alice").obj
    assert entry(shop(ours)) == entry(shop())


def test_a_virtual_service_concerns_the_services_that_its_hosts_name() -> None:
    obj = virtual_service("mine", DEFAULT, hosts=["orders", "ledger.billing.svc.cluster.local", "api.example.com"])
    assert list(PROVIDER.entries_of(obj, shop())) == [
        EntryKey(EntryKind.MESH, "billing", "ledger"),
        EntryKey(EntryKind.MESH, "shop", "orders"),
    ]


def test_a_wildcard_concerns_the_services_that_it_covers() -> None:
    obj = virtual_service("mine", DEFAULT, hosts=["*.shop.svc.cluster.local"])
    cluster = shop(service("ledger"), service("far", in_namespace("billing"), selecting({})))
    assert [key.name for key in PROVIDER.entries_of(obj, cluster)] == ["ledger", "orders"]


def test_half_of_a_name_concerns_the_service_that_clients_mean_by_it() -> None:
    obj = virtual_service("mine", {"route": [to()]}, hosts=["orders.shop.svc"])
    assert [key.name for key in PROVIDER.entries_of(obj, shop())] == ["orders"]


def test_our_own_object_concerns_no_entry_as_a_users() -> None:
    assert not list(PROVIDER.entries_of(part(entry(shop()), "alice").obj, shop()))


def test_destinations_are_all_services_that_rules_send_to() -> None:
    obj = virtual_service(
        "mine", {"route": [to(), to("api.example.com")]}, {"route": [to("ledger.billing.svc.cluster.local")]}
    )
    assert PROVIDER.destinations(obj, "cluster.local") == {host("orders"), host("ledger", "billing")}
    assert not PROVIDER.destinations(virtual_service("mine", http=None), "cluster.local")


# --- what is written


def test_a_service_without_users_rules_gets_a_public_one_of_ours() -> None:
    written = part(entry(shop()), "alice")
    pattern = r"^(?:.*,)?[ \t]*tenant[ \t]*=[ \t]*alice[ \t]*(?:[;,].*)?$"
    assert written.obj == {
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
                "sidestream.dev/entry": "Mesh shop/orders",
            },
        },
        "spec": {
            "hosts": [ORDERS_FQDN],
            "exportTo": ["*"],
            "http": [
                {
                    "name": "probe",
                    "match": [{"headers": {"x-sidestream-probe": {"exact": "sidestream-orders"}}}],
                    "directResponse": {
                        "status": 200,
                        "body": {"string": f"sidestream-probe {hash_of(written)}"},
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
    assert (written.resource, written.keys, written.stage) == (VIRTUAL_SERVICES, frozenset({"alice"}), 0)


def test_over_a_users_rules_it_says_what_it_overlays() -> None:
    rules: list[Rule] = [{"name": "api", "match": [{"uri": {"prefix": "/api"}}], "route": [to(ORDERS_FQDN)]}, DEFAULT]
    obj = part(mesh_entry(*rules), "alice").obj
    assert obj["spec"]["exportTo"] == ["shop", "web"]
    assert obj["metadata"]["annotations"][ownership.SOURCE] == "shop/orders"
    assert names(obj) == ["probe", "tenant-alice-api", "tenant-alice", "api", ""]


def test_tenants_stand_in_the_order_of_their_keys() -> None:
    assert names(part(mesh_entry(DEFAULT), "alice", "bob").obj) == ["probe", "tenant-alice", "tenant-bob", ""]


def test_a_tenant_that_no_rule_leads_to_a_fork_of_is_left_out() -> None:
    written = part(mesh_entry(DEFAULT), "alice", tenant("bob", "ledger"))
    assert names(written.obj) == ["probe", "tenant-alice", ""]
    assert written.keys == {"alice"}


def test_a_tenant_meets_every_fork_of_its_own() -> None:
    rules: list[Rule] = [{"match": [{"uri": {"prefix": "/stock"}}], "route": [to("inventory")]}, DEFAULT]
    first, second = part(mesh_entry(*rules), tenant("alice", "orders", "inventory")).obj["spec"]["http"][1:3]
    assert first["route"] == [to("inventory-alice.shop.svc.cluster.local")]
    assert second["route"] == [to("orders-alice.shop.svc.cluster.local")]


def test_rules_that_lead_to_nobodys_fork_make_no_object() -> None:
    rendered = PROVIDER.render(mesh_entry({"route": [to("elsewhere")]}), [tenant("alice")], shop())
    assert (rendered.parts, rendered.keys) == ((), frozenset())


def test_the_hash_follows_the_rules_and_nothing_else() -> None:
    assert hash_of(part(mesh_entry(DEFAULT), "alice")) == hash_of(part(mesh_entry(DEFAULT), "alice"))
    assert hash_of(part(mesh_entry(DEFAULT), "alice")) != hash_of(part(mesh_entry(DEFAULT), "bob"))
    elsewhere = mesh_entry(DEFAULT, exportTo=["shop", "shop2", "web"])
    assert hash_of(part(mesh_entry(DEFAULT), "alice")) != hash_of(part(elsewhere, "alice"))


def test_the_probe_answers_with_the_hash() -> None:
    written = part(mesh_entry(DEFAULT), "alice")
    assert hash_in(written.obj["spec"]["http"][0]["directResponse"]["body"]["string"]) == hash_of(written)


@pytest.mark.parametrize(
    ("count", "mode", "is_guarded"),
    [
        (GUARDED_FROM, HeaderMode.BAGGAGE, False),
        (GUARDED_FROM + 1, HeaderMode.BAGGAGE, True),
        (GUARDED_FROM + 1, HeaderMode.EXACT, True),
        (GUARDED_FROM + 1, HeaderMode.BOTH, True),
    ],
)
def test_many_tenants_are_guarded(count: int, mode: HeaderMode, *, is_guarded: bool) -> None:
    rules = names(part(mesh_entry(DEFAULT), *(f"t{number:02}" for number in range(count)), mode=mode).obj)
    assert (rules[1] == "no-tenant") is is_guarded
    assert len(rules) == count + 2 + is_guarded
