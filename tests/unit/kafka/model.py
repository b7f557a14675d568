"""A random world around the product's own rules under `Fenced`: who ends up with which record, whatever happens when.

The operator's part is `handoff.plan` on real KafkaRoutes, the members' part `sidestream_sdk.fences` and `notes`. The
rest is as small as it can be: logs that only grow, a broker that fences commits by generation and keeps metadata,
mapping replicas of any age, members that fetch, handle, commit, crash, are rebalanced and go on as zombies, and an
operator that is cut off between what it looked at, recorded and did.

`Rules` are what a member keeps to; switching one off is a mutation that the model has to catch.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar, Final

from builders import EPOCH, deleting, having, kafka_route
from sidestream.api.kafka import KafkaRoute, Phase
from sidestream.kafka import fencing, handoff, takeback
from sidestream.kafka.port import Group, GroupState, Member, Position, Scanned, Topic, TopicPartition
from sidestream.kafka.steps import Delete, Effect, Observed, Place, Release, Step
from sidestream_sdk import fences
from sidestream_sdk.fences import FencedChange, Verdict
from sidestream_sdk.notes import Notes

TOPIC: Final = "orders.created"
EPOCH_NAME: Final = "cluster1"
BASELINE: Final = "fulfilment"
KEYS: Final = ("k1", "k2")

_RECORDS: Final = 60
_STALE_VERSIONS: Final = 12
_WORKING: Final = (Phase.ACTIVE, Phase.FREEZING, Phase.PREPARING_OFF, Phase.DRAINING)
_MOST_STEPS: Final = 12_000


@dataclass(frozen=True)
class Rules:
    """What members do; each False is a mutation."""

    version_rule: bool = True
    acknowledges_committed: bool = True
    keeps_notes: bool = True


@dataclass(frozen=True)
class Mapping:
    """What a mapping replica answers: `version` is that of what it says, `seen` how far it has looked.

    A replica that was started anew does not know of what is gone by then, so its `version` may be lower.
    """

    version: int = 0
    seen: int = 0
    changes: tuple[FencedChange, ...] = ()


@dataclass
class Held:
    """A member's view of a partition that it owns: the next offsets to read, to finish and to commit from."""

    position: int
    done: int
    committed: int
    notes: Notes
    inflight: list[tuple[int, bool]] = field(default_factory=list)


@dataclass
class Consumer:
    """A member of a group, or a zombie that does not know yet that it is none any more."""

    group: str
    generation: int
    sandbox: str | None
    mapping: Mapping | None = None
    parts: dict[int, Held] = field(default_factory=dict)


@dataclass
class BrokerGroup:
    offsets: dict[int, Position] = field(default_factory=dict)
    members: list[Consumer] = field(default_factory=list)
    generation: int = 0


