from __future__ import annotations

from builders import annotated, having, labelled, sandbox, selecting, service
from sidestream.api.labels import BASELINE, BASELINE_SERVICE, MANAGED_BY
from sidestream.api.labels import SANDBOX as SANDBOX_LABEL
from sidestream.api.sandbox import Sandbox
from sidestream.sandbox.services import fork_service, services_of, withdrawn

ALICE = Sandbox.from_json(sandbox())


def test_a_service_leads_to_the_baseline_when_its_selector_picks_the_pods() -> None:
    services = [
        service("orders"),
        service("both", selecting({"app": "orders", "tier": "web"})),
        service("other", selecting({"app": "billing"})),
        service("narrower", selecting({"app": "orders", "zone": "a"})),
        service("by-hand", having("spec.selector", None)),
        service("external", having("spec.type", "ExternalName")),
        service("portless", having("spec.ports", [])),
        service("fork", labelled({MANAGED_BY: "sidestream", SANDBOX_LABEL: "bob"})),
    ]
    found = services_of(services, {"app": "orders", "tier": "web"})
    assert [item["metadata"]["name"] for item in found] == ["both", "orders"]


def test_a_fork_service_has_the_same_ports_and_the_forks_pods_and_claims_nothing_else() -> None:
    baseline = service(
        "orders",
        having("spec.type", "LoadBalancer"),
        having("spec.loadBalancerIP", "1.2.3.4"),
        annotated(
            {"external-dns.alpha.kubernetes.io/hostname": "orders.example.com", "networking.istio.io/exportTo": "."}
        ),
    )
    baseline["spec"]["ports"][0]["nodePort"] = 30080
    made = fork_service(baseline, ALICE, "orders")
    assert made["metadata"]["name"] == "orders-alice"
    assert made["metadata"]["labels"][BASELINE_SERVICE] == "orders"
    assert made["metadata"]["annotations"]["networking.istio.io/exportTo"] == "."
    assert "external-dns.alpha.kubernetes.io/hostname" not in made["metadata"]["annotations"]
    assert made["spec"] == {
        "type": "ClusterIP",
        "selector": {SANDBOX_LABEL: "alice", BASELINE: "orders"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"}],
    }


def test_a_withdrawn_service_still_serves_but_is_not_offered() -> None:
    made = fork_service(service(), ALICE, "orders")
    gone = withdrawn(made, ALICE, "orders")
    assert gone["spec"] == made["spec"]
    assert BASELINE_SERVICE not in gone["metadata"]["labels"]
    assert gone["metadata"]["labels"][SANDBOX_LABEL] == "alice"
