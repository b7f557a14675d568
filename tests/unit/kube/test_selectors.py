from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.api.selectors import matches_selector
from sidestream.kube.selectors import matches_labels, selector_text

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


@given(selector=WORDS.filter(bool), labels=WORDS)
def test_both_forms_say_the_same_of_plain_labels(selector: dict[str, str], labels: dict[str, str]) -> None:
    assert matches_labels(selector, labels) == matches_selector({"matchLabels": selector}, labels)


def test_the_text_of_a_selector_is_stable() -> None:
    assert selector_text({"b": "2", "a": "1"}) == "a=1,b=2"
    assert selector_text({}) == ""
