"""Istio's policies that hold for the baseline and not for the fork."""

from __future__ import annotations

from typing import Any

import pytest

from builders import in_namespace, labelled, namespace, service
from sidestream.kube import port
from sidestream.kube.port import Object, Resource
from sidestream.routing.checks.policies import by_selector, by_target
from unit.routing.checks.scene import AT_A_GATEWAY, found, message, policy

ADVICE = "let it select by a label that no Service, Deployment or PodDisruptionBudget selects by"


def selecting(**labels: str) -> dict[str, Any]:
    return {"selector": {"matchLabels": labels}}


@pytest.mark.parametrize(
    ("resource", "spec", "effect"),
    [
        pytest.param(
            port.AUTHORIZATION_POLICIES,
            selecting(app="orders"),
            "its rules (action ALLOW) are not enforced",
            id="AuthorizationPolicy",
        ),
        pytest.param(
            port.AUTHORIZATION_POLICIES,
            {**selecting(app="orders"), "action": "DENY"},
            "its rules (action DENY) are not enforced",
            id="AuthorizationPolicy that denies",
        ),
        pytest.param(
            port.PEER_AUTHENTICATIONS,
            {**selecting(app="orders"), "mtls": {"mode": "STRICT"}},
            "its mTLS mode STRICT is not demanded",
            id="PeerAuthentication",
        ),
        pytest.param(
            port.REQUEST_AUTHENTICATIONS,
            selecting(app="orders"),
            "its tokens are not checked",
            id="RequestAuthentication",
        ),
        pytest.param(
            port.SIDECARS,
            {"workloadSelector": {"labels": {"app": "orders"}}},
            "its listeners and hosts are not set up",
            id="Sidecar",
        ),
    ],
)
def test_a_policy_that_selects_the_baselines_pods_and_not_the_forks(
    resource: Resource, spec: dict[str, Any], effect: str
) -> None:
    assert message(by_selector, policy(resource, "rules", spec)) == (
        f"{resource.kind} shop/rules selects the pods of Deployment orders and not those of its fork orders-alice "
        f"(label app is orders-alice): {effect} there; {ADVICE}"
    )


@pytest.mark.parametrize(
    "resource", [port.AUTHORIZATION_POLICIES, port.PEER_AUTHENTICATIONS, port.REQUEST_AUTHENTICATIONS]
)
def test_a_policy_in_the_root_namespace_selects_pods_of_all(resource: Resource) -> None:
    item = policy(resource, "rules", selecting(app="orders"), in_namespace("istio-system"))
    assert message(by_selector, item).startswith(f"{resource.kind} istio-system/rules selects")


def test_a_sidecar_in_the_root_namespace_selects_only_there() -> None:
    spec = {"workloadSelector": {"labels": {"app": "orders"}}}
    assert found(by_selector, policy(port.SIDECARS, "rules", spec, in_namespace("istio-system"))) == []


@pytest.mark.parametrize(
    ("spec", "home"),
    [
        pytest.param(selecting(team="x"), "shop", id="by a label that both have"),
        pytest.param({}, "shop", id="of all pods"),
        pytest.param(selecting(app="billing"), "shop", id="of other pods"),
        pytest.param(selecting(app="orders-alice"), "shop", id="of the fork alone"),
        pytest.param(selecting(app="orders"), "web", id="of another namespace"),
    ],
)
@pytest.mark.parametrize("resource", [port.AUTHORIZATION_POLICIES, port.PEER_AUTHENTICATIONS])
def test_a_policy_that_treats_both_alike(resource: Resource, spec: dict[str, Any], home: str) -> None:
    assert found(by_selector, policy(resource, "rules", spec, in_namespace(home))) == []


def test_each_fork_that_is_left_out_is_told_of_its_own() -> None:
    item = policy(port.AUTHORIZATION_POLICIES, "rules", selecting(app="orders"))
    findings = found(by_selector, item, sandboxes=("alice", "bob"))
    assert [finding.fork for finding in findings] == ["orders-alice", "orders-bob"]


def targeting(kind: str, name: str, group: str = "") -> dict[str, Any]:
    return {"group": group, "kind": kind, "name": name}


SERVICE = targeting("Service", "orders")
GATEWAY = targeting("Gateway", "waypoint", "gateway.networking.k8s.io")
OWN_WAYPOINT = service("orders", labelled({"istio.io/use-waypoint": "waypoint"}))
COMMON_WAYPOINT = namespace("shop", labelled({"istio.io/use-waypoint": "waypoint"}))


@pytest.mark.parametrize("targets", [{"targetRefs": [SERVICE]}, {"targetRef": SERVICE}], ids=["several", "one"])
def test_a_policy_for_the_service_does_not_hold_for_requests_to_the_fork_itself(targets: dict[str, Any]) -> None:
    item = policy(port.AUTHORIZATION_POLICIES, "rules", targets)
    assert message(by_target, item, key=AT_A_GATEWAY) == (
        "AuthorizationPolicy shop/rules is for Service shop/orders: its rules (action ALLOW) are not enforced on "
        "requests that are sent to the fork Service orders-alice itself, such as a gateway's; if they come, write one "
        "for Service shop/orders-alice"
    )


def test_a_policy_for_a_waypoint_that_only_the_service_has() -> None:
    item = policy(port.REQUEST_AUTHENTICATIONS, "rules", {"targetRefs": [GATEWAY]})
    assert message(by_target, item, of=OWN_WAYPOINT).startswith(
        "RequestAuthentication shop/rules is for Gateway shop/waypoint, the waypoint of Service shop/orders: its "
        "tokens are not checked on requests that are sent to the fork Service orders-alice itself"
    )


@pytest.mark.parametrize(
    ("targets", "around", "of"),
    [
        pytest.param([targeting("Service", "billing")], [], service(), id="another Service"),
        pytest.param([SERVICE, targeting("Service", "orders-alice")], [], service(), id="both Services"),
        pytest.param([GATEWAY], [COMMON_WAYPOINT], service(), id="a waypoint that both have"),
        pytest.param([targeting("Gateway", "public")], [COMMON_WAYPOINT], service(), id="another Gateway"),
        pytest.param([GATEWAY], [], service(), id="a waypoint that neither has"),
    ],
)
def test_a_policy_for_something_that_leaves_no_gap(targets: list[Any], around: list[Object], of: Object) -> None:
    item = policy(port.AUTHORIZATION_POLICIES, "rules", {"targetRefs": targets})
    assert found(by_target, item, *around, of=of) == []


def test_a_policy_for_a_service_of_this_name_elsewhere_is_not_ours() -> None:
    item = policy(port.AUTHORIZATION_POLICIES, "rules", {"targetRefs": [SERVICE]}, in_namespace("web"))
    assert found(by_target, item) == []
