"""What a fork's program is told: whose fork it is, its groups, and ids that it does not share with its baseline."""

from __future__ import annotations

import re
from typing import Any

import pytest

from builders import deployment, having, kafka_cluster, kafka_consumer
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.sandbox.variables import GroupVariable, UniqueVariable, Variable, resolved, told
from unit.sandbox.scenes import KAFKA_SANDBOX, planned, said

INSTANCE = UniqueVariable("fulfilment-orders", "app", "INSTANCE_ID")


def pods(*env: Object, **fields: Any) -> Object:
    return {"containers": [{"name": "app", "env": list(env)}], **fields}


def values(*env: Object, variables: list[Variable], sandbox: str = "alice") -> dict[str, Any]:
    """What container app is told."""
    (app,) = told(pods(*env), sandbox, variables)["containers"]
    return {item["name"]: item.get("value") for item in app["env"]}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param({"value": "fulfilment-0"}, "fulfilment-0.sbx.alice", id="a plain value"),
        pytest.param({"value": "$(HOSTNAME)"}, "$(HOSTNAME).sbx.alice", id="a value that refers to another"),
        pytest.param({"value": "mine.sbx.alice"}, "mine.sbx.alice", id="it has the suffix"),
        pytest.param({"value": ""}, "", id="empty: no id at all"),
        pytest.param({}, None, id="no value: no id at all"),
    ],
)
def test_an_id_gets_the_suffix_of_its_sandbox(env: Object, expected: str | None) -> None:
    found = values({"name": "INSTANCE_ID", **env}, {"name": "B", "value": "b"}, variables=[INSTANCE])
    assert found == {"INSTANCE_ID": expected, "B": "b", "SIDESTREAM_SANDBOX": "alice"}


def test_an_id_that_is_not_set_is_left_out() -> None:
    assert values(variables=[INSTANCE]) == {"SIDESTREAM_SANDBOX": "alice"}
    gone = told({"containers": [{"name": "other"}]}, "alice", [INSTANCE])
    assert [item["name"] for item in gone["containers"][0]["env"]] == ["SIDESTREAM_SANDBOX"]


def test_two_consumers_that_name_one_variable_give_it_one_suffix() -> None:
    twice: list[Variable] = [INSTANCE, UniqueVariable("fulfilment-returns", "app", "INSTANCE_ID")]
    assert values({"name": "INSTANCE_ID", "value": "a"}, variables=twice)["INSTANCE_ID"] == "a.sbx.alice"


def test_a_group_that_is_named_as_an_id_too_stays_the_group() -> None:
    group = GroupVariable("fulfilment-orders", "app", "INSTANCE_ID", "g.alice")
    orders: list[list[Variable]] = [[INSTANCE, group], [group, INSTANCE]]
    for variables in orders:
        assert values({"name": "INSTANCE_ID", "value": "a"}, variables=variables)["INSTANCE_ID"] == "g.alice"


def test_of_two_definitions_the_one_that_counts_is_an_id() -> None:
    env = [{"name": "INSTANCE_ID", "value": "first"}, {"name": "INSTANCE_ID", "value": "last"}]
    assert values(*env, variables=[INSTANCE])["INSTANCE_ID"] == "last.sbx.alice"


def test_only_the_named_container_gets_the_suffix() -> None:
    env = [{"name": "INSTANCE_ID", "value": "a"}]
    both = {"containers": [{"name": "app", "env": env}], "initContainers": [{"name": "setup", "env": env}]}
    found = told(both, "alice", [UniqueVariable("c", "setup", "INSTANCE_ID")])
    assert found["containers"][0]["env"][0]["value"] == "a"
    assert found["initContainers"][0]["env"][0]["value"] == "a.sbx.alice"


@pytest.mark.parametrize("sandbox", ["alice", "pr-42", "team.a", "a" * 63])
def test_an_id_with_the_suffix_is_one_that_kafka_accepts(sandbox: str) -> None:
    found = values({"name": "INSTANCE_ID", "value": "a_B-1.c"}, variables=[INSTANCE], sandbox=sandbox)
    assert re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", found["INSTANCE_ID"])


def test_an_id_that_comes_from_elsewhere_is_refused() -> None:
    source = {"name": "INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    with pytest.raises(InvalidInputError) as refusal:
        values(source, variables=[INSTANCE])
    assert refusal.value.reason == "PatchFailed"
    assert refusal.value.message == (
        "KafkaConsumer fulfilment-orders names INSTANCE_ID of container app in uniqueEnv, but its value comes from "
        "valueFrom, to which nothing can be added: let it have a value, which may refer to another variable as $(NAME)"
    )


def test_a_container_that_cannot_be_found_is_refused_by_the_consumers_field() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        resolved(UniqueVariable("c", "web", "INSTANCE_ID"), pods())
    assert (
        refusal.value.message
        == "KafkaConsumer c sets INSTANCE_ID in uniqueEnv: there is no container web; there is app"
    )


def test_a_fork_has_the_ids_that_its_consumers_name() -> None:
    env = [{"name": "INSTANCE_ID", "value": "fulfilment-0"}, {"name": "TX", "value": "tx"}]
    containers = [{"name": "app", "image": "i", "env": env}]
    baseline = deployment("fulfilment", having("spec.template.spec.containers", containers))
    consumer = kafka_consumer("fulfilment-orders", having("spec.uniqueEnv", [{"name": "INSTANCE_ID"}, {"name": "TX"}]))
    result = planned(baseline, kafka_cluster(), consumer, KAFKA_SANDBOX)
    assert said(result, "Accepted")[0] == "True"
    fork = next(effect.obj for effect in result.writes if effect.obj["kind"] == "Deployment")
    found = {item["name"]: item["value"] for item in fork["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (found["INSTANCE_ID"], found["TX"]) == ("fulfilment-0.sbx.alice", "tx.sbx.alice")


def test_a_sandbox_whose_ids_cannot_be_told_apart_is_not_accepted() -> None:
    env = [{"name": "INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    containers = [{"name": "app", "image": "i", "env": env}]
    baseline = deployment("fulfilment", having("spec.template.spec.containers", containers))
    consumer = kafka_consumer("fulfilment-orders", having("spec.uniqueEnv", [{"name": "INSTANCE_ID"}]))
    result = planned(baseline, kafka_cluster(), consumer, KAFKA_SANDBOX)
    assert said(result, "Accepted")[:2] == ("False", "PatchFailed")
    assert result.writes == ()
