from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.mapping_server import change_json, mapping_json
from sidestream_sdk.baggage import HeaderRules, Headers, Reading, parse_baggage, parse_exact, size_of
from sidestream_sdk.filter import RecordFilter
from sidestream_sdk.ownership import Change, Mapping, TopicMapping, takes
from sidestream_sdk.progress import SkipProgress
from sidestream_sdk.tally import ConsumerTally
from sidestream_sdk.topics import REMEMBERED, REMEMBERED_BYTES, Topic


@dataclass
class FakeRecord:
    baggage: str | None = None
    name: str = "orders.created"
    header: str = "baggage"
    looked_at: list[str] = field(default_factory=list)
    place: tuple[int, int] = (0, 0)
    event: str | None = None

    def error(self) -> str | None:
        return self.event

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]

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
        records.takes(FakeRecord("tenant=carol,tenant=bob,nonsense"))
        records.takes(FakeRecord())

    counts = tally.topics["orders.created"]
    assert (counts.processed, counts.skipped, counts.conflicts, counts.malformed) == (4, 2, 2, 2)


# --- what is remembered decides as what is read anew

TOPICS = ["orders.created", "orders.paid", "not.listed"]
KEYS = ["alice", "bob", "carol"]
values = st.sampled_from(
    [b"tenant=alice", b"tenant=bob", b"tenant=bob,tenant=alice", b"team=bob", b"nonsense", b"alice", b"bob", b""]
)
pairs = st.tuples(
    st.sampled_from(["baggage", "x-tenant-id", "traceparent"]),
    values | st.none() | st.text("tenan=alice,;", max_size=20),
)
phases = st.sampled_from(["Preparing", "Active", "Draining", "Drained"])
changes = st.builds(
    Change,
    id=st.just("c"),
    sandbox=st.sampled_from(KEYS),
    keys=st.frozensets(st.sampled_from(KEYS)),
    group=st.just("g"),
    phase=phases,
)
topics = st.builds(TopicMapping, group=st.just("g"), changes=st.lists(changes, max_size=3).map(tuple))
rules = st.sampled_from(
    [HeaderRules(), HeaderRules("exact"), HeaderRules("both"), HeaderRules("both", ("tenant", "team"))]
)
mappings = st.builds(
    Mapping, consumer=st.just("shop/f"), header=rules, topics=st.dictionaries(st.sampled_from(TOPICS[:2]), topics)
)


@dataclass
class AnyRecord(FakeRecord):
    pairs: list[tuple[str, str | bytes | None]] | None = None

    def headers(self) -> Headers | None:
        return self.pairs


records_of = st.builds(
    AnyRecord,
    name=st.sampled_from(TOPICS),
    pairs=st.none() | st.lists(pairs, max_size=4),
    event=st.sampled_from([None, None, None, "end of partition"]),
    place=st.tuples(st.integers(0, 2), st.just(0)),
)
sides = st.sampled_from([None, *KEYS])


def in_order(batch: list[AnyRecord]) -> list[AnyRecord]:
    """Give records their offsets, as a broker would."""
    for offset, record in enumerate(batch):
        record.place = (record.place[0], offset)
    return batch


def as_bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def read_anew(header: HeaderRules, headers: list[tuple[str, str | bytes | None]]) -> Reading:
    """What the headers say, by the definitions alone."""
    joined = b",".join(as_bytes(value) for name, value in headers if name == "baggage")
    member = parse_baggage(joined, header.baggage_keys)
    plain = parse_exact([value for name, value in headers if name == header.name])
    match header.mode:
        case "baggage":
            return member
        case "exact":
            return plain
        case "both":
            differ = None not in {member.key, plain.key} and member.key != plain.key
            return Reading(
                min((key for key in (member.key, plain.key) if key), default=None),
                member.malformed + plain.malformed,
                member.conflicts + plain.conflicts + differ,
            )


