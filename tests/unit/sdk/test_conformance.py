"""The vectors that every SDK must agree with, on the Python SDK and on the operator's use of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidestream_sdk.baggage import HeaderRules, HeaderValue, Reading, tenant_reader
from sidestream_sdk.ownership import Mapping, rule_of, takes, why_not_join

VECTORS = Path(__file__).parents[2] / "conformance"


def cases(name: str) -> list[Any]:
    loaded: list[Any] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in loaded]


def to_value(raw: Any) -> HeaderValue:
    match raw:
        case None:
            return None
        case str():
            return raw.encode()
        case {"hex": str(digits)}:
            return bytes.fromhex(digits)
        case {"repeat": str(text), "times": int(times), "then": str(then)}:
            return (text * times + then).encode()
        case _:
            raise AssertionError(f"unknown form of a header's value: {raw!r}")


@pytest.mark.parametrize("case", cases("baggage.json"))
def test_headers_name_the_tenant_of_the_vector(case: Any) -> None:
    rules = HeaderRules.from_json(case["rules"]) if "rules" in case else HeaderRules()
    headers = [(name, to_value(value)) for name, value in case["headers"]]
    expected = Reading(**case["expect"])

    read = tenant_reader(rules)

    assert read(headers) == expected
    assert read(headers) == expected, "the remembered reading differs from the first"


@pytest.mark.parametrize("case", cases("ownership.json"))
def test_records_belong_to_whom_the_vector_says(case: Any) -> None:
    mapping = Mapping.from_json(case["mapping"])
    sandboxes = {change.sandbox for topic in mapping.topics.values() for change in topic.changes}

    for record in case["records"]:
        topic = mapping.topics.get(record["topic"])
        key = record["key"]
        assert takes(topic, sandbox=None, key=key) == record["baseline"], record
        assert {name for name in sandboxes if takes(topic, sandbox=name, key=key)} == set(record["forks"]), record
        assert rule_of(topic, sandbox=None).takes(key) == record["baseline"], record
        assert {name for name in sandboxes if rule_of(topic, sandbox=name).takes(key)} == set(record["forks"]), record


@pytest.mark.parametrize("case", cases("ownership.json"))
def test_forks_join_their_group_when_the_vector_says(case: Any) -> None:
    mapping = Mapping.from_json(case["mapping"])

    for join in case["joins"]:
        reason = why_not_join(mapping, sandbox=join["sandbox"], group=join["group"])
        assert (reason is None) == join["may"], (join, reason)
    assert why_not_join(mapping, sandbox=None, group="fulfilment") is None
