"""How users' VirtualServices are spoken of, and what about one can be told without reading its rules."""

from __future__ import annotations

from typing import Final

from sidestream.api.conditions import Reason
from sidestream.errors import InvalidInputError
from sidestream.kube.port import Object
from sidestream.routing.ownership import own_name
from sidestream.routing.providers.provider import key_of

MESH: Final = "mesh"
"""The reserved name of a gateway that stands for all sidecars."""


def rule_of(virtual_service: Object, index: int) -> str:
    """Such as `Rule api (http[0]) of VirtualService shop/orders`, the beginning of a sentence."""
    name = virtual_service["spec"]["http"][index].get("name")
    spoken = f"{name} (http[{index}])" if name else f"http[{index}]"
    return f"Rule {spoken} of VirtualService {key_of(virtual_service)}"


def conflict(message: str) -> InvalidInputError:
    """The refusal with this sentence."""
    return InvalidInputError(Reason.ROUTE_CONFLICT, message)


def is_public(virtual_service: Object) -> bool:
    """Whether it is exported to all namespaces: Istio's default, unless the mesh is configured otherwise."""
    return "*" in (virtual_service["spec"].get("exportTo") or ["*"])


def is_visible(virtual_service: Object, namespace: str) -> bool:
    """Whether it is exported to `namespace`."""
    own = virtual_service["metadata"]["namespace"]
    exported = [own if item == "." else item for item in virtual_service["spec"].get("exportTo") or ["*"]]
    return "*" in exported or namespace in exported


def is_visible_anywhere(virtual_service: Object) -> bool:
    """False for one exported to nobody (`~`), which Istio ignores."""
    return is_public(virtual_service) or "~" not in virtual_service["spec"]["exportTo"]


def is_for_the_mesh(virtual_service: Object) -> bool:
    """Whether sidecars use it; those of gateways alone do not count, nor do delegates."""
    spec = virtual_service["spec"]
    return bool(spec.get("hosts")) and MESH in (spec.get("gateways") or [MESH])


def gateways_of(virtual_service: Object) -> list[str]:
    """The Gateways (`namespace/name`) that it is bound to, in its order."""
    namespace = virtual_service["metadata"]["namespace"]
    names = virtual_service["spec"].get("gateways") or ()
    return list(dict.fromkeys(qualified_gateway(name, namespace) for name in names if name != MESH))


def qualified_gateway(name: str, namespace: str) -> str:
    """A Gateway's name, as an object of `namespace` writes it, as `namespace/name`."""
    before, slash, after = name.partition("/")
    if slash:
        return f"{namespace if before == '.' else before}/{after}"
    # the old way to name one elsewhere: gateway.namespace.svc.cluster.local
    short, dot, rest = name.partition(".")
    return f"{rest.partition('.')[0]}/{short}" if dot else f"{namespace}/{name}"


def mesh_name(service: str) -> str:
    """The name of our object for a Service in the mesh: `sidestream-<service>`."""
    return own_name(service)


def gateway_name(namespace: str, virtual_service: str) -> str:
    """The name of our object beside a user's VirtualService at gateways: `sidestream-<namespace>.<its name>.gateway`.

    It has the namespace because objects of several meet at a gateway, where each answers the probe by its name. No
    Service's name has a dot, so this never is the name of an object for one.
    """
    return own_name(f"{namespace}.{virtual_service}.gateway")
