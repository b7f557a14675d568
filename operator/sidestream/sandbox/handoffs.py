"""The hand-offs of a fork: one KafkaRoute for each KafkaConsumer of its baseline; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.api.kafka import Coordination, KafkaCluster, KafkaConsumer, KafkaRoute, KafkaRouteSpec, Phase
from sidestream.api.names import fork_group, fork_name
from sidestream.api.sandbox import Sandbox
from sidestream.errors import InvalidInputError
from sidestream.kube.port import KAFKA_ROUTES, Object
from sidestream.sandbox.ownership import made, made_metadata
from sidestream.sandbox.variables import GroupVariable, UniqueVariable, Variable

_WORKING: Final[Mapping[Coordination, frozenset[Phase]]] = {
    "Fenced": frozenset({Phase.ACTIVE, Phase.FREEZING, Phase.PREPARING_OFF, Phase.DRAINING}),
    "Polling": frozenset({Phase.PREPARING, Phase.ACTIVE, Phase.DRAINING}),
}
"""The fork group exists and the fork has records to work off: its pods should run."""

_GIVEN_BACK: Final = frozenset({Phase.DRAINED, Phase.DELETING, Phase.RETIRING})


def is_working(route: KafkaRoute) -> bool:
    """Whether the fork's pods may and should run as far as this hand-off goes."""
    return route.status.phase in _WORKING[route.spec.coordination]


def is_leaving(route: KafkaRoute) -> bool:
    """Whether the fork still works off records of a hand-off that ends: it must not be disturbed."""
    return route.is_deleting and is_working(route)


def is_given_back(route: KafkaRoute) -> bool:
    """Whether the fork has nothing left to do for this hand-off: its pods may stop."""
    return route.status.phase in _GIVEN_BACK


def is_over(route: KafkaRoute) -> bool:
    """Whether nothing of the fork is left in Kafka, and only the baseline has to go on for the route to end."""
    return route.is_deleting and route.status.phase is Phase.RETIRING


def group_of(route: KafkaRoute) -> str:
    """The fork's consumer group: the recorded one, else the one that it is going to have."""
    return route.status.group.name if route.status.group is not None else route.spec.fork_group


@dataclass(frozen=True)
class Handoff:
    """One consumer of a forked baseline.

    `route` is the KafkaRoute to write, None where none can be written now: then `problem` says why, or `live` has to
    go first (`must_go`) because its spec is no longer what the consumer says.
    """

    consumer: KafkaConsumer
    name: str
    live: KafkaRoute | None
    route: Object | None = None
    problem: InvalidInputError | None = None

    @property
    def must_go(self) -> bool:
        """Whether the live KafkaRoute has to be deleted and made anew."""
        return self.live is not None and self.route is None and self.problem is None

    @property
    def is_ready_for_pods(self) -> bool:
        """Whether the fork group stands, so that the fork may join it."""
        return self.live is not None and is_working(self.live)

    @property
    def variables(self) -> Iterator[Variable]:
        """How the fork is told its group, as soon as one can be named, and which of its ids must be its own."""
        name, spec = self.consumer.metadata.name, self.consumer.spec
        group = self._group()
        if group is not None:
            yield GroupVariable(name, spec.group_env.container, spec.group_env.name, group)
        for item in spec.unique_env:
            yield UniqueVariable(name, item.container, item.name)

    def _group(self) -> str | None:
        if self.live is not None and self.live.status.group is not None:
            return group_of(self.live)
        if self.route is not None:
            return str(self.route["spec"]["forkGroup"])
        return None if self.live is None else group_of(self.live)


