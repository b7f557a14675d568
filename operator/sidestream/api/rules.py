"""What an object of ours can check on itself, as CEL rules of its CRD; what needs a lookup is a reconciler's to tell.

A rule sits at a path of fields below the object; items of a list are passed through without a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidestream.api.sandbox import DNS_LABEL_40


@dataclass(frozen=True)
class Rule:
    """`cel` must hold, else the API server refuses the object with `message`.

    `field` is the field to name when the rule must sit above it, as a path from there such as `.spec.routingKey`.
    """

    cel: str
    message: str
    field: str = ""

    def to_json(self) -> dict[str, Any]:
        """An item of `x-kubernetes-validations`."""
        plain = {"rule": self.cel, "message": self.message}
        return {**plain, "fieldPath": self.field} if self.field else plain


Rules = Mapping[tuple[str, ...], tuple[Rule, ...]]


def _immutable(name: str, advice: str) -> tuple[Rule, ...]:
    return (Rule("self == oldSelf", f"{name} cannot be changed; {advice}"),)


_NOT_ZERO: Final = Rule("self.matches('[1-9]')", "must be longer than zero, such as 30s, 8h or 3d12h")

SANDBOX_RULES: Final[Rules] = {
    (): (
        Rule(
            f"has(self.spec.routingKey) || self.metadata.name.matches('{DNS_LABEL_40}')",
            "spec.routingKey must be given: metadata.name cannot stand in for it, as it is no DNS label of at most 40"
            " characters",
            ".spec.routingKey",
        ),
        Rule("self.metadata.name.size() <= 63", "metadata.name labels every fork and takes 63 characters at most"),
    ),
    ("spec",): (
        Rule(
            "has(self.routingKey) == has(oldSelf.routingKey)"
            " && (!has(self.routingKey) || self.routingKey == oldSelf.routingKey)",
            "routingKey cannot be changed, set or unset later; delete the Sandbox and create it anew",
            ".routingKey",
        ),
    ),
    ("spec", "lifetime", "ttl"): (_NOT_ZERO,),
    ("spec", "workloads", "containers"): (
        Rule(
            "self.size() <= 1 || self.all(container, container.name != '')",
            "each container needs its name where several are changed",
        ),
    ),
    ("spec", "preview"): (
        Rule("!has(self.of) || self.of != self.host", "host must be another one than that of which it is a preview"),
    ),
    ("spec", "preview", "gateway"): (
        Rule(
            "self.kind != 'Traefik' || !has(self.namespace)",
            "an entry point of Traefik is in no namespace; leave namespace out",
            ".namespace",
        ),
    ),
}

ROUTE_GROUP_RULES: Final[Rules] = {
    ("spec", "routingKey"): _immutable("routingKey", "delete the RouteGroup and create it anew"),
    ("spec", "sandboxes"): (
        Rule("has(self.selector) != has(self.names)", "needs either a selector or names, and not both"),
    ),
    ("spec", "sandboxes", "selector", "matchExpressions"): (
        Rule(
            "self.all(one, (one.operator in ['In', 'NotIn']) == (has(one.values) && one.values.size() > 0))",
            "In and NotIn need values, Exists and DoesNotExist take none",
        ),
    ),
}

KAFKA_CLUSTER_RULES: Final[Rules] = {
    ("spec", "groupName"): (
        Rule("self.contains('{sandbox}')", "must hold {sandbox}, or all forks of a consumer would share one group"),
        Rule(
            r"self.matches('^([^{}]|\\{(group|namespace|sandbox)\\})+$')",
            "has an unknown placeholder; known are {group}, {namespace} and {sandbox}",
        ),
    ),
}

_ANEW: Final = "delete the KafkaConsumer and create it anew"

KAFKA_CONSUMER_RULES: Final[Rules] = {
    ("spec", "cluster"): _immutable("cluster", _ANEW),
    ("spec", "deployment"): _immutable("deployment", _ANEW),
    ("spec", "group"): _immutable("group", _ANEW),
    ("spec", "pollInterval"): (_NOT_ZERO,),
}

_OPERATOR_ONLY: Final = "KafkaRoutes are written by the operator only"

KAFKA_ROUTE_RULES: Final[Rules] = {
    ("spec", name): _immutable(name, _OPERATOR_ONLY)
    for name in ("sandbox", "consumer", "cluster", "baselineGroup", "forkGroup")
}
