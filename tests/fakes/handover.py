"""What the operator does for one claim under Fenced, by hand: says it in the mapping, reads what members answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from fakes.mapping_server import EPOCH, MappingServer, fenced_json, mapping_json
from sidestream_sdk.notes import Kind, Notes

DEADLINE: Final = 120.0


def eventually(done: Callable[[], bool], what: str) -> None:
    """Wait for a condition, asking a few times a second."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, f"still not after {DEADLINE:.0f} s: {what}"
        time.sleep(0.05)


@dataclass
class Handover:
    """The claim of Sandbox alice on a topic; groups are `baseline` and `fork`."""

    server: MappingServer
    bootstrap: str
    topic: str
    baseline: str
    fork: str
    change: str = "alice-1"
    version: int = 10
    phase: str = "Preparing"
    fences: dict[int, dict[str, Any]] = field(default_factory=dict)
    _clients: dict[str, Consumer] = field(default_factory=dict)

    # --- the mapping

    def publish(self, *, is_listed: bool = True) -> None:
        """Say what stands, as a new version."""
        self.version += 1
        self.server.publish(self.mapping(is_listed=is_listed))

    def mapping(self, *, is_listed: bool = True) -> dict[str, Any]:
        """The mapping as it stands."""
        claim = fenced_json(self.fences, self.phase, change=self.change, group=self.fork)
        fenced = [claim] if is_listed else []
        return mapping_json(
            topic=self.topic, group=self.baseline, fenced=fenced, version=self.version, poll_interval=10
        )

    def say(self, state: str, partitions: Iterable[int] = (0,), *, phase: str = "", **numbers: int) -> None:
        """These partitions are in this state now, with these numbers too; `begin` is their `from`."""
        self.phase = phase or self.phase
        if "begin" in numbers:
            numbers["from"] = numbers.pop("begin")
        for partition in partitions:
            self.fences[partition] = {**self.fences.get(partition, {}), "state": state, **numbers}
        self.publish()

    # --- groups

    def committed(self, group: str, partitions: Iterable[int]) -> dict[int, TopicPartition]:
        """What a group has committed."""
        asked = [TopicPartition(self.topic, number) for number in partitions]
        return {item.partition: item for item in self._client(group).committed(asked, timeout=10)}

    def notes(self, group: str, partition: int = 0) -> Notes:
        """What a group's members noted on a partition."""
        return Notes.parse(self.committed(group, [partition])[partition].metadata)

    def answer(self, group: str, kind: Kind, partition: int = 0) -> int | None:
        """What was acknowledged of the claim on a partition."""
        return self.notes(group, partition).find(self.change, kind)

    def answers(self, group: str, kind: Kind, partitions: Iterable[int] = (0,)) -> dict[int, int]:
        """What was acknowledged, once it was on all of these partitions."""
        found: dict[int, int] = {}

        def all_there() -> bool:
            for number, item in self.committed(group, partitions).items():
                value = Notes.parse(item.metadata).find(self.change, kind)
                if value is not None:
                    found[number] = value
            return set(found) == set(partitions)

        eventually(all_there, f"{group} acknowledged {kind.name}")
        return found

    def has_passed(self, group: str) -> bool:
        """Whether a group has committed up to `until` everywhere."""
        committed = self.committed(group, self.fences)
        return all(committed[number].offset >= fence["until"] for number, fence in self.fences.items())

    def wait_for_commits(self, group: str, until: dict[int, int]) -> None:
        """Until a group has committed so far."""
        eventually(
            lambda: all(item.offset >= until[number] for number, item in self.committed(group, until).items()),
            f"{group} committed {until}",
        )

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The ends of the log."""
        client = self._client(self.baseline)
        places = {number: TopicPartition(self.topic, number) for number in partitions}
        return {number: client.get_watermark_offsets(place, timeout=10)[1] for number, place in places.items()}

    def place(self, group: str, offsets: dict[int, int], notes: Notes | None = None) -> None:
        """Commit for a group without members, as the operator does."""
        metadata = (notes or Notes(self.version + 1, EPOCH)).encode()
        placed = [TopicPartition(self.topic, number, offset, metadata) for number, offset in offsets.items()]
        self._client(group).commit(offsets=placed, asynchronous=False)

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients.values():
            client.close()

    def _client(self, group: str) -> Consumer:
        """A plain client of the group, which does not join it."""
        if group not in self._clients:
            self._clients[group] = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        return self._clients[group]
