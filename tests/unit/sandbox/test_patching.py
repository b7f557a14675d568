from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import deployment
from sidestream.api.sandbox import Patch
from sidestream.errors import InvalidInputError
from sidestream.sandbox.patching import patched

FORK = deployment("orders-alice")
TEMPLATE = "/spec/template"
APP = f"{TEMPLATE}/spec/containers/0"


def patch(kind: str, value: Any) -> Patch:
    return Patch.model_validate({"type": kind, "value": value})


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("Strategic", pod(containers=[{"name": "app", "image": "orders:2"}]), id="Strategic"),
        pytest.param(
            "Merge",
            pod(containers=[{"name": "app", "image": "orders:2", "ports": [{"containerPort": 8080}]}]),
            id="Merge",
        ),
        pytest.param("JSON", [{"op": "replace", "path": f"{APP}/image", "value": "orders:2"}], id="JSON"),
    ],
)
def test_each_kind_of_patch_changes_the_image(kind: str, value: Any) -> None:
    expected = copy.deepcopy(FORK)
    expected["spec"]["template"]["spec"]["containers"][0]["image"] = "orders:2"
    original = copy.deepcopy(FORK)
    assert patched(original, patch(kind, value)) == expected
    assert original == FORK


def test_a_merge_patch_removes_by_null_and_replaces_lists() -> None:
    value = {"spec": {"replicas": None, "template": {"spec": {"containers": [{"name": "only"}], "new": {"a": None}}}}}
    after = patched(FORK, patch("Merge", value))
    assert "replicas" not in after["spec"]
    assert after["spec"]["template"]["spec"] == {"containers": [{"name": "only"}], "new": {}}


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        pytest.param("Strategic", [], "a Strategic patch is an object like a part of a Deployment", id="no object"),
        pytest.param("Merge", "x", "a Merge patch is an object like a part of a Deployment", id="a text to merge"),
        pytest.param("JSON", {}, "a JSON patch is a list of operations", id="no list of operations"),
        pytest.param(
            "JSON",
            [{"op": "add", "path": "/spec/x", "value": 1}, {"op": "remove", "path": "/spec/y"}],
            "operation 2 (remove /spec/y) does not fit the Deployment",
            id="an operation on what is not there",
        ),
        pytest.param(
            "JSON", [{"path": "/spec"}], "operation 1 (which needs op and path) does not fit the Deployment", id="no op"
        ),
        pytest.param(
            "JSON",
            [{"op": "test", "path": "/spec/replicas", "value": 9}],
            "operation 1 (test /spec/replicas) does not fit the Deployment",
            id="a test that fails",
        ),
        pytest.param(
            "JSON",
            [{"op": "replace", "path": "", "value": []}],
            "it replaces the Deployment by something else",
            id="a list instead of the Deployment",
        ),
        pytest.param(
            "Merge", {"metadata": {"name": "x"}}, "it changes metadata.name, which Sidestream sets itself", id="name"
        ),
        pytest.param(
            "Strategic",
            {"metadata": {"namespace": "x"}},
            "it changes metadata.namespace, which Sidestream sets itself",
            id="namespace",
        ),
        pytest.param("Merge", {"kind": "Pod"}, "it changes kind, which Sidestream sets itself", id="kind"),
        pytest.param(
            "Strategic",
            {"spec": {"selector": {"matchLabels": {"x": "y"}}}},
            "it changes spec.selector, which Sidestream sets itself",
            id="selector",
        ),
        pytest.param(
            "Merge",
            {"spec": {"template": None}},
            "it leaves spec.template.spec.containers without containers",
            id="no template",
        ),
        pytest.param(
            "Merge",
            pod(containers=[]),
            "it leaves spec.template.spec.containers without containers",
            id="no containers",
        ),
        pytest.param(
            "Merge",
            pod(containers=[{"image": "x"}]),
            "it leaves spec.template.spec.containers without containers",
            id="a container without a name",
        ),
        pytest.param(
            "Merge",
            pod(initContainers={"a": 1}),
            "it leaves something else than containers in spec.template.spec.initContainers",
            id="init containers that are no list",
        ),
        pytest.param(
            "Merge",
            {"spec": {"template": {"metadata": {"labels": {"app": 5}}}}},
            "it leaves something else than texts in spec.template.metadata.labels",
            id="a label that is a number",
        ),
        pytest.param(
            "Merge",
            {"metadata": {"annotations": "x"}},
            "it leaves something else than texts in metadata.annotations",
            id="annotations that are a text",
        ),
        pytest.param("Merge", {"spec": {"replicas": "2"}}, "it leaves spec.replicas without a number", id="replicas"),
    ],
)
def test_a_patch_that_makes_no_fork_is_refused(kind: str, value: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        patched(FORK, patch(kind, value))
    assert (refusal.value.reason, refusal.value.message) == ("PatchFailed", f"the patch fails: {sentence}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab/", max_size=2),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "template", "metadata", "containers", "name", "labels", "env", "$patch", "op", "path", "value"]
            ),
            children,
            max_size=3,
        )
    ),
    max_leaves=10,
)
paths = st.sampled_from(
    ["", "/", "x", "/spec", APP, f"{APP}/env/-", f"{TEMPLATE}/metadata/labels/a", "/spec/replicas/x"]
)
operations = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": paths},
        optional={"value": json_values, "from": paths},
    ),
    max_size=3,
)


@settings(deadline=None)
@given(st.sampled_from(["Strategic", "Merge", "JSON"]), json_values | operations)
def test_whatever_the_patch_the_result_is_a_fork_or_a_sentence(kind: str, value: Any) -> None:
    try:
        after = patched(FORK, patch(kind, value))
    except InvalidInputError as error:
        after, refusal = FORK, error.reason
    else:
        refusal = "PatchFailed"
    assert refusal == "PatchFailed"
    assert after["metadata"]["name"] == "orders-alice"
    assert after["spec"]["template"]["spec"]["containers"]
