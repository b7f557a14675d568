from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestream.api.sandbox import ContainerOverride
from sidestream.errors import InvalidInputError
from sidestream.sandbox.containers import merged_env, with_overrides, with_variables

POD: dict[str, Any] = {
    "initContainers": [{"name": "migrate", "image": "orders:1"}],
    "containers": [
        {
            "name": "app",
            "image": "orders:1",
            "command": ["serve"],
            "args": ["--fast"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resources": {"limits": {"memory": "64Mi"}},
            "futureField": {"kept": True},
        },
        {"name": "proxy", "image": "proxy:1"},
    ],
}
SINGLE = {"containers": [{"name": "app", "image": "orders:1"}]}
SECRET = {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def override(**fields: Any) -> ContainerOverride:
    return ContainerOverride.model_validate(fields)


def app_after(**fields: Any) -> dict[str, Any]:
    container: dict[str, Any] = with_overrides(POD, [override(name="app", **fields)])["containers"][0]
    return container


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        pytest.param({}, {}, id="nothing said, nothing changed"),
        pytest.param({"image": "orders:2"}, {"image": "orders:2"}, id="image"),
        pytest.param({"command": ["debug"]}, {"command": ["debug"]}, id="command"),
        pytest.param({"args": []}, {"args": []}, id="no arguments"),
        pytest.param({"resources": {}}, {"resources": {}}, id="resources are replaced"),
        pytest.param(
            {"env": [{"name": "A", "value": "x"}, {"name": "C", "value": "3"}]},
            {"env": [{"name": "A", "value": "x"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
            id="variables are replaced in place and added at the end",
        ),
        pytest.param(
            {"env": [SECRET]}, {"env": [{"name": "A", "value": "1"}, SECRET]}, id="a value becomes a reference"
        ),
        pytest.param({"unsetEnv": ["A", "Z"]}, {"env": [{"name": "B", "value": "2"}]}, id="variables are taken away"),
        pytest.param(
            {"unsetEnv": ["A"], "env": [{"name": "A", "value": "x"}]},
            {"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "x"}]},
            id="a variable that is both taken away and set is set",
        ),
    ],
)
def test_an_override_changes_what_it_names(fields: dict[str, Any], changes: dict[str, Any]) -> None:
    assert app_after(**fields) == {**POD["containers"][0], **changes}


def test_an_override_reaches_an_init_container() -> None:
    after = with_overrides(POD, [override(name="migrate", image="orders:2")])
    assert after == {**POD, "initContainers": [{"name": "migrate", "image": "orders:2"}]}


def test_the_only_container_needs_no_name() -> None:
    after = with_overrides(SINGLE, [override(image="orders:2")])
    assert after == {"containers": [{"name": "app", "image": "orders:2"}]}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("", "no container is named and there is more than one: app, proxy", id="no name among several"),
        pytest.param("ap", "there is no container ap; there is app, proxy, migrate", id="an unknown name"),
    ],
)
def test_a_container_that_cannot_be_found_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        with_overrides(POD, [override(name=name, image="x")])
    assert (refusal.value.reason, refusal.value.message) == ("ContainerNotFound", sentence)


def test_variables_reach_every_container_or_the_named_one() -> None:
    everywhere = with_variables(POD, {"S": "alice"})
    assert [item["env"][-1] for item in everywhere["containers"] + everywhere["initContainers"]] == [
        {"name": "S", "value": "alice"}
    ] * 3
    only = with_variables(POD, {"S": "alice"}, container="proxy")
    assert only == {
        **POD,
        "containers": [POD["containers"][0], {**POD["containers"][1], "env": [{"name": "S", "value": "alice"}]}],
    }


names = st.sampled_from("ABCD")
entries = st.builds(lambda name, value: {"name": name, "value": value}, names, st.text(max_size=2))


@settings(deadline=None)
@given(st.lists(entries), st.lists(entries), st.lists(names))
def test_merged_variables_are_unique_and_the_last_word_counts(
    env: list[dict[str, str]], additions: list[dict[str, str]], unset: list[str]
) -> None:
    merged = merged_env(env, additions, unset)
    kept = {item["name"]: item["value"] for item in env if item["name"] not in unset}
    expected = kept | {item["name"]: item["value"] for item in additions}
    assert {item["name"]: item["value"] for item in merged} == expected
    assert len(merged) == len(expected)
    assert merged_env(merged, additions) == merged


@settings(deadline=None)
@given(st.lists(entries, unique_by=lambda item: item["name"]), st.lists(entries))
def test_merged_variables_keep_their_places(env: list[dict[str, str]], additions: list[dict[str, str]]) -> None:
    merged = [item["name"] for item in merged_env(env, additions)]
    assert merged[: len(env)] == [item["name"] for item in env]
