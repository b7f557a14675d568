from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fakes.fields import Schema, fields_tree
from sidestream.kube.fields import owned_by, says_the_same

TIMES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"])
CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Accepted", "Ready", "Routes"]), "status": st.sampled_from(["True", "False"])},
        optional={"message": st.text(max_size=3)},
    ),
    max_size=3,
    unique_by=lambda item: str(item["type"]),
)
STATUS = st.fixed_dictionaries(
    {"routingKey": st.sampled_from("ab")}, optional={"expiresAt": TIMES, "conditions": CONDITIONS.filter(bool)}
)


def owned(status: dict[str, Any]) -> dict[str, Any]:
    """The ownership that the API server notes after applying this status."""
    return dict(fields_tree(set(Schema("Sandbox").leaves({"status": status})))["f:status"])


@given(status=STATUS)
def test_what_was_just_applied_says_the_same(status: dict[str, Any]) -> None:
    assert says_the_same(status, status, owned(status))


@given(before=STATUS, after=STATUS)
def test_any_difference_is_seen(before: dict[str, Any], after: dict[str, Any]) -> None:
    def by_type(status: dict[str, Any]) -> dict[str, Any]:
        return {**status, "conditions": sorted(status.get("conditions", []), key=lambda item: str(item["type"]))}

    assert says_the_same(after, before, owned(before)) == (by_type(after) == by_type(before))


@given(status=STATUS, others=CONDITIONS)
def test_items_of_others_make_no_difference(status: dict[str, Any], others: list[dict[str, Any]]) -> None:
    mine = {item["type"] for item in status.get("conditions", [])}
    theirs = [item for item in others if item["type"] not in mine]
    live = {**status, "conditions": theirs + status.get("conditions", []), "routes": [{"service": "orders"}]}
    assert says_the_same(status, live, owned(status))


def test_members_of_a_set_are_compared_without_order() -> None:
    fields: dict[str, Any] = {"f:topics": {'v:"a"': {}, 'v:"b"': {}}}
    assert says_the_same({"topics": ["b", "a"]}, {"topics": ["a", "b", "c"]}, fields)
    assert not says_the_same({"topics": ["a"]}, {"topics": ["a", "b"]}, fields)


def test_an_atomic_list_may_have_defaulted_fields_but_no_other_items() -> None:
    fields: dict[str, Any] = {"f:rules": {}}
    assert says_the_same({"rules": [{"a": 1}]}, {"rules": [{"a": 1, "defaulted": True}]}, fields)
    assert not says_the_same({"rules": [{"a": 1}]}, {"rules": [{"a": 2}]}, fields)
    assert not says_the_same({"rules": [{"a": 1}]}, {"rules": [{"a": 1}, {"a": 2}]}, fields)


def test_only_server_side_apply_of_the_very_manager_counts() -> None:
    entry = {"manager": "m", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {"f:a": {}}}}
    live = {"metadata": {"managedFields": [{**entry, "operation": "Update", "fieldsV1": {"f:b": {}}}, entry]}}
    assert owned_by(live, "m", subresource="status") == {"f:status": {"f:a": {}}}
    assert owned_by(live, "m") == {}
    assert owned_by(live, "somebody", subresource="status") == {}
    assert owned_by({"metadata": {}}, "m") == {}


def test_an_empty_list_that_nobody_is_noted_to_own_says_the_same_as_none() -> None:
    owned: dict[str, Any] = {"f:routingKey": {}}
    assert says_the_same({"routingKey": "a", "kafka": []}, {"routingKey": "a"}, owned)
    assert says_the_same({"routingKey": "a", "kafka": []}, {"routingKey": "a", "kafka": []}, owned)
    assert not says_the_same({"routingKey": "a", "kafka": []}, {"routingKey": "a", "kafka": [{"consumer": "c"}]}, owned)
