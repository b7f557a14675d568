"""Sidestream for applications: take only your own tenants' Kafka records, and pass the tenant on."""

from sidestream_sdk.baggage import HeaderRules
from sidestream_sdk.consumer import SandboxConsumer
from sidestream_sdk.context import TenantContext, TenantMiddleware
from sidestream_sdk.identity import Identity
from sidestream_sdk.mapping import MappingClient

__all__ = ["HeaderRules", "Identity", "MappingClient", "SandboxConsumer", "TenantContext", "TenantMiddleware"]
