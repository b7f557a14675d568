"""The forks of a trial: KafkaRoutes that come and go, with members as long as the operator lets them have any.

A KafkaRoute is written as the reconciler of Sandboxes writes it; all that it leads to is the operator's work. This
program plays the part of the Deployment and the kubelet: pods of a cluster start and end too slowly to be killed often.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.handoff.crew import Crew
from bench.handoff.place import KAFKA_CLUSTER, NAMESPACE
from bench.handoff.post import Post
from sidestream.api.kafka import Coordination, KafkaRoute, KafkaRouteSpec, Phase
from sidestream.api.labels import FORCE_CLEANUP, FORCE_CLEANUP_DISCARD
from sidestream.api.names import fork_name
from sidestream.kube.port import KAFKA_ROUTES, Object
from sidestream.sandbox.handoffs import is_given_back, is_working
from sidestream_demo.cluster import Cluster
from sidestream_demo.errors import DemoError

SECONDS = 120.0
ACTIVE_SECONDS = (2.0, 5.0)
BREAK_SECONDS = (0.2, 1.5)

Seen = KafkaRoute | None


@dataclass(frozen=True)
class Life:
    """When a KafkaRoute was made, Active, deleted, and gone (or no more than Retiring), on the monotonic clock."""

    made: float
    active: float
    deleted: float
    gone: float

    @property
    def activation(self) -> float:
        """Seconds from its creation until the fork has its tenant's records."""
        return self.active - self.made

    @property
    def teardown(self) -> float:
        """Seconds from its deletion until the baseline has them."""
        return self.gone - self.deleted


@dataclass(frozen=True)
class Fork:
    """One tenant's fork of a baseline whose Deployment, KafkaConsumer, group and topic are all named `workload`."""

    cluster: Cluster
    crew: Crew
    workload: str
    tenant: str
    group: str
    coordination: Coordination
    poll_interval: str
    posts: tuple[Post, ...]

    @property
    def name(self) -> str:
        """Its KafkaRoute's."""
        return fork_name(self.workload, self.tenant)

    def come_and_go(self, seed: int, until: threading.Event) -> list[Life]:
        """Live, again and again, until told to stop; the last life is lived to its end."""
        chance = random.Random(seed)  # noqa: S311 - no secret
        lives = []
        while not until.is_set():
            made, active = self.activate()
            until.wait(chance.uniform(*ACTIVE_SECONDS))
            lives.append(Life(made, active, *self.give_back()))
            until.wait(chance.uniform(*BREAK_SECONDS))
        return lives

    def activate(self) -> tuple[float, float]:
        """Make the KafkaRoute and wait until it is Active; returns when it was made and when it was Active."""
        made = time.monotonic()
        self.cluster.create(KAFKA_ROUTES, self._object())
        return made, self._wait(lambda route: route is not None and route.status.phase is Phase.ACTIVE, "Active")

    def give_back(self) -> tuple[float, float]:
        """Delete it and wait until it is gone; returns when it was deleted and when the baseline had all again."""
        deleted = time.monotonic()
        self.cluster.delete(KAFKA_ROUTES, NAMESPACE, self.name)
        back = self._wait(lambda route: route is None or route.status.phase is Phase.RETIRING, "given back")
        self._wait(lambda route: route is None, "gone")
        return deleted, back

    def discard(self) -> None:
        """Take it away, if it was made, without regard to its records; its group is left."""
        if self.cluster.get(KAFKA_ROUTES, NAMESPACE, self.name) is None:
            return
        annotations = {FORCE_CLEANUP: FORCE_CLEANUP_DISCARD}
        self.cluster.patch(KAFKA_ROUTES, NAMESPACE, self.name, {"metadata": {"annotations": annotations}})
        self.cluster.delete(KAFKA_ROUTES, NAMESPACE, self.name)
        self._wait(lambda route: route is None, "gone")

    def _wait(self, holds: Callable[[Seen], bool], what: str) -> float:
        for raw in self.cluster.states(KAFKA_ROUTES, NAMESPACE, self.name, timeout=SECONDS):
            now = time.monotonic()
            route = None if raw is None else KafkaRoute.from_json(raw)
            if holds(route):
                self._man(route)
                return now
            self._man(route)
        told = "it does not exist" if route is None else f"{route.status.phase}, {_sentences(route)}"
        raise DemoError(f"KafkaRoute {NAMESPACE}/{self.name} was not {what} after {SECONDS:.0f} s: {told}")

    def _man(self, route: Seen) -> None:
        """Have members at work or not, as the Sandbox's reconciler would have the Deployment's replicas."""
        if route is not None and is_working(route):
            self.crew.start(self.posts)
        elif route is None or is_given_back(route):
            self.crew.stop(self.posts)

    def _object(self) -> Object:
        spec = KafkaRouteSpec(
            sandbox=self.tenant,
            consumer=self.workload,
            cluster=KAFKA_CLUSTER,
            deployment=self.workload,
            fork=self.name,
            baseline_group=self.workload,
            fork_group=self.group,
            topics=(self.workload,),
            keys=(self.tenant,),
            coordination=self.coordination,
            poll_interval=self.poll_interval,
        )
        return {
            "apiVersion": KAFKA_ROUTES.api_version,
            "kind": KAFKA_ROUTES.kind,
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": spec.to_json(),
        }


def _sentences(route: KafkaRoute) -> str:
    return "; ".join(condition.message for condition in route.status.conditions)
