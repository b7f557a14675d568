"""Names of the API group and of every label, annotation and finalizer that Sidestream writes or reads."""

from __future__ import annotations

from typing import Final

GROUP: Final = "sidestream.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE: Final = "sidestream"

SANDBOX: Final = f"{GROUP}/sandbox"
"""Label: name of the Sandbox (same namespace) that an object belongs to."""

BASELINE: Final = f"{GROUP}/baseline"
"""Label: name of the baseline Deployment of a fork's objects and pods."""

BASELINE_SERVICE: Final = f"{GROUP}/baseline-service"
"""Label: on a fork Service the baseline Service it stands in for; on a VirtualService the Service it routes."""

ROUTING_KEY: Final = f"{GROUP}/routing-key"
"""Label: the tenant's value of the routing header."""

APPLIED_HASH: Final = f"{GROUP}/applied-hash"
"""Annotation: hash of the object as last applied, so that an unchanged object is not written again."""

BASELINE_GENERATION: Final = f"{GROUP}/baseline-generation"
"""Annotation: generation of the baseline Deployment that a fork was rendered from."""

TEMPLATE: Final = f"{GROUP}/template"
"""Annotation on a fork's pods: hash of the template that they were made from, to tell them from earlier ones."""

FORCE_CLEANUP: Final = f"{GROUP}/force-cleanup"
"""Annotation on a Sandbox: `discard` lets its deletion go on without the Kafka cluster."""

FORCE_CLEANUP_DISCARD: Final = "discard"

PROVIDER: Final = f"{GROUP}/provider"
"""Annotation on a Service: the kind that is to carry its tenants' routes in the mesh, or None for none at all."""

ROUTING: Final = f"{GROUP}/routing"
"""Annotation on a user's VirtualService: `Patch` allows Sidestream to put its rules into it."""

ROUTING_PATCH: Final = "Patch"

FINALIZER: Final = f"{GROUP}/cleanup"
"""Finalizer on Sandbox and KafkaRoute."""

MANAGER_SANDBOX: Final = "sidestream-sandbox"
"""Field manager of forks, KafkaRoutes, of Sandbox.status without its routes, and of RouteGroup.status."""

MANAGER_ROUTING: Final = "sidestream-routing"
"""Field manager of VirtualServices."""

MANAGER_KAFKA: Final = "sidestream-kafka"
"""Field manager of the status of KafkaRoutes, KafkaConsumers and KafkaClusters."""


def manager_of_route(service: str) -> str:
    """Field manager of one entry of Sandbox.status.routes; one per Service, so that each drops only its own."""
    return f"sidestream-route-{service}"
