from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import deployment, disruption_budget, having, labelled, selecting, service
from sidestream.errors import InvalidInputError
from sidestream.sandbox import labels as labels_module
from sidestream.sandbox.labels import Selection, budgets_of, escaped_labels, labels_apart, selections_of

OURS = {"sidestream.dev/sandbox": "alice", "app.kubernetes.io/managed-by": "sidestream"}


def equals(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def selections(*selectors: dict[str, Any]) -> list[Selection]:
    return [Selection(f"Service s{number}", selector) for number, selector in enumerate(selectors)]


@pytest.mark.parametrize(
    ("labels", "selectors", "expected"),
    [
        pytest.param(
            {"app": "a", "tier": "web"}, [], {"app": "a", "tier": "web"}, id="nobody selects: nothing changes"
        ),
        pytest.param({"app": "a", "tier": "web"}, [equals(app="b")], {"app": "a", "tier": "web"}, id="others select"),
        pytest.param(
            {"app": "a", "tier": "web"}, [equals(app="a")], {"app": "a-alice", "tier": "web"}, id="the selected label"
        ),
        pytest.param(
            {"app": "a", "tier": "web"},
            [equals(app="a", tier="web"), equals(tier="web")],
            {"app": "a", "tier": "web-alice"},
            id="one label that serves for two selectors",
        ),
        pytest.param(
            {"app": "a", "tier": "web"},
            [equals(app="a"), equals(tier="web")],
            {"app": "a-alice", "tier": "web-alice"},
            id="two labels when each is selected alone",
        ),
        pytest.param(
            {"b": "1", "a": "1"}, [equals(a="1", b="1")], {"b": "1", "a": "1-alice"}, id="the first of equal choices"
        ),
        pytest.param({"app": "a"}, [expression("app", "In", "a", "b")], {"app": "a-alice"}, id="In"),
        pytest.param(
            {"app": "a"}, [equals(app="a"), equals(app="a-alice")], {"app": "a-2-alice"}, id="a value that is taken"
        ),
        pytest.param({"app": ""}, [equals(app="")], {"app": "v-alice"}, id="an empty value"),
        pytest.param(
            {"app": "a", "tier": "web", "zone": "x"},
            [equals(app="a"), {**equals(tier="web"), **expression("app", "NotIn", "a")}],
            {"app": "a-alice", "tier": "web-alice", "zone": "x"},
            id="a change that pleases a NotIn is followed by another",
        ),
        pytest.param(
            {"app": "a", "tier": "web"},
            [equals(app="a", tier="web"), expression("app", "NotIn", "a")],
            {"app": "a", "tier": "web-alice"},
            id="a change that would please a NotIn for ever is avoided",
        ),
        pytest.param({"app": "a"}, [expression("debug", "Exists")], {"app": "a"}, id="Exists on a label it lacks"),
        pytest.param(
            {**OURS, "app": "a"}, [equals(**OURS, app="a")], {**OURS, "app": "a-alice"}, id="ours are never changed"
        ),
    ],
)
def test_changes_as_few_values_as_it_takes(
    labels: dict[str, str], selectors: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    assert escaped_labels(labels, selections(*selectors), "alice") == expected


@pytest.mark.parametrize(
    ("selectors", "owner"),
    [
        pytest.param([{}], "Service s0", id="an empty selector"),
        pytest.param([equals(app="a"), expression("app", "Exists")], "Service s1", id="only Exists"),
        pytest.param([expression("app", "NotIn", "z")], "Service s0", id="only NotIn"),
        pytest.param([expression("new", "DoesNotExist")], "Service s0", id="only DoesNotExist"),
        pytest.param([equals(**OURS)], "Service s0", id="only labels of ours"),
    ],
)
def test_a_selector_that_cannot_be_escaped_is_named(selectors: list[dict[str, Any]], owner: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        escaped_labels({**OURS, "app": "a"}, selections(*selectors), "alice")
    assert refusal.value.reason == "ForkMatchesBaselineService"
    assert refusal.value.message == (
        f"{owner} selects the fork's pods whatever values their labels have; give it a selector that names a label "
        "with its value"
    )


def test_all_selectors_of_the_namespace_count_but_those_of_forks_and_of_services_without_any() -> None:
    found = selections_of(
        [deployment("orders"), deployment("orders-bob", labelled({**OURS, "sidestream.dev/sandbox": "bob"}))],
        [service("web", selecting({"app": "orders"})), service("none", having("spec.selector", None))],
    )
    assert [(item.owner, item.selector) for item in found] == [
        ("Deployment orders", {"matchLabels": {"app": "orders"}}),
        ("Service web", {"matchLabels": {"app": "orders"}}),
    ]


keys = st.sampled_from(["app", "tier", "version", "zone"])
values = st.sampled_from(["a", "b", "c", "a-alice", "a-2-alice", ""])
label_maps = st.dictionaries(keys, values, max_size=4)
expressions = st.builds(
    lambda key, operator, chosen: {"key": key, "operator": operator, "values": chosen},
    keys,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(values, min_size=1, max_size=3),
)
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": label_maps, "matchExpressions": st.lists(expressions, max_size=2)}
)


@settings(max_examples=200, deadline=None)
@given(label_maps, st.lists(selectors, max_size=5))
def test_no_selector_of_the_namespace_picks_the_fork(labels: dict[str, str], found: list[dict[str, Any]]) -> None:
    chosen = selections(*found)
    try:
        escaped = escaped_labels(labels, chosen, "alice")
    except InvalidInputError as refusal:
        stubborn = next(item for item in chosen if refusal.message.startswith(item.owner))
        every_value_new = {key: f"unheard-of-{key}" for key in labels}
        assert any(item.picks(every_value_new) for item in chosen)
        assert stubborn.picks(every_value_new) or stubborn.picks(labels)
    else:
        assert not any(item.picks(escaped) for item in chosen)
        assert escaped.keys() == labels.keys()


@settings(deadline=None)
@given(label_maps, st.lists(selectors, max_size=4))
def test_never_changes_more_than_needed(labels: dict[str, str], found: list[dict[str, Any]]) -> None:
    chosen = selections(*found)
    try:
        escaped = escaped_labels(labels, chosen, "alice")
    except InvalidInputError:
        return
    changed = [key for key in labels if labels[key] != escaped[key]]
    for kept in changed:
        assert any(item.picks({**escaped, kept: labels[kept]}) for item in chosen)


@settings(deadline=None)
@given(label_maps, st.lists(selectors, max_size=4), st.randoms())
def test_the_order_of_labels_does_not_matter(labels: dict[str, str], found: list[dict[str, Any]], random: Any) -> None:
    chosen = selections(*found)
    shuffled = list(labels.items())
    random.shuffle(shuffled)
    try:
        expected = escaped_labels(labels, chosen, "alice")
    except InvalidInputError:
        return
    assert escaped_labels(dict(shuffled), chosen, "alice") == expected


sandbox_names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)
label_values = st.from_regex(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", fullmatch=True)


@settings(deadline=None)
@given(label_values, sandbox_names)
def test_changed_values_are_label_values(value: str, name: str) -> None:
    changed = escaped_labels({"app": value}, selections(equals(app=value)), name)["app"]
    assert changed != value
    assert len(changed) <= 63
    assert changed[0].isalnum()
    assert changed[-1].isalnum()


def wishes(*selectors: dict[str, Any]) -> list[Selection]:
    return [Selection(f"PodDisruptionBudget b{number}", selector) for number, selector in enumerate(selectors)]


@pytest.mark.parametrize(
    ("labels", "selectors", "wished", "expected"),
    [
        pytest.param(
            {"app": "a", "team": "x"},
            [equals(app="a")],
            [equals(app="a")],
            {"app": "a-alice", "team": "x"},
            id="by the label of the Service: nothing more changes",
        ),
        pytest.param(
            {"app": "a", "team": "x"},
            [equals(app="a")],
            [equals(team="x")],
            {"app": "a-alice", "team": "x-alice"},
            id="by another label: that one changes, too",
        ),
        pytest.param(
            {"app": "a", "team": "x"},
            [equals(app="a", team="x")],
            [equals(team="x")],
            {"app": "a", "team": "x-alice"},
            id="one label that serves for both",
        ),
        pytest.param(
            {"app": "a"}, [equals(app="a")], [equals(app="a-alice")], {"app": "a-2-alice"}, id="a value that is taken"
        ),
        pytest.param({"app": "a"}, [equals(app="a")], [{}], {"app": "a-alice"}, id="all pods: cannot be escaped"),
        pytest.param(
            {"app": "a", "team": "x"},
            [equals(app="a")],
            [expression("app", "Exists"), equals(team="x")],
            {"app": "a-alice", "team": "x-alice"},
            id="one that resists does not keep from escaping another",
        ),
        pytest.param(
            {**OURS, "app": "a", "team": "x"},
            [equals(app="a")],
            [equals(**OURS), equals(team="x")],
            {**OURS, "app": "a-alice", "team": "x-alice"},
            id="one that demands only what must not change does not keep from escaping another",
        ),
        pytest.param(
            {**OURS, "app": "a", "team": "x", "zone": "z"},
            [equals(app="a")],
            [equals(team="x"), equals(**OURS), equals(zone="z")],
            {**OURS, "app": "a-alice", "team": "x-alice", "zone": "z-alice"},
            id="nor from escaping several",
        ),
    ],
)
def test_stays_out_of_budgets_where_it_can(
    labels: dict[str, str], selectors: list[dict[str, Any]], wished: list[dict[str, Any]], expected: dict[str, str]
) -> None:
    assert labels_apart(labels, selections(*selectors), wishes(*wished), "alice") == expected


def test_a_budget_of_all_pods_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(*arguments: Any) -> dict[str, str]:
        calls.append(arguments)
        return escaped_labels(*arguments)

    monkeypatch.setattr(labels_module, "escaped_labels", counted)
    labels_apart({"app": "a"}, selections(equals(app="a")), wishes({}, equals(app="a")), "alice")
    assert len(calls) == 1


def test_a_service_that_cannot_be_escaped_is_named_whatever_the_budgets() -> None:
    with pytest.raises(InvalidInputError, match=r"^Service s0 selects"):
        labels_apart({"app": "a"}, selections({}), wishes(equals(app="a"), {}), "alice")


@settings(max_examples=100, deadline=None)
@given(label_maps, st.lists(selectors, max_size=3), st.lists(selectors, max_size=3))
def test_budgets_never_cost_what_must_be(
    labels: dict[str, str], found: list[dict[str, Any]], wished: list[dict[str, Any]]
) -> None:
    chosen = selections(*found)
    try:
        escaped_labels(labels, chosen, "alice")
    except InvalidInputError:
        with pytest.raises(InvalidInputError):
            labels_apart(labels, chosen, wishes(*wished), "alice")
        return
    apart = labels_apart(labels, chosen, wishes(*wished), "alice")
    assert not any(item.picks(apart) for item in chosen)
    assert apart.keys() == labels.keys()


@pytest.mark.parametrize(
    ("selector", "kept"),
    [
        pytest.param(equals(app="orders"), ["PodDisruptionBudget orders"], id="of a baseline"),
        pytest.param({}, ["PodDisruptionBudget orders"], id="of all pods"),
        pytest.param(equals(**OURS), [], id="of the forks of one Sandbox"),
        pytest.param(expression("sidestream.dev/sandbox", "Exists"), [], id="of all forks"),
        pytest.param(expression("sidestream.dev/sandbox", "DoesNotExist"), [], id="of all but forks"),
    ],
)
def test_budgets_that_speak_of_forks_are_left_to_who_wrote_them(selector: dict[str, Any], kept: list[str]) -> None:
    assert [item.owner for item in budgets_of([disruption_budget("orders", selector)])] == kept


def test_a_budget_without_a_selector_selects_nothing() -> None:
    assert budgets_of([disruption_budget("orders", None, having("spec", {"minAvailable": 1}))]) == ()
