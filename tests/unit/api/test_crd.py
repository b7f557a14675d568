from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builders import kafka_cluster, kafka_consumer, kafka_route, route_group, sandbox
from sidestream.api.base import Model
from sidestream.api.crd import KINDS, Kind, definition, differences, main, object_schema, write
from sidestream.api.rules import Rule
from sidestream.api.schema import add_rules
from sidestream.kube import port

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = {
    item["kind"]: item
    for item in (
        sandbox("alice"),
        route_group("release-42"),
        kafka_cluster("main"),
        kafka_consumer("c"),
        kafka_route("r"),
    )
}

for_each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema node below, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


def test_the_repositorys_files_are_as_the_models_say() -> None:
    assert differences(ROOT / "crds") == []


@for_each_kind
def test_every_node_is_structural(kind: Kind) -> None:
    for path, node in nodes(object_schema(kind)):
        assert node.get("type") or node.get("x-kubernetes-preserve-unknown-fields"), path
        assert not node.keys() & {"$ref", "$defs", "anyOf", "oneOf", "const", "title", "nullable"}, path
        assert node.get("default", "something") not in (None, [], {}), path


@for_each_kind
def test_keyed_lists_find_their_keys_on_every_item(kind: Kind) -> None:
    for path, node in nodes(object_schema(kind)):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            item = node["items"]
            assert key in item.get("required", ()) or "default" in item["properties"][key], f"{path}: {key}"


@for_each_kind
def test_conditions_merge_by_type(kind: Kind) -> None:
    conditions = object_schema(kind)["properties"]["status"]["properties"]["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])


@for_each_kind
def test_a_status_has_no_defaults_but_for_keys(kind: Kind) -> None:
    status = object_schema(kind)["properties"]["status"]
    lists = [node for _, node in nodes(status) if "x-kubernetes-list-map-keys" in node]
    keys = [node["items"]["properties"][key] for node in lists for key in node["x-kubernetes-list-map-keys"]]
    for path, node in nodes(status):
        assert "default" not in node or any(node is key for key in keys), path


@for_each_kind
def test_no_field_of_the_models_is_lost(kind: Kind) -> None:
    schema = object_schema(kind)["properties"]
    for part, model in (("spec", kind.spec), ("status", kind.status)):
        names = {field.alias for field in model.model_fields.values()}
        assert set(schema[part]["properties"]) == names


@for_each_kind
def test_the_kind_is_the_one_the_operator_asks_for(kind: Kind) -> None:
    crd = definition(kind)["spec"]
    resource = next(
        value for value in vars(port).values() if isinstance(value, port.Resource) and value.kind == kind.name
    )
    (version,) = crd["versions"]
    assert (crd["group"], version["name"], crd["names"]["plural"]) == (
        resource.group,
        resource.version,
        resource.plural,
    )
    assert (crd["scope"] == "Namespaced") == resource.namespaced


@for_each_kind
def test_an_ordinary_object_fits(kind: Kind) -> None:
    jsonschema.validate(EXAMPLES[kind.name], object_schema(kind))


@for_each_kind
def test_defaults_are_those_of_the_model(kind: Kind) -> None:
    """An object with the API server's defaults filled in means the same as one without."""
    for name, child in object_schema(kind)["properties"]["spec"]["properties"].items():
        if "default" in child:
            field = next(field for field in kind.spec.model_fields.values() if field.alias == name)
            default = field.default
            assert (default.to_json() if isinstance(default, Model) else default) == child["default"], name


@for_each_kind
def test_columns_show_fields_that_exist(kind: Kind) -> None:
    for column in kind.columns:
        node = object_schema(kind)
        path = column.to_json()["jsonPath"]
        if path == ".metadata.creationTimestamp":
            continue
        for name in re.sub(r"\[.*?\]", "", path).removeprefix(".").split("."):
            node = node.get("items", node)["properties"][name]
        assert node["type"] == column.type, column.name


def test_a_container_may_be_left_unnamed() -> None:
    (schema,) = (object_schema(kind) for kind in KINDS if kind.name == "Sandbox")
    containers = schema["properties"]["spec"]["properties"]["workloads"]["items"]["properties"]["containers"]
    assert containers["items"]["properties"]["name"]["default"] == ""


def test_a_rule_for_a_field_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        add_rules({"properties": {"spec": {"properties": {}}}}, {("spec", "nothing"): (Rule("true", "x"),)})


def test_write_and_check_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "crds"
    assert main(["--write", str(target)]) == 0
    assert main(["--check", str(target)]) == 0
    assert capsys.readouterr().err == ""


def test_check_names_what_is_stale_missing_or_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    (tmp_path / "sandboxes.yaml").write_text("stale")
    (tmp_path / "kafkaroutes.yaml").unlink()
    (tmp_path / "tenants.yaml").write_text("left over")
    assert differences(tmp_path) == ["kafkaroutes.yaml", "sandboxes.yaml", "tenants.yaml"]
    assert main(["--check", str(tmp_path)]) == 1
    assert f"{tmp_path / 'sandboxes.yaml'} is not as the models say; run `make generate`" in capsys.readouterr().err
    write(tmp_path)
    assert differences(tmp_path) == []