class World:
    """One seed's run. `rules` are the members'; `outcome` says whose every record was."""

    produced_keys: ClassVar[tuple[str | None, ...]] = (None, "k1", "k1", "k2", "k2")

    def __init__(self, seed: int, rules: Rules) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a schedule, no secret
        self.rules = rules
        self.log: list[list[str | None]] = [[], []]
        self.handled: dict[tuple[int, int], set[str]] = defaultdict(set)
        self.groups: dict[str, BrokerGroup] = {BASELINE: BrokerGroup()}
        self.routes: list[KafkaRoute] = []
        self.history = [Mapping()]
        self.restarted = [Mapping()]
        self.zombies: list[Consumer] = []
        self.version = 0
        self.now = EPOCH
        self.produced = 0
        self.pending: tuple[KafkaRoute, Step] | None = None
        self.story = self._story()
        self.is_told = False
        self.rebalance(BASELINE, 2)

    # --- what users do

    def _story(self) -> Iterator[int]:
        """Alice comes, gets a second key, loses one, goes, comes back and goes; yields how much is produced before."""
        yield 5
        self.create("alice", KEYS[:1])
        yield 15
        if self.random.random() < 0.8:
            self.change_keys("alice", KEYS)
        yield 35
        if self.random.random() < 0.3:
            self.change_keys("alice", KEYS[1:])
            yield 38
            if self.random.random() < 0.5:
                self.change_keys("alice", KEYS)
        yield 42
        self.delete("alice")
        yield 50
        if not any(route.spec.sandbox == "alice" for route in self.routes) or self.random.random() < 0.5:
            self.create("bob", KEYS[:1])
        yield _RECORDS
        self.delete("bob")

    def create(self, sandbox: str, keys: tuple[str, ...]) -> None:
        self.routes.append(
            KafkaRoute.from_json(
                kafka_route(
                    f"orders-{sandbox}",
                    having("metadata.uid", f"{sandbox}-{self.version}"),
                    having("spec.sandbox", sandbox),
                    having("spec.forkGroup", f"{BASELINE}.sbx.{sandbox}"),
                    having("spec.keys", list(keys)),
                    having("spec.coordination", "Fenced"),
                )
            )
        )
        self.publish()

    def change_keys(self, sandbox: str, keys: tuple[str, ...]) -> None:
        for route in self._of(sandbox):
            if not route.is_deleting:
                self.write(route, route.model_copy(update={"spec": route.spec.model_copy(update={"keys": keys})}))

    def delete(self, sandbox: str) -> None:
        stamp: dict[str, dict[str, str]] = {"metadata": {}}
        deleting()(stamp)
        for route in self._of(sandbox):
            metadata = route.metadata.model_copy(update={"deletion_timestamp": stamp["metadata"]["deletionTimestamp"]})
            self.write(route, route.model_copy(update={"metadata": metadata}))

    def _of(self, sandbox: str) -> list[KafkaRoute]:
        return [route for route in self.routes if route.spec.sandbox == sandbox]

    # --- the API server and the mapping service

    def write(self, old: KafkaRoute, new: KafkaRoute) -> None:
        self.version += 1
        metadata = new.metadata.model_copy(update={"resource_version": str(self.version)})
        self.routes[self.routes.index(old)] = new.model_copy(update={"metadata": metadata})
        self.publish()

    def publish(self) -> None:
        changes = fencing.changes_of(self.routes).get(TOPIC, ())
        listed = max((int(route.metadata.resource_version or 0) for route in self.routes), default=0)
        self.history.append(Mapping(self.version, self.version, changes))
        self.restarted.append(Mapping(listed, self.version, changes))

    def fetch(self, member: Consumer) -> None:
        """Any replica answers, of any age, but a member never takes a mapping older than its own."""
        replica = self.random.choice((self.history, self.restarted))
        answer = replica[-1 - self.random.randrange(min(_STALE_VERSIONS, len(replica)))]
        if member.mapping is None or answer.seen >= member.mapping.seen:
            member.mapping = answer

    # --- the broker

    def end(self, partition: int) -> int:
        return len(self.log[partition])

    def commit(self, member: Consumer, partition: int, offset: int, notes: Notes) -> bool:
        group = self.groups.get(member.group)
        if group is None or member.generation != group.generation or member not in group.members:
            return False
        group.offsets[partition] = Position(offset, metadata=notes.encode())
        return True

    def rebalance(self, name: str, count: int, crashed: Consumer | None = None) -> None:
        """Everybody but who crashed commits; then so many members share the partitions anew."""
        group = self.groups.setdefault(name, BrokerGroup())
        before = list(group.members)
        for member in before:
            if member is not crashed:
                for partition in member.parts:
                    self.commit_done(member, partition)
            elif self.random.random() < 0.5:
                self.zombies.append(member)
        group.generation += 1
        sandbox = None if name == BASELINE else name.rpartition(".")[2]
        group.members = [Consumer(name, group.generation, sandbox) for _ in range(count)]
        for member, old in zip(group.members, before, strict=False):
            # who stays keeps a mapping of whatever age
            member.mapping = old.mapping if old is not crashed else None
        shift = self.random.randrange(2)
        for partition in range(len(self.log)) if count else ():
            held = group.offsets.get(partition, Position(0))
            notes = Notes.parse(held.metadata).of(EPOCH_NAME)
            group.members[(partition + shift) % count].parts[partition] = Held(
                held.offset, held.offset, held.offset, notes
            )

    # --- a member

    def commit_done(self, member: Consumer, partition: int) -> None:
        part = member.parts[partition]
        notes = self._current(member, partition, part)
        offset = max(part.committed, part.done)
        if self.commit(member, partition, offset, notes):
            part.committed, part.notes = offset, notes

    def _current(self, member: Consumer, partition: int, part: Held) -> Notes:
        if member.mapping is None or self.is_behind(member, part):
            return part.notes
        notes = fences.settled(part.notes, member.mapping.changes, partition)
        if not self.rules.keeps_notes and self.random.random() < 0.3:
            notes = replace(notes, acks={})
        return notes.at(member.mapping.version, EPOCH_NAME)

    def is_behind(self, member: Consumer, part: Held) -> bool:
        if member.mapping is None:
            return True
        return self.rules.version_rule and member.mapping.seen < part.notes.version

    def acknowledge(self, member: Consumer) -> None:
        mapping = member.mapping
        if mapping is None:
            return
        for partition, part in member.parts.items():
            if self.is_behind(member, part):
                continue
            notes = self._current(member, partition, part)
            owed = list(fences.due(mapping.changes, partition, notes, sandbox=member.sandbox))
            if not owed:
                continue
            for one in owed:
                number = fences.acknowledged(one, position=part.position, end=self.end(partition))
                notes = notes.with_ack(one.change, one.kind, number)
            offset = part.committed if self.rules.acknowledges_committed else part.position
            if self.commit(member, partition, offset, notes):
                part.notes = notes
                part.committed = max(part.committed, offset)

    def verdict(self, member: Consumer, partition: int, offset: int) -> Verdict:
        part, mapping, key = member.parts[partition], member.mapping, self.log[partition][offset]
        assert mapping is not None
        claims = [
            fences.bounds(change, partition, part.notes)
            for change in mapping.changes
            if change.key == key and member.sandbox in {None, change.sandbox}
        ]
        if member.sandbox is None:
            return fences.baseline_verdict(claims, offset)
        return fences.fork_verdict(claims, offset)

    def step_member(self, member: Consumer) -> None:
        if member.mapping is None or self.random.random() < 0.15:
            self.fetch(member)
        if any(self.is_behind(member, part) for part in member.parts.values()):
            self.fetch(member)
        self.acknowledge(member)
        if not member.parts:
            return
        partition = self.random.choice(list(member.parts))
        part = member.parts[partition]
        dice = self.random.random()
        if dice < 0.5:
            self.read(member, partition, part)
        elif dice < 0.85:
            self.finish(member, partition, part)
        else:
            self.commit_done(member, partition)

    def read(self, member: Consumer, partition: int, part: Held) -> None:
        if self.is_behind(member, part) or part.position >= self.end(partition):
            return
        verdict = self.verdict(member, partition, part.position)
        if verdict is not Verdict.HOLD:
            part.inflight.append((part.position, verdict is Verdict.TAKE))
            part.position += 1

    def finish(self, member: Consumer, partition: int, part: Held) -> None:
        if part.inflight:
            offset, is_taken = part.inflight.pop(0)
            part.done = offset + 1
            if is_taken:
                self.handled[partition, offset].add(member.group)

    def step_zombie(self, member: Consumer) -> None:
        """It finishes what it had read, and cannot commit."""
        for partition, part in member.parts.items():
            self.finish(member, partition, part)

    # --- the operator

    def operate(self) -> None:
        """Look and decide, or record and do what was decided; in between anything may happen, its own death too."""
        self.now += timedelta(seconds=0.2)
        if self.pending is not None:
            (route, step), self.pending = self.pending, None
            self.carry_out(route, step)
            return
        if not self.routes:
            return
        route = self.random.choice(self.routes)
        if handoff.needs_kafka(route):
            step = handoff.plan(route, self.observe(route), self.now)
        else:
            step = handoff.plan(route, None, self.now)
        if self.random.random() < 0.2:
            self.pending = route, step
        else:
            self.carry_out(route, step)

    def carry_out(self, route: KafkaRoute, step: Step) -> None:
        if route not in self.routes:
            return  # it changed since: the write is refused
        if step.status != route.status:
            self.write(route, route.model_copy(update={"status": step.status}))
        if step.effect is not None and self.random.random() < 0.9:
            self.perform(route, step.effect)

    def perform(self, route: KafkaRoute, effect: Effect) -> None:
        match effect:
            case Release():
                self.routes = [item for item in self.routes if item.metadata.uid != route.metadata.uid]
                self.publish()
            case Delete(name):
                if name in self.groups and not self.groups[name].members:
                    del self.groups[name]
            case Place(name, positions, over):
                self.place(name, {item.partition: at for item, at in positions.items()}, over)

    def place(self, name: str, positions: dict[int, Position], over: object) -> None:
        group = self.groups.get(name, BrokerGroup())
        known = {self._item(number): group.offsets[number] for number in positions if number in group.offsets}
        if group.members or (over is not None and over != known):
            return
        self.groups[name] = group
        group.offsets.update(positions)

    def observe(self, route: KafkaRoute) -> Observed:
        fork, baseline = self.groups.get(route.spec.fork_group), self.groups[BASELINE]
        partitions = {self._item(number): len(log) for number, log in enumerate(self.log)}
        own = {} if fork is None else {self._item(number): at for number, at in fork.offsets.items()}
        observed = Observed(
            cluster_id="cluster-1",
            group=self._described(route.spec.fork_group, fork),
            topics={TOPIC: Topic(TOPIC, "topic-1", len(self.log))},
            own=own,
            baseline={self._item(number): at for number, at in baseline.offsets.items()},
            earliest=dict.fromkeys(partitions, 0),
            latest=partitions,
            version=int(route.metadata.resource_version or 0),
            epoch=EPOCH_NAME,
            baseline_group=self._described(BASELINE, baseline),
            others=tuple(self.routes),
        )
        return replace(observed, scanned=self.scan(route, observed))

    def scan(self, route: KafkaRoute, observed: Observed) -> dict[TopicPartition, Scanned]:
        committed = observed.baseline if route.status.phase is Phase.RETIRING else observed.own
        if route.status.phase is not Phase.RETIRING and not takeback.needs_scan(route, self.now):
            return {}
        keys = {claim.key for claim in route.status.claims}
        found = {}
        for item, (begin, end) in fencing.remaining(route.status.claims, committed, observed.earliest).items():
            log = self.log[item.partition]
            hit = next((offset for offset in range(begin, min(end, len(log))) if log[offset] in keys), None)
            found[item] = Scanned(end if hit is None else hit, found=hit is not None)
        return found

    @staticmethod
    def _described(name: str, group: BrokerGroup | None) -> Group:
        if group is None:
            return Group(name, GroupState.ABSENT)
        members = tuple(
            Member(f"m{number}", "c", "10.0.0.1", None, frozenset(map(World._item, member.parts)))
            for number, member in enumerate(group.members)
        )
        return Group(name, GroupState.STABLE if members else GroupState.EMPTY, members)

    @staticmethod
    def _item(partition: int) -> TopicPartition:
        return TopicPartition(TOPIC, partition)

    # --- the run

    def run(self) -> World:
        """Wild until all is produced and told, then calm until all is settled."""
        target = next(self.story)
        for _ in range(900):
            self.step(is_calm=False)
            if self.produced >= target:
                target = next(self.story, 10**9)
        for _ in self.story:
            self.calm_down(200)
        for _ in range(_MOST_STEPS):
            self.step(is_calm=True)
            if not self.routes and self.is_through():
                break
        return self

    def calm_down(self, steps: int) -> None:
        for _ in range(steps):
            self.step(is_calm=True)

    def is_through(self) -> bool:
        committed = self.groups[BASELINE].offsets
        return all(number in committed and committed[number].offset >= len(log) for number, log in enumerate(self.log))

    def step(self, *, is_calm: bool) -> None:
        dice = self.random.random()
        everybody = [member for group in self.groups.values() for member in group.members]
        if dice < 0.12 and not is_calm and self.produced < _RECORDS:
            self.random.choice(self.log).append(self.random.choice(self.produced_keys))
            self.produced += 1
        elif dice < 0.74 and everybody:
            self.step_member(self.random.choice(everybody))
        elif dice < 0.92:
            self.operate()
        elif dice < 0.95 or is_calm:
            self.tend(is_calm=is_calm)
        elif dice < 0.97:
            self.shake(BASELINE, (0, 1, 2, 2))
        elif dice < 0.985:
            self.shake_forks()
        elif dice < 0.99 and len(self.log) < 4:
            self.log.append([])
        elif self.zombies:
            self.step_zombie(self.random.choice(self.zombies))

    def tend(self, *, is_calm: bool) -> None:
        """What Kubernetes does: forks run while they may and stop when they must; a calm baseline has its members."""
        for route in list(self.routes):
            name, group = route.spec.fork_group, self.groups.get(route.spec.fork_group)
            if group is not None and route.status.phase in _WORKING and not route.status.halted:
                if not self._is_complete(group):
                    self.rebalance(name, 1)
            elif group is not None and group.members:
                self.rebalance(name, 0)
        if is_calm and not self._is_complete(self.groups[BASELINE]):
            self.rebalance(BASELINE, 2)

    def _is_complete(self, group: BrokerGroup) -> bool:
        return sum(len(member.parts) for member in group.members) == len(self.log)

    def shake(self, name: str, counts: tuple[int, ...]) -> None:
        members = self.groups[name].members
        crashed = self.random.choice(members) if members and self.random.random() < 0.6 else None
        self.rebalance(name, self.random.choice(counts), crashed)

    def shake_forks(self) -> None:
        for route in self.routes:
            if route.spec.fork_group in self.groups and self.groups[route.spec.fork_group].members:
                self.shake(route.spec.fork_group, (0, 1))

    # --- what came of it

    def lost(self) -> list[tuple[int, int]]:
        return [place for place in self._keyed() if not self.handled[place]]

    def by_both(self) -> list[tuple[int, int]]:
        return [place for place in self._keyed() if len(self.handled[place]) > 1]

    def _keyed(self) -> list[tuple[int, int]]:
        return [
            (number, offset) for number, log in enumerate(self.log) for offset, key in enumerate(log) if key is not None
        ]

    @property
    def is_over(self) -> bool:
        """Whether every hand-off came to its end."""
        return not self.routes and self.is_through()
