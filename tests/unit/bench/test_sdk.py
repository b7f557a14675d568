"""How the SDK's benchmark makes its records and reckons with its runs; what it measures needs a broker."""

import json

import pytest

from bench.loops import LOOPS, Cost
from bench.sdk import CASES, Pair, figures
from bench.topic import PARTITIONS, RECORDS, TENANTS, VALUE_BYTES, headers, order
from sidestream_sdk.baggage import HeaderRules, Reading, tenant_reader

RECORDS_READ = 1_000_000


def pair(plain: float, sandbox: float) -> Pair:
    """Costs in seconds, which over a million records are microseconds a record."""
    return Pair(Cost(plain, plain, RECORDS_READ), Cost(sandbox, sandbox, 0))


@pytest.mark.parametrize("number", [0, 1, RECORDS - 1])
def test_an_order_is_json_of_its_size(number: int) -> None:
    value = order(number)

    assert len(value) == VALUE_BYTES
    assert json.loads(value)["order"].endswith(str(number))


def test_every_record_has_the_key_of_a_tenant_that_a_case_may_fork() -> None:
    read = tenant_reader(HeaderRules())
    readings = [read(headers(number)) for number in range(100)]

    assert set(readings) == {Reading(tenant) for tenant in TENANTS}
    assert {key for reading in readings for key in [reading.key] if key in CASES["skip"].forked} == set(TENANTS)
    assert not set(TENANTS) & set(CASES["json"].forked)


def test_one_baggage_in_ten_is_new_each_time() -> None:
    baggage = [dict(headers(number))["baggage"] for number in range(1000)]

    assert sum(baggage.count(value) == 1 for value in baggage) == 100


def test_the_whole_topic_with_its_ends_makes_full_batches() -> None:
    assert (RECORDS + PARTITIONS) % 1000 == 0


def test_a_figure_is_the_median_of_the_rounds_at_the_slower_loop() -> None:
    runs = {(case, loop): [pair(1, 1), pair(1, 2), pair(1, 9)] for case in CASES for loop in LOOPS}
    runs["skip", "consume"] = [pair(1, 4), pair(1, 4), pair(1, 4)]

    found = figures(runs, RECORDS_READ)

    assert found["skip_poll_ratio"].value == 0.5
    assert found["skip_ratio"].value == 0.25
    assert found["json_handler_ratio"].value == 0.5
    assert found["added_us"].value == 3.0
    assert [name for name in ("skip_ratio", "json_handler_ratio", "added_us") if found[name].holds] == []
    assert found["rounds"].value == 3
