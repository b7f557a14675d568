"""Routes as an Istio VirtualService of our own, one per Service; users' VirtualServices are read and never written.

Among VirtualServices for one host a sidecar uses only one: first those exported to its namespace by name, then public
ones, the oldest first. So ours names the namespaces when a user's exists: it then wins over the user's, whole, and
repeats it (an overlay). Where there is none, ours is public.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sidestream.api.labels import BASELINE_SERVICE, GROUP, MANAGED_BY, MANAGED_BY_VALUE
from sidestream.config import HeaderSettings
from sidestream.kube.apply import canonical_hash
from sidestream.kube.port import VIRTUAL_SERVICES, Object, Resource
from sidestream.routing.hosts import ServiceHost
from sidestream.routing.proof import PROBE_HEADER, PROBE_VALUE, probe_answer
from sidestream.routing.providers.provider import BaseRules, Rendered
from sidestream.routing.providers.virtualservice_rules import VirtualServiceDialect, routes_of
from sidestream.routing.providers.virtualservice_user import user_rules
from sidestream.routing.table import RouteTable, Rule, guard_rules, leads_to_service, tenant_rules

OVERLAYS: Final = f"{GROUP}/overlays"
"""Annotation: the user's VirtualService that ours repeats and takes precedence over."""

GUARDED_FROM: Final = 20
"""With more tenants than this, requests without one get rules of their own in front of the tenants'."""

_HASH_LENGTH: Final = 20

# Argo CD: an object that no repository holds is neither a difference nor to be pruned
_GITOPS_ANNOTATIONS: Final = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false",
}


class VirtualServiceProvider:
    """Reads and renders VirtualServices for tenants named as `header` says."""

    name: Final = "VirtualService"
    resource: Final[Resource] = VIRTUAL_SERVICES

    def __init__(self, header: HeaderSettings) -> None:
        self._header = header

    def object_name(self, service: ServiceHost) -> str:
        """`sidestream-<service>`."""
        return f"sidestream-{service.name}"

    def is_ours(self, obj: Object) -> bool:
        """By its labels."""
        labels = obj["metadata"].get("labels", {})
        return labels.get(MANAGED_BY) == MANAGED_BY_VALUE and BASELINE_SERVICE in labels

    def base_rules(self, objects: Sequence[Object], service: ServiceHost, ports: Sequence[int]) -> BaseRules:
        """The user's rules, or one rule that sends everything to the Service.

        Raises:
            InvalidInputError: the user's VirtualService cannot be overlaid.
        """
        users = [item for item in objects if not self.is_ours(item)]
        found = user_rules(users, service, ports, self._header)
        return found or BaseRules(({"route": [{"destination": {"host": service.fqdn}}]},))

    def render(self, table: RouteTable, namespaces: Collection[str]) -> Rendered | None:
        """Probe, guard, tenants, then the rules without tenants.

        No destination of ours names a port: a route without one keeps the caller's, and forks have the same ports.
        """
        service = table.service
        dialect = VirtualServiceDialect(self._header, service.namespace)
        if not leads_to_service(table, dialect):
            return None
        guards = guard_rules(table, dialect) if len(table.tenants) > GUARDED_FROM else []
        http = [*guards, *tenant_rules(table, dialect), *table.rules]
        exported = ["*"] if table.source is None else sorted({service.namespace, *namespaces})
        spec: dict[str, Any] = {"hosts": [service.fqdn], "exportTo": exported, "http": http}
        config_hash = canonical_hash(spec)[:_HASH_LENGTH]
        spec["http"] = [_probe_rule(config_hash), *http]
        return Rendered(self._object(service, table.source, spec), config_hash)

    def destinations(self, obj: Object) -> frozenset[str]:
        """The hosts of all routes."""
        rules = obj.get("spec", {}).get("http") or []
        return frozenset(route["destination"]["host"] for rule in rules for route in routes_of(rule))

    def _object(self, service: ServiceHost, source: str | None, spec: dict[str, Any]) -> Object:
        overlays = {} if source is None else {OVERLAYS: source}
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": {
                "name": self.object_name(service),
                "namespace": service.namespace,
                "labels": {MANAGED_BY: MANAGED_BY_VALUE, BASELINE_SERVICE: service.name},
                "annotations": {**_GITOPS_ANNOTATIONS, **overlays},
            },
            "spec": spec,
        }


def _probe_rule(config_hash: str) -> Rule:
    """Answered by the proxy itself, so whoever asks learns which rules that proxy has; no pod sees the request."""
    return {
        "name": "probe",
        "match": [{"headers": {PROBE_HEADER: {"exact": PROBE_VALUE}}}],
        "directResponse": {"status": 200, "body": {"string": probe_answer(config_hash)}},
    }
