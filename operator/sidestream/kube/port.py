"""The seam between reconcilers and the Kubernetes API: which kinds there are, and what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

Object = dict[str, Any]
"""A Kubernetes object as raw JSON; unknown fields survive."""


@dataclass(frozen=True)
class Resource:
    """A kind as its REST path names it; `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or just `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
SERVICES: Final = Resource("", "v1", "services", "Service")
PODS: Final = Resource("", "v1", "pods", "Pod")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
VIRTUAL_SERVICES: Final = Resource("networking.istio.io", "v1", "virtualservices", "VirtualService")
VIRTUAL_SERVICES_BEFORE_V1: Final = Resource("networking.istio.io", "v1beta1", "virtualservices", "VirtualService")
"""What Istio before 1.22 serves alone; asked for only to say so."""
ISTIO_GATEWAYS: Final = Resource("networking.istio.io", "v1", "gateways", "Gateway")
DESTINATION_RULES: Final = Resource("networking.istio.io", "v1", "destinationrules", "DestinationRule")
SIDECARS: Final = Resource("networking.istio.io", "v1", "sidecars", "Sidecar")
AUTHORIZATION_POLICIES: Final = Resource("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy")
PEER_AUTHENTICATIONS: Final = Resource("security.istio.io", "v1", "peerauthentications", "PeerAuthentication")
REQUEST_AUTHENTICATIONS: Final = Resource("security.istio.io", "v1", "requestauthentications", "RequestAuthentication")
HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GRPC_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute")
GATEWAYS: Final = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
GATEWAY_CLASSES: Final = Resource("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", namespaced=False)
REFERENCE_GRANTS: Final = Resource("gateway.networking.k8s.io", "v1beta1", "referencegrants", "ReferenceGrant")
SERVICE_PROFILES: Final = Resource("linkerd.io", "v1alpha2", "serviceprofiles", "ServiceProfile")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
HORIZONTAL_AUTOSCALERS: Final = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
VERTICAL_AUTOSCALERS: Final = Resource("autoscaling.k8s.io", "v1", "verticalpodautoscalers", "VerticalPodAutoscaler")
SCALED_OBJECTS: Final = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
INGRESS_ROUTES: Final = Resource("traefik.io", "v1alpha1", "ingressroutes", "IngressRoute")
INGRESSES: Final = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")
INGRESS_CLASSES: Final = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False)
MIDDLEWARES: Final = Resource("traefik.io", "v1alpha1", "middlewares", "Middleware")
TRAEFIK_SERVICES: Final = Resource("traefik.io", "v1alpha1", "traefikservices", "TraefikService")
SANDBOXES: Final = Resource("sidestream.dev", "v1alpha1", "sandboxes", "Sandbox")
ROUTE_GROUPS: Final = Resource("sidestream.dev", "v1alpha1", "routegroups", "RouteGroup")
KAFKA_CLUSTERS: Final = Resource("sidestream.dev", "v1alpha1", "kafkaclusters", "KafkaCluster", namespaced=False)
KAFKA_CONSUMERS: Final = Resource("sidestream.dev", "v1alpha1", "kafkaconsumers", "KafkaConsumer")
KAFKA_ROUTES: Final = Resource("sidestream.dev", "v1alpha1", "kafkaroutes", "KafkaRoute")


class KubeApi(Protocol):
    """What a reconciler may do; every call reads or writes the live API server, nothing is cached.

    All raise TransientError while the API server is away or throttles, ConflictError on 409, NotServedError when the
    kind is not served, ObjectRejectedError on 400/422, KubeError otherwise.
    """

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when it does not exist. `namespace` is "" for cluster-scoped kinds."""
        ...

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Object]:
        """All objects in a namespace ("" for all namespaces) that match a label selector."""
        ...

    async def apply(self, resource: Resource, obj: Object, *, manager: str, force: bool = True) -> Object:
        """Server-side apply as field manager `manager`; creates the object when it is missing. Returns the live object.

        Sends `obj` as it is: see `kube.apply.ensure` for the call that writes only what differs.
        """
        ...

    async def apply_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        """Server-side apply of the status subresource; `obj` holds apiVersion, kind, metadata and status only."""
        ...

    async def patch(self, resource: Resource, namespace: str, name: str, operations: Sequence[Object]) -> Object:
        """JSON patch (RFC 6902) with `test` operations where the caller must not overwrite others (finalizers)."""
        ...

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        """Delete if it exists; with `uid` only that very object (a precondition), else nothing happens."""
        ...

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Plain create, for Events and Leases; ConflictError when it exists."""
        ...

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Plain update guarded by the object's own resourceVersion, for Leases."""
        ...
