"""What every trial needs: a topic, a KafkaConsumer of it, a crew, and the forks that may be made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.handoff.crew import Crew, crew
from bench.handoff.forks import Fork
from bench.handoff.handled import BASELINE, Handled, read
from bench.handoff.place import KAFKA_CLUSTER, NAMESPACE, Place
from bench.handoff.post import Post
from sidestream.api.kafka import DEFAULT_GROUP_NAME, Coordination
from sidestream.api.names import fork_group
from sidestream.kube.port import DEPLOYMENTS, KAFKA_CONSUMERS, Object
from sidestream_demo.kafka import Kafka
from sidestream_demo.process import wait_until
from sidestream_sdk.identity import ENV_CONSUMER, ENV_MAPPING_URL

PARTITIONS = 3
BASELINE_MEMBERS = 2
POLL_INTERVAL = "1s"
JOIN_SECONDS = 30.0
CATCH_UP_SECONDS = 120.0


@dataclass(frozen=True)
class Scene:
    """A baseline whose Deployment, consumer group and topic all have the name `workload`.

    Its members and those of its forks read the mapping only every `lag` seconds (0: as they should), and are busy with
    a record for `work` seconds.
    """

    place: Place
    crew: Crew
    workload: str
    coordination: Coordination
    lag: float
    work: float

    @property
    def folder(self) -> Path:
        """Where members tell what they handled."""
        return self.place.folder / self.workload

    def start_baseline(self) -> None:
        """Start the baseline's members and wait until they share the topic."""
        self.crew.start(self._posts(BASELINE, self.workload, BASELINE_MEMBERS))
        wait_until(self._is_shared, JOIN_SECONDS, "the baseline's members to join their group")

    def fork(self, tenant: str, members: int) -> Fork:
        """A tenant's fork with so many members."""
        group = fork_group(DEFAULT_GROUP_NAME, group=self.workload, namespace=NAMESPACE, sandbox=tenant)
        return Fork(
            self.place.cluster,
            self.crew,
            workload=self.workload,
            tenant=tenant,
            group=group,
            coordination=self.coordination,
            poll_interval=POLL_INTERVAL,
            posts=self._posts(tenant, group, members),
        )

    def wait_until_caught_up(self) -> None:
        """Wait until the baseline has committed all there is."""
        wait_until(self._has_caught_up, CATCH_UP_SECONDS, "the baseline to commit all records")

    def ends(self) -> dict[tuple[str, int], int]:
        """Where the topic's partitions end."""
        return {(self.workload, number): end for number, (_, end) in self._positions().items()}

    def handled(self) -> Iterator[Handled]:
        """All that members told."""
        return read(self.folder)

    def _posts(self, version: str, group: str, members: int) -> tuple[Post, ...]:
        return tuple(
            Post(
                version,
                number,
                bootstrap=self.place.kafka.bootstrap,
                group=group,
                topic=self.workload,
                mapping_url=self.place.mapping_url,
                consumer=f"{NAMESPACE}/{self.workload}",
                folder=str(self.folder),
                lag=self.lag,
                work=self.work,
            )
            for number in range(members)
        )

    def _is_shared(self) -> bool:
        group = self.place.kafka.group(self.workload)
        return group is not None and group.state == "Stable" and group.members == BASELINE_MEMBERS

    def _has_caught_up(self) -> bool:
        positions = self._positions()
        return len(positions) == PARTITIONS and all(committed == end for committed, end in positions.values())

    def _positions(self) -> dict[int, tuple[int | None, int]]:
        group = self.place.kafka.group(self.workload)
        return {item.partition: (item.committed, item.end) for item in group.positions} if group is not None else {}


@contextmanager
def scene(
    place: Place, name: str, coordination: Coordination, *, lag: float = 0.0, work: float = 0.0
) -> Iterator[Scene]:
    """Set it; all but the folder goes in the end."""
    workload = f"handoff-{name}"
    _strike(place.kafka, workload)
    place.kafka.create_topic(workload, PARTITIONS)
    try:
        place.cluster.apply(DEPLOYMENTS, _deployment(workload, place.mapping_url))
        place.cluster.apply(KAFKA_CONSUMERS, _consumer(workload, coordination))
        with crew() as members:
            found = Scene(place, members, workload, coordination, lag, work)
            found.folder.mkdir()
            yield found
    finally:
        place.cluster.delete(KAFKA_CONSUMERS, NAMESPACE, workload)
        place.cluster.delete(DEPLOYMENTS, NAMESPACE, workload)
        _strike(place.kafka, workload)


def _strike(kafka: Kafka, workload: str) -> None:
    kafka.delete_groups({name for name in kafka.group_names() if name.startswith(workload)})
    kafka.delete_topic(workload)


def _deployment(name: str, mapping_url: str) -> Object:
    """The baseline as the cluster knows it: it uses our SDK, and its members are no pods."""
    labels = {"app": name}
    variables = {ENV_MAPPING_URL: mapping_url, ENV_CONSUMER: f"{NAMESPACE}/{name}"}
    env = [{"name": key, "value": value} for key, value in variables.items()]
    container = {"name": "app", "image": "registry.k8s.io/pause:3.10", "env": env}
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _consumer(name: str, coordination: Coordination) -> Object:
    return {
        "apiVersion": KAFKA_CONSUMERS.api_version,
        "kind": KAFKA_CONSUMERS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "cluster": KAFKA_CLUSTER,
            "deployment": name,
            "group": name,
            "topics": [name],
            "groupEnv": {"name": "KAFKA_GROUP_ID"},
            "coordination": coordination,
            "pollInterval": POLL_INTERVAL,
        },
    }
