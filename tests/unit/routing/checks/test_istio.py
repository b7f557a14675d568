"""What Istio needs, or has been told, to route a Service."""

from __future__ import annotations

from typing import Any

import pytest

from builders import Modifier, deployment, having, in_namespace, labelled, namespace, service, thing
from sidestream.api.labels import MANAGED_BY, MANAGED_BY_VALUE
from sidestream.kube import port
from sidestream.kube.port import Object
from sidestream.routing.checks.istio import destination_rules, hiding_sidecars, missing_waypoint
from unit.routing.checks.scene import AT_A_GATEWAY, POD_LABELS, found, message
from unit.routing.things import ORDERS_FQDN

AMBIENT = {"istio.io/dataplane-mode": "ambient"}
FORK_FQDN = "orders-alice.shop.svc.cluster.local"


def shop(**labels: str) -> Object:
    """Namespace `shop` in ambient mode, with more labels under `istio.io/`."""
    return namespace("shop", labelled({**AMBIENT, **istio(**labels)}))


def istio(**labels: str) -> dict[str, str]:
    return {f"istio.io/{name.replace('_', '-')}": value for name, value in labels.items()}


def waypoint(home: str = "shop", **labels: str) -> Object:
    return thing(port.GATEWAYS, "waypoint", {"spec": {}}, in_namespace(home), labelled(istio(**labels)))


def baseline(**labels: str) -> Object:
    return deployment("orders", having("spec.template.metadata.labels", {**POD_LABELS, **labels}))


def test_ambient_without_a_waypoint() -> None:
    assert message(missing_waypoint, shop()) == (
        "Service shop/orders is in Istio's ambient mode and has no waypoint, so requests of callers without a sidecar "
        "stay on the baseline; label the Service or its namespace istio.io/use-waypoint: <a waypoint>, and "
        "istio.io/ingress-use-waypoint: true if an ingress gateway without tenants' routes sends requests to it"
    )


@pytest.mark.parametrize(
    ("around", "why"),
    [
        pytest.param(
            [shop(use_waypoint="waypoint")], "its waypoint, Gateway shop/waypoint, does not exist", id="not there"
        ),
        pytest.param(
            [shop(use_waypoint="waypoint"), waypoint("infra")],
            "its waypoint, Gateway shop/waypoint, does not exist",
            id="in another namespace",
        ),
        pytest.param(
            [shop(use_waypoint="waypoint"), waypoint(waypoint_for="workload")],
            "its waypoint, Gateway shop/waypoint, is not for Services (istio.io/waypoint-for: workload)",
            id="for something else",
        ),
    ],
)
def test_a_waypoint_that_does_not_serve(around: list[Object], why: str) -> None:
    assert message(missing_waypoint, *around) == (
        f"Service shop/orders is in Istio's ambient mode, but {why}, so requests of callers without a sidecar stay on "
        "the baseline"
    )


@pytest.mark.parametrize(
    ("around", "of"),
    [
        pytest.param([shop(use_waypoint="waypoint"), waypoint()], service(), id="by the namespace's label"),
        pytest.param([shop(), waypoint()], service("orders", labelled(istio(use_waypoint="waypoint"))), id="its own"),
        pytest.param(
            [shop(use_waypoint="waypoint", use_waypoint_namespace="infra"), waypoint("infra")],
            service(),
            id="in another namespace, as is said",
        ),
        pytest.param(
            [shop(use_waypoint="waypoint"), waypoint(waypoint_for="all")], service(), id="for Services and pods"
        ),
        pytest.param([namespace("shop")], service(), id="not in ambient mode"),
    ],
)
def test_a_waypoint_that_serves_or_is_not_needed(around: list[Object], of: Object) -> None:
    assert found(missing_waypoint, *around, of=of) == []


def test_a_service_that_declines_its_namespaces_waypoint_has_none() -> None:
    of = service("orders", labelled(istio(use_waypoint="none")))
    assert "has no waypoint" in message(missing_waypoint, shop(use_waypoint="waypoint"), waypoint(), of=of)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"istio.io/dataplane-mode": "none"}, id="pods that are left out"),
        pytest.param({"sidecar.istio.io/inject": "true"}, id="pods with sidecars"),
    ],
)
def test_pods_may_stay_out_of_ambient_mode(labels: dict[str, str]) -> None:
    assert found(missing_waypoint, shop(), baseline=baseline(**labels)) == []


def test_pods_may_join_ambient_mode_alone() -> None:
    assert len(found(missing_waypoint, namespace("shop"), baseline=baseline(**AMBIENT))) == 1


