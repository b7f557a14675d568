"""What a member does between two records: on a plain consumer and a mapping that a test plays."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from fakes.mapping_server import EPOCH, fenced_json, mapping_json
from fakes.plain import FakePlain
from sidestream_sdk.acknowledge import ANSWER_SECONDS, FIRST_RETRY_SECONDS
from sidestream_sdk.ends import Ends
from sidestream_sdk.mapping import MappingClient
from sidestream_sdk.member import Member
from sidestream_sdk.notes import Kind, Notes
from sidestream_sdk.ownership import Mapping
from sidestream_sdk.plain import partition_at
from sidestream_sdk.progress import Place
from sidestream_sdk.settings import CommitSettings
from sidestream_sdk.tally import ConsumerTally

TOPIC = "orders.created"
P0: Place = (TOPIC, 0)
P1: Place = (TOPIC, 1)


@dataclass
class FakeClient:
    """The mapping as a test says it; `wanted` is what it was asked to catch up to."""

    known: tuple[Mapping, int] | None = None
    confirmed: float = 0.0
    wanted: list[int] = field(default_factory=list)

    @property
    def mapping(self) -> Mapping | None:
        return self.known[0] if self.known else None

    def say(self, partitions: dict[int, dict[str, Any]], *, version: int = 20, seen: int = 0) -> None:
        raw = mapping_json(fenced=[fenced_json(partitions, "Active")], version=version)
        self.known = Mapping.from_json(raw), max(seen, version)

    def age(self) -> float:
        return self.confirmed

    def catch_up(self, version: int, _: str) -> None:
        self.wanted.append(version)


@dataclass
class FakeRecord:
    place: Place
    number: int
    key: str | None = None

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.number

    def leader_epoch(self) -> int:
        return 0

    def headers(self) -> list[tuple[str, bytes]]:
        return [] if self.key is None else [("baggage", f"tenant={self.key}".encode())]


class Side:
    """A member of the baseline, or of alice's fork, that was given partitions 0 and 1 at their beginning."""

    def __init__(
        self,
        *,
        sandbox: str | None = None,
        assigned: tuple[Place, ...] = (P0, P1),
        config: dict[str, Any] | None = None,
    ) -> None:
        self.plain = FakePlain(end={P0: 10, P1: 20})
        self.client = FakeClient()
        self.client.say({})
        self.tally = ConsumerTally("g", lambda: None)
        settings = CommitSettings.of({"group.id": "g", "auto.offset.reset": "earliest", **(config or {})})
        self.member = Member(
            self.plain,
            cast("MappingClient", self.client),
            settings,
            self.tally,
            sandbox=sandbox,
            callback=None,
            ends=Ends(self.plain.ends, lambda read: read()),
        )
        self.plain.on_commit = self.member.told
        self.now = 1000.0
        self.assign(*assigned)

    def assign(self, *places: Place) -> None:
        partitions = [partition_at(place, -1001) for place in places]
        self.member.partitions.prepare(partitions)
        self.member.added(partitions)
        self.member.partitions.settle_in()

    def turn(self, seconds: float = 10.0) -> None:
        self.now += seconds
        self.member.turn(self.now)

    def read(self, place: Place, number: int, key: str | None = "alice") -> bool | None:
        """A record comes: whether it is handed out, None when it is held."""
        self.member.adopt()
        self.plain.position[place] = number + 1
        taken = self.member.records.takes(FakeRecord(place, number, key))
        self.member.pause_held()
        return taken

    def held(self) -> list[int]:
        """The offsets of held records that are handed out now."""
        given = []
        while (record := self.member.next_held()) is not None:
            given.append(record.offset() or 0)
        return given


OWN_COMMITS = {"enable.auto.commit": False}


def test_the_baseline_acknowledges_the_end_of_the_log_with_what_is_committed() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.offsets[P0] = partition_at(P0, 3)
    side.turn()
    assert [side.read(P0, number) for number in range(3, 8)] == [True] * 5

    side.client.say({0: {"state": "Ask"}}, version=21)
    side.turn()

    assert side.plain.offsets[P0].offset == 3, "records that the application has not committed were committed"
    assert side.plain.notes(P0) == Notes(21, EPOCH, {"alice-1": {Kind.FROM: 10}})
    assert side.plain.notes(P1) == Notes()
    assert [side.read(P0, number) for number in range(8, 12)] == [True, True, False, False]


