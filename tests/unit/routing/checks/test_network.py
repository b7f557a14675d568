"""Whom NetworkPolicies let through to and from the baseline's pods, and not the fork's."""

from __future__ import annotations

from typing import Any

import pytest

from builders import in_namespace
from sidestream.kube.port import Object
from sidestream.routing.checks.network import callers_barred, forks_barred, policies_on_pods
from sidestream.routing.checks.subject import Check
from unit.routing.checks.scene import found, message, network_policy

ADVICE = "name both by a label that no Service, Deployment or PodDisruptionBudget selects by"
PODS = "the pods of Deployment orders and not those of its fork orders-alice"


def labels(**wanted: str) -> dict[str, Any]:
    return {"matchLabels": wanted}


ORDERS = {"podSelector": labels(app="orders")}
BOTH = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["orders", "orders-alice"]}]}}
TEAM = {"podSelector": labels(team="x")}
SHOP = {"namespaceSelector": labels(**{"kubernetes.io/metadata.name": "shop"})}
OTHERS = {"namespaceSelector": labels(**{"kubernetes.io/metadata.name": "web"})}
ADDRESSES = {"ipBlock": {"cidr": "10.0.0.0/8"}}
PORT = [{"port": 8080}]


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param(labels(app="orders"), id="by a label that the fork has another value of"),
        pytest.param(
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["orders"]}]}, id="by an expression"
        ),
    ],
)
def test_a_policy_of_the_baselines_pods_alone(selector: dict[str, Any]) -> None:
    assert message(policies_on_pods, network_policy("orders", podSelector=selector)) == (
        f"NetworkPolicy shop/orders selects {PODS}: what it says does not hold there; {ADVICE}"
    )


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(network_policy("all", podSelector={}), id="of all pods"),
        pytest.param(network_policy("team", **TEAM), id="by a label that both have"),
        pytest.param(network_policy("both", **BOTH), id="that lists both values"),
        pytest.param(network_policy("billing", podSelector=labels(app="billing")), id="of other pods"),
        pytest.param(network_policy("web", in_namespace("web"), **ORDERS), id="of another namespace"),
    ],
)
def test_a_policy_that_treats_both_alike(item: Object) -> None:
    assert found(policies_on_pods, item) == []


def test_a_policy_that_lets_in_the_baseline_as_a_caller_and_not_the_fork() -> None:
    billing = network_policy("billing", podSelector=labels(app="billing"), ingress=[{"from": [ORDERS]}])
    assert message(forks_barred, billing) == (
        f"NetworkPolicy shop/billing lets in {PODS}, so the fork may not be able to call on; {ADVICE}"
    )


def test_a_policy_that_lets_callers_out_to_the_baseline_and_not_to_the_fork() -> None:
    web = network_policy("web", podSelector=labels(app="web"), egress=[{"to": [ORDERS]}])
    assert message(callers_barred, web) == (
        f"NetworkPolicy shop/web lets callers out to {PODS}, so they may not reach the fork; {ADVICE}"
    )


@pytest.fixture(params=[(forks_barred, "ingress", "from"), (callers_barred, "egress", "to")], ids=["in", "out"])
def side(request: pytest.FixtureRequest) -> tuple[Check, str, str]:
    chosen: tuple[Check, str, str] = request.param
    return chosen


def on_side(side: tuple[Check, str, str], rules: list[dict[str, Any]], home: str) -> Object:
    _, direction, peers = side
    told = [{peers if name == "peers" else name: value for name, value in rule.items()} for rule in rules]
    return network_policy("other", in_namespace(home), podSelector={}, **{direction: told})


@pytest.mark.parametrize(
    ("rules", "home"),
    [
        pytest.param([{"peers": [ORDERS, OTHERS]}], "shop", id="beside somebody else"),
        pytest.param([{"peers": [{**ORDERS, **SHOP}]}], "web", id="from another namespace"),
        pytest.param(
            [{"peers": [ORDERS], "ports": PORT}, {"peers": [TEAM], "ports": [{"port": 1}]}], "shop", id="ports"
        ),
        pytest.param([{"peers": [ORDERS]}, {"peers": [TEAM], "ports": PORT}], "shop", id="one port of all"),
        pytest.param([{"peers": [TEAM], "ports": PORT}, {"peers": [ORDERS]}], "shop", id="whatever the order"),
        pytest.param([{"peers": [ORDERS]}, {"peers": [ADDRESSES]}], "shop", id="addresses may be anybody's"),
    ],
)
def test_a_rule_for_the_baseline_that_none_makes_good_for_the_fork(
    side: tuple[Check, str, str], rules: list[dict[str, Any]], home: str
) -> None:
    assert len(found(side[0], on_side(side, rules, home))) == 1


@pytest.mark.parametrize(
    ("rules", "home"),
    [
        pytest.param([{"peers": [ORDERS, TEAM]}], "shop", id="another peer"),
        pytest.param([{"peers": [ORDERS]}, {"peers": [TEAM]}], "shop", id="another rule"),
        pytest.param([{"peers": [ORDERS], "ports": PORT}, {"peers": [TEAM]}], "shop", id="a rule for all ports"),
        pytest.param(
            [{"peers": [ORDERS], "ports": PORT}, {"peers": [TEAM], "ports": PORT}], "shop", id="the same ports"
        ),
        pytest.param([{"peers": [ORDERS]}, {}], "shop", id="a rule for everybody"),
        pytest.param([{"peers": [SHOP]}], "web", id="the namespace"),
        pytest.param([{"peers": [{**TEAM, **SHOP}]}], "web", id="a label that both have"),
        pytest.param([{"peers": [ORDERS]}], "web", id="pods of this label in another namespace"),
        pytest.param([{"peers": [{**ORDERS, **OTHERS}]}], "shop", id="pods of this label elsewhere"),
        pytest.param([{"peers": [ADDRESSES]}], "shop", id="addresses"),
        pytest.param([], "shop", id="nobody at all"),
    ],
)
def test_rules_that_treat_both_alike(side: tuple[Check, str, str], rules: list[dict[str, Any]], home: str) -> None:
    assert found(side[0], on_side(side, rules, home)) == []
