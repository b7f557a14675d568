"""The snapshot that shows whether users' objects were left alone sees every kind of touch."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from builders import thing
from sidestream.kube.port import VIRTUAL_SERVICES, Object
from untouched import GITOPS, Snapshot


def virtual_service() -> Object:
    owner = {
        "manager": GITOPS,
        "operation": "Apply",
        "apiVersion": VIRTUAL_SERVICES.api_version,
        "time": "2026-11-26T03:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:http": {}}},
    }
    body = {"spec": {"hosts": ["orders"], "http": [{"route": []}]}}
    obj = thing(VIRTUAL_SERVICES, "orders", body)
    obj["metadata"] |= {"resourceVersion": "7", "managedFields": [owner]}
    return obj


def other_owner(subresource: str = "") -> Object:
    owner = {"manager": "istio.io/gateway-controller", "operation": "Apply", "fieldsV1": {"f:status": {}}}
    return {**owner, "subresource": subresource} if subresource else owner


def _edit_a_rule(obj: Object) -> None:
    obj["spec"]["http"][0]["route"] = [{"destination": {"host": "orders-alice"}}]


def _annotate(obj: Object) -> None:
    obj["metadata"]["annotations"] = {"a": "b"}


def _own_a_field(obj: Object) -> None:
    obj["metadata"]["managedFields"].append(other_owner())


def _write_what_was_there(obj: Object) -> None:
    obj["metadata"]["resourceVersion"] = "8"


TOUCHES: dict[str, tuple[Callable[[Object], None], str]] = {
    "a rule": (_edit_a_rule, ".spec.http was"),
    "an annotation": (_annotate, ".metadata.annotations"),
    "the owner of a field": (_own_a_field, ".metadata.managedFields was"),
    "nothing, but written": (_write_what_was_there, "it was written and left as it was (resourceVersion 7 and 8)"),
}


@pytest.mark.parametrize(("touch", "said"), TOUCHES.values(), ids=TOUCHES)
def test_it_sees_a_touch_of(touch: Callable[[Object], None], said: str) -> None:
    before = virtual_service()
    after = copy.deepcopy(before)
    touch(after)

    (line,) = Snapshot.of([before]).differences([after])
    assert line.startswith("VirtualService shop/orders: ")
    assert said in line


def test_an_object_left_alone_is_no_difference() -> None:
    assert Snapshot.of([virtual_service()]).differences([virtual_service()]) == []


def test_a_status_written_by_a_controller_is_no_touch() -> None:
    before, after = virtual_service(), virtual_service()
    after["status"] = {"parents": []}
    after["metadata"]["resourceVersion"] = "8"
    after["metadata"]["managedFields"].append(other_owner("status"))

    assert Snapshot.of([before]).differences([after]) == []


def test_a_snapshot_is_not_changed_by_what_becomes_of_the_objects() -> None:
    obj = virtual_service()
    taken = Snapshot.of([obj])
    _edit_a_rule(obj)

    assert len(taken.differences([obj])) == 1


def test_objects_that_came_or_went_are_told() -> None:
    other = virtual_service()
    other["metadata"]["name"] = "inventory"

    assert Snapshot.of([virtual_service()]).differences([other]) == [
        "VirtualService shop/inventory is new",
        "VirtualService shop/orders is gone",
    ]
