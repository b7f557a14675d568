"""All checks together: which of them are asked, in which order, and at what cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import deployment, having, service
from sidestream.api.findings import FindingReason
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
