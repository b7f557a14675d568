"""What users should know of although it need not stop anything; docs/reference/findings.md has a row for each.

Messages are one plain sentence like those of conditions: the same from run to run, no times, no counters.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

_NAMED: Final = 3


class FindingReason(StrEnum):
    """What was found."""

    # routes
    SERVICE_NOT_ROUTABLE = "ServiceNotRoutable"
    PORTS_NOT_HTTP = "PortsNotHttp"
    MIXED_ROUTE_KINDS = "MixedRouteKinds"
    DUPLICATE_VIRTUAL_SERVICES = "DuplicateVirtualServices"
    SERVICE_PROFILE = "ServiceProfile"
    CONSUMER_ROUTE = "ConsumerRoute"
    WAYPOINT_MISSING = "WaypointMissing"
    SIDECAR_HIDES_ROUTES = "SidecarHidesRoutes"
    DESTINATION_RULE_NOT_APPLIED = "DestinationRuleNotApplied"
    POLICY_NOT_APPLIED = "PolicyNotApplied"
    NETWORK_POLICY_NOT_APPLIED = "NetworkPolicyNotApplied"
    NETWORK_POLICY_BARS_FORK = "NetworkPolicyBarsFork"
    NETWORK_POLICY_BARS_CALLERS = "NetworkPolicyBarsCallers"
    # workloads
    DISRUPTION_BUDGET_NOT_APPLIED = "DisruptionBudgetNotApplied"
    DISRUPTION_BUDGET_COUNTS_FORK = "DisruptionBudgetCountsFork"
    AUTOSCALER_NOT_APPLIED = "AutoscalerNotApplied"


def listed(names: Collection[str]) -> str:
    """Names as a sentence has them, sorted, cut short where they are many: `a, b, c and others`."""
    shown = sorted(set(names))
    if len(shown) > _NAMED:
        return f"{', '.join(shown[:_NAMED])} and others"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
