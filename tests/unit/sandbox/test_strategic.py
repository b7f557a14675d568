from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestream.errors import InvalidInputError
from sidestream.sandbox.strategic import merge_strategically
from unit.sandbox.strategic_goldens import changed_fields, kubectl_result, without_nulls

GOLDENS = Path(__file__).parent / "goldens"
CASES: dict[str, Any] = yaml.safe_load((GOLDENS / "strategic.yaml").read_text())
EXPECTED: dict[str, Any] = json.loads((GOLDENS / "strategic.json").read_text())
ORIGINAL: dict[str, Any] = CASES["original"]
PATCHES = {case["name"]: case["patch"] for case in CASES["cases"]}


def pod_patch(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


@pytest.mark.parametrize("case", PATCHES)
def test_merges_as_kubectl_does(case: str) -> None:
    merged = merge_strategically(ORIGINAL, PATCHES[case])
    assert changed_fields(ORIGINAL, merged) == EXPECTED[case]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize(
    "case", ["a new container stands first", "only the order of variables is given", "all containers are replaced"]
)
def test_goldens_are_what_kubectl_says(case: str) -> None:
    assert changed_fields(ORIGINAL, kubectl_result(ORIGINAL, PATCHES[case])) == EXPECTED[case]


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        pytest.param(
            pod_patch(containers=[{"image": "x"}]),
            "spec.template.spec.containers[0]: the item has no name, by which this list merges",
            id="a list's item without its merge key",
        ),
        pytest.param(
            pod_patch(containers={"image": "x"}),
            "spec.template.spec.containers: the baseline has a list there and the patch an object",
            id="an object where a list is",
        ),
        pytest.param(
            {"spec": "x"},
            "spec: the baseline has an object there and the patch a plain value",
            id="a plain value where an object is",
        ),
        pytest.param(
            pod_patch(containers=["x"]),
            "spec.template.spec.containers[0]: an object is needed there, the patch has a plain value",
            id="a plain value in a list of objects",
        ),
        pytest.param(
            {"spec": {"$patch": "merge"}},
            "spec: $patch is 'merge'; an object takes replace or delete",
            id="an unknown directive on an object",
        ),
        pytest.param(
            pod_patch(containers=[{"name": "app", "$patch": "merge"}]),
            "spec.template.spec.containers[0]: $patch is 'merge'; a list's item takes replace or delete",
            id="an unknown directive on an item",
        ),
        pytest.param(
            pod_patch(volumes=[{"name": "data", "$retainKeys": ["name"], "emptyDir": {}}]),
            "spec.template.spec.volumes[0]: the patch sets emptyDir, which its $retainKeys leaves out",
            id="a field that $retainKeys leaves out",
        ),
        pytest.param(
            {"spec": {"strategy": {"$retainKeys": "type"}}},
            "spec.strategy.$retainKeys: a list is needed there, not a plain value",
            id="a directive that is no list",
        ),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_with_its_path(patch: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        merge_strategically(ORIGINAL, patch)
    assert refusal.value.reason == "PatchFailed"
    assert refusal.value.message == f"the patch fails at {sentence}"


def test_fields_that_nobody_declared_merge_as_objects_and_replace_as_lists() -> None:
    original = {"spec": {"future": {"a": 1, "list": [{"name": "x"}]}}}
    merged = merge_strategically(original, {"spec": {"future": {"b": 2, "list": [{"name": "y"}]}}})
    assert merged == {"spec": {"future": {"a": 1, "b": 2, "list": [{"name": "y"}]}}}


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
names = st.text("abc", min_size=1, max_size=1)
values = st.recursive(scalars, lambda children: st.dictionaries(names, children, max_size=3), max_leaves=6)
containers = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["app", "proxy", "new"])}, optional={"image": st.text(max_size=3)}),
    unique_by=lambda item: str(item["name"]),
)


@settings(deadline=None)
@given(values)
def test_a_patch_of_plain_fields_is_what_it_says_afterwards(value: Any) -> None:
    merged = merge_strategically({"spec": {}}, {"spec": {"future": value}})
    assert merged == {"spec": {} if value is None else {"future": without_nulls(value)}}


@settings(deadline=None)
@given(containers)
def test_merging_twice_changes_nothing_and_leaves_the_arguments_alone(items: list[dict[str, Any]]) -> None:
    original, patch = copy.deepcopy(ORIGINAL), pod_patch(containers=items)
    before = copy.deepcopy(patch)
    once = merge_strategically(original, patch)
    assert merge_strategically(once, patch) == once
    assert (original, patch) == (ORIGINAL, before)
    names_after = [item["name"] for item in once["spec"]["template"]["spec"]["containers"]]
    assert sorted(names_after) == sorted({"app", "proxy"} | {item["name"] for item in items})
