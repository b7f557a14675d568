from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream.api.names import MAX_NAME, fork_group, fork_name

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True)
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def test_a_short_name_is_readable() -> None:
    assert fork_name("orders", "alice") == "orders-alice"


@given(base=NAMES, sandbox=NAMES)
def test_a_name_always_fits_and_is_one_kubernetes_takes(base: str, sandbox: str) -> None:
    name = fork_name(base, sandbox)
    assert len(name) <= MAX_NAME
    assert DNS_NAME.fullmatch(name)
    assert name == fork_name(base, sandbox)


def test_long_names_that_share_their_beginning_differ() -> None:
    assert fork_name("o" * 60, "alice") != fork_name("o" * 60, "bob")
    assert fork_name("o" * 60, "a-b") != fork_name("o" * 60 + "-a", "b")


def test_a_group_is_named_after_the_template() -> None:
    name = fork_group("{namespace}/{group}.sbx.{sandbox}", group="fulfilment", namespace="shop", sandbox="alice")
    assert name == "shop/fulfilment.sbx.alice"


@pytest.mark.parametrize(
    ("case", "template", "sentence"),
    [
        ("an unknown placeholder", "{group}.{team}", "unknown placeholder {team}"),
        ("the baseline's own group", "{group}", "makes the baseline's own group fulfilment for a fork"),
        ("nothing", "", "0 characters"),
        ("too long", "{sandbox}" * 50, "250 characters"),
    ],
)
def test_a_template_that_makes_no_group_is_told(case: str, template: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        fork_group(template, group="fulfilment", namespace="shop", sandbox="alice")
    assert case
