"""Users' VirtualServices as they are read, or refused with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from builders import annotated, in_namespace
from sidestream.api.conditions import Reason
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.routing.entries import Mode
from sidestream.routing.providers.virtualservice_patch import with_rules
from sidestream.routing.providers.virtualservice_user import UserRules, mesh_rules
from unit.routing.istio_things import shop
from unit.routing.things import ORDERS, ORDERS_FQDN, to, virtual_service


def read(*objects: Object, ports: Sequence[int] = (80,), mode: HeaderMode = HeaderMode.BAGGAGE) -> UserRules | None:
    return mesh_rules(ORDERS, ports, shop(*objects), HeaderSettings(mode=mode))


def rules(*objects: Object, ports: Sequence[int] = (80,)) -> list[dict[str, Any]]:
    found = read(*objects, ports=ports)
    assert found is not None
    return list(found.rules)


def elsewhere(obj: Object, namespace: str) -> Object:
    in_namespace(namespace)(obj)
    return obj


# --- whose word counts


@pytest.mark.parametrize("host", ["orders", ORDERS_FQDN])
def test_the_short_and_the_full_host_are_about_the_service(host: str) -> None:
    found = read(virtual_service("mine", {"route": [to()]}, hosts=["other", "orders.shop", host]))
    assert found is not None
    assert found.source == "shop/mine"


NOT_ABOUT_IT = {
    "another host": virtual_service("mine", {"route": [to()]}, hosts=["inventory"]),
    "the short name in another namespace": elsewhere(virtual_service("mine", {"route": [to()]}), "billing"),
    "for a gateway only": virtual_service("mine", {"route": [to()]}, gateways=["edge"]),
    "a delegate, which has no hosts": virtual_service("mine", {"route": [to()]}, hosts=[]),
}


@pytest.mark.parametrize("obj", NOT_ABOUT_IT.values(), ids=NOT_ABOUT_IT)
def test_a_virtual_service_is_not_about_the_service(obj: Object) -> None:
    assert read(obj) is None


def test_one_for_gateway_and_mesh_is_about_the_service() -> None:
    assert read(virtual_service("mine", {"route": [to()]}, gateways=["edge", "mesh"])) is not None


# --- rules keep their meaning


def test_rules_are_taken_as_they_are_with_fields_nobody_knows() -> None:
    rule = {"name": "a", "route": [to(ORDERS_FQDN, port={"number": 81})], "timeout": "3s", "ofTheFuture": {"x": 1}}
    assert rules(virtual_service("mine", rule)) == [rule]


def test_short_names_are_spelled_out_in_the_namespace_of_their_object() -> None:
    rule = {
        "route": [to("orders.shop"), to("ledger")],
        "mirror": {"host": "shadow"},
        "mirrors": [{"destination": {"host": "shadow2"}}],
    }
    obj = elsewhere(virtual_service("mine", rule, hosts=[ORDERS_FQDN]), "billing")
    (read_rule,) = rules(obj)
    assert [route["destination"]["host"] for route in read_rule["route"]] == [
        "orders.shop",
        "ledger.billing.svc.cluster.local",
    ]
    assert read_rule["mirror"]["host"] == "shadow.billing.svc.cluster.local"
    assert read_rule["mirrors"][0]["destination"]["host"] == "shadow2.billing.svc.cluster.local"


def test_alternatives_for_gateways_are_left_out_and_never_become_a_rule_for_everything() -> None:
    edge_only = {"name": "edge", "match": [{"gateways": ["edge"], "uri": {"prefix": "/"}}], "route": [to("edge")]}
    both = {
        "name": "both",
        "match": [{"gateways": ["edge"]}, {"gateways": ["edge", "mesh"], "uri": {"prefix": "/b"}}, {"port": 80}],
        "route": [to(ORDERS_FQDN)],
    }
    (only,) = rules(virtual_service("mine", edge_only, both, gateways=["edge", "mesh"]))
    assert only["name"] == "both"
    assert only["match"] == [{"gateways": ["mesh"], "uri": {"prefix": "/b"}}, {"port": 80}]


def test_a_port_that_no_rule_is_for_keeps_leading_to_the_service() -> None:
    rule = {"match": [{"port": 80, "uri": {"prefix": "/a"}}], "route": [to(ORDERS_FQDN)]}
    assert rules(virtual_service("mine", rule), ports=(80, 81)) == [
        rule,
        {"match": [{"port": 81}], "route": [to(ORDERS_FQDN)]},
    ]


def test_a_port_for_which_some_rule_holds_refuses_what_no_rule_matches() -> None:
    rule = {"match": [{"uri": {"prefix": "/a"}}], "route": [to(ORDERS_FQDN)]}
    assert rules(virtual_service("mine", rule), ports=(80, 81)) == [rule]


# --- what cannot be overlaid

PLAIN = {"name": "plain", "route": [to()]}
REFUSED: dict[str, tuple[list[Object], str]] = {
    "two name the host": (
        [virtual_service("b", PLAIN), virtual_service("a", PLAIN, hosts=[ORDERS_FQDN])],
        "VirtualServices shop/a and shop/b both name host orders.shop.svc.cluster.local; keep one of them",
    ),
    "a wildcard": (
        [virtual_service("mine", PLAIN, hosts=["*.shop.svc.cluster.local"])],
        (
            "VirtualService shop/mine names host orders.shop.svc.cluster.local by a wildcard; "
            "name the host itself to have it forked"
        ),
    ),
    "half of its name": (
        [virtual_service("mine", PLAIN, hosts=["orders.shop"])],
        (
            "VirtualService shop/mine names host orders.shop, which Istio takes for another than "
            "orders.shop.svc.cluster.local, so its rules hold only for requests that spell it so; write the full name"
        ),
    ),
    "tcp rules": (
        [virtual_service("mine", PLAIN, tcp=[{"route": [to()]}])],
        "VirtualService shop/mine has tcp rules, which cannot be given to tenants; move them elsewhere",
    ),
    "tls rules": (
        [virtual_service("mine", PLAIN, tls=[{"route": [to()]}])],
        "VirtualService shop/mine has tls rules, which cannot be given to tenants; move them elsewhere",
    ),
    "exportTo": (
        [virtual_service("mine", PLAIN, exportTo=["."])],
        "VirtualService shop/mine sets exportTo, so no other VirtualService can take precedence over it; remove it",
    ),
    "a delegate": (
        [virtual_service("mine", PLAIN, {"name": "far", "delegate": {"name": "x"}})],
        (
            "Rule far (http[1]) of VirtualService shop/mine delegates to VirtualService shop/x, which does not exist; "
            "create it or remove the rule"
        ),
    ),
    "the tenants' header": (
        [virtual_service("mine", {"match": [{"headers": {"Baggage": {"exact": "x"}}}], "route": [to()]})],
        (
            "Rule http[0] of VirtualService shop/mine matches on header baggage, which names the tenants; "
            "match on another header"
        ),
    ),
    "rules for some callers only": (
        [virtual_service("mine", {"match": [{"sourceLabels": {"app": "web"}}], "route": [to()]})],
        (
            "VirtualService shop/mine has rules for some callers only (sourceLabels, sourceNamespace) on port 80; "
            "add a rule for all others"
        ),
    ),
}

HANDOVER = {"delegate": {"name": "sidestream-orders"}}
PATCH = {"sidestream.dev/routing": "Patch"}


def allowing_a_patch(*rules: dict[str, Any], **spec: Any) -> Object:
    obj = virtual_service("mine", *rules, **spec)
    annotated(PATCH)(obj)
    return obj


def delegate(*rules: dict[str, Any], **spec: Any) -> Object:
    return virtual_service("part", *rules, hosts=[], **spec)


REFUSED |= {
    "a delegate that is not exported": (
        [
            virtual_service("mine", {"delegate": {"name": "part", "namespace": "billing"}}),
            elsewhere(delegate(PLAIN, exportTo=["."]), "billing"),
        ],
        (
            "Rule http[0] of VirtualService shop/mine delegates to VirtualService billing/part, which is not exported "
            "to namespace shop; export it there"
        ),
    ),
    "a delegate that is none": (
        [virtual_service("mine", {"delegate": {"name": "part"}}), virtual_service("part", PLAIN, hosts=["else"])],
        (
            "Rule http[0] of VirtualService shop/mine delegates to VirtualService shop/part, which has hosts of its "
            "own and so is no delegate; remove its hosts or the rule"
        ),
    ),
    "a delegate that delegates": (
        [virtual_service("mine", {"delegate": {"name": "part"}}), delegate({"name": "on", "delegate": {"name": "x"}})],
        "Rule on (http[0]) of VirtualService shop/part delegates further, which Istio does not do; inline its rules",
    ),
    "the tenants' header in a delegate": (
        [
            virtual_service("mine", {"delegate": {"name": "part"}}),
            delegate({"match": [{"headers": {"baggage": {"exact": "x"}}}], "route": [to()]}),
        ],
        (
            "Rule http[0] of VirtualService shop/part matches on header baggage, which names the tenants; "
            "match on another header"
        ),
    ),
    "the tenants' header before our delegate": (
        [virtual_service("mine", {**HANDOVER, "match": [{"headers": {"baggage": {"regex": ".+"}}}]}, PLAIN)],
        (
            "Rule http[0] of VirtualService shop/mine delegates to shop/sidestream-orders and has match too; "
            "leave only delegate in it"
        ),
    ),
    "a field beside our delegate": (
        [virtual_service("mine", {**HANDOVER, "timeout": "3s"}, PLAIN)],
        (
            "Rule http[0] of VirtualService shop/mine delegates to shop/sidestream-orders and has timeout too; "
            "leave only delegate in it"
        ),
    ),
    "our delegate behind another rule": (
        [virtual_service("mine", PLAIN, HANDOVER)],
        (
            "Rule plain (http[0]) of VirtualService shop/mine comes before the one that delegates to "
            "shop/sidestream-orders; move that one to the top"
        ),
    ),
    "our delegate on a port without rules": (
        [virtual_service("mine", HANDOVER, {"match": [{"port": 81}], "route": [to()]})],
        "VirtualService shop/mine has no rule for port 80, where ours would be the only ones; add a rule for it",
    ),
    "a patch of several hosts": (
        [allowing_a_patch(PLAIN, hosts=["orders", "ledger"])],
        "VirtualService shop/mine allows a patch but has several hosts; give each a VirtualService of its own",
    ),
    "a patch for some callers at gateways too": (
        [
            allowing_a_patch(
                {"match": [{"sourceLabels": {"app": "web"}}], "route": [to()]}, PLAIN, gateways=["mesh", "edge"]
            )
        ],
        (
            "VirtualService shop/mine is for gateways too and has rules for some callers only (sourceLabels, "
            "sourceNamespace); give the gateways a VirtualService of their own"
        ),
    ),
    "an invalid regular expression": (
        [virtual_service("mine", {"name": "api", "match": [{"uri": {"regex": "/(?!x).*"}}], "route": [to()]})],
        (
            "The regular expression /(?!x).* in rule api (http[0]) of VirtualService shop/mine is not valid: "
            '"invalid perl operator: (?!"'
        ),
    ),
    "a rule of another namespace for its own callers": (
        [elsewhere(virtual_service("mine", PLAIN, hosts=[ORDERS_FQDN], exportTo=["."]), "web")],
        "VirtualService web/mine sets exportTo, so no other VirtualService can take precedence over it; remove it",
    ),
}


@pytest.mark.parametrize(("objects", "sentence"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_the_names_of_object_and_rule(objects: list[Object], sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read(*objects)
    assert (refused.value.reason, refused.value.message) == (Reason.ROUTE_CONFLICT, sentence)


def test_a_header_that_names_no_tenant_in_this_mode_may_be_matched_on() -> None:
    rule = {"match": [{"headers": {"baggage": {"regex": ".*debug.*"}}}], "route": [to()]}
    assert read(virtual_service("mine", rule), mode=HeaderMode.EXACT) is not None


def test_the_default_exportTo_spelled_out_is_no_obstacle() -> None:  # noqa: N802 - Istio's own name
    assert read(virtual_service("mine", PLAIN, exportTo=["*"])) is not None


def test_one_that_is_exported_to_nobody_counts_for_nothing() -> None:
    assert read(virtual_service("mine", PLAIN, exportTo=["~"])) is None


# --- how ours stands to it


def test_a_root_that_hands_over_to_ours_by_name_is_delegated() -> None:
    found = read(virtual_service("mine", HANDOVER, PLAIN, exportTo=["."], tcp=[{"route": [to()]}]))
    assert found is not None
    assert (found.mode, found.place) == (Mode.DELEGATE, {"exportTo": ["shop"]})
    assert [rule["name"] for rule in found.rules] == ["plain"]


def test_an_annotation_allows_a_patch_whatever_it_exports() -> None:
    found = read(allowing_a_patch(PLAIN, exportTo=["."]))
    assert found is not None
    assert found.mode is Mode.PATCH


def test_rules_that_we_put_into_it_are_not_the_users() -> None:
    mine = allowing_a_patch(PLAIN)
    assert read(with_rules(mine, [{"name": "tenant-alice", "route": [to("orders-alice")]}])) == read(mine)


def test_ours_within_one_for_gateways_too_are_for_sidecars_alone() -> None:
    found = read(virtual_service("mine", HANDOVER, PLAIN, gateways=["mesh", "edge"]))
    assert found is not None
    assert [rule["match"] for rule in found.rules] == [[{"gateways": ["mesh"]}]]
