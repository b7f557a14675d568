from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import annotated, deployment, generation, having, labelled, sandbox
from sidestream.api.labels import BASELINE, BASELINE_GENERATION, MANAGED_BY, ROUTING_KEY, TEMPLATE
from sidestream.api.labels import SANDBOX as SANDBOX_LABEL
from sidestream.api.sandbox import Sandbox, Workload
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.sandbox.fork import fork_deployment, stopped, template_mark, wanted_replicas
from sidestream.sandbox.labels import Selection, selections_of
from sidestream.sandbox.variables import GroupVariable

ALICE = Sandbox.from_json(sandbox())
OUR_LABELS = {MANAGED_BY: "sidestream", SANDBOX_LABEL: "alice", BASELINE: "orders", ROUTING_KEY: "alice"}
NO_GITOPS = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
}
GROUP = GroupVariable("orders-events", "", "KAFKA_GROUP_ID", "orders.sbx.alice")


def fork(
    baseline: Object | None = None,
    *variables: GroupVariable,
    selections: tuple[Selection, ...] = (),
    sandbox: Sandbox = ALICE,
    **workload: Any,
) -> Object:
    wanted = Workload.model_validate({"deployment": "orders", **workload})
    return fork_deployment(baseline or deployment(), sandbox, wanted, selections, variables)


def patch(value: Any, kind: str = "Merge") -> dict[str, Any]:
    return {"type": kind, "value": value}


def test_a_fork_is_its_baseline_under_another_name_with_our_labels() -> None:
    baseline = deployment("orders", generation(7))
    made = fork(baseline, selections=selections_of([baseline], []))
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "orders-alice",
            "namespace": "shop",
            "labels": OUR_LABELS,
            "annotations": {BASELINE_GENERATION: "7", **NO_GITOPS},
            "ownerReferences": [
                {
                    "apiVersion": "sidestream.dev/v1alpha1",
                    "kind": "Sandbox",
                    "name": "alice",
                    "uid": "uid-sandboxes-alice",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {SANDBOX_LABEL: "alice", BASELINE: "orders"}},
            "template": {
                "metadata": {
                    "labels": {"app": "orders-alice", **OUR_LABELS},
                    "annotations": {TEMPLATE: template_mark(made)},
                },
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "image": "orders:1",
                            "ports": [{"containerPort": 8080}],
                            "env": [{"name": "SIDESTREAM_SANDBOX", "value": "alice"}],
                        }
                    ]
                },
            },
        },
    }


def test_fields_that_nobody_has_heard_of_survive() -> None:
    baseline = deployment(
        "orders",
        having("spec.future", {"a": [1]}),
        having("spec.strategy", {"type": "Recreate"}),
        having("spec.template.future", "x"),
        having("spec.template.spec.future", {"b": None}),
    )
    spec = fork(baseline)["spec"]
    assert (spec["future"], spec["strategy"]) == ({"a": [1]}, {"type": "Recreate"})
    assert (spec["template"]["future"], spec["template"]["spec"]["future"]) == ("x", {"b": None})


def test_what_belongs_to_the_baseline_alone_is_left_behind() -> None:
    baseline = deployment(
        "orders",
        having("metadata.managedFields", [{"manager": "kubectl"}]),
        having("metadata.ownerReferences", [{"uid": "1"}]),
        having("metadata.finalizers", ["x"]),
        having(path="spec.paused", value=True),
        having("spec.replicas", 5),
        having("spec.template.metadata.creationTimestamp", None),
        labelled(
            {
                "team": "sales",
                "app.kubernetes.io/instance": "shop",
                "app.kubernetes.io/managed-by": "Helm",
                "helm.sh/chart": "orders-1",
                "kustomize.toolkit.fluxcd.io/name": "shop",
                "argocd.argoproj.io/instance": "shop",
            }
        ),
        annotated(
            {
                "owner": "sales",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "deployment.kubernetes.io/revision": "3",
                "meta.helm.sh/release-name": "shop",
                "argocd.argoproj.io/tracking-id": "x",
                "argocd.argoproj.io/sync-options": "Prune=true",
                "sidestream.dev/applied-hash": "x",
                "config.k8s.io/owning-inventory": "x",
            }
        ),
    )
    made = fork(baseline)
    assert made.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert made["metadata"].keys() == {"name", "namespace", "labels", "annotations", "ownerReferences"}
    assert made["metadata"]["labels"] == {"team": "sales", **OUR_LABELS}
    assert made["metadata"]["annotations"] == {"owner": "sales", BASELINE_GENERATION: "1", **NO_GITOPS}
    assert "paused" not in made["spec"]
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["template"]["metadata"].keys() == {"labels", "annotations"}


