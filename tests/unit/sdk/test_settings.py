from __future__ import annotations

from typing import Any

import pytest

from sidestream_sdk.settings import CommitSettings, with_earliest


@pytest.mark.parametrize(
    ("config", "needs_help"),
    [
        pytest.param({}, False, id="librdkafka's defaults"),
        pytest.param({"enable.auto.commit": True, "enable.auto.offset.store": "true"}, False, id="both said"),
        pytest.param({"enable.auto.commit": False}, True, id="the application commits"),
        pytest.param({"enable.auto.commit": "false"}, True, id="the application commits, as a word"),
        pytest.param({"enable.auto.offset.store": False}, True, id="the application stores"),
        pytest.param({"enable.auto.offset.store": "0"}, True, id="the application stores, as a digit"),
    ],
)
def test_the_sdk_helps_where_librdkafka_does_not_commit_by_itself(config: dict[str, Any], *, needs_help: bool) -> None:
    assert CommitSettings.of({"group.id": "g", **config}).needs_help is needs_help


@pytest.mark.parametrize(
    ("config", "expected", "replaced"),
    [
        pytest.param({}, {"auto.offset.reset": "earliest"}, "latest", id="the default"),
        pytest.param({"auto.offset.reset": "latest"}, {"auto.offset.reset": "earliest"}, "latest", id="latest"),
        pytest.param({"auto.offset.reset": "error"}, {"auto.offset.reset": "earliest"}, "error", id="error"),
        pytest.param({"auto.offset.reset": "earliest"}, {"auto.offset.reset": "earliest"}, None, id="earliest"),
        pytest.param({"auto.offset.reset": "smallest"}, {"auto.offset.reset": "smallest"}, None, id="an older name"),
        pytest.param(
            {"default.topic.config": {"auto.offset.reset": "latest", "acks": 1}},
            {"default.topic.config": {"acks": 1}, "auto.offset.reset": "earliest"},
            "latest",
            id="in the topic's defaults",
        ),
        pytest.param(
            {"default.topic.config": {"auto.offset.reset": "earliest"}},
            {"default.topic.config": {}, "auto.offset.reset": "earliest"},
            None,
            id="already in the topic's defaults",
        ),
    ],
)
def test_a_fork_starts_new_partitions_at_their_beginning(
    config: dict[str, Any], expected: dict[str, Any], replaced: str | None
) -> None:
    before = dict(config)

    assert with_earliest(config) == (expected, replaced)
    assert config == before, "the caller's dict was changed"
