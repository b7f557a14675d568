from __future__ import annotations

from typing import Any

import pytest

from sidestream.api.selectors import matches_selector

LABELS = {"app": "orders", "tier": "back"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("case", "selector", "picks"),
    [
        ("nothing given", None, False),
        ("an empty one picks everything", {}, True),
        ("labels match", {"matchLabels": {"app": "orders"}}, True),
        ("labels differ", {"matchLabels": {"app": "stock"}}, False),
        ("In with the value", expression("app", "In", "stock", "orders"), True),
        ("In without the value", expression("app", "In", "stock"), False),
        ("In on a missing label", expression("zone", "In", "a"), False),
        ("NotIn with the value", expression("app", "NotIn", "orders"), False),
        ("NotIn on a missing label", expression("zone", "NotIn", "a"), True),
        ("Exists", expression("app", "Exists"), True),
        ("Exists on a missing label", expression("zone", "Exists"), False),
        ("DoesNotExist", expression("app", "DoesNotExist"), False),
        ("both must hold", {"matchLabels": {"app": "orders"}, **expression("zone", "Exists")}, False),
    ],
)
def test_a_label_selector(case: str, selector: dict[str, Any] | None, picks: bool) -> None:  # noqa: FBT001 - a table's column
    assert matches_selector(selector, LABELS) is picks, case


def test_an_operator_that_kubernetes_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operator 'Near'"):
        matches_selector(expression("app", "Near"), LABELS)