def test_the_pods_keep_their_labels_and_annotations_but_for_gitops_tracking() -> None:
    baseline = deployment(
        "orders",
        having(
            "spec.template.metadata.annotations",
            {"kubectl.kubernetes.io/restartedAt": "t", "argocd.argoproj.io/x": "y"},
        ),
        having("spec.template.metadata.labels", {"app": "orders", "app.kubernetes.io/instance": "shop", "tier": "web"}),
    )
    made = fork(baseline)
    metadata = made["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"kubectl.kubernetes.io/restartedAt": "t", TEMPLATE: template_mark(made)}
    assert metadata["labels"] == {"app": "orders", "app.kubernetes.io/instance": "shop", "tier": "web", **OUR_LABELS}


def test_the_workload_says_containers_and_replicas() -> None:
    made = fork(replicas=3, containers=[{"image": "orders:pr", "env": [{"name": "X", "value": "on"}]}])
    assert made["spec"]["replicas"] == wanted_replicas(made) == 3
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "orders:pr"
    assert container["env"] == [{"name": "X", "value": "on"}, {"name": "SIDESTREAM_SANDBOX", "value": "alice"}]


def test_the_patch_has_the_last_word() -> None:
    container = {"name": "app", "image": "orders:patched"}
    made = fork(
        containers=[{"image": "orders:pr"}],
        replicas=1,
        patch=patch({"spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}}}),
    )
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "orders:patched"
    assert wanted_replicas(made) == 2


def test_a_patch_cannot_take_our_labels_owner_and_variable_away() -> None:
    value = {
        "metadata": {"labels": None, "ownerReferences": [], "annotations": {BASELINE_GENERATION: "x"}},
        "spec": {"template": {"metadata": {"labels": {SANDBOX_LABEL: "bob", "added": "yes"}}}},
    }
    made = fork(patch=patch(value))
    assert made["metadata"] == fork()["metadata"]
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "orders", "added": "yes", **OUR_LABELS}


def test_labels_that_a_patch_adds_are_kept_out_of_selectors_too() -> None:
    value = {"spec": {"template": {"metadata": {"labels": {"tier": "web"}}}}}
    made = fork(patch=patch(value), selections=(Selection("Service web", {"matchLabels": {"tier": "web"}}),))
    assert made["spec"]["template"]["metadata"]["labels"]["tier"] == "web-alice"


def test_the_group_is_told_to_the_container_that_the_consumer_names() -> None:
    baseline = deployment("orders")
    containers = baseline["spec"]["template"]["spec"]["containers"]
    containers[0]["env"] = [{"name": "KAFKA_GROUP_ID", "value": "orders"}, {"name": "B", "value": "$(KAFKA_GROUP_ID)"}]
    containers.append({"name": "proxy", "image": "proxy:1"})
    made = fork(baseline, GroupVariable("orders-events", "app", "KAFKA_GROUP_ID", "orders.sbx.alice"))
    app, proxy = made["spec"]["template"]["spec"]["containers"]
    assert app["env"][:2] == [
        {"name": "KAFKA_GROUP_ID", "value": "orders.sbx.alice"},
        {"name": "B", "value": "$(KAFKA_GROUP_ID)"},
    ]
    assert proxy["env"] == [{"name": "SIDESTREAM_SANDBOX", "value": "alice"}]


def test_the_group_wins_over_what_the_workload_and_its_patch_set() -> None:
    env = [{"name": "KAFKA_GROUP_ID", "value": "mine"}]
    value = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}}
    made = fork(None, GROUP, containers=[{"env": env}], patch=patch(value, "Strategic"))
    assert {"name": "KAFKA_GROUP_ID", "value": "orders.sbx.alice"} in made["spec"]["template"]["spec"]["containers"][0][
        "env"
    ]


@pytest.mark.parametrize(
    ("workload", "variables", "reason", "sentence"),
    [
        pytest.param(
            {"containers": [{"name": "web"}]},
            [],
            "ContainerNotFound",
            "there is no container web; there is app",
            id="an override for a container that is not there",
        ),
        pytest.param(
            {},
            [GroupVariable("orders-events", "web", "KAFKA_GROUP_ID", "g")],
            "ContainerNotFound",
            "KafkaConsumer orders-events sets KAFKA_GROUP_ID in groupEnv: there is no container web; there is app",
            id="a consumer that names a container that is not there",
        ),
        pytest.param(
            {"patch": patch({"spec": {"template": {"spec": {"containers": [{"name": "other"}]}}}})},
            [GROUP],
            "PatchFailed",
            "the patch removes container app, in which KafkaConsumer orders-events sets KAFKA_GROUP_ID",
            id="a patch that removes the consumer's container",
        ),
    ],
)
def test_a_fork_that_cannot_be_is_refused(
    workload: dict[str, Any], variables: list[GroupVariable], reason: str, sentence: str
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        fork(None, *variables, **workload)
    assert (refusal.value.reason, refusal.value.message) == (reason, sentence)


def test_lists_that_server_side_apply_refuses_are_made_unique() -> None:
    baseline = deployment("orders", having("spec.template.spec.imagePullSecrets", [{"name": "r"}, {"name": "r"}]))
    aliases = [
        {"ip": "::1", "hostnames": ["a"]},
        {"ip": "::2", "hostnames": ["c"]},
        {"ip": "::1", "hostnames": ["b", "a"]},
    ]
    having("spec.template.spec.hostAliases", aliases)(baseline)
    port = {"containerPort": 8080, "protocol": "TCP"}
    container = baseline["spec"]["template"]["spec"]["containers"][0]
    container.update(
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}, {"name": "A", "value": "2"}],
        ports=[port, {"containerPort": 8080, "protocol": "UDP"}, {**port, "name": "again"}],
    )
    pod = fork(baseline)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "r"}]
    assert pod["hostAliases"] == [{"ip": "::1", "hostnames": ["a", "b"]}, {"ip": "::2", "hostnames": ["c"]}]
    assert pod["containers"][0]["ports"] == [port, {"containerPort": 8080, "protocol": "UDP"}]
    assert pod["containers"][0]["env"] == [
        {"name": "B", "value": "$(A)"},
        {"name": "A", "value": "2"},
        {"name": "SIDESTREAM_SANDBOX", "value": "alice"},
    ]


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        pytest.param({"containers": [{"image": "orders:pr-43"}]}, True, id="another image"),
        pytest.param({"containers": [{"env": [{"name": "A", "value": "1"}]}]}, True, id="another variable"),
        pytest.param({"patch": patch({"spec": {"template": {"spec": {"x": 1}}}})}, True, id="a patch of the pods"),
        pytest.param({"replicas": 3}, False, id="more pods of the same kind"),
        pytest.param({"patch": patch({"spec": {"minReadySeconds": 1}})}, False, id="a patch of the Deployment"),
    ],
)
def test_pods_are_marked_by_what_they_run(change: dict[str, Any], *, is_another: bool) -> None:
    assert (template_mark(fork(**change)) != template_mark(fork())) is is_another


def test_a_stopped_fork_differs_in_replicas_only() -> None:
    made = fork(replicas=2)
    assert stopped(made)["spec"].pop("replicas") == 0
    assert {**stopped(made)["spec"], "replicas": 2} == made["spec"]


names = st.from_regex(r"[a-z]([a-z0-9-]{0,60}[a-z0-9])?", fullmatch=True)


@settings(deadline=None)
@given(names, names)
def test_names_are_names_and_the_selector_tells_forks_apart(baseline_name: str, sandbox_name: str) -> None:
    who = Sandbox.from_json(sandbox(sandbox_name))
    made = fork(deployment(baseline_name), sandbox=who, deployment=baseline_name)
    assert len(made["metadata"]["name"]) <= 52
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", made["metadata"]["name"])
    assert made["spec"]["selector"]["matchLabels"] == {SANDBOX_LABEL: sandbox_name, BASELINE: baseline_name}
    assert made["spec"]["selector"]["matchLabels"].items() <= made["spec"]["template"]["metadata"]["labels"].items()


def test_the_baseline_is_not_changed() -> None:
    baseline = deployment("orders")
    before = copy.deepcopy(baseline)
    fork(baseline, GROUP, containers=[{"image": "x"}], patch=patch({"spec": {"minReadySeconds": 1}}))
    assert baseline == before
