"""Which routes answer a probe by a rule of their own, and that rule.

An HTTPRoute redirects the probe, in every product. A GRPCRoute can neither redirect nor answer; but a rule without
backends must fail (Gateway API asks for that), and Istio's proxies set on the failure the headers that the rule's
filter says. Others are not known to, and are not asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sidestream.kube.port import GATEWAY_CLASSES, GRPC_ROUTES, HTTP_ROUTES, Object, Resource
from sidestream.routing.ownership import config_hash
from sidestream.routing.proof import (
    PROBE_GRPC_METHOD,
    PROBE_GRPC_SERVICE,
    PROBE_HEADER,
    PROBE_METHOD,
    PROBE_PATH,
    probe_answer,
    probe_host,
)
from sidestream.routing.providers.httproute_groups import Group
from sidestream.routing.providers.httproute_listeners import class_of, is_accepted, is_controlled_by
from sidestream.routing.providers.provider import Cluster, Probe

GRPC_IS_UNPROVABLE: Final = "only Istio's proxies are known to answer by a GRPCRoute's rule"

_ISTIO: Final = "istio.io/"
"""How the names of Istio's controllers begin."""


def answer_in_the_mesh(resource: Resource, cluster: Cluster) -> bool:
    """Whether the proxies beside callers answer by routes of this kind.

    Istio makes its GatewayClasses itself where it runs, and no route says which mesh takes it.
    """
    return resource == HTTP_ROUTES or any(
        is_controlled_by(item, _ISTIO) and is_accepted(item) for item in cluster.all(GATEWAY_CLASSES)
    )


def answer_at(resource: Resource, gateways: Collection[Object], cluster: Cluster) -> bool:
    """Whether all these Gateways answer by routes of this kind."""
    return resource == HTTP_ROUTES or all(is_controlled_by(class_of(item, cluster), _ISTIO) for item in gateways)


def with_probe(
    group: Group, name: str, spec: dict[str, Any], ports: frozenset[int] | None
) -> tuple[dict[str, Any], Probe | None]:
    """The spec of an object that joins a group, with the rule in front that answers at these ports (None: at all).

    Where no rule can answer, it is the spec as it is, and no probe.
    """
    if not group.can_answer:
        return spec, None
    probe = Probe(name, config_hash(spec), ports)
    rule = _in_grpc(probe) if group.resource == GRPC_ROUTES else _in_http(probe)
    return {**spec, "rules": [rule, *spec["rules"]]}, probe


def _in_http(probe: Probe) -> dict[str, Any]:
    redirect = {"hostname": probe_host(probe.config_hash), "statusCode": 302}
    match = {"path": {"type": "Exact", "value": PROBE_PATH}, "method": PROBE_METHOD, "headers": _naming(probe)}
    return {"matches": [match], "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}


def _in_grpc(probe: Probe) -> dict[str, Any]:
    method = {"type": "Exact", "service": PROBE_GRPC_SERVICE, "method": PROBE_GRPC_METHOD}
    answer = {"set": [{"name": PROBE_HEADER, "value": probe_answer(probe.config_hash)}]}
    return {
        "matches": [{"method": method, "headers": _naming(probe)}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": answer}],
    }


def _naming(probe: Probe) -> list[dict[str, Any]]:
    return [{"type": "Exact", "name": PROBE_HEADER, "value": probe.name}]
