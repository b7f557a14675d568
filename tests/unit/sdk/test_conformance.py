"""The vectors that every SDK must agree with, on the Python SDK and on the operator's use of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidestream_sdk.baggage import HeaderRules, HeaderValue, Reading, tenant_reader
from sidestream_sdk.fences import (
    FencedChange,
    Verdict,
    acknowledged,
    baseline_verdict,
    bounds,
    due,
    fork_verdict,
    is_ready,
    parse_changes,
    settled,
)
from sidestream_sdk.notes import Kind, Notes
from sidestream_sdk.ownership import Mapping, rule_of, takes, why_not_join
from sidestream_sdk.topics import steps_of

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


def notes_of(raw: Any) -> Notes:
    acks = {change: {Kind(kind): value for kind, value in kinds.items()} for change, kinds in raw["acks"].items()}
    return Notes(raw["version"], raw["epoch"], acks, raw["app"])


@pytest.mark.parametrize("case", cases("metadata.json"))
def test_metadata_says_what_the_vector_says(case: Any) -> None:
    notes = Notes.parse(case["text"])

    assert notes == notes_of(case["expect"])
    if "encodes" in case:
        assert notes.encode() == case["encodes"]


def fenced_change(fence: Any) -> FencedChange:
    raw = {
        "id": "c1",
        "sandbox": "alice",
        "key": "alice",
        "group": "g",
        "phase": "Active",
        "partitions": {} if fence is None else {"0": fence},
    }
    (change,) = parse_changes([raw], "orders.created")
    return change


@pytest.mark.parametrize("side", ["baseline", "fork"])
@pytest.mark.parametrize("case", cases("fences.json"))
def test_fences_decide_and_ask_what_the_vector_says(case: Any, side: str) -> None:
    change, expected = fenced_change(case["fence"]), case[side]
    notes = Notes(acks={"c1": {Kind(kind): value for kind, value in case["acks"].items()}})
    sandbox = "alice" if side == "fork" else None
    decide = fork_verdict if side == "fork" else baseline_verdict

    for offset, verdict in expected["verdicts"].items():
        assert decide([bounds(change, 0, notes)], int(offset)) is Verdict[verdict.upper()], offset
        begins, steps = steps_of((change,), 0, notes, sandbox=sandbox)
        ahead = [step for begin, step in zip(begins, steps, strict=True) if begin <= int(offset)]
        assert ahead[-1] is {"take": True, "skip": False, "hold": None}[verdict], "the record loop's table differs"

    asked = list(due([change], 0, notes, sandbox=sandbox))
    if expected["due"] is None:
        assert asked == []
        return
    (owed,) = asked
    given = expected["due"]
    assert owed.kind == given["kind"]
    assert is_ready(owed, committed=given.get("committed", 0)) == (given["value"] is not None)
    if given["value"] is not None:
        assert acknowledged(owed, position=given["position"], end=given["end"]) == given["value"]


@pytest.mark.parametrize("case", cases("fences.json"))
def test_notes_keep_what_the_vector_says(case: Any) -> None:
    notes = Notes(acks={"c1": {Kind(kind): value for kind, value in case["acks"].items()}} if case["acks"] else {})
    left = settled(notes, [fenced_change(case["fence"])], 0)

    assert dict(left.acks.get("c1", {})) == case["settled"]
