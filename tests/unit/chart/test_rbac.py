"""The rights that the chart gives are those that the operator's seam to Kubernetes can use, and no more."""

from collections import defaultdict
from collections.abc import Iterator

import pytest

from sidestream.config import HeaderSettings
from sidestream.kube import port
from sidestream.kube.port import Resource
from sidestream.kube.reviews import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from sidestream.routing.carriers import all_providers
from sidestream.routing.checks import findings as routing_checks
from sidestream.sandbox import checks as sandbox_checks

from .conftest import NAMESPACE, Object, Render

Rights = dict[tuple[str, str], set[str]]

READ = {"get", "list", "watch"}
WRITE = {"create", "patch", "delete"}

RESOURCES = {item for item in vars(port).values() if isinstance(item, Resource)}
OWN_NAMESPACE = {port.SECRETS, port.LEASES}
"""Kinds that the operator touches in its own namespace only."""

CARRIED = {resource for provider in all_providers(HeaderSettings()) for resource in provider.writes}
WRITTEN = {port.DEPLOYMENTS, port.SERVICES, *CARRIED}
"""Kinds of which the operator makes objects of its own."""

DISCOVERY = {("apiextensions.k8s.io", "customresourcedefinitions")}
"""What Kopf reads by itself to learn which kinds there are."""


def rights(objects: list[Object], kind: str, part: str) -> Rights:
    """Rights on all objects of a kind."""
    found: Rights = defaultdict(set)
    for rule in rules(objects, kind, part):
        if "resourceNames" not in rule:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    found[group, resource] |= set(rule["verbs"])
    return dict(found)


def rules(objects: list[Object], kind: str, part: str) -> Iterator[Object]:
    for item in objects:
        if item["kind"] == kind and item["metadata"]["name"] == f"sidestream-{part}":
            yield from item["rules"]


def main_kinds(found: Rights) -> set[tuple[str, str]]:
    return {(group, resource) for group, resource in found if "/" not in resource}


@pytest.mark.parametrize("part", ["operator", "mapping"])
def test_of_single_objects_only_the_namespace_that_stands_for_the_cluster_may_be_read(
    render: Render, part: str
) -> None:
    named = [rule for rule in rules(render(), "ClusterRole", part) if "resourceNames" in rule]

    assert named == [
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
    ]


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_no_rule_has_a_wildcard(render: Render, kind: str) -> None:
    found = [rule for item in render() if item["kind"] == kind for rule in item["rules"]]
    assert found
    assert not [rule for rule in found if "*" in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}]


def test_the_operator_may_touch_the_kinds_of_its_seam_and_no_other(render: Render) -> None:
    objects = render()
    cluster_wide = main_kinds(rights(objects, "ClusterRole", "operator"))
    own_namespace = main_kinds(rights(objects, "Role", "operator"))
    assert cluster_wide == {(item.group, item.plural) for item in RESOURCES - OWN_NAMESPACE} | DISCOVERY
    assert own_namespace == {(item.group, item.plural) for item in OWN_NAMESPACE}


def test_the_operator_only_reads_what_users_own(render: Render) -> None:
    found = rights(render(), "ClusterRole", "operator")
    for item in (port.PODS, port.ROUTE_GROUPS, port.KAFKA_CLUSTERS, port.KAFKA_CONSUMERS):
        assert found[item.group, item.plural] == READ, item.kind
    assert found["", "namespaces"] == {"list", "watch"}


def test_the_operator_only_reads_what_it_tells_findings_about(render: Render) -> None:
    found = rights(render(), "ClusterRole", "operator")
    for item in sandbox_checks.READS:
        assert found[item.group, item.plural] == {"list"}, item.kind
    for item in set(routing_checks.READS) - WRITTEN - {port.NAMESPACES}:
        assert found[item.group, item.plural] == READ, item.kind


def test_the_operator_makes_and_removes_what_it_owns(render: Render) -> None:
    found = rights(render(), "ClusterRole", "operator")
    for item in (port.KAFKA_ROUTES, *WRITTEN):
        assert found[item.group, item.plural] == READ | WRITE, item.kind
    assert found["apps", "controllerrevisions"] == {"get", "list", *WRITE}


def test_the_operator_reads_what_decides_routes(render: Render) -> None:
    found = rights(render(), "ClusterRole", "operator")
    read = {resource for provider in all_providers(HeaderSettings()) for resource in provider.reads}
    for item in read - WRITTEN:
        assert found[item.group, item.plural] == READ, item.kind


def test_the_operator_never_makes_sandboxes(render: Render) -> None:
    assert rights(render(), "ClusterRole", "operator")["sidestream.dev", "sandboxes"] == {*READ, "patch", "delete"}


def test_the_operator_writes_the_status_of_its_own_kinds_only(render: Render) -> None:
    found = rights(render(), "ClusterRole", "operator")
    own = {item for item in RESOURCES if item.group == "sidestream.dev"}
    assert {key for key in found if key[1].endswith("/status")} == {(x.group, f"{x.plural}/status") for x in own}
    assert all(found[item.group, f"{item.plural}/status"] == {"patch"} for item in own)


def test_the_operator_reads_secrets_only_one_by_one_and_at_home(render: Render) -> None:
    objects = render()
    assert rights(objects, "Role", "operator")["", "secrets"] == {"get"}
    (role,) = (item for item in objects if item["kind"] == "Role")
    assert role["metadata"]["namespace"] == NAMESPACE


def test_the_mapping_service_only_reads_our_kinds(render: Render) -> None:
    found = rights(render(), "ClusterRole", "mapping")
    assert {group for group, _ in found} == {"sidestream.dev"}
    assert all(verbs == READ for verbs in found.values())


def test_the_mapping_service_may_ask_about_others_only_where_callers_show_tokens(render: Render) -> None:
    usual = rights(render(), "ClusterRole", "mapping")
    checking = rights(render("mapping.auth.enabled=true"), "ClusterRole", "mapping")
    reviews = {(item.group, item.plural): {"create"} for item in (TOKEN_REVIEWS, SUBJECT_ACCESS_REVIEWS)}
    assert checking == {**usual, **reviews}


def test_the_prober_has_no_right_and_no_token(render: Render) -> None:
    objects = render()
    subjects = [s["name"] for item in objects if item["kind"].endswith("Binding") for s in item["subjects"]]
    assert "sidestream-prober" not in subjects
    (prober,) = (x for x in objects if x["kind"] == "Deployment" and x["metadata"]["name"] == "sidestream-prober")
    assert prober["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