@given(history=st.lists(st.tuples(mappings, st.lists(records_of, max_size=12)), max_size=3), sandbox=sides)
def test_whatever_was_decided_before_each_record_is_decided_by_its_own_headers(
    history: list[tuple[Mapping, list[AnyRecord]]], sandbox: str | None
) -> None:
    tally = ConsumerTally("g", lambda: None)
    records = RecordFilter(sandbox=sandbox, tally=tally)
    flaws = 0
    for mapping, stream in history:
        records.update(mapping)
        for record in [*stream, *stream]:
            topic = mapping.topics.get(record.name)
            reading = read_anew(mapping.header, record.pairs or [])
            assert records.takes(record) == takes(topic, sandbox=sandbox, key=reading.key)
            if any(takes(topic, sandbox=sandbox, key=key) != takes(topic, sandbox=sandbox, key=None) for key in KEYS):
                flaws += reading.malformed + reading.conflicts

    assert sum(counts.malformed + counts.conflicts for counts in tally.topics.values()) == flaws


@given(mapping=mappings, batch=st.lists(records_of, max_size=20).map(in_order), sandbox=sides)
def test_a_batch_is_decided_noted_and_counted_as_its_records_one_by_one(
    mapping: Mapping, batch: list[AnyRecord], sandbox: str | None
) -> None:
    tallies = [ConsumerTally("g", lambda: None) for _ in range(2)]
    progress = [SkipProgress() for _ in range(2)]
    singly, at_once = (
        RecordFilter(sandbox=sandbox, tally=tally, progress=notes)
        for tally, notes in zip(tallies, progress, strict=True)
    )
    singly.update(mapping)
    at_once.update(mapping)

    expected = [record for record in batch if record.error() is not None or singly.takes(record)]

    assert at_once.own(list(batch)) == expected
    assert progress[0].take_due() == progress[1].take_due()
    counted = [
        {name: [getattr(counts, what) for what in counts.__slots__] for name, counts in tally.topics.items()}
        for tally in tallies
    ]
    assert counted[0] == counted[1]


def test_what_is_remembered_is_bounded_in_number_and_in_size(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice"))))
    sizes = []
    for number in range(2 * REMEMBERED + 10):
        assert not records.takes(FakeRecord(f"session={number},tenant=alice"))
        assert not records.takes(FakeRecord(f"session={number},tenant=alice,nonsense"))
        assert records.takes(FakeRecord(f"session={number},tenant=bob,{'x' * REMEMBERED_BYTES}=1"))
        topic = records._topics["orders.created"]
        assert isinstance(topic, Topic)
        sizes.append((len(topic.verdicts), len(topic._flawed)))
        remembered = [*topic.verdicts, *topic._flawed]

    assert max(sizes) == (REMEMBERED, REMEMBERED)
    assert all(size_of(raw) <= REMEMBERED_BYTES for raw in remembered)


def test_a_repeated_header_is_read_once_for_each_topic(tally: ConsumerTally, monkeypatch: pytest.MonkeyPatch) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice"))))
    assert not records.takes(FakeRecord("tenant=alice"))
    assert records.takes(FakeRecord("tenant=bob,nonsense"))
    topic = records._topics["orders.created"]
    monkeypatch.setattr(topic, "_read", lambda _: pytest.fail("it was read again"))

    assert records.own([FakeRecord("tenant=alice")] * 3) == []
    assert records.takes(FakeRecord("tenant=bob,nonsense"))
    assert not records.takes(FakeRecord("tenant=alice"))


def test_deciding_a_batch_empties_it_so_that_skipped_records_are_freed(tally: ConsumerTally) -> None:
    records = RecordFilter(sandbox=None, tally=tally)
    records.update(Mapping.from_json(mapping_json(change_json("alice"))))
    batch = [FakeRecord("tenant=alice"), FakeRecord("tenant=bob")]
    own = batch[1]

    assert records.own(batch) == [own]
    assert batch == []
