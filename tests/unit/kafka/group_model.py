"""The random world with a RouteGroup: its key joins, moves between and leaves two forks that live, as members change.

Who has the key is the Sandbox reconciler's to say; here both KafkaRoutes are told at moments of their own, so that for
a while both specs have the key, or neither. The operator works on both KafkaRoutes at the same time: what it decided of
one may be recorded after what it decided of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from sidestream.api.kafka import KafkaRoute
from sidestream.kafka.steps import Step
from unit.kafka.model import Rules, World

GROUP_KEY: Final = "release-42"
OWN: Final = {"alice": "k1", "bob": "k2"}


class GroupWorld(World):
    """Alice and bob fork the same Deployment; the group's key is first nobody's, then of one of them, then not."""

    produced_keys: ClassVar[tuple[str | None, ...]] = (None, "k1", "k2", GROUP_KEY, GROUP_KEY)

    def __init__(self, seed: int, rules: Rules) -> None:
        super().__init__(seed, rules)
        self.decided: dict[str, tuple[KafkaRoute, Step]] = {}

    def _story(self) -> Iterator[int]:
        yield 4
        self.create("alice", self._keys_of("alice", has_group=self.random.random() < 0.3))
        self.create("bob", self._keys_of("bob", has_group=False))
        at, holder = 8, "alice"
        for _ in range(self.random.randint(1, 4)):
            yield at
            steps = [(sandbox, sandbox == holder) for sandbox in OWN]
            self.random.shuffle(steps)
            for sandbox, has_group in steps:
                self.change_keys(sandbox, self._keys_of(sandbox, has_group=has_group))
                at += self.random.choice((0, 0, 1, 3))
                yield at
            holder = self.random.choice(("alice", "bob", "nobody"))
            at += self.random.choice((1, 8))
        if self.random.random() < 0.5:
            # the RouteGroup is deleted while records are under way
            for sandbox in OWN:
                self.change_keys(sandbox, self._keys_of(sandbox, has_group=False))
        yield 52
        self.delete("alice")
        if self.random.random() < 0.5:
            self.change_keys("bob", self._keys_of("bob", has_group=True))
        yield 60
        self.delete("bob")

    @staticmethod
    def _keys_of(sandbox: str, *, has_group: bool) -> tuple[str, ...]:
        return (OWN[sandbox], GROUP_KEY) if has_group else (OWN[sandbox],)

    def operate(self) -> None:
        """As before, but what was decided of each KafkaRoute waits for itself."""
        if not self.routes:
            return
        uid = self.random.choice(self.routes).metadata.uid
        if uid in self.decided:
            self.carry_out(*self.decided.pop(uid))
            return
        super().operate()
        if self.pending is not None:
            route, step = self.pending
            self.pending = None
            self.decided.setdefault(route.metadata.uid, (route, step))
