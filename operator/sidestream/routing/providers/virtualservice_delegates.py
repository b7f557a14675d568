"""Puts the rules of delegates where a user's VirtualService hands over to them, as Istio does.

After Istio's `mergeVirtualServices` and `MergeHTTPRoutes` (pilot/pkg/model): a request must meet the conditions of
both; the root's fields fill only what the delegate leaves unset, `headers` being one field; a delegate's rule whose
conditions contradict the root's is dropped. Delegates do not delegate further.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sidestream.kube.port import VIRTUAL_SERVICES, Object
from sidestream.routing.providers.provider import Cluster
from sidestream.routing.providers.virtualservice_rules import Match, matches_of, portable
from sidestream.routing.providers.virtualservice_words import conflict, is_visible, rule_of
from sidestream.routing.table import Rule

_FILLED: Final = (
    "rewrite",
    "directResponse",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrorPercent",
    "mirrorPercentage",
    "corsPolicy",
    "mirrors",
    "headers",
)
_STRINGS: Final = ("uri", "scheme", "method", "authority")
_STRING_MAPS: Final = ("headers", "withoutHeaders", "queryParams")


def delegate_of(rule: Rule, namespace: str) -> str | None:
    """The VirtualService (`namespace/name`) that a rule in one of `namespace` hands over to; None when it does not."""
    delegate = rule.get("delegate")
    return f"{delegate.get('namespace') or namespace}/{delegate.get('name', '')}" if delegate else None


def delegates_of(virtual_service: Object) -> frozenset[str]:
    """All VirtualServices (`namespace/name`) that the rules of this one hand over to."""
    namespace = virtual_service["metadata"]["namespace"]
    found = (delegate_of(rule, namespace) for rule in virtual_service["spec"].get("http") or ())
    return frozenset(target for target in found if target is not None)


def expanded(root: Object, cluster: Cluster, ours: Collection[str]) -> list[Rule]:
    """The rules of a VirtualService with its delegates' in their places, portable, less what hands over to `ours`.

    Raises:
        InvalidInputError: a delegate is missing, not exported to the root's namespace, or none.
    """
    namespace = root["metadata"]["namespace"]
    rules: list[Rule] = []
    for index, rule in enumerate(root["spec"].get("http") or []):
        target = delegate_of(rule, namespace)
        if target is None:
            rules.append(portable(rule, namespace, cluster.domain))
        elif target not in ours:
            delegate = _delegate(root, index, target, cluster)
            rules += _merged_rules(portable(rule, namespace, cluster.domain), delegate, cluster.domain)
    return rules


def user_delegates(root: Object, cluster: Cluster, ours: Collection[str]) -> list[Object]:
    """The users' delegates of a VirtualService that exist."""
    found = [cluster.get(VIRTUAL_SERVICES, *target.split("/", 1)) for target in sorted(delegates_of(root) - set(ours))]
    return [item for item in found if item is not None]


def _delegate(root: Object, index: int, target: str, cluster: Cluster) -> Object:
    subject = f"{rule_of(root, index)} delegates to VirtualService {target}"
    delegate = cluster.get(VIRTUAL_SERVICES, *target.split("/", 1))
    if delegate is None:
        raise conflict(f"{subject}, which does not exist; create it or remove the rule")
    if delegate["spec"].get("hosts"):
        raise conflict(f"{subject}, which has hosts of its own and so is no delegate; remove its hosts or the rule")
    if not is_visible(delegate, root["metadata"]["namespace"]):
        raise conflict(
            f"{subject}, which is not exported to namespace {root['metadata']['namespace']}; export it there"
        )
    for number, rule in enumerate(delegate["spec"].get("http") or []):
        if rule.get("delegate"):
            raise conflict(f"{rule_of(delegate, number)} delegates further, which Istio does not do; inline its rules")
    return delegate


def _merged_rules(root: Rule, delegate: Object, domain: str) -> list[Rule]:
    namespace = delegate["metadata"]["namespace"]
    leaves = [portable(rule, namespace, domain) for rule in delegate["spec"].get("http") or []]
    merged = [merged_rule(root, leaf) for leaf in leaves]
    return [rule for rule in merged if rule is not None]


def merged_rule(root: Rule, leaf: Rule) -> Rule | None:
    """The delegate's rule `leaf` as it holds under the root's; None where Istio drops it for a contradiction."""
    matches = _merged_matches(matches_of(root), matches_of(leaf))
    if matches is None:
        return None
    filled: Rule = {field: root[field] for field in _FILLED if field in root}
    rule = {**filled, **leaf}
    if matches:
        rule["match"] = matches
    name = "-".join(part for part in (root.get("name"), leaf.get("name")) if part)
    return {**rule, "name": name} if name else rule


def _merged_matches(root: Sequence[Match], leaf: Sequence[Match]) -> list[Match] | None:
    if not root or not leaf:
        return list(root or leaf)
    merged: list[Match] = []
    for inner in leaf:
        fitting = [outer for outer in root if not _contradict(outer, inner)]
        if not fitting:
            return None
        merged += [_merged_match(outer, inner) for outer in fitting]
    return merged


def _merged_match(root: Match, leaf: Match) -> Match:
    merged = {**root, **{key: value for key, value in leaf.items() if value not in ("", None, [])}}
    for field in (*_STRING_MAPS, "sourceLabels"):
        both = {**(root.get(field) or {}), **(leaf.get(field) or {})}
        if both:
            merged[field] = both
    name = "-".join(part for part in (root.get("name"), leaf.get("name")) if part)
    return {**merged, "name": name} if name else merged


def _contradict(root: Match, leaf: Match) -> bool:
    return (
        any(_strings_contradict(root.get(field), leaf.get(field)) for field in _STRINGS)
        or any(
            _strings_contradict((root.get(field) or {}).get(name), wanted)
            for field in _STRING_MAPS
            for name, wanted in (leaf.get(field) or {}).items()
        )
        or bool(root.get("ignoreUriCase")) != bool(leaf.get("ignoreUriCase"))
        or bool(root.get("port") and leaf.get("port") and root["port"] != leaf["port"])
        or bool(root.get("sourceNamespace") and leaf.get("sourceNamespace") != root["sourceNamespace"])
        or any(
            (root.get("sourceLabels") or {}).get(name, value) != value
            for name, value in (leaf.get("sourceLabels") or {}).items()
        )
        or bool(root.get("gateways") and set(leaf.get("gateways") or ()) - set(root["gateways"]))
    )


def _strings_contradict(root: Mapping[str, Any] | None, leaf: Mapping[str, Any] | None) -> bool:
    """Whether what `leaf` demands is no part of what `root` does, as far as Istio looks."""
    match root, leaf:
        case (None, _) | (_, None):
            return False
        case {"exact": whole}, {"exact": text}:
            return bool(text != whole)
        case {"prefix": begin}, ({"prefix": text} | {"exact": text}):
            return not text.startswith(begin)
        case _:
            return True
