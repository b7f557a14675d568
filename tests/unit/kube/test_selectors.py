from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.kube.selectors import matches_labels, matches_selector, selector_text

LABELS = {"app": "orders", "tier": "back"}
WORDS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"))


@pytest.mark.parametrize(
    ("case", "selector", "picks"),
    [
        ("one label of several", {"app": "orders"}, True),
        ("all labels", LABELS, True),
        ("another value", {"app": "stock"}, False),
        ("a label too many", {**LABELS, "track": "canary"}, False),
        ("no selector: a Service without Pods of its own", {}, False),
    ],
)
def test_a_services_selector(case: str, selector: dict[str, str], picks: bool) -> None:  # noqa: FBT001 - a table's column
    assert matches_labels(selector, LABELS) is picks, case


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
def test_a_label_selector(case: str, selector: dict[str, Any] | None, picks: bool) -> None:  # noqa: FBT001 - as above
    assert matches_selector(selector, LABELS) is picks, case


def test_an_operator_that_kubernetes_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operator 'Near'"):
        matches_selector(expression("app", "Near"), LABELS)


@given(selector=WORDS.filter(bool), labels=WORDS)
def test_both_forms_say_the_same_of_plain_labels(selector: dict[str, str], labels: dict[str, str]) -> None:
    assert matches_labels(selector, labels) == matches_selector({"matchLabels": selector}, labels)


def test_the_text_of_a_selector_is_stable() -> None:
    assert selector_text({"b": "2", "a": "1"}) == "a=1,b=2"
    assert selector_text({}) == ""
