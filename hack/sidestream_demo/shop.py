"""The shop of examples/shop in a cluster: deployed, forked, and taken away."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from sidestream.kube.port import DEPLOYMENTS, KAFKA_CLUSTERS, NAMESPACES, SANDBOXES, Object
from sidestream_demo.cluster import Cluster
from sidestream_demo.kafka import Kafka
from sidestream_demo.release import REPOSITORY

MANIFESTS = Path("examples/shop/manifests")
SANDBOX_FILE = MANIFESTS / "sandbox-alice.yaml"
NAMESPACE = "shop"
SERVICES = ("storefront", "orders", "fulfilment", "inventory")
SANDBOX = "alice"
TOPIC = "orders.created"
PARTITIONS = 3
GROUP = "fulfilment"
FORK_GROUP = "fulfilment.sbx.alice"
ROUTE = "fulfilment-alice"
"""The KafkaRoute of the fork."""
KAFKA_CLUSTER = "main"

MANIFEST_IMAGE = "sidestream/shop:latest"
MANIFEST_KAFKA = "kafka.kafka.svc.cluster.local:9092"

ROLLOUT_SECONDS = 240.0
DELETION_SECONDS = 180.0


@dataclass(frozen=True)
class Shop:
    """The shop's manifests with the image and Kafka of one place; `kafka_inside` is the bootstrap address for pods."""

    cluster: Cluster
    kafka: Kafka
    image: str
    kafka_inside: str

    def deploy(self) -> None:
        """Create the topic, apply the manifests, and wait until all four services are ready."""
        self.cluster.wait(
            NAMESPACES,
            "",
            NAMESPACE,
            lambda found: found is None or "deletionTimestamp" not in found["metadata"],
            timeout=DELETION_SECONDS,
            what="free of what is being deleted",
        )
        self.kafka.create_topic(TOPIC, PARTITIONS)
        objects = {"apiVersion": "v1", "kind": "List", "items": self.objects()}
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(objects))
        for service in SERVICES:
            self.cluster.wait(
                DEPLOYMENTS, NAMESPACE, service, is_rolled_out, timeout=ROLLOUT_SECONDS, what="rolled out"
            )

    def objects(self) -> list[Object]:
        """The manifests as kustomize renders them, made for this place."""
        text = self.cluster.kubectl("kustomize", str(REPOSITORY / MANIFESTS))
        return list(yaml.safe_load_all(self._made_for_here(text)))

    def sandbox(self) -> Object:
        """The Sandbox of examples/shop."""
        found: Object = yaml.safe_load(self._made_for_here((REPOSITORY / SANDBOX_FILE).read_text()))
        return found

    def remove_sandbox(self) -> None:
        """Delete the Sandbox, if there is one, and wait until it has cleaned up behind itself."""
        if self.cluster.get(SANDBOXES, NAMESPACE, SANDBOX):
            self.cluster.delete(SANDBOXES, NAMESPACE, SANDBOX)
            self.cluster.wait_gone(SANDBOXES, NAMESPACE, SANDBOX, timeout=DELETION_SECONDS)

    def remove(self) -> None:
        """Delete the Sandbox in its order, then all the rest; returns while the namespace is still going."""
        self.remove_sandbox()
        self.cluster.delete(NAMESPACES, "", NAMESPACE)
        self.cluster.delete(KAFKA_CLUSTERS, "", KAFKA_CLUSTER)
        self.kafka.delete_topic(TOPIC)
        self.kafka.delete_groups(self.kafka.group_names() & {GROUP})

    def _made_for_here(self, text: str) -> str:
        return text.replace(MANIFEST_IMAGE, self.image).replace(MANIFEST_KAFKA, self.kafka_inside)


def is_rolled_out(deployment: Object | None) -> bool:
    """What `kubectl rollout status` waits for."""
    if deployment is None:
        return False
    wanted, status = deployment["spec"]["replicas"], deployment.get("status", {})
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )
