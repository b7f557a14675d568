"""A fork Deployment from its baseline: a raw copy without what belongs to the baseline alone; pure.

Fields that this code has never heard of survive. Server-side apply refuses some lists that a Deployment may hold
(a name twice); these are made unique the way the kubelet reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from sidestream.api.labels import BASELINE_GENERATION, SANDBOX, TEMPLATE
from sidestream.api.names import fork_name
from sidestream.api.sandbox import Sandbox, Workload
from sidestream.kube.apply import canonical_hash
from sidestream.kube.port import DEPLOYMENTS, Object
from sidestream.sandbox.containers import with_overrides
from sidestream.sandbox.labels import Selection, labels_apart
from sidestream.sandbox.ownership import fork_selector, made, made_labels, made_metadata, name_of
from sidestream.sandbox.patching import patched
from sidestream.sandbox.variables import Variable, resolved, taken_over, tells_all, told

_HASH_LENGTH: Final = 16

_NOT_CLONED: Final = ("argocd.argoproj.io/", "toolkit.fluxcd.io/", "kapp.k14s.io/", "objectset.rio.cattle.io/")
"""Marks by which GitOps tools know what they track: a clone that has them is pruned or taken over.

What ends in a slash is a domain and means all names in it and below it.
"""

_NOT_CLONED_FROM_OBJECT: Final = (
    *_NOT_CLONED,
    "app.kubernetes.io/instance",
    "helm.sh/",
    "config.k8s.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "sidestream.dev/",
)


def fork_deployment(
    baseline: Object,
    sandbox: Sandbox,
    workload: Workload,
    selections: Sequence[Selection],
    variables: Iterable[Variable] = (),
    *,
    budgets: Sequence[Selection] = (),
) -> Object:
    """The fork of `baseline` as the Sandbox wants it, at full strength.

    `selections` are the selectors its pods must stay out of, `budgets` those that they stay out of where they can.

    Raises:
        InvalidInputError: ContainerNotFound, PatchFailed or ForkMatchesBaselineService.
    """
    fork = _clone(baseline, sandbox, workload)
    pod_spec = with_overrides(fork["spec"]["template"]["spec"], workload.containers)
    variables = [resolved(variable, pod_spec) for variable in variables]
    fork = _with_template(fork, spec=pod_spec)
    if workload.patch is not None:
        fork = patched(fork, workload.patch)
    pod_spec = told(fork["spec"]["template"]["spec"], sandbox.metadata.name, variables)
    template = fork["spec"]["template"]["metadata"]
    labels = {**(template.get("labels") or {}), **made_labels(sandbox, workload.deployment)}
    labels = labels_apart(labels, selections, budgets, sandbox.metadata.name)
    fork = _marked(_with_template(fork, spec=pod_spec, metadata={**template, "labels": labels}))
    return {**fork, "metadata": _metadata(fork, baseline, sandbox, workload)}


def wanted_replicas(fork: Object) -> int:
    """How many pods the fork should have; one when nothing is said, as Kubernetes defaults it."""
    replicas = fork["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def template_mark(fork: Object) -> str:
    """What tells pods of the fork as it is from those of earlier versions of it; empty when somebody took it off."""
    return str((fork["spec"]["template"]["metadata"].get("annotations") or {}).get(TEMPLATE, ""))


def stopped(fork: Object) -> Object:
    """The fork without pods."""
    return {**fork, "spec": {**fork["spec"], "replicas": 0}}


def running(fork: Object) -> Object:
    """The fork with one pod at least."""
    return {**fork, "spec": {**fork["spec"], "replicas": max(wanted_replicas(fork), 1)}}


def handed_back(fork: Object, baseline: Object, groups: Collection[str]) -> Object | None:
    """The fork with the baseline's own pods in the place of its own, in the consumer groups `groups`.

    They keep the labels by which the fork's pods stay out of everybody's selectors. None when the baseline's containers
    cannot be told the groups.
    """
    template = fork["spec"]["template"]
    pod_spec = _cloned_pod_spec(baseline["spec"]["template"]["spec"])
    pod_spec = taken_over(pod_spec, template["spec"], fork["metadata"]["labels"][SANDBOX], groups)
    if not tells_all(pod_spec, groups):
        return None
    annotations = _without(template["metadata"].get("annotations") or {}, (TEMPLATE,))
    return _marked(_with_template(fork, spec=pod_spec, metadata={**template["metadata"], "annotations": annotations}))


def _clone(baseline: Object, sandbox: Sandbox, workload: Workload) -> Object:
    spec = {name: value for name, value in copy.deepcopy(baseline["spec"]).items() if name != "paused"}
    template = spec["template"]
    metadata = {name: value for name, value in template.get("metadata", {}).items() if value is not None}
    for field in ("labels", "annotations"):
        if field in metadata:
            metadata[field] = _without(metadata[field], _NOT_CLONED)
    return made(
        DEPLOYMENTS,
        _metadata(baseline, baseline, sandbox, workload),
        spec={
            **spec,
            "replicas": workload.replicas,
            "selector": {"matchLabels": fork_selector(sandbox, workload.deployment)},
            "template": {**template, "metadata": metadata, "spec": _cloned_pod_spec(template["spec"])},
        },
    )


def _cloned_pod_spec(pod_spec: Object) -> Object:
    """A pod spec of a baseline as server-side apply takes it."""
    pod_spec = copy.deepcopy(pod_spec)
    if pod_spec.get("imagePullSecrets"):
        pod_spec["imagePullSecrets"] = _unique(pod_spec["imagePullSecrets"], ("name",))
    if pod_spec.get("hostAliases"):
        pod_spec["hostAliases"] = _joined_aliases(pod_spec["hostAliases"])
    for field in ("containers", "initContainers"):
        if pod_spec.get(field):
            pod_spec[field] = [_with_unique_ports(item) for item in pod_spec[field]]
    return pod_spec


def _metadata(obj: Object, baseline: Object, sandbox: Sandbox, workload: Workload) -> Object:
    """The fork's metadata with the labels and annotations of `obj`, less those that must not be cloned."""
    metadata = obj["metadata"]
    annotations = _without(metadata.get("annotations") or {}, _NOT_CLONED_FROM_OBJECT)
    generation = baseline["metadata"].get("generation", 0)
    return made_metadata(
        sandbox,
        workload.deployment,
        fork_name(name_of(baseline), sandbox.metadata.name),
        labels=_without(metadata.get("labels") or {}, _NOT_CLONED_FROM_OBJECT),
        annotations={**annotations, BASELINE_GENERATION: str(generation)},
    )


