"""The Services of forks: which baseline Services lead to a fork's baseline, and their copies; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sidestream.api.labels import BASELINE_SERVICE
from sidestream.api.names import fork_name
from sidestream.api.sandbox import Sandbox
from sidestream.kube.port import SERVICES, Object
from sidestream.kube.selectors import matches_labels
from sidestream.sandbox.ownership import fork_selector, is_made, made, made_metadata, name_of

_PORT_FIELDS: Final = ("name", "port", "targetPort", "protocol", "appProtocol")
_EXPORT_TO: Final = "networking.istio.io/exportTo"


def services_of(services: Iterable[Object], pod_labels: Mapping[str, str]) -> list[Object]:
    """The users' Services that send requests to pods with these labels, by name.

    An ExternalName Service sends nothing to pods, whatever selector it has; one without ports sends nothing at all.
    """
    found = [
        item
        for item in services
        if not is_made(item)
        and item["spec"].get("type") != "ExternalName"
        and item["spec"].get("ports")
        and matches_labels(item["spec"].get("selector") or {}, pod_labels)
    ]
    return sorted(found, key=name_of)


def fork_service(service: Object, sandbox: Sandbox, baseline: str) -> Object:
    """The Service that stands in for `service` where a request belongs to the Sandbox: same ports, the fork's pods.

    Nothing else is taken over: a node port, a load balancer or a DNS name of the baseline must not be claimed twice.
    """
    annotations = service["metadata"].get("annotations") or {}
    metadata = made_metadata(
        sandbox,
        baseline,
        fork_name(name_of(service), sandbox.metadata.name),
        labels={BASELINE_SERVICE: name_of(service)},
        annotations={_EXPORT_TO: annotations[_EXPORT_TO]} if _EXPORT_TO in annotations else None,
    )
    ports = [{name: port[name] for name in _PORT_FIELDS if name in port} for port in service["spec"].get("ports") or ()]
    return made(
        SERVICES,
        metadata,
        spec={"type": "ClusterIP", "selector": fork_selector(sandbox, baseline), "ports": ports},
    )


def withdrawn(service: Object, sandbox: Sandbox, baseline: str) -> Object:
    """A fork Service as it is while its routes go: alive for requests under way, no longer offered for routing.

    Routing reads fork Services by the label that is missing here.
    """
    metadata = made_metadata(sandbox, baseline, name_of(service))
    spec = {name: service["spec"][name] for name in ("type", "selector", "ports") if name in service["spec"]}
    return made(SERVICES, metadata, spec=spec)
