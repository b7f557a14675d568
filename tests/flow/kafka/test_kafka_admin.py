from __future__ import annotations

import time

import pytest

from flow.kafka.cluster import connect, eventually, real_arena
from sidestream.errors import GroupBusyError, KafkaError, KafkaUnavailableError
from sidestream.kafka.port import Scanned, TopicPartition
from sidestream.kafka.scan import LIMIT
from sidestream_sdk.baggage import HeaderRules
from unit.kafka.admin_contract import AdminContract, at


class TestWorkerAdmin(AdminContract):
    """The same contract as the fake's, by a worker process on a real broker."""


async def test_a_member_of_the_newer_protocol_counts_as_one(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        topic, group = await arena.topic(), arena.name("group")
        await arena.admin.place(group, at(0, topic=topic))
        async with arena.consumer(group, topic, **{"group.protocol": "consumer"}):
            found = await arena.admin.group(group)
            assert found.has_members
            assert [member.partitions for member in found.members] == [{TopicPartition(topic, 0)}]
            with pytest.raises(GroupBusyError):
                await arena.admin.delete_group(group)


async def test_a_member_starts_where_the_group_was_placed(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        topic, group = await arena.topic(records=5), arena.name("group")
        await arena.admin.place(group, at(5, topic=topic))
        async with arena.consumer(group, topic, **{"auto.offset.reset": "earliest"}):
            pass
        # it commits its position on closing: had it started at the beginning, that would be less
        assert await arena.admin.committed(group) == at(5, topic=topic)


async def test_a_static_member_keeps_the_group_busy_until_its_session_ends(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        topic, group = await arena.topic(), arena.name("group")
        static = {"group.instance.id": "one", "session.timeout.ms": 6000}
        async with arena.consumer(group, topic, **static):
            assert (await arena.admin.group(group)).members[0].instance_id == "one"
        assert (await arena.admin.group(group)).has_members
        with pytest.raises(GroupBusyError):
            await arena.admin.delete_group(group)

        async def is_empty() -> bool:
            return (await arena.admin.group(group)).is_empty

        await eventually(is_empty, "the static member's session ended")
        await arena.admin.delete_group(group)


async def test_many_partitions_fit_into_one_call(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        topic, group = await arena.topic(partitions=100), arena.name("group")
        positions = at(*range(100), topic=topic)
        await arena.admin.place(group, positions)
        assert await arena.admin.committed(group, positions.keys()) == positions
        assert len(await arena.admin.earliest(positions.keys())) == 100


async def test_a_scan_goes_on_from_where_the_last_one_stopped(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        topic = await arena.topic(records=2 * LIMIT)
        await arena.produce(topic, "a", "b")
        item, end, stops = TopicPartition(topic, 0), 2 * LIMIT + 2, [0]
        found = Scanned(0, found=False)
        while not found.found:
            found = (await arena.admin.scan({item: (stops[-1], end)}, HeaderRules(), ["b"]))[item]
            assert stops[-1] < found.offset <= stops[-1] + LIMIT + 1000
            stops.append(found.offset)
        assert len(stops) > 2
        assert found == Scanned(2 * LIMIT + 1, found=True)


async def test_a_scan_reads_headers_by_the_rules_it_is_given(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        topic = await arena.topic()
        await arena.produce(topic, "a")
        ranges = {TopicPartition(topic, 0): (0, 1)}
        for rules, is_found in [
            (HeaderRules("both"), True),
            (HeaderRules(baggage_keys=("team",)), False),
            (HeaderRules(baggage_keys=("team", "tenant")), True),
            (HeaderRules("exact", name="baggage"), False),
        ]:
            found = await arena.admin.scan(ranges, rules, ["a"])
            assert found[TopicPartition(topic, 0)].found is is_found
        assert (await arena.admin.scan(ranges, HeaderRules("exact", name="baggage"), ["tenant=a"])) == {
            TopicPartition(topic, 0): Scanned(0, found=True)
        }


async def test_a_group_name_that_kafka_refuses_is_the_users_to_mend(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        with pytest.raises(KafkaError) as caught:
            await arena.admin.group("")
        assert caught.value.code == "INVALID_GROUP_ID"


async def test_a_topic_name_that_kafka_refuses_is_the_users_to_mend(bootstrap: str) -> None:
    async with real_arena(bootstrap) as arena:
        with pytest.raises(KafkaError) as caught:
            await arena.admin.topics(["no topic!"])
        assert caught.value.code == "TOPIC_EXCEPTION"


async def test_a_cluster_that_speaks_another_protocol_is_told_from_one_that_is_away(bootstrap: str) -> None:
    admin = connect(bootstrap, **{"security.protocol": "SSL"})
    try:
        with pytest.raises(KafkaUnavailableError, match="TLS handshake fails"):
            await admin.cluster()
    finally:
        await admin.aclose()


async def test_nobody_at_the_address_is_told_within_five_seconds_and_then_at_once() -> None:
    admin = connect("127.0.0.1:1")
    try:
        started = time.monotonic()
        with pytest.raises(KafkaUnavailableError, match=r"does not answer at 127\.0\.0\.1:1: no connection"):
            await admin.cluster()
        assert time.monotonic() - started < 6.0
        started = time.monotonic()
        with pytest.raises(KafkaUnavailableError, match=r"does not answer at 127\.0\.0\.1:1"):
            await admin.group("any")
        assert time.monotonic() - started < 1.0
    finally:
        await admin.aclose()