def test_where_nothing_is_committed_the_beginning_is() -> None:
    side = Side(assigned=(), config=OWN_COMMITS)
    side.plain.first[P0] = 4
    side.assign(P0)

    side.client.say({0: {"state": "Ask"}})
    side.turn()

    assert side.plain.offsets[P0].offset == 4


def test_without_a_known_beginning_the_first_commit_is_waited_for() -> None:
    side = Side(config=OWN_COMMITS | {"auto.offset.reset": "error"})
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    assert side.plain.commits == []

    side.plain.offsets[P0] = partition_at(P0, 5)
    side.turn()

    assert side.plain.notes(P0).find("alice-1", Kind.FROM) == 10
    assert side.plain.offsets[P0].offset == 5


def test_all_partitions_are_acknowledged_by_one_commit() -> None:
    side = Side()
    side.client.say({0: {"state": "Ask"}, 1: {"state": "Ask"}})

    side.turn()

    assert len(side.plain.commits) == 1
    assert [side.plain.notes(place).find("alice-1", Kind.FROM) for place in (P0, P1)] == [10, 20]


def test_a_number_stays_though_the_answer_to_its_commit_was_lost() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.fails["commit"] = KafkaError.REQUEST_TIMED_OUT
    side.plain.loses_answer = True
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    assert side.read(P0, 10) is False, "a record was taken that may be the fork's already"

    side.plain.end[P0] = 15
    side.plain.fails.clear()
    side.turn()

    assert side.plain.notes(P0).find("alice-1", Kind.FROM) == 10


def test_what_did_not_reach_the_broker_is_committed_again() -> None:
    side = Side()
    side.plain.fails["commit"] = KafkaError.REBALANCE_IN_PROGRESS
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    assert side.plain.commits == []

    side.plain.fails.clear()
    side.turn(2 * FIRST_RETRY_SECONDS)

    assert side.plain.notes(P0).find("alice-1", Kind.FROM) == 10


# --- the broker's answer


def test_only_what_an_acknowledgement_decides_waits_for_its_answer() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.is_slow = True
    side.client.say({0: {"state": "Ask"}})
    side.turn()

    before = [side.read(P0, 9), side.read(P0, 10, "bob"), side.read(P1, 30)]
    after = [side.read(P0, 11), side.read(P0, 12, "bob")]

    assert (before, after) == ([True] * 3, [None, None])
    assert side.plain.paused == {P0}
    side.plain.answer()
    assert side.held() == [12], "record 11 is the fork's from now on"
    assert side.plain.paused == set()


def test_where_the_mapping_has_the_number_no_answer_is_waited_for() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.is_slow = True
    side.client.say({0: {"state": "Ask"}})
    side.turn()

    side.client.say({0: {"state": "From", "from": 10}}, version=21)

    assert side.read(P0, 10) is False


def test_a_record_that_may_be_the_baselines_again_waits_for_the_answer() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.is_slow = True
    side.client.say({0: {"state": "Hold", "from": 2, "hold": 6}})
    side.turn()

    assert [side.read(P0, 9), side.read(P0, 10)] == [False, None]
    side.plain.answer()
    assert side.held() == [10]


def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.is_slow = True
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    side.plain.offsets.clear()
    side.plain.unanswered.clear()
    side.plain.end[P0] = 15
    assert side.read(P0, 10) is None
    side.turn(ANSWER_SECONDS - 0.1)
    assert len(side.plain.commits) == 1

    side.turn(0.1)

    assert side.held() == []
    assert side.plain.notes(P0).find("alice-1", Kind.FROM) == 10, "it is sent again with the number that counts"
    assert side.read(P0, 11) is False


def test_numbers_that_the_broker_refuses_for_their_size_never_count() -> None:
    side = Side(assigned=(P0,), config=OWN_COMMITS)
    side.plain.limit, side.plain.is_slow = 50, True
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    assert side.read(P0, 10) is None

    while side.plain.unanswered:
        side.plain.answer()
        side.turn()

    assert side.held() == [10]
    assert side.plain.commits == []


