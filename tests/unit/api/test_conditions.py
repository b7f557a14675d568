from __future__ import annotations

from sidestream.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    condition,
    find_condition,
    merge_conditions,
)

EARLIER, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
READY = condition(ConditionType.READY, "True", Reason.READY)


def test_a_new_condition_begins_now() -> None:
    (ready,) = merge_conditions((), (READY,), generation=3, now=NOW)
    assert (ready.last_transition_time, ready.observed_generation) == (NOW, 3)


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    before = merge_conditions((), (READY,), generation=1, now=EARLIER)
    changed = READY.model_copy(update={"message": "Another sentence"})
    (ready,) = merge_conditions(before, (changed,), generation=2, now=NOW)
    assert (ready.last_transition_time, ready.message) == (EARLIER, "Another sentence")


def test_a_condition_that_turns_begins_anew() -> None:
    before = merge_conditions((), (READY,), generation=1, now=EARLIER)
    (ready,) = merge_conditions(
        before, (condition(ConditionType.READY, "False", Reason.FORK_NOT_READY),), generation=1, now=NOW
    )
    assert ready.last_transition_time == NOW


def test_only_what_is_said_now_is_kept_in_its_order() -> None:
    accepted = condition(ConditionType.ACCEPTED, "True", Reason.ACCEPTED)
    before = merge_conditions((), (READY,), generation=1, now=EARLIER)
    after = merge_conditions(before, (accepted,), generation=1, now=NOW)
    assert [item.type for item in after] == ["Accepted"]
    assert find_condition(after, ConditionType.READY) is None
    assert find_condition(after, ConditionType.ACCEPTED) == after[0]


def test_a_condition_is_written_as_kubernetes_spells_it() -> None:
    (ready,) = merge_conditions((), (READY,), generation=1, now=NOW)
    assert ready.to_json() == {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": NOW,
    }
    assert Condition.model_validate(ready.to_json()) == ready
