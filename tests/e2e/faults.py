"""What the tests do to the operator and to Kafka: take away, kill, freeze."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.node import Node
from sidestream.kube.port import DEPLOYMENTS, PODS
from sidestream_demo.cluster import Cluster
from sidestream_demo.errors import DemoError
from sidestream_demo.kafka import Kafka
from sidestream_demo.process import wait_until
from sidestream_demo.release import NAMESPACE
from sidestream_demo.shop import is_rolled_out

OPERATOR = "sidestream-operator"
OPERATOR_PODS = "app.kubernetes.io/component=operator"
OPERATOR_PROCESS = "-m sidestream operator"
KAFKA_PROCESS = "kafka.Kafka"
SECONDS = 120.0


class Operator:
    """The running operator, to be taken away, killed and asked."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.cluster = cluster
        self._node = node

    @contextmanager
    def away(self) -> Iterator[None]:
        """No operator runs meanwhile."""
        replicas = self.cluster.read(DEPLOYMENTS, NAMESPACE, OPERATOR)["spec"]["replicas"]
        self.cluster.scale(DEPLOYMENTS, NAMESPACE, OPERATOR, 0)
        wait_until(lambda: not self.pods(), SECONDS, "the operator's pods to end")
        try:
            yield
        finally:
            self.cluster.scale(DEPLOYMENTS, NAMESPACE, OPERATOR, replicas)
            self.wait()

    def kill(self) -> None:
        """SIGKILL to all replicas at once, whatever they are doing.

        Their pods are replaced: restarted ones would wait longer and longer, as for a program that crashes by itself.
        """
        pods = self.pods()
        assert self._node.signal(OPERATOR_PROCESS, signal.SIGKILL) > 0
        for pod in pods:
            self.cluster.delete(PODS, NAMESPACE, pod, grace=0)

    def wait(self) -> None:
        """Wait until all replicas are ready."""
        self.cluster.wait(DEPLOYMENTS, NAMESPACE, OPERATOR, is_rolled_out, timeout=SECONDS)

    def pods(self) -> list[str]:
        """Names of its pods."""
        return [item["metadata"]["name"] for item in self.cluster.objects(PODS, NAMESPACE, labels=OPERATOR_PODS)]


class Broker:
    """The lab's only Kafka broker, which can be made to hang."""

    def __init__(self, node: Node, kafka: Kafka) -> None:
        self._node = node
        self._kafka = kafka

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The broker keeps its connections and data, and answers nothing."""
        if self._node.signal(KAFKA_PROCESS, signal.SIGSTOP) != 1:
            raise DemoError("The node should run exactly one Kafka broker.")
        try:
            yield
        finally:
            self._node.signal(KAFKA_PROCESS, signal.SIGCONT)
            self._kafka.reconnect()
            wait_until(self._kafka.is_reachable, 60, "Kafka to answer again")