def test_what_is_asked_meanwhile_follows_the_answer() -> None:
    side = Side(assigned=(P0,), config=OWN_COMMITS)
    side.plain.is_slow = True
    first, second = (fenced_json({0: {"state": "Ask"}}, change=name) for name in ("first", "second"))
    side.client.known = Mapping.from_json(mapping_json(fenced=[first], version=20)), 20
    side.turn()
    side.client.known = Mapping.from_json(mapping_json(fenced=[first, second], version=21)), 21
    side.turn(0.1)
    assert len(side.plain.commits) == 1

    side.plain.answer()
    side.turn(0.1)

    assert set(side.plain.notes(P0).acks) == {"first", "second"}


def test_the_answer_to_an_earlier_commit_decides_nothing() -> None:
    side = Side(assigned=(P0,), config=OWN_COMMITS)
    side.plain.is_slow = True
    side.member.commits.skipped([partition_at(P0, 5)])
    side.client.say({0: {"state": "Ask"}})
    side.turn()

    side.plain.answer()
    assert side.read(P0, 10) is None
    side.plain.answer()
    assert side.read(P0, 11) is None, "what is behind a held record waits for its turn"
    assert side.held() == []
    assert side.read(P0, 12) is False


@pytest.mark.parametrize("call", ["committed", "ends"])
def test_what_cannot_be_asked_of_the_broker_is_asked_again(call: str) -> None:
    side = Side()
    side.plain.fails[call] = KafkaError._TIMED_OUT
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    assert side.plain.commits == []
    assert side.member.due < side.now + 10

    side.plain.fails.clear()
    side.turn()

    assert side.plain.notes(P0).find("alice-1", Kind.FROM) == 10


def test_a_fork_holds_back_what_may_be_its_own_and_everything_behind_it() -> None:
    side = Side(sandbox="alice", config=OWN_COMMITS)
    side.client.say({0: {"state": "Aware"}})
    side.turn()
    assert side.plain.notes(P0).find("alice-1", Kind.AWARE) == 1

    read = [side.read(P0, 0, "bob"), side.read(P0, 1), side.read(P0, 2, "bob"), side.read(P0, 3), side.read(P1, 0)]

    assert read == [False, None, None, None, False]
    assert side.plain.paused == {P0}
    side.member.commit_skipped()
    assert side.plain.offsets[P0].offset == 1
    assert side.member.commits.position(partition_at(P0, 4)).offset == 1
    assert side.tally.of(TOPIC).held == 3

    side.client.say({0: {"state": "From", "from": 2}}, version=21)
    side.turn()

    assert side.held() == [3]
    assert side.plain.paused == set()
    assert side.read(P0, 4) is True


def test_a_fork_stops_where_it_acknowledged_and_goes_on_up_to_until() -> None:
    side = Side(sandbox="alice")
    side.client.say({0: {"state": "From", "from": 0}})
    assert side.read(P0, 0) is True

    side.client.say({0: {"state": "Freeze", "from": 0}}, version=21)
    side.turn()
    assert side.plain.notes(P0).find("alice-1", Kind.HOLD) == 1
    assert [side.read(P0, number) for number in (1, 2, 3)] == [None] * 3

    side.client.say({0: {"state": "Until", "from": 0, "hold": 1, "until": 3}}, version=22)
    side.turn()

    assert side.held() == [1, 2]
    assert side.plain.notes(P0).acks == {"alice-1": {Kind.HOLD: 1}}, "nothing was committed since"
    side.turn()
    assert side.plain.notes(P0) == Notes(22, EPOCH)
    assert side.plain.offsets[P0].offset == 4


def test_the_interval_is_given_up_once_it_is_committed_past() -> None:
    side = Side(config=OWN_COMMITS)
    side.plain.offsets[P0] = partition_at(P0, 9)
    side.client.say({0: {"state": "Retire", "from": 0, "hold": 5, "until": 10}})
    side.turn()
    assert side.plain.notes(P0).find("alice-1", Kind.GONE) is None

    side.plain.offsets[P0] = partition_at(P0, 10)
    side.turn()

    assert side.plain.notes(P0).find("alice-1", Kind.GONE) == 1


# --- partitions that wait


