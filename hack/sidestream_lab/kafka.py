"""Apache Kafka in the cluster: reached as BOOTSTRAP by pods, and through a host port by programs on the machine.

One broker by default. Replication factors are the number of brokers; a change of it starts anew with empty topics.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sidestream_lab import images
from sidestream_lab.errors import LabError
from sidestream_lab.paths import MANIFESTS, Layout
from sidestream_lab.shell import Toolbox
from sidestream_lab.steps import Step, digest
from sidestream_lab.waiting import wait_until

BOOTSTRAP = "kafka.kafka.svc.cluster.local:9092"
"""The address for clients in the cluster."""

FOLDER = MANIFESTS / "kafka"
MAXIMUM_BROKERS = 3
INPUTS = "sidestream.dev/lab-inputs"
READY_SECONDS = 300.0
_ANSWER_SECONDS = 3.0

Object = dict[str, Any]


def steps(tools: Toolbox) -> Sequence[Step]:
    """The one step that has Kafka answering."""
    return [_Ready(tools)]


def install(tools: Toolbox, brokers: int = 1) -> None:
    """Have Kafka run with so many brokers, and wait until a client on this machine reaches all of them.

    Raises:
        LabError: the number is out of range, or the brokers do not answer in time.
    """
    if not 1 <= brokers <= MAXIMUM_BROKERS:
        raise LabError(f"Kafka cannot have {brokers} brokers here", f"Ask for 1 to {MAXIMUM_BROKERS}.")
    log = tools.layout.log("kafka")
    objects = manifest(tools.layout, images.catalogue(tools.world)["kafka"].reference, brokers)
    running = _statefulset(tools)
    if running and running["spec"]["replicas"] != brokers:
        # Controllers take the list of voters only once, when their storage is made.
        tools.kubectl("--namespace", "kafka", "delete", "statefulset/kafka", "--cascade=foreground", log=log)
    tools.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=_as_list(objects), log=log)
    tools.kubectl(
        *("--namespace", "kafka", "rollout", "status", "statefulset/kafka", f"--timeout={READY_SECONDS:.0f}s"), log=log
    )
    wait_until(
        lambda: answering(tools.layout) == brokers,
        seconds=READY_SECONDS,
        what=f"Kafka at {tools.layout.kafka_bootstrap} does not answer with {brokers} broker(s)",
        hint="Look at: kubectl --namespace kafka logs kafka-0",
    )


def answering(layout: Layout) -> int:
    """How many brokers a client on this machine is told of; 0 when Kafka does not answer.

    The answer to a metadata request names brokers only once they have joined, which an open port does not tell.
    """
    client = AdminClient({"bootstrap.servers": layout.kafka_bootstrap, "log_level": 0})
    try:
        return len(client.list_topics(timeout=_ANSWER_SECONDS).brokers)
    except KafkaException:
        return 0


def manifest(layout: Layout, image: str, brokers: int) -> list[Object]:
    """The objects of a Kafka with so many brokers; the StatefulSet carries a digest of them all."""
    objects: list[Object] = list(yaml.safe_load_all((FOLDER / "kafka.yaml").read_text()))
    objects[1:1] = [_configuration(), *(_host_service(layout, broker) for broker in range(brokers))]
    workload = objects[-1]
    workload["spec"]["replicas"] = brokers
    container = workload["spec"]["template"]["spec"]["containers"][0]
    container["image"] = image
    _set_environment(container, {"BROKERS": str(brokers), "HOST_PORT": str(layout.kafka_host_port(0))})
    inputs = digest(json.dumps(objects, sort_keys=True))
    workload["metadata"]["annotations"] = {INPUTS: inputs}
    workload["spec"]["template"]["metadata"]["annotations"] = {INPUTS: inputs}
    return objects


def _configuration() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kafka", "namespace": "kafka"},
        "data": {name: (FOLDER / name).read_text() for name in ("start.sh", "log4j2.properties")},
    }


def _host_service(layout: Layout, broker: int) -> Object:
    """The way from a host port to one broker: clients must reach each by an address of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"kafka-host-{broker}", "namespace": "kafka"},
        "spec": {
            "type": "NodePort",
            "publishNotReadyAddresses": True,
            "selector": {"statefulset.kubernetes.io/pod-name": f"kafka-{broker}"},
            "ports": [{"name": "tcp-host", "port": 9094, "nodePort": layout.kafka_node_port(broker)}],
        },
    }


def _set_environment(container: Object, values: Mapping[str, str]) -> None:
    for variable in container["env"]:
        if variable["name"] in values:
            variable["value"] = values[variable["name"]]


def _as_list(objects: Iterable[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _statefulset(tools: Toolbox) -> Object:
    text = tools.kubectl("--namespace", "kafka", "get", "statefulset/kafka", "--ignore-not-found", "--output", "json")
    found: Object = json.loads(text) if text else {}
    return found


@dataclass(frozen=True)
class _Ready:
    tools: Toolbox
    name: str = "kafka"
    why: str = "Apache Kafka starts in the cluster"
    seconds: float = 15
    needs: Sequence[str] = ("load-kafka",)

    def is_done(self) -> bool:
        """Any number of brokers will do: whoever asked for three keeps them."""
        running = _statefulset(self.tools)
        if not running:
            return False
        brokers = running["spec"]["replicas"]
        image = images.catalogue(self.tools.world)["kafka"].reference
        wanted = manifest(self.tools.layout, image, brokers)[-1]["metadata"]["annotations"]
        found = running["metadata"].get("annotations", {})
        return bool(found.get(INPUTS) == wanted[INPUTS] and answering(self.tools.layout) == brokers)

    def run(self) -> None:
        install(self.tools, _statefulset(self.tools).get("spec", {}).get("replicas", 1))
