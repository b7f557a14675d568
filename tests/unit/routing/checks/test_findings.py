"""All checks together: which of them are asked, in which order, and at what cost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from builders import deployment, having, in_namespace, namespace, service
from sidestream.api.conditions import Reason
from sidestream.api.findings import FindingReason, listed
from sidestream.kube import port
from sidestream.kube.port import Object, Resource
from sidestream.routing.checks import findings
from sidestream.routing.checks.findings import READS, findings_of
from sidestream.routing.checks.subject import Subject
from unit.routing.checks.scene import AT_A_GATEWAY, View, network_policy, parent, policy, route, subject
from unit.routing.checks.test_istio import rule, shop, sidecar
from unit.routing.checks.test_network import ORDERS, labels
from unit.routing.checks.test_routes import DATABASE, HTTP, profile, with_ports
from unit.routing.things import virtual_service

OF_WORKLOADS = {
    FindingReason.DISRUPTION_BUDGET_NOT_APPLIED,
    FindingReason.DISRUPTION_BUDGET_COUNTS_FORK,
    FindingReason.AUTOSCALER_NOT_APPLIED,
}
EVERYTHING: list[Object] = [
    shop(),
    virtual_service("users"),
    virtual_service("more"),
    route("split"),
    route("theirs", parent(namespace="shop"), namespace="web"),
    profile(),
    rule(trafficPolicy={"tls": {"mode": "SIMPLE"}}),
    sidecar("istio-system/*"),
    policy(port.AUTHORIZATION_POLICIES, "rules", {"selector": labels(app="orders")}),
    policy(port.AUTHORIZATION_POLICIES, "more", {"targetRefs": [{"kind": "Service", "name": "orders"}]}),
    network_policy("orders", **ORDERS),
    network_policy("in", podSelector={}, ingress=[{"from": [ORDERS]}]),
    network_policy("out", podSelector={}, egress=[{"to": [ORDERS]}]),
]


def crowded(**fields: object) -> Subject:
    of = with_ports(HTTP, DATABASE)
    return subject(*EVERYTHING, **{"provider": "HTTPRoute", "of": of, **fields})  # type: ignore[arg-type]


def test_everything_that_can_be_found_is_found_and_what_blocks_comes_first() -> None:
    found = findings_of(crowded())
    blocking = [item.reason for item in found if item.is_blocking]
    assert blocking == [FindingReason.MIXED_ROUTE_KINDS, FindingReason.SERVICE_PROFILE]
    assert [item.is_blocking for item in found] == sorted((item.is_blocking for item in found), reverse=True)
    headless = findings_of(crowded(of=service("orders", having("spec.clusterIP", "None"))))
    assert {item.reason for item in (*found, *headless)} == set(FindingReason) - OF_WORKLOADS


@pytest.mark.parametrize("table", ["_OF_THE_MESH", "_OF_EVERY_ENTRY"])
def test_every_check_is_needed(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = crowded(of=with_ports(DATABASE)), crowded()
    complete = [findings_of(item) for item in whole]
    checks = getattr(findings, table)
    for number in range(len(checks)):
        monkeypatch.setattr(findings, table, (*checks[:number], *checks[number + 1 :]))
        assert [findings_of(item) for item in whole] != complete, checks[number]


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert findings_of(subject()) == ()


def test_at_a_gateway_only_what_holds_for_the_fork_itself_is_asked() -> None:
    reasons = {item.reason for item in findings_of(crowded(key=AT_A_GATEWAY))}
    assert reasons == {
        FindingReason.DESTINATION_RULE_NOT_APPLIED,
        FindingReason.POLICY_NOT_APPLIED,
        FindingReason.NETWORK_POLICY_NOT_APPLIED,
        FindingReason.NETWORK_POLICY_BARS_FORK,
        FindingReason.NETWORK_POLICY_BARS_CALLERS,
    }


def test_the_same_is_found_whatever_the_order_of_objects() -> None:
    backwards = replace(crowded(), cluster=View(*reversed([*crowded().cluster._objects])))  # type: ignore[attr-defined]
    assert findings_of(backwards) == findings_of(crowded())


def test_of_a_fork_whose_baseline_is_gone_nothing_is_said_about_pods() -> None:
    orphaned = crowded()
    orphaned = replace(orphaned, forks=tuple(replace(fork, baseline=None) for fork in orphaned.forks))
    assert not {item.reason for item in findings_of(orphaned)} & {
        FindingReason.NETWORK_POLICY_NOT_APPLIED,
        FindingReason.NETWORK_POLICY_BARS_FORK,
        FindingReason.NETWORK_POLICY_BARS_CALLERS,
    }


def test_forks_of_several_baselines_are_each_compared_with_their_own() -> None:
    both = subject(network_policy("canary", podSelector=labels(app="canary")), sandboxes=("alice", "bob"))
    alice, bob = both.forks
    canary = deployment("canary", having("spec.template.metadata.labels", {"app": "canary"}))
    both = replace(both, forks=(alice, replace(bob, baseline=canary)))
    assert [(item.reason, item.fork) for item in findings_of(both)] == [
        (FindingReason.NETWORK_POLICY_NOT_APPLIED, "orders-bob")
    ]


def test_messages_are_sentences_of_their_own() -> None:
    for item in findings_of(crowded()):
        assert item.message[0].isupper(), item.message
        assert not item.message.endswith("."), item.message
        assert "shop/" in item.message or "web/" in item.message, item.message


def test_whatever_is_looked_at_is_declared() -> None:
    asked: set[Resource] = set()

    class Noting(View):
        def all(self, resource: Resource, namespace: str = "") -> list[Object]:
            asked.add(resource)
            return list(super().all(resource, namespace))

    whole = crowded()
    findings_of(replace(whole, cluster=Noting(*whole.cluster._objects)))  # type: ignore[attr-defined]
    assert asked <= set(READS)
    assert set(READS) - asked <= {port.DEPLOYMENTS, port.SERVICES, port.GATEWAYS}


def test_a_thousand_forks_take_a_fraction_of_a_second() -> None:
    many = crowded(sandboxes=tuple(f"s{number}" for number in range(1000)))
    begin = time.process_time()
    assert len(findings_of(many)) > 6000
    assert time.process_time() - begin < 2.0


def test_policies_for_others_cost_little_however_many_forks_there_are() -> None:
    strangers = [
        network_policy(
            f"p{number}", podSelector=labels(app="z"), ingress=[{"from": [{"podSelector": labels(app="y")}]}]
        )
        for number in range(100)
    ]
    many = subject(*strangers, sandboxes=tuple(f"s{number}" for number in range(1000)))
    begin = time.process_time()
    assert findings_of(many) == ()
    assert time.process_time() - begin < 0.2


def test_what_blocks_says_which_reason_a_route_gets() -> None:
    assert {item.blocks_as for item in findings_of(crowded())} == {Reason.ROUTE_CONFLICT, None}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["a"], "a", id="one"),
        pytest.param(["b", "a"], "a and b", id="two, sorted"),
        pytest.param(["c", "b", "a", "a"], "a, b and c", id="three, each once"),
        pytest.param(["d", "c", "b", "a"], "a, b, c and others", id="more are cut short"),
    ],
)
def test_names_are_listed_as_in_a_sentence(names: list[str], expected: str) -> None:
    assert listed(names) == expected


def test_an_unknown_namespace_has_no_labels() -> None:
    assert subject(namespace("elsewhere")).namespace_labels("shop") == {}


def test_policies_of_other_namespaces_are_not_asked_about_pods() -> None:
    elsewhere = network_policy("orders", in_namespace("web"), **ORDERS)
    assert findings_of(subject(elsewhere)) == ()
