"""Which fields of an object a manager owns (`metadata.managedFields`), and whether it still says the same of them.

The API server notes ownership as a tree: `f:name` is a field, `k:{...}` the item of a keyed list, `v:...` the item of a
set, `.` the node itself. The tree thus also tells how each list is merged, so no schema is needed here.
"""

from __future__ import annotations

import json
from typing import Any

from sidestream.kube.port import Object

Fields = dict[str, Any]
"""A tree of owned fields as the API server writes it (FieldsV1)."""


def owned_by(live: Object, manager: str, *, subresource: str = "") -> Fields:
    """What `manager` owns by server-side apply; empty when it owns nothing."""
    for entry in live["metadata"].get("managedFields", ()):
        is_same = entry.get("manager") == manager and entry.get("subresource", "") == subresource
        if is_same and entry.get("operation") == "Apply":
            fields: Fields = entry.get("fieldsV1", {})
            return fields
    return {}


def says_the_same(desired: Any, live: Any, owned: Fields) -> bool:
    """Whether applying `desired` would change nothing: same values, no field to give up, none to take over."""
    match desired, live:
        case dict(), dict():
            return _same_object(desired, live, owned)
        case list(), list():
            return _same_list(desired, live, owned)
        case _:
            return bool(desired == live)


def _same_object(desired: dict[str, Any], live: dict[str, Any], owned: Fields) -> bool:
    spoken_of = {f"f:{name}" for name in desired}
    if any(field.startswith("f:") and field not in spoken_of for field in owned):
        return False
    if not owned:
        # an atomic object, or one that nobody has applied: only the parent knows, and it has checked that it is owned
        return bool(desired == live)
    return all(
        _is_nothing(value, live.get(name))
        or (f"f:{name}" in owned and name in live and says_the_same(value, live[name], owned[f"f:{name}"]))
        for name, value in desired.items()
    )


def _is_nothing(desired: Any, live: Any) -> bool:
    """Whether an empty list or object is desired and there: the API server notes no owner for an empty keyed list."""
    return desired in ([], {}) and not live


def _same_list(desired: list[Any], live: list[Any], owned: Fields) -> bool:
    keyed = [field for field in owned if field.startswith("k:")]
    members = [field for field in owned if field.startswith("v:")]
    if keyed:
        return len(keyed) == len(desired) and all(_same_item(field, desired, live, owned[field]) for field in keyed)
    if members:
        return sorted(members) == sorted(f"v:{_compact(item)}" for item in desired)
    return _is_within(desired, live)


def _same_item(field: str, desired: list[Any], live: list[Any], owned: Fields) -> bool:
    keys: dict[str, Any] = json.loads(field.removeprefix("k:"))
    wanted, found = _item(desired, keys), _item(live, keys)
    return wanted is not None and found is not None and says_the_same(wanted, found, owned)


def _item(items: list[Any], keys: dict[str, Any]) -> Any:
    return next((item for item in items if all(item.get(key) == value for key, value in keys.items())), None)


def _is_within(desired: Any, live: Any) -> bool:
    """Whether `live` is `desired`, give or take fields that the API server defaulted inside an atomic list."""
    match desired, live:
        case dict(), dict():
            return all(name in live and _is_within(value, live[name]) for name, value in desired.items())
        case list(), list():
            return len(desired) == len(live) and all(_is_within(*pair) for pair in zip(desired, live, strict=True))
        case _:
            return bool(desired == live)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