def handoffs_of(
    sandbox: Sandbox,
    deployment: str,
    consumers: Iterable[KafkaConsumer],
    clusters: Mapping[str, KafkaCluster],
    routes: Mapping[str, KafkaRoute],
    *,
    keys: tuple[str, ...],
    is_asleep: bool = False,
) -> tuple[Handoff, ...]:
    """The hand-offs of the Sandbox's fork of `deployment`, by consumer; `routes` are its own KafkaRoutes by name.

    `keys` are those that this fork answers to. A Sandbox that is asleep wants none: those that live go.
    """
    mine = sorted(
        (item for item in consumers if item.spec.deployment == deployment), key=lambda item: item.metadata.name
    )
    if is_asleep:
        live = ((consumer, fork_name(consumer.metadata.name, sandbox.metadata.name)) for consumer in mine)
        return tuple(Handoff(consumer, name, routes[name]) for consumer, name in live if name in routes)
    return tuple(
        _handoff(sandbox, consumer, clusters.get(consumer.spec.cluster), routes, keys=keys) for consumer in mine
    )


def _handoff(
    sandbox: Sandbox,
    consumer: KafkaConsumer,
    cluster: KafkaCluster | None,
    routes: Mapping[str, KafkaRoute],
    *,
    keys: tuple[str, ...],
) -> Handoff:
    name = fork_name(consumer.metadata.name, sandbox.metadata.name)
    live = routes.get(name)
    try:
        spec = _spec(sandbox, consumer, _group_name(sandbox, consumer, cluster, live), keys)
    except InvalidInputError as problem:
        return Handoff(consumer, name, live, problem=problem)
    if live is not None and (live.is_deleting or not _is_same_handoff(live.spec, spec)):
        return Handoff(consumer, name, live)
    metadata = made_metadata(sandbox, consumer.spec.deployment, name)
    return Handoff(consumer, name, live, route=made(KAFKA_ROUTES, metadata, spec=spec.to_json()))


def _spec(sandbox: Sandbox, consumer: KafkaConsumer, group: str, keys: tuple[str, ...]) -> KafkaRouteSpec:
    spec = consumer.spec
    return KafkaRouteSpec(
        sandbox=sandbox.metadata.name,
        consumer=consumer.metadata.name,
        cluster=spec.cluster,
        deployment=spec.deployment,
        fork=fork_name(spec.deployment, sandbox.metadata.name),
        baseline_group=spec.group,
        fork_group=group,
        topics=tuple(sorted(spec.topics)),
        keys=keys,
        coordination=spec.coordination,
        poll_interval=spec.poll_interval,
        drain=sandbox.spec.drain,
    )


def _group_name(
    sandbox: Sandbox, consumer: KafkaConsumer, cluster: KafkaCluster | None, live: KafkaRoute | None
) -> str:
    """The fork's group; one that is recorded keeps its name, whatever the cluster's `groupName` says by now."""
    if live is not None and live.status.group is not None:
        return live.spec.fork_group
    if cluster is None:
        raise InvalidInputError(
            Reason.CLUSTER_NOT_FOUND,
            f"KafkaConsumer {consumer.metadata.name} names KafkaCluster {consumer.spec.cluster}, which does not exist",
        )
    try:
        return fork_group(
            cluster.spec.group_name,
            group=consumer.spec.group,
            namespace=sandbox.metadata.namespace,
            sandbox=sandbox.metadata.name,
        )
    except ValueError as error:
        raise InvalidInputError(
            Reason.GROUP_NAME_INVALID, f"KafkaCluster {cluster.metadata.name} names no group: {error}"
        ) from error


def _is_same_handoff(live: KafkaRouteSpec, wanted: KafkaRouteSpec) -> bool:
    """Whether the live hand-off can become what is wanted without an end and a new beginning.

    Under `Fenced` no topic can go: what the fork has of it would be nobody's.
    """
    changes: dict[str, object] = {"poll_interval": wanted.poll_interval, "topics": wanted.topics, "drain": wanted.drain}
    if live.coordination == "Fenced":
        changes["keys"] = wanted.keys
        if not set(live.topics) <= set(wanted.topics):
            return False
    return live.model_copy(update=changes) == wanted
