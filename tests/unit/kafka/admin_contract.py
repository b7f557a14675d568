"""What every `KafkaAdmin` does: run against the fake in unit tests and against a real broker in flow tests.

So the fake cannot be kinder than Kafka is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from sidestream.errors import GroupBusyError, KafkaError, KafkaUnavailableError
from sidestream.kafka.port import GroupState, KafkaAdmin, Position, Scanned, TopicPartition
from sidestream.kafka.scan import GROUP
from sidestream_sdk.baggage import HeaderRules


class Arena(Protocol):
    """A cluster to play on, and the admin under test."""

    @property
    def admin(self) -> KafkaAdmin:
        """The one under test."""
        ...

    def name(self, kind: str) -> str:
        """A name that nobody has used."""
        ...

    async def topic(self, partitions: int = 1, records: int = 0) -> str:
        """A new topic with so many records in each partition."""
        ...

    async def produce(self, topic: str, *keys: str | None, partition: int = 0) -> None:
        """Records of these tenants, named as `HeaderRules()` has it; None: of no tenant."""
        ...

    def transaction(self, topic: str, *keys: str, is_committed: bool) -> AbstractAsyncContextManager[object]:
        """Records of these tenants in partition 0, whose transaction is open within the context and then over."""
        ...

    async def trim(self, topic: str, earliest: int) -> None:
        """The log of partition 0 begins there."""
        ...

    async def delete_topic(self, name: str) -> None:
        """The topic is gone when this returns."""
        ...

    def consumer(self, group: str, topic: str) -> AbstractAsyncContextManager[object]:
        """A member of the group within the context; it is out of the group when the context ends."""
        ...


DEADLINE = 60.0

MakeArena = Callable[[], AbstractAsyncContextManager[Arena]]


def at(*offsets: int, topic: str) -> dict[TopicPartition, Position]:
    """Positions on the partitions of a topic."""
    return {TopicPartition(topic, number): Position(offset) for number, offset in enumerate(offsets)}


def noted(*metadata: str, topic: str) -> dict[TopicPartition, Position]:
    """Positions at 5 with metadata, on the partitions of a topic."""
    return {TopicPartition(topic, number): Position(5, metadata=text) for number, text in enumerate(metadata)}


async def scanned(arena: Arena, topic: str, begin: int, end: int, *keys: str) -> Scanned:
    """What a scan of partition 0 comes to."""
    item = TopicPartition(topic, 0)
    return (await arena.admin.scan({item: (begin, end)}, HeaderRules(), keys))[item]


class AdminContract:
    async def test_the_cluster_says_who_it_is(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            cluster = await arena.admin.cluster()
            assert cluster.id
            assert cluster.brokers >= 1

    async def test_topics_have_an_id_and_partitions_and_missing_ones_are_none(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, missing = await arena.topic(partitions=3), arena.name("topic")
            found = await arena.admin.topics([topic, missing])
            described = found[topic]
            assert described is not None
            assert (described.name, described.partitions) == (topic, 3)
            assert described.id
            assert found[missing] is None

    async def test_an_unknown_group_is_absent_and_has_no_offsets(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(), arena.name("group")
            assert (await arena.admin.group(group)).is_absent
            assert await arena.admin.committed(group, [TopicPartition(topic, 0)]) == {}
            assert await arena.admin.committed(group) == {}

    async def test_placing_makes_an_empty_group_with_just_these_offsets(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=3), arena.name("group")
            await arena.admin.place(group, at(5, 7, topic=topic))
            found = await arena.admin.group(group)
            assert (found.state, found.members, found.is_empty) == (GroupState.EMPTY, (), True)
            partitions = [TopicPartition(topic, number) for number in range(3)]
            assert await arena.admin.committed(group, partitions) == at(5, 7, topic=topic)
            assert await arena.admin.committed(group) == at(5, 7, topic=topic)

    async def test_a_leader_epoch_is_kept(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(records=2), arena.name("group")
            place = {TopicPartition(topic, 0): Position(1, leader_epoch=0)}
            await arena.admin.place(group, place)
            assert await arena.admin.committed(group) == place

    async def test_each_partition_keeps_its_own_metadata(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=3), arena.name("group")
            place = noted("", '{"ss":1,"app":"ü"}', "x" * 4095, topic=topic)
            await arena.admin.place(group, place)
            assert await arena.admin.committed(group) == place
            assert await arena.admin.committed(group, place.keys()) == place

    async def test_placing_again_without_metadata_takes_it_away(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=2), arena.name("group")
            await arena.admin.place(group, noted("a", "b", topic=topic))
            await arena.admin.place(group, noted("", topic=topic))
            assert await arena.admin.committed(group) == noted("", "b", topic=topic)

    async def test_metadata_that_is_too_long_is_refused_and_nothing_is_made(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(), arena.name("group")
            with pytest.raises(
                KafkaError, match=r"metadata beside an offset is too long.*offset\.metadata\.max\.bytes"
            ):
                await arena.admin.place(group, noted("x" * 4096, topic=topic))
            assert await arena.admin.committed(group) == {}

    async def test_a_group_is_placed_over_just_what_was_seen_in_it(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=2), arena.name("group")
            await arena.admin.place(group, noted("a", topic=topic), over={})
            await arena.admin.place(group, noted("b", "b", topic=topic), over=noted("a", topic=topic))
            assert await arena.admin.committed(group) == noted("b", "b", topic=topic)

    @pytest.mark.parametrize(
        "over",
        [
            pytest.param([("", 4), ("a", 5)], id="another offset"),
            pytest.param([("", 5), ("a", 5)], id="other metadata"),
            pytest.param([("b", 5)], id="a commit that was not there"),
            pytest.param([], id="none at all"),
            pytest.param([("b", 5), ("a", 5), ("c", 5)], id="one that has gone"),
        ],
    )
    async def test_a_group_that_has_moved_on_is_busy_and_stays_as_it_is(
        self, make_arena: MakeArena, over: list[tuple[str, int]]
    ) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=3), arena.name("group")
            there = noted("b", "a", topic=topic)
            await arena.admin.place(group, there)
            known = {TopicPartition(topic, n): Position(offset, None, text) for n, (text, offset) in enumerate(over)}
            with pytest.raises(GroupBusyError, match=group):
                await arena.admin.place(group, noted("z", "z", "z", topic=topic), over=known)
            assert await arena.admin.committed(group) == there

    async def test_placing_again_moves_only_what_is_named(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=2), arena.name("group")
            await arena.admin.place(group, at(1, 1, topic=topic))
            await arena.admin.place(group, at(4, topic=topic))
            assert await arena.admin.committed(group) == at(4, 1, topic=topic)

    async def test_placing_on_a_missing_topic_fails_for_now_and_keeps_the_rest(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, missing, group = await arena.topic(), arena.name("topic"), arena.name("group")
            with pytest.raises(KafkaUnavailableError):
                await arena.admin.place(group, at(3, topic=topic) | at(1, topic=missing))
            assert await arena.admin.committed(group) == at(3, topic=topic)

    async def test_ends_are_the_first_and_the_next_offset(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic = await arena.topic(partitions=2, records=4)
            partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
            assert await arena.admin.earliest(partitions) == dict.fromkeys(partitions, 0)
            assert await arena.admin.latest(partitions) == dict.fromkeys(partitions, 4)

    async def test_ends_of_a_missing_topic_are_not_to_be_had_for_now(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            with pytest.raises(KafkaUnavailableError):
                await arena.admin.latest([TopicPartition(arena.name("topic"), 0)])

    async def test_a_group_with_a_member_can_neither_be_placed_nor_deleted(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(), arena.name("group")
            await arena.admin.place(group, at(0, topic=topic))
            async with arena.consumer(group, topic):
                found = await arena.admin.group(group)
                assert (len(found.members), found.has_members, found.is_empty) == (1, True, False)
                assert found.members[0].host
                assert "/" not in found.members[0].host
                with pytest.raises(GroupBusyError, match=group):
                    await arena.admin.place(group, at(9, topic=topic))
                with pytest.raises(GroupBusyError, match=group):
                    await arena.admin.place(group, noted("a", topic=topic), over=at(0, topic=topic))
                with pytest.raises(GroupBusyError, match=group):
                    await arena.admin.delete_group(group)
            assert (await arena.admin.group(group)).is_empty
            await arena.admin.delete_group(group)
            assert (await arena.admin.group(group)).is_absent

    async def test_a_member_is_told_with_its_partitions(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(partitions=2), arena.name("group")
            async with arena.consumer(group, topic):
                (member,) = (await arena.admin.group(group)).members
                assert member.partitions == {TopicPartition(topic, 0), TopicPartition(topic, 1)}

    async def test_a_group_is_listed_as_long_as_it_exists(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(), arena.name("group")
            assert group not in await arena.admin.group_names()
            await arena.admin.place(group, at(0, topic=topic))
            assert group in await arena.admin.group_names()
            await arena.admin.delete_group(group)
            assert group not in await arena.admin.group_names()

    async def test_a_deleted_group_has_no_offsets_left(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, group = await arena.topic(), arena.name("group")
            await arena.admin.place(group, at(2, topic=topic))
            await arena.admin.delete_group(group)
            assert await arena.admin.committed(group) == {}

    async def test_deleting_what_is_not_there_is_well(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            await arena.admin.delete_group(arena.name("group"))

    async def test_deleting_a_topic_takes_its_offsets_out_of_every_group(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            kept, dropped, group = await arena.topic(), await arena.topic(), arena.name("group")
            await arena.admin.place(group, at(1, topic=kept) | at(1, topic=dropped))
            await arena.delete_topic(dropped)
            async with asyncio.timeout(DEADLINE):
                # a broker clears the groups up some time after the topic is gone
                while await arena.admin.committed(group) != at(1, topic=kept):  # noqa: ASYNC110 - a broker sends no event
                    await asyncio.sleep(0.05)

    async def test_nothing_is_asked_about_no_partitions(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            assert await arena.admin.committed(arena.name("group"), []) == {}
            assert await arena.admin.earliest([]) == {}

    @pytest.mark.parametrize(
        ("begin", "end", "keys", "expected"),
        [
            pytest.param(0, 6, ["b"], Scanned(2, found=True), id="the first of several"),
            pytest.param(3, 6, ["b"], Scanned(4, found=True), id="the first from the beginning on"),
            pytest.param(2, 3, ["b"], Scanned(2, found=True), id="the only record of a range"),
            pytest.param(0, 6, ["b", "a"], Scanned(0, found=True), id="of several keys"),
            pytest.param(0, 6, ["c"], Scanned(6, found=False), id="a key without records"),
            pytest.param(0, 2, ["b"], Scanned(2, found=False), id="not before the end"),
            pytest.param(5, 6, ["b"], Scanned(6, found=False), id="no more after the last"),
            pytest.param(3, 3, ["b"], Scanned(3, found=False), id="an empty range"),
            pytest.param(0, 6, [], Scanned(6, found=False), id="no key at all"),
            pytest.param(5, 9, ["b"], Scanned(6, found=False), id="a range that is longer than the log"),
        ],
    )
    async def test_a_scan_finds_the_first_record_of_a_tenant(
        self, make_arena: MakeArena, begin: int, end: int, keys: list[str], expected: Scanned
    ) -> None:
        async with make_arena() as arena:
            topic = await arena.topic()
            await arena.produce(topic, "a", None, "b", "a", "b", None)
            assert await scanned(arena, topic, begin, end, *keys) == expected

    async def test_a_scan_looks_into_each_partition_by_itself(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic, other = await arena.topic(partitions=3), await arena.topic()
            await arena.produce(topic, None, "a", partition=0)
            await arena.produce(topic, "b", "b", "b", partition=1)
            await arena.produce(other, "a", "a")
            ranges = {
                TopicPartition(topic, 0): (0, 2),
                TopicPartition(topic, 1): (0, 3),
                TopicPartition(topic, 2): (0, 0),
                TopicPartition(other, 0): (1, 2),
            }
            assert await arena.admin.scan(ranges, HeaderRules(), ["a"]) == {
                TopicPartition(topic, 0): Scanned(1, found=True),
                TopicPartition(topic, 1): Scanned(3, found=False),
                TopicPartition(topic, 2): Scanned(0, found=False),
                TopicPartition(other, 0): Scanned(1, found=True),
            }

    async def test_a_scan_finds_nothing_in_what_the_log_has_no_more(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic = await arena.topic()
            await arena.produce(topic, "a", "a", "a", "b", "a")
            await arena.trim(topic, 3)
            assert await scanned(arena, topic, 0, 2, "a") == Scanned(2, found=False)
            assert await scanned(arena, topic, 0, 4, "a") == Scanned(4, found=False)
            assert await scanned(arena, topic, 0, 5, "a") == Scanned(4, found=True)

    async def test_a_scan_does_not_pass_an_open_transaction(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic = await arena.topic()
            await arena.produce(topic, "b", "b")
            async with arena.transaction(topic, "b", "a", is_committed=True):
                await arena.produce(topic, "a")
                assert await scanned(arena, topic, 0, 5, "a") == Scanned(2, found=False)
                assert await scanned(arena, topic, 2, 5, "a") == Scanned(2, found=False)
                assert await scanned(arena, topic, 3, 5, "a") == Scanned(3, found=False)
            assert await scanned(arena, topic, 2, 5, "a") == Scanned(3, found=True)
            assert await scanned(arena, topic, 4, 6, "a") == Scanned(4, found=True)

    async def test_a_scan_passes_what_was_aborted_and_markers_at_the_end(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic = await arena.topic()
            await arena.produce(topic, "b")
            async with arena.transaction(topic, "a", "a", is_committed=False):
                pass
            latest = (await arena.admin.latest([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)]
            assert latest == 4
            assert await scanned(arena, topic, 0, latest, "a") == Scanned(latest, found=False)
            assert await scanned(arena, topic, 0, 3, "a") == Scanned(3, found=False)

    async def test_a_scan_leaves_no_group_behind(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            topic = await arena.topic()
            await arena.produce(topic, "a", "b")
            assert await scanned(arena, topic, 0, 2, "c") == Scanned(2, found=False)
            # a cluster may have other users: new groups of theirs are none of ours
            assert GROUP not in await arena.admin.group_names()
            assert (await arena.admin.group(GROUP)).is_absent

    async def test_a_scan_of_a_missing_topic_fails_for_now(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            with pytest.raises(KafkaUnavailableError):
                await scanned(arena, arena.name("topic"), 0, 1, "a")

    async def test_nothing_is_scanned_without_ranges(self, make_arena: MakeArena) -> None:
        async with make_arena() as arena:
            assert await arena.admin.scan({}, HeaderRules(), ["a"]) == {}
