"""Which entry a row of a Sandbox's status is about, who may write it, and how objects are marked as ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import annotated, labelled, thing
from sidestream.api.labels import BASELINE_SERVICE, MANAGED_BY, MANAGED_BY_VALUE
from sidestream.api.sandbox import RouteStatus
from sidestream.kube.port import VIRTUAL_SERVICES
from sidestream.routing.entries import EntryKey, EntryKind
from sidestream.routing.ownership import ENTRY, SOURCE, config_hash, entry_of, is_ours, marked, own_name
from sidestream.routing.rows import entry_of_row, entry_text, manager_of
from unit.routing.istio_things import host
from unit.routing.things import ORDERS

names = st.from_regex(r"[a-z]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)
keys = st.builds(EntryKey, st.sampled_from(EntryKind), names, names)
MESH = EntryKey(EntryKind.MESH, "shop", "orders")
EDGE = EntryKey(EntryKind.HTTP_ROUTE, "web", "storefront")


def row(entry: str, of: str = "orders") -> RouteStatus:
    return RouteStatus(service=of, entry=entry, provider="x", mode="x", state="Pending", reason="x")


@given(keys)
def test_a_key_is_read_back_as_it_was_written(key: EntryKey) -> None:
    assert EntryKey.parse(str(key)) == key


@pytest.mark.parametrize("text", ["", "mesh", "Mesh", "Mesh shop", "Mesh shop/", "Pod shop/orders", "shop/orders"])
def test_no_other_text_is_a_key(text: str) -> None:
    assert EntryKey.parse(text) is None


@given(keys, names)
def test_a_row_is_about_the_entry_that_wrote_it(key: EntryKey, name: str) -> None:
    """The Sandbox is in the forks' namespace, whichever the entry's is."""
    service = host(name)
    assert entry_of_row(row(entry_text(key, service), name), service.namespace) == key


def test_a_services_own_entry_is_called_the_mesh() -> None:
    assert entry_text(MESH, ORDERS) == "mesh"
    assert entry_text(MESH, host("web")) == "Mesh shop/orders"
    assert entry_text(MESH, host("orders", "billing")) == "Mesh shop/orders"
    assert entry_text(EDGE, ORDERS) == "HTTPRoute web/storefront"


@pytest.mark.parametrize("entry", ["mesh", "", "nonsense"])
def test_what_nobody_of_ours_wrote_counts_as_the_meshs(entry: str) -> None:
    assert entry_of_row(row(entry), "shop") == MESH


def test_each_entry_has_a_manager_of_its_own() -> None:
    others = [
        MESH,
        EDGE,
        EntryKey(EntryKind.GRPC_ROUTE, "web", "storefront"),
        EntryKey(EntryKind.MESH, "web", "orders"),
        EntryKey(EntryKind.HTTP_ROUTE, "shop", "storefront"),
        EntryKey(EntryKind.VIRTUAL_SERVICE, "shop", "orders"),
    ]
    found = {manager_of(key, "shop") for key in others}
    assert len(found) == len(others)
    assert manager_of(MESH, "shop") == "sidestream-route-orders"


@given(st.sampled_from(EntryKind), st.text("ab-.", min_size=1, max_size=253), st.sampled_from(["shop", "web"]))
def test_a_manager_fits_into_what_the_api_server_takes(kind: EntryKind, name: str, namespace: str) -> None:
    assert len(manager_of(EntryKey(kind, "n" * 63, name), namespace)) <= 128


# --- our objects


def test_a_marked_object_is_ours_and_its_entrys() -> None:
    obj = marked(VIRTUAL_SERVICES, EDGE, "shop", "x", {"a": 1}, source="web/storefront", labels={"c": "d"})
    assert is_ours(obj)
    assert entry_of(obj) == EDGE
    assert obj["metadata"]["annotations"][SOURCE] == "web/storefront"
    assert obj["metadata"]["labels"] == {MANAGED_BY: MANAGED_BY_VALUE, "c": "d"}
    assert obj["spec"] == {"a": 1}


def test_an_object_for_a_service_of_the_mesh_has_its_name_as_a_label() -> None:
    obj = marked(VIRTUAL_SERVICES, MESH, "shop", "x", {})
    assert obj["metadata"]["labels"][BASELINE_SERVICE] == "orders"
    assert SOURCE not in obj["metadata"]["annotations"]


def test_gitops_managers_leave_it_alone() -> None:
    annotations = marked(VIRTUAL_SERVICES, MESH, "shop", "x", {})["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
    assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false"


def test_an_object_of_somebody_elses_is_no_entrys_whatever_it_says() -> None:
    theirs = thing(VIRTUAL_SERVICES, "x", {}, annotated({ENTRY: str(MESH)}), labelled({BASELINE_SERVICE: "orders"}))
    assert not is_ours(theirs)
    assert entry_of(theirs) is None


def test_one_of_ours_from_before_there_were_entries_is_its_services() -> None:
    former = thing(VIRTUAL_SERVICES, "x", {}, labelled({MANAGED_BY: MANAGED_BY_VALUE, BASELINE_SERVICE: "orders"}))
    assert entry_of(former) == MESH
    assert entry_of(thing(VIRTUAL_SERVICES, "x", {}, labelled({MANAGED_BY: MANAGED_BY_VALUE}))) is None


def test_names_of_ours_fit_into_a_label_and_differ() -> None:
    long = [own_name("s" * 60, word) for word in ("a", "b")]
    assert own_name("orders") == "sidestream-orders"
    assert len(set(long)) == 2
    assert max(map(len, long)) <= 63


def test_a_configs_hash_tells_one_from_another() -> None:
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
    assert len(config_hash({})) == 20
