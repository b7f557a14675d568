"""A namespace of its own for each test, with small workloads: what the tests make, change and wait for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sidestream.api import labels
from sidestream.kube.port import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    KAFKA_CLUSTERS,
    KAFKA_CONSUMERS,
    KAFKA_ROUTES,
    PODS,
    ROUTE_GROUPS,
    SANDBOXES,
    SERVICES,
    VIRTUAL_SERVICES,
    Object,
    Resource,
)
from sidestream_demo.cluster import Cluster, condition_of, is_condition
from sidestream_demo.kafka import Kafka
from sidestream_demo.process import wait_until
from sidestream_demo.release import NAMESPACE
from sidestream_demo.shop import is_rolled_out

MAPPING_URL = f"http://sidestream-mapping.{NAMESPACE}.svc.cluster.local:8080"
ROLLOUT_SECONDS = 120.0
SETTLE_SECONDS = 60.0
DELETION_SECONDS = 120.0
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
MADE = (DEPLOYMENTS, SERVICES, KAFKA_ROUTES, VIRTUAL_SERVICES, CONTROLLER_REVISIONS, REPLICA_SETS, PODS)
"""Every kind of object that Sidestream makes for a Sandbox, and those that its forks make."""

WEB_SERVER = ["python", "-m", "http.server", "8080"]


def _consumer(module: str, name: str, group: str) -> list[str]:
    """A program that reads a topic with this class, in the group that an expression names."""
    return [
        "python",
        "-c",
        f"""
import os, signal, sys
from {module} import {name}
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
config = {{"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "group.id": {group},
          "auto.offset.reset": "earliest", "session.timeout.ms": 6000}}
consumer = {name}(config)
consumer.subscribe([os.environ["KAFKA_TOPIC"]])
try:
    while True:
        consumer.poll(0.5)
finally:
    consumer.close()
