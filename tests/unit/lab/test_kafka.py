import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sidestream_lab import kafka
from sidestream_lab.errors import LabError
from sidestream_lab.paths import Layout, World
from sidestream_lab.shell import Toolbox

IMAGE = "sidestream-lab/kafka:1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(name="lab", cache=tmp_path / "cache", state=tmp_path / "state", kafka_port=39092)


def of_kind(objects: list[kafka.Object], kind: str) -> dict[str, kafka.Object]:
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def workload(objects: list[kafka.Object]) -> Any:
    return of_kind(objects, "StatefulSet")["kafka"]


def environment(objects: list[kafka.Object]) -> dict[str, str]:
    container = workload(objects)["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item.get("value", "") for item in container["env"]}


@pytest.mark.parametrize("brokers", [1, 3])
def test_there_are_as_many_brokers_as_asked_for(layout: Layout, brokers: int) -> None:
    objects = kafka.manifest(layout, IMAGE, brokers)
    assert workload(objects)["spec"]["replicas"] == brokers
    assert environment(objects)["BROKERS"] == str(brokers)


def test_each_broker_is_reached_through_a_port_of_its_own(layout: Layout) -> None:
    services = of_kind(kafka.manifest(layout, IMAGE, 3), "Service")
    for broker in range(3):
        service = services[f"kafka-host-{broker}"]["spec"]
        assert service["selector"] == {"statefulset.kubernetes.io/pod-name": f"kafka-{broker}"}
        assert service["ports"][0]["nodePort"] == layout.kafka_node_port(broker)


def test_clients_in_the_cluster_have_one_address_for_all_brokers(layout: Layout) -> None:
    services = of_kind(kafka.manifest(layout, IMAGE, 3), "Service")
    name, namespace, *_ = kafka.BOOTSTRAP.split(".")
    assert services[name]["metadata"]["namespace"] == namespace
    assert services[name]["spec"]["ports"][0]["port"] == int(kafka.BOOTSTRAP.split(":")[1])


def test_any_change_restarts_the_brokers(layout: Layout) -> None:
    def restarted_by(objects: list[kafka.Object]) -> Any:
        return workload(objects)["spec"]["template"]["metadata"]["annotations"]

    assert restarted_by(kafka.manifest(layout, IMAGE, 1)) == restarted_by(kafka.manifest(layout, IMAGE, 1))
    assert restarted_by(kafka.manifest(layout, IMAGE, 1)) != restarted_by(kafka.manifest(layout, "other:1", 1))


@pytest.mark.parametrize("brokers", [0, 4])
def test_a_number_of_brokers_without_ports_is_refused(layout: Layout, brokers: int) -> None:
    with pytest.raises(LabError, match=str(brokers)):
        kafka.install(Toolbox(layout, World.OWN), brokers)


def test_nobody_answers_where_nobody_listens(tmp_path: Path) -> None:
    layout = Layout(name="lab", cache=tmp_path, state=tmp_path, kafka_port=1)
    assert kafka.answering(layout) == 0


class TestConfiguration:
    """start.sh writes the configuration of the node that it starts; here `java` only shows what it is given."""

    def properties(self, tmp_path: Path, layout: Layout, *, brokers: int, node: int) -> dict[str, str]:
        java = tmp_path / "java"
        java.write_text('#!/bin/sh\nfor last; do :; done\ncp "$last" "$OUT"\n')
        java.chmod(0o755)
        given = environment(kafka.manifest(layout, IMAGE, brokers))
        given |= {"PATH": f"{tmp_path}:/usr/bin:/bin", "POD_NAME": f"kafka-{node}", "OUT": str(tmp_path / "out")}
        given["TMPDIR"] = str(tmp_path)
        subprocess.run(["sh", kafka.FOLDER / "start.sh"], env=given, check=True)
        lines = (tmp_path / "out").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def test_a_single_node_needs_no_name_in_the_dns_to_start(self, tmp_path: Path, layout: Layout) -> None:
        assert self.properties(tmp_path, layout, brokers=1, node=0)["controller.quorum.voters"] == "0@localhost:9093"

    def test_three_nodes_elect_their_controller_among_themselves(self, tmp_path: Path, layout: Layout) -> None:
        voters = self.properties(tmp_path, layout, brokers=3, node=1)["controller.quorum.voters"].split(",")
        assert [voter.split(".")[0] for voter in voters] == ["0@kafka-0", "1@kafka-1", "2@kafka-2"]

    def test_each_node_says_by_which_port_of_the_machine_it_is_reached(self, tmp_path: Path, layout: Layout) -> None:
        for node in range(3):
            advertised = self.properties(tmp_path, layout, brokers=3, node=node)["advertised.listeners"]
            assert f"HOST://127.0.0.1:{layout.kafka_host_port(node)}" in advertised
            assert f"CLUSTER://kafka-{node}.kafka-nodes.kafka.svc.cluster.local:9092" in advertised

    @pytest.mark.parametrize("brokers", [1, 3])
    def test_what_kafka_keeps_for_itself_is_on_every_broker(self, tmp_path: Path, layout: Layout, brokers: int) -> None:
        found = self.properties(tmp_path, layout, brokers=brokers, node=0)
        factors = {value for name, value in found.items() if re.search(r"replication\.factor$", name)}
        assert factors == {str(brokers)}

    def test_topics_are_never_made_by_mistake_and_groups_form_at_once(self, tmp_path: Path, layout: Layout) -> None:
        found = self.properties(tmp_path, layout, brokers=1, node=0)
        assert found["auto.create.topics.enable"] == "false"
        assert found["group.initial.rebalance.delay.ms"] == "0"
