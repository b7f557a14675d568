"""All checks in their order; pure.

What they tell is true of the objects as they are: nothing is remembered, and what is mended is no longer found.
"""

from __future__ import annotations

from typing import Final

from sidestream.kube.port import (
    AUTHORIZATION_POLICIES,
    DEPLOYMENTS,
    DESTINATION_RULES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    NAMESPACES,
    NETWORK_POLICIES,
    PEER_AUTHENTICATIONS,
    REQUEST_AUTHENTICATIONS,
    SERVICE_PROFILES,
    SERVICES,
    SIDECARS,
    VIRTUAL_SERVICES,
    Resource,
)
from sidestream.routing.checks.istio import destination_rules, hiding_sidecars, missing_waypoint
from sidestream.routing.checks.network import callers_barred, forks_barred, policies_on_pods
from sidestream.routing.checks.policies import by_selector, by_target
from sidestream.routing.checks.routes import (
    consumer_routes,
    duplicate_virtual_services,
    mixed_kinds,
    other_ports,
    service_profiles,
    unroutable_service,
)
from sidestream.routing.checks.subject import Check, Finding, Subject
from sidestream.routing.entries import EntryKind

READS: Final[tuple[Resource, ...]] = (
    SERVICES,
    NAMESPACES,
    DEPLOYMENTS,
    VIRTUAL_SERVICES,
    DESTINATION_RULES,
    SIDECARS,
    AUTHORIZATION_POLICIES,
    PEER_AUTHENTICATIONS,
    REQUEST_AUTHENTICATIONS,
    HTTP_ROUTES,
    GRPC_ROUTES,
    GATEWAYS,
    SERVICE_PROFILES,
    NETWORK_POLICIES,
)
"""The kinds that the checks, or whoever gathers their subject, look at; of Deployments only their pods' labels."""

_OF_THE_MESH: Final[tuple[Check, ...]] = (
    unroutable_service,
    mixed_kinds,
    service_profiles,
    other_ports,
    duplicate_virtual_services,
    consumer_routes,
    missing_waypoint,
    hiding_sidecars,
)
"""Who calls within the cluster comes by the Service's own host."""

_OF_EVERY_ENTRY: Final[tuple[Check, ...]] = (
    destination_rules,
    by_selector,
    by_target,
    policies_on_pods,
    forks_barred,
    callers_barred,
)
"""What holds for the fork's Service and pods, whichever way a request came."""


def findings_of(subject: Subject) -> tuple[Finding, ...]:
    """Everything that is found about one Service behind one entry; what blocks comes first, the rest in fixed order."""
    checks = _OF_EVERY_ENTRY
    if subject.key.kind is EntryKind.MESH:
        checks = _OF_THE_MESH + checks
    found = [finding for check in checks for finding in check(subject)]
    return tuple(sorted(found, key=lambda finding: not finding.is_blocking))