""",
    ]


CONSUMER = _consumer("sidestream_sdk", "SandboxConsumer", 'os.environ["KAFKA_GROUP_ID"]')
STUBBORN_CONSUMER = _consumer("confluent_kafka", "Consumer", 'os.environ[os.environ["GROUP_FROM"]]')
"""Without the SDK; takes its group from the variable that GROUP_FROM names."""


@dataclass
class Place:
    """One namespace; `kafka_inside` is the bootstrap address for pods, `image` the shop's."""

    cluster: Cluster
    kafka: Kafka
    namespace: str
    image: str
    kafka_inside: str
    clusters: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)

    def deploy(self, name: str, *, command: list[str] | None = None, env: dict[str, str] | None = None) -> Object:
        """A Deployment of one small pod, rolled out."""
        self.cluster.apply(DEPLOYMENTS, self.deployment(name, command=command, env=env))
        return self.rolled_out(name)

    def deployment(
        self, name: str, *, command: list[str] | None = None, env: dict[str, str] | None = None, **annotations: str
    ) -> Object:
        """The Deployment as its owner would write it."""
        container = {
            "name": "app",
            "image": self.image,
            "command": command or WEB_SERVER,
            "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "5m", "memory": "32Mi"}},
        }
        return {
            "apiVersion": DEPLOYMENTS.api_version,
            "kind": DEPLOYMENTS.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}, "annotations": annotations},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
                },
            },
        }

    def deploy_consumer(
        self, name: str = "worker", *, topic: str = "orders.created", command: list[str] = CONSUMER, **spec: Any
    ) -> str:
        """A Deployment that consumes through the SDK, with its KafkaCluster, KafkaConsumer of this spec, and topic.

        Returns the topic's full name.
        """
        topic = self.topic(topic)
        env = {
            "KAFKA_BOOTSTRAP": self.kafka_inside,
            "KAFKA_GROUP_ID": self.group(name),
            "KAFKA_TOPIC": topic,
            "SIDESTREAM_MAPPING_URL": MAPPING_URL,
            "SIDESTREAM_CONSUMER": f"{self.namespace}/{name}",
        }
        self.declare_cluster(self.kafka_inside)
        self.declare_consumer(name, topic, **spec)
        self.deploy(name, command=command, env=env)
        self.until(KAFKA_CONSUMERS, name, is_condition("Accepted"))
        return topic

    def topic(self, name: str) -> str:
        """A topic that is this test's own."""
        full = f"{self.namespace}.{name}"
        self.kafka.create_topic(full, partitions=2)
        self.topics.append(full)
        return full

    def group(self, deployment: str) -> str:
        """The baseline's consumer group of a Deployment."""
        return f"{self.namespace}.{deployment}"

    def fork_group(self, deployment: str, sandbox: str) -> str:
        """The consumer group of a Sandbox's fork of it."""
        return f"{self.group(deployment)}.sbx.{sandbox}"

    def declare_cluster(self, bootstrap: str, name: str = "") -> str:
        """A KafkaCluster that is this test's own, named like its namespace."""
        name = name or self.namespace
        spec = {"bootstrapServers": [bootstrap]}
        self.cluster.apply(KAFKA_CLUSTERS, _object(KAFKA_CLUSTERS, name, "", spec))
        self.clusters.append(name)
        return name

    def declare_consumer(self, deployment: str, topic: str, **spec: Any) -> None:
        """A KafkaConsumer of the Deployment, named like it, with these fields too."""
        wanted = {
            "cluster": self.namespace,
            "deployment": deployment,
            "group": self.group(deployment),
            "topics": [topic],
            "groupEnv": {"name": "KAFKA_GROUP_ID"},
            "pollInterval": "1s",
            **spec,
        }
        self.cluster.apply(KAFKA_CONSUMERS, _object(KAFKA_CONSUMERS, deployment, self.namespace, wanted))

    def expose(self, deployment: str, **annotations: str) -> None:
        """A Service with an HTTP port in front of a Deployment."""
        spec = {"selector": {"app": deployment}, "ports": [{"name": "http", "port": 8080}]}
        service = _object(SERVICES, deployment, self.namespace, spec)
        service["metadata"]["annotations"] = annotations
        self.cluster.apply(SERVICES, service)

    def sandbox(self, name: str, *deployments: str, workloads: list[Object] | None = None, **spec: Any) -> Object:
        """A Sandbox that forks these Deployments, or with these entries of `spec.workloads`."""
        wanted = workloads or [{"deployment": deployment} for deployment in deployments]
        return self.cluster.apply(SANDBOXES, _object(SANDBOXES, name, self.namespace, {"workloads": wanted, **spec}))

    def route_group(self, name: str, *sandboxes: str) -> Object:
        """A RouteGroup of these Sandboxes, with its name as the key."""
        spec = {"routingKey": name, "sandboxes": {"names": list(sandboxes)}}
        return self.cluster.apply(ROUTE_GROUPS, _object(ROUTE_GROUPS, name, self.namespace, spec))

    def until(
        self, resource: Resource, name: str, holds: Callable[[Object | None], bool], timeout: float = SETTLE_SECONDS
    ) -> Object:
        """Wait for an object of this namespace (or of the cluster) and return it."""
        found = self.cluster.wait(resource, self.namespace, name, holds, timeout=timeout)
        assert found is not None
        return found

    def ready(self, name: str) -> Object:
        """Wait until a Sandbox is Ready."""
        return self.until(SANDBOXES, name, is_condition("Ready"), ROLLOUT_SECONDS)

    def refused(self, resource: Resource, name: str, type_: str, reason: str) -> str:
        """Wait until a condition is False for this reason, and return its sentence."""
        found = self.until(resource, name, is_condition(type_, "False", reason), ROLLOUT_SECONDS)
        return str(condition_of(found, type_)["message"])

    def rolled_out(self, name: str) -> Object:
        """Wait until a Deployment is."""
        return self.until(DEPLOYMENTS, name, is_rolled_out, ROLLOUT_SECONDS)

    def until_members(self, group: str, count: int) -> None:
        """Wait until a consumer group has so many members."""

        def holds() -> bool:
            found = self.kafka.group(group)
            return (0 if found is None else found.members) == count

        wait_until(holds, SETTLE_SECONDS, f"consumer group {group} to have {count} members")

    def delete(self, name: str) -> None:
        """Ask for a Sandbox's deletion."""
        self.cluster.delete(SANDBOXES, self.namespace, name)

    def gone(self, name: str, timeout: float = DELETION_SECONDS) -> None:
        """Wait until a Sandbox is deleted, its finalizer off."""
        self.cluster.wait_gone(SANDBOXES, self.namespace, name, timeout=timeout)

    def made_for(self, sandbox: str) -> list[str]:
        """`Kind/name` of every object with the label of a Sandbox."""
        return self._labelled(f"{labels.SANDBOX}={sandbox}")

    def made(self) -> list[str]:
        """`Kind/name` of every object in this namespace that Sidestream made."""
        return self._labelled(f"{labels.MANAGED_BY}={labels.MANAGED_BY_VALUE}")

    def events(self, sandbox: str) -> list[str]:
        """Reasons of the Events about a Sandbox."""
        events = Resource("events.k8s.io", "v1", "events", "Event")
        return [
            item["reason"]
            for item in self.cluster.objects(events, self.namespace)
            if item["regarding"].get("kind") == SANDBOXES.kind and item["regarding"].get("name") == sandbox
        ]

    def _labelled(self, selector: str) -> list[str]:
        return sorted(
            f"{resource.kind}/{item['metadata']['name']}"
            for resource in MADE
            for item in self.cluster.objects(resource, self.namespace, labels=selector)
        )


def _object(resource: Resource, name: str, namespace: str, spec: Object) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
