"""Whatever happens in whatever order, a group is deleted only if it is recorded, ours, and nobody is in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from builders import having
from sidestream.kafka.translation import Cause
from unit.kafka.crashes import CrashError, Crashes
from unit.kafka.fake_admin import FakeKafka
from unit.kafka.scenes import GROUP, TOPIC
from unit.kafka.world import World

SERVING = ("Preparing", "Active", "Draining")


class WatchedGroups(dict[str, Any]):
    """The cluster's groups; tells when one is removed."""

    def __init__(self, on_removal: Any) -> None:
        super().__init__()
        self.on_removal = on_removal

    def pop(self, name: str, *default: Any) -> Any:
        if name in self:
            self.on_removal(name)
        return super().pop(name, *default)


class HandOff(RuleBasedStateMachine):
    """Users, pods, brokers and a mortal operator around one KafkaRoute."""

    @initialize(taken=st.sampled_from(["never", "before", "in between"]))
    def begin(self, taken: str) -> None:
        self.world = World(having("spec.pollInterval", "1s"))
        groups = WatchedGroups(self.check_removal)
        groups.update(self.world.kafka.groups)
        self.world.kafka.groups = groups
        self.is_foreign = False
        if taken == "in between":
            self.die_before_placing()
        if taken != "never":
            self.take_the_name()

    def die_before_placing(self) -> None:
        """The group is recorded, and the process gone before it made it."""
        at = 1
        while self.world.phase != "Creating":
            self.look_and_die(at, after=True)
            at += 1

    @property
    def kafka(self) -> FakeKafka:
        return self.world.kafka

    @property
    def is_serving(self) -> bool:
        return not self.world.is_gone and self.world.phase in SERVING

    @property
    def is_beginning(self) -> bool:
        return not self.world.is_gone and self.world.phase in ("Pending", "Creating")

    def check_removal(self, name: str) -> None:
        """Called by the admin's delete only: people's deletions in these tests go another way."""
        assert name == GROUP, f"deleted {name}"
        assert not self.is_foreign, "deleted a group of somebody else"
        assert not self.kafka.groups[name].members, "deleted a group with members"
        assert not self.world.has_pod, "deleted a group under a pod"
        status = self.world.route.status
        assert status.group is not None, "deleted a group that is not recorded"
        assert (status.group.name, status.phase) == (name, "Deleting")
        assert self.world.route.is_deleting

    @rule(times=st.integers(1, 6))
    def look(self, times: int) -> None:
        """So many reconciles, each when the one before asked for it."""
        for _ in range(times):
            self.reconcile()

    @rule(at=st.integers(1, 45), after=st.booleans())
    def look_and_die(self, at: int, *, after: bool) -> None:
        """A reconcile of a process that dies on the way, if it gets that far."""
        self.world.restart(Crashes(at, after=after))
        with suppress(CrashError):
            self.reconcile()
        self.world.restart()

    @rule(
        code=st.sampled_from(["_TRANSPORT", "NOT_COORDINATOR", "GROUP_AUTHORIZATION_FAILED"]),
        seconds=st.sampled_from([0.0, 5.0]),
    )
    def look_in_vain(self, code: str, seconds: float) -> None:
        """Reconciles of a cluster that is away or refuses."""
        self.kafka.fail(code, Cause.CONNECT)
        self.reconcile()
        self.world.clock.move(seconds)
        self.reconcile()
        self.kafka.mend()

    def reconcile(self) -> None:
        wait = asyncio.run(self.world.reconcile()).requeue_after or 0.0
        self.world.clock.move(min(wait, 5.0))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.move(seconds)

    @precondition(lambda self: self.is_serving and not self.world.has_pod)
    @rule(joins=st.booleans())
    def start_fork(self, *, joins: bool) -> None:
        self.world.start_fork(joins=joins)

    @precondition(lambda self: self.world.has_pod)
    @rule()
    def stop_fork(self) -> None:
        self.world.stop_fork()

    @precondition(lambda self: self.is_serving and GROUP in self.kafka.groups)
    @rule()
    def work(self) -> None:
        self.kafka.catch_up(GROUP)

    @rule(partition=st.integers(0, 1))
    def produce(self, partition: int) -> None:
        if TOPIC in self.kafka.topics:
            self.kafka.produce(TOPIC, partition)

    @precondition(lambda self: self.is_beginning and GROUP not in self.kafka.groups)
    @rule()
    def take_the_name(self) -> None:
        """Somebody else makes a group of the fork's name before the fork's is there."""
        self.is_foreign = True
        self.kafka.commit(GROUP, TOPIC, 0, 3)

    @precondition(lambda self: self.is_foreign)
    @rule()
    def give_the_name_back(self) -> None:
        if GROUP in self.kafka.groups:
            dict.pop(self.kafka.groups, GROUP)
        self.is_foreign = False

    @precondition(lambda self: GROUP in self.kafka.groups and not self.kafka.groups[GROUP].members)
    @rule()
    def expire(self) -> None:
        dict.pop(self.kafka.groups, GROUP)
        self.is_foreign = False

    @rule()
    def make_the_topic_anew(self) -> None:
        if not self.is_foreign:
            self.kafka.delete_topic(TOPIC)
            self.kafka.create_topic(TOPIC, (0, 3), (0, 3))

    @precondition(lambda self: not self.world.is_gone)
    @rule()
    def delete(self) -> None:
        self.world.delete()

    @invariant()
    def what_is_there_is_recorded(self) -> None:
        if not hasattr(self, "world") or self.is_foreign or GROUP not in self.kafka.groups:
            return
        assert not self.world.is_gone, "the route went and left its group"
        assert self.world.route.status.group is not None, "a group that is not recorded"

    @invariant()
    def what_is_not_ours_is_not_touched(self) -> None:
        if hasattr(self, "world") and self.is_foreign:
            assert self.kafka.offsets(GROUP) == {f"{TOPIC}/0": 3}

    def teardown(self) -> None:
        """Whatever happened, a deletion comes to its end once Kafka answers and the pods are gone."""
        if not hasattr(self, "world") or self.world.is_gone:
            return
        self.world.restart()
        self.kafka.mend()
        self.world.delete()
        asyncio.run(self.finish())
        assert self.is_foreign or GROUP not in self.kafka.groups

    async def finish(self) -> None:
        for _ in range(200):
            wait = (await self.world.reconcile()).requeue_after or 0.0
            if self.world.is_gone:
                return
            self.world.clock.move(wait)
            if self.world.phase in ("Drained", "Deleting"):
                self.world.stop_fork()
        raise AssertionError(f"never gone: {self.world.live}")


TestHandOff = HandOff.TestCase
TestHandOff.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
