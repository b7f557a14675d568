"""The records that the hand-off's benchmark writes."""

import zlib
from collections import Counter, defaultdict

from bench.handoff.handled import NOBODY
from bench.handoff.records import FORKED, KEYS, TENANTS, record
from bench.handoff.scene import PARTITIONS
from sidestream_sdk.baggage import HeaderRules, Reading, tenant_reader

ROUND = len(TENANTS) * KEYS


def test_each_key_counts_its_records_from_0() -> None:
    sequences: dict[str, list[int]] = defaultdict(list)
    for number in range(3 * ROUND):
        sequences[record(number).key].append(record(number).sequence)

    assert len(sequences) == ROUND
    assert all(found == [0, 1, 2] for found in sequences.values())


def test_tenants_have_equal_shares_and_keys_of_their_own() -> None:
    items = [record(number) for number in range(ROUND)]

    assert set(Counter(item.tenant for item in items).values()) == {KEYS}
    assert {item.key.rpartition("-")[0] == item.tenant for item in items} == {True}


def test_every_partition_has_a_fair_share_and_records_of_every_tenant() -> None:
    partitions: dict[int, list[str]] = defaultdict(list)
    for number in range(ROUND):
        item = record(number)
        # as librdkafka does by default for records that have a key
        partitions[zlib.crc32(item.key.encode()) % PARTITIONS].append(item.tenant)

    assert all(len(found) > 0.9 * ROUND / PARTITIONS for found in partitions.values())
    assert all(set(found) == set(TENANTS) for found in partitions.values())


def test_some_tenants_are_never_forked_and_some_records_are_nobodys() -> None:
    assert set(FORKED) < set(TENANTS) - {NOBODY}
    assert NOBODY in TENANTS


def test_the_sdk_reads_the_tenant_of_each_record() -> None:
    read = tenant_reader(HeaderRules())

    for number in range(ROUND):
        item = record(number)
        assert read(item.headers) == Reading(None if item.tenant == NOBODY else item.tenant)