def test_a_partition_waits_for_a_mapping_as_new_as_its_notes() -> None:
    side = Side(assigned=())
    side.plain.offsets[P0] = partition_at(P0, 0, metadata=Notes(30, EPOCH, {"alice-1": {Kind.FROM: 10}}).encode())
    side.client.say({0: {"state": "Ask"}}, version=29)
    side.turn()
    side.assign(P0, P1)
    side.turn()

    assert [side.read(P0, 0, None), side.read(P0, 1), side.read(P1, 0)] == [None, None, True]
    assert side.client.wanted[-1] == 30
    assert side.tally.waiting == 1
    assert side.plain.commits == []

    side.client.say({0: {"state": "Ask"}}, version=29, seen=30)
    side.turn()

    assert side.held() == [0, 1]
    assert side.tally.waiting == 0


def test_versions_of_another_installation_do_not_count() -> None:
    side = Side(assigned=())
    side.plain.offsets[P0] = partition_at(
        P0, 0, metadata=Notes(99, "another", {"alice-1": {Kind.FROM: 0}}, "x").encode()
    )
    side.assign(P0)
    side.client.say({0: {"state": "Ask"}})
    side.turn()

    assert side.plain.notes(P0) == Notes(20, EPOCH, {"alice-1": {Kind.FROM: 10}}, "x")


def test_nothing_is_decided_before_the_commits_were_read() -> None:
    side = Side(assigned=())
    side.plain.fails["committed"] = KafkaError._TIMED_OUT
    side.assign(P0)
    side.turn()
    assert [side.read(P0, 0, None), side.read(P0, 1)] == [None, None]

    side.plain.fails.clear()
    side.plain.offsets[P0] = partition_at(P0, 0, metadata=Notes(20, EPOCH, {"alice-1": {Kind.FROM: 1}}).encode())
    side.client.say({0: {"state": "Ask"}})
    side.turn()

    assert side.held() == [0]


def test_an_aware_fork_lets_go_when_its_partition_is_listed_no_more() -> None:
    side = Side(sandbox="alice", config=OWN_COMMITS)
    side.client.say({0: {"state": "Aware"}})
    side.turn()
    assert side.read(P0, 0) is None

    side.client.say({}, version=21)
    side.turn()

    assert side.held() == []
    assert side.plain.paused == set()
    assert side.read(P0, 1) is False


def test_a_record_that_comes_between_an_unlisting_and_the_next_turn_is_let_go() -> None:
    side = Side(sandbox="alice", config=OWN_COMMITS)
    side.client.say({0: {"state": "Aware"}})
    side.turn()
    side.client.say({}, version=21)
    side.read(P0, 0)

    side.turn()

    assert side.held() == []
    assert side.read(P0, 1) is False


def test_a_member_that_is_cut_off_hands_out_nothing_until_it_may_commit_again(caplog: pytest.LogCaptureFixture) -> None:
    side = Side(config={"session.timeout.ms": 10_000, "auto.commit.interval.ms": 100})
    side.turn()
    side.plain.fails["commit"] = KafkaError.UNKNOWN_MEMBER_ID
    assert side.read(P0, 0) is True
    side.turn()
    side.member.commits.failing_since = side.now
    side.client.confirmed = 11.0
    side.turn(5)
    assert side.read(P0, 1) is True

    side.turn(6)
    assert side.read(P0, 2) is None
    side.turn(5)
    assert side.held() == []

    side.plain.fails.clear()
    side.turn(2)

    assert side.held() == [2]
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 2


def test_a_member_with_a_fresh_mapping_goes_on_though_its_commits_fail() -> None:
    side = Side(config={"session.timeout.ms": 10_000})
    side.member.commits.failing_since = side.now
    side.client.confirmed = 1.0

    side.turn(100)

    assert side.read(P0, 0) is True


# --- metadata


def test_acknowledgements_that_do_not_fit_follow_when_others_are_settled() -> None:
    side = Side(assigned=(P0,), config=OWN_COMMITS)
    changes = [fenced_json({0: {"state": "Ask"}}, change=f"{number:0100}") for number in range(60)]
    side.client.known = Mapping.from_json(mapping_json(fenced=changes, version=20)), 20
    side.turn()
    first = set(side.plain.notes(P0).acks)
    assert 20 < len(first) < 60
    assert len((side.plain.offsets[P0].metadata or "").encode()) <= 4095

    for item in changes:
        if item["id"] in first:
            item["partitions"]["0"] = {"state": "From", "from": 10}
    side.client.known = Mapping.from_json(mapping_json(fenced=changes, version=21)), 21
    side.turn()

    assert set(side.plain.notes(P0).acks) == {f"{number:0100}" for number in range(60)} - first