def _with_template(fork: Object, **fields: Object) -> Object:
    spec = fork["spec"]
    return {**fork, "spec": {**spec, "template": {**spec["template"], **fields}}}


def _marked(fork: Object) -> Object:
    template = fork["spec"]["template"]
    mark = canonical_hash(template)[:_HASH_LENGTH]
    annotations = {**(template["metadata"].get("annotations") or {}), TEMPLATE: mark}
    return _with_template(fork, metadata={**template["metadata"], "annotations": annotations})


def _without(entries: Mapping[str, str], marks: Sequence[str]) -> dict[str, str]:
    """Labels or annotations without those of the marks."""
    return {key: value for key, value in entries.items() if not any(_has_mark(key, mark) for mark in marks)}


def _has_mark(key: str, mark: str) -> bool:
    return key == mark or f".{key.rpartition('/')[0]}/".endswith(f".{mark}")


def _with_unique_ports(container: Object) -> Object:
    if not container.get("ports"):
        return container
    return {**container, "ports": _unique(container["ports"], ("containerPort", "protocol"))}


def _joined_aliases(aliases: Sequence[Object]) -> list[Object]:
    """Each address once, with all the names that it has."""
    names: dict[str, list[str]] = {}
    for alias in aliases:
        names.setdefault(alias["ip"], []).extend(alias.get("hostnames") or ())
    return [{"ip": ip, "hostnames": list(dict.fromkeys(found))} for ip, found in names.items()]


def _unique(items: Sequence[Object], keys: Sequence[str]) -> list[Object]:
    found: dict[tuple[object, ...], Object] = {}
    for item in items:
        found.setdefault(tuple(item.get(key) for key in keys), item)
    return list(found.values())
