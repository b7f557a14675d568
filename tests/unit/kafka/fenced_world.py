"""Alice's fork under `Fenced`: `World` with members that use the SDK, in the baseline and in the fork."""

from __future__ import annotations

from builders import Modifier, deployment, having
from sidestream.kafka import fencing
from sidestream.kafka.port import Position, TopicPartition
from sidestream.kube.port import NAMESPACES
from sidestream_sdk.fences import acknowledged, due, settled
from sidestream_sdk.notes import Notes
from unit.kafka.scenes import BASELINE, GROUP, TOPIC
from unit.kafka.world import World

SPEAKING = having(
    "spec.template.spec.containers",
    [{"name": "app", "image": "app:1", "env": [{"name": "SIDESTREAM_MAPPING_URL", "value": "http://mapping"}]}],
)
"""A baseline that uses the SDK, as far as its environment tells."""


class FencedWorld(World):
    """The baseline at 5 and 7 of two logs of ten records; `speak` lets members do what the mapping asks of them."""

    def __init__(self, *modifiers: Modifier) -> None:
        super().__init__(having("spec.coordination", "Fenced"), *modifiers)
        self.api.seed(deployment("fulfilment", SPEAKING))

    @property
    def states(self) -> list[str]:
        """Where each partition of each claim stands, such as `alice 0 From 10`."""
        return [
            " ".join(
                str(part)
                for part in (claim.key, fence.partition, fence.state, fence.begin, fence.hold, fence.until)
                if part is not None
            )
            for claim in self.route.status.claims
            for fence in claim.fences
        ]

    def notes(self, group: str, partition: int) -> Notes:
        position = self.kafka.groups[group].offsets.get(TopicPartition(TOPIC, partition))
        return Notes.parse(None if position is None else position.metadata)

    def speak(self, *groups: str) -> None:
        """The members of these groups (none given: of both) read the mapping, acknowledge and commit."""
        if self.is_gone:
            return
        changes = fencing.changes_of([self.route]).get(TOPIC, ())
        for group in groups or (BASELINE, GROUP):
            found = self.kafka.groups.get(group)
            if found is None or not found.members:
                continue
            sandbox = None if group == BASELINE else "alice"
            for number, (_, end) in enumerate(self.kafka.topics[TOPIC].logs):
                item = TopicPartition(TOPIC, number)
                position = found.offsets.get(item, Position(0))
                notes = settled(Notes.parse(position.metadata), changes, number)
                for one in due(changes, number, notes, sandbox=sandbox):
                    value = acknowledged(one, position=position.offset, end=end)
                    notes = notes.with_ack(one.change, one.kind, value)
                notes = notes.at(int(self.live["metadata"]["resourceVersion"]), self.epoch)
                found.offsets[item] = Position(position.offset, position.leader_epoch, notes.encode())

    def work(self, *groups: str) -> None:
        """The members of these groups handle all that there is and commit, as they must: with their notes."""
        for group in groups or (BASELINE, GROUP):
            found = self.kafka.groups.get(group)
            for number, (_, end) in enumerate(self.kafka.topics[TOPIC].logs):
                item = TopicPartition(TOPIC, number)
                if found is not None and found.members:
                    kept = found.offsets.get(item, Position(0))
                    found.offsets[item] = Position(end, kept.leader_epoch, kept.metadata)

    def catch_up_the_absent(self, group: str) -> None:
        """A group without members has nothing left to read, as if it had run for a moment."""
        found = self.kafka.groups[group]
        for number, (_, end) in enumerate(self.kafka.topics[TOPIC].logs):
            item = TopicPartition(TOPIC, number)
            if not found.members and item in found.offsets:
                kept = found.offsets[item]
                found.offsets[item] = Position(end, kept.leader_epoch, kept.metadata)

    @property
    def epoch(self) -> str:
        """Of this cluster."""
        return str(self.api.stored(NAMESPACES)["kube-system"]["metadata"]["uid"])[:8]