def test_a_broker_that_takes_less_metadata_is_given_less(caplog: pytest.LogCaptureFixture) -> None:
    side = Side(assigned=(P0,))
    side.plain.limit = 300
    changes = [fenced_json({0: {"state": "Ask"}}, change=f"{number:0100}") for number in range(3)]
    side.client.known = Mapping.from_json(mapping_json(fenced=changes, version=20)), 20

    for _ in range(5):
        side.turn()

    assert side.plain.notes(P0).find(f"{0:0100}", Kind.FROM) == 10
    assert "refused commit metadata" in caplog.text


def test_what_somebody_wiped_out_is_acknowledged_again_with_the_same_number() -> None:
    side = Side(config=OWN_COMMITS)
    side.client.say({0: {"state": "Ask"}})
    side.turn()
    side.plain.offsets[P0] = partition_at(P0, 7)
    side.plain.end[P0] = 50

    side.turn()

    assert side.plain.notes(P0).find("alice-1", Kind.FROM) == 10
    assert side.plain.offsets[P0].offset == 7


def test_automatic_commits_never_pass_a_held_record_and_keep_the_notes() -> None:
    side = Side(sandbox="alice")
    side.client.say({0: {"state": "Aware"}})
    side.turn()
    assert [side.read(P0, 0, "bob"), side.read(P0, 1)] == [False, None]

    side.turn()

    assert side.plain.offsets[P0].offset == 1
    assert side.plain.notes(P0).find("alice-1", Kind.AWARE) == 1


def test_what_goes_away_is_forgotten() -> None:
    side = Side(sandbox="alice")
    side.client.say({0: {"state": "Aware"}})
    side.turn()
    assert side.read(P0, 0) is None

    side.member.leave([P0])
    side.member.removed([P0])
    side.assign(P0)

    assert side.held() == []
    assert P0 not in side.member.holding
    assert side.plain.offsets[P0].offset == 0
    assert side.plain.paused == set(), "the broker's client keeps a partition paused when it comes back"


def test_what_the_application_paused_stays_so_when_a_held_partition_comes_back() -> None:
    side = Side(sandbox="alice")
    side.client.say({0: {"state": "Aware"}})
    side.turn()
    assert side.read(P0, 0) is None
    side.member.paused([partition_at(P0, -1001)])

    side.member.removed([P0])
    side.assign(P0)

    assert side.plain.paused == {P0}


def test_partitions_assigned_by_hand_are_not_safe(caplog: pytest.LogCaptureFixture) -> None:
    side = Side()
    side.client.known = Mapping.from_json(mapping_json(version=20)), 20
    side.member.is_assigned_by_hand = True
    side.turn()
    assert "by hand" not in caplog.text

    side.client.say({0: {"state": "Ask"}})
    side.turn()
    side.turn()

    assert caplog.text.count("assigned by hand") == 1


# --- the end of a hand-off

ENDING = {0: {"state": "Until", "from": 0, "hold": 5, "until": 8}}


def offset_committed(side: Side) -> int:
    found = side.plain.offsets.get(P0)
    return -1 if found is None else found.offset


@pytest.mark.parametrize("sandbox", [None, "alice"], ids=["baseline", "fork"])
def test_what_ends_a_hand_off_is_committed_at_once(sandbox: str | None) -> None:
    side = Side(sandbox=sandbox)
    side.turn()
    side.client.say(ENDING, version=21)
    side.plain.position[P0] = 7
    side.turn(0.2)
    assert offset_committed(side) < 7
    side.plain.position[P0] = 8
    side.turn(0.2)
    assert offset_committed(side) == 8


def test_the_end_of_another_forks_hand_off_is_no_reason_to_hurry() -> None:
    side = Side(sandbox="bob")
    side.turn()
    side.client.say(ENDING, version=21)
    side.plain.position[P0] = 8
    side.turn(0.2)
    assert offset_committed(side) < 8