# --- DestinationRules


def rule(name: str = "rule", host: str = "orders", *modifiers: Modifier, **spec: Any) -> Object:
    return thing(port.DESTINATION_RULES, name, {"spec": {"host": host, **spec}}, *modifiers)


SIMPLE = {"tls": {"mode": "SIMPLE"}}
FULL: dict[str, Any] = {
    "trafficPolicy": {**SIMPLE, "connectionPool": {}, "outlierDetection": {}, "aFieldOfTheFuture": 1},
    "subsets": [{"name": "v2"}, {"name": "v1"}],
}


def test_a_destination_rule_of_the_baseline_says_what_the_fork_lacks() -> None:
    assert message(destination_rules, rule(**FULL)) == (
        f"DestinationRule shop/rule is for host {ORDERS_FQDN} alone: what it says (aFieldOfTheFuture, connection pool, "
        "outlier detection, TLS mode SIMPLE, subsets v1 and v2) does not hold for the fork; if it has to, write a "
        f"DestinationRule for host {FORK_FQDN}"
    )


def test_each_fork_gets_its_own() -> None:
    findings = found(destination_rules, rule(trafficPolicy=SIMPLE), sandboxes=("alice", "bob"))
    assert [item.fork for item in findings] == ["orders-alice", "orders-bob"]


def test_it_holds_at_gateways_too() -> None:
    assert message(destination_rules, rule(trafficPolicy=SIMPLE), key=AT_A_GATEWAY)


def test_one_in_another_namespace_counts_by_its_full_host() -> None:
    elsewhere = rule("rule", ORDERS_FQDN, in_namespace("web"), trafficPolicy=SIMPLE)
    assert message(destination_rules, elsewhere).startswith("DestinationRule web/rule")


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(
            [rule(host="*.shop.svc.cluster.local", trafficPolicy=SIMPLE)], id="for a wildcard that covers both"
        ),
        pytest.param([rule(host="billing", trafficPolicy=SIMPLE)], id="for another host"),
        pytest.param([rule("rule", "orders", in_namespace("web"), trafficPolicy=SIMPLE)], id="short elsewhere"),
        pytest.param([rule()], id="that says nothing"),
        pytest.param(
            [rule("rule", "orders", labelled({MANAGED_BY: MANAGED_BY_VALUE}), trafficPolicy=SIMPLE)], id="of ours"
        ),
        pytest.param(
            [rule(trafficPolicy=SIMPLE), rule("other", FORK_FQDN, trafficPolicy=SIMPLE)], id="beside one for the fork"
        ),
    ],
)
def test_a_destination_rule_that_takes_nothing_from_the_fork(around: list[Object]) -> None:
    assert found(destination_rules, *around) == []


# --- Sidecars


def sidecar(*hosts: str, home: str = "shop", **spec: Any) -> Object:
    return thing(port.SIDECARS, "callers", {"spec": {"egress": [{"hosts": list(hosts)}], **spec}}, in_namespace(home))


def test_a_sidecar_that_leaves_out_the_service() -> None:
    assert message(hiding_sidecars, sidecar("./billing.shop.svc.cluster.local", "istio-system/*")) == (
        "The egress hosts of Sidecar shop/callers leave out Service shop/orders: callers of it have no tenants' routes "
        f"and stay on the baseline if they reach it at all; if there are any, add shop/{ORDERS_FQDN}"
    )


def test_a_sidecar_elsewhere_counts_if_it_speaks_of_the_namespace() -> None:
    assert "web/callers" in message(hiding_sidecars, sidecar("shop/billing.shop.svc.cluster.local", home="web"))


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(sidecar("./*"), id="all of its namespace"),
        pytest.param(sidecar("*/*"), id="everything"),
        pytest.param(sidecar(f"shop/{ORDERS_FQDN}", home="web"), id="by its full host: its forks come with its routes"),
        pytest.param(sidecar(f"*/{ORDERS_FQDN}"), id="by its full host in any namespace"),
        pytest.param(sidecar("shop/*.shop.svc.cluster.local", home="web"), id="by a wildcard"),
        pytest.param(sidecar("./*", "istio-system/*", home="web"), id="a stranger"),
        pytest.param(sidecar(egress=[]), id="about ingress only"),
        pytest.param(sidecar(egress=[{"hosts": ["istio-system/*"]}, {"hosts": ["./*"]}]), id="in a later listener"),
    ],
)
def test_a_sidecar_that_lets_the_service_through_or_never_meant_it(item: Object) -> None:
    assert found(hiding_sidecars, item) == []
