from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from fakes.mapping_server import change_json, mapping_json
from sidestream_sdk.baggage import Headers
from sidestream_sdk.filter import RecordFilter
from sidestream_sdk.ownership import Mapping
from sidestream_sdk.tally import ConsumerTally


@dataclass
class FakeRecord:
    baggage: str | None = None
    name: str = "orders.created"
    header: str = "baggage"
    looked_at: list[str] = field(default_factory=list)

    def topic(self) -> str:
        return self.name

    def headers(self) -> Headers | None:
        self.looked_at.append(self.name)
        return None if self.baggage is None else [(self.header, self.baggage.encode())]


@pytest.fixture
def tally() -> ConsumerTally:
    return ConsumerTally("fulfilment", lambda: None)


def test_the_baseline_leaves_forked_tenants_to_their_forks(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice"))))

    assert not records.takes(FakeRecord("tenant=alice"))
    assert records.takes(FakeRecord("tenant=bob"))
    assert records.takes(FakeRecord())
    assert records.takes(FakeRecord("tenant=alice", name="not.listed"))


def test_a_fork_takes_its_own_tenant_only(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox="alice", tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice"), change_json("bob"))))

    assert records.takes(FakeRecord("tenant=alice"))
    assert not records.takes(FakeRecord("tenant=bob"))
    assert not records.takes(FakeRecord())
    assert not records.takes(FakeRecord("tenant=alice", name="not.listed"))


def test_a_new_mapping_replaces_the_old_one_and_its_header(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice"))))
    assert not records.takes(FakeRecord("tenant=alice"))

    plain = {**mapping_json(change_json("alice")), "header": {"mode": "exact", "baggageKey": "tenant", "name": "x-id"}}
    records.update(Mapping.from_json(plain))
    assert records.takes(FakeRecord("tenant=alice"))
    assert not records.takes(FakeRecord("alice", header="x-id"))

    records.update(Mapping.from_json(mapping_json()))
    assert records.takes(FakeRecord("tenant=alice"))


def test_where_nobody_claims_anything_headers_are_not_looked_at(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice", "Drained"))))
    record = FakeRecord("tenant=alice")

    assert records.takes(record)
    assert record.looked_at == []


def test_decisions_and_flaws_are_counted_over_mappings(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    for _ in range(2):
        records.update(Mapping.from_json(mapping_json(change_json("alice"))))
        records.takes(FakeRecord("tenant=alice"))
        records.takes(FakeRecord("tenant=alice,tenant=bob,nonsense"))
        records.takes(FakeRecord())

    counts = tally.topics["orders.created"]
    assert (counts.processed, counts.skipped, counts.conflicts, counts.malformed) == (4, 2, 2, 2)
