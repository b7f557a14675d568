"""Sidestream for applications: take only your own tenants' Kafka records, and pass the tenant on.

What needs confluent-kafka is imported when it is asked for: a process that only reads notes and fences has no use for
a Kafka client, which brings native threads along.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sidestream_sdk.baggage import HeaderRules
from sidestream_sdk.context import TenantContext, TenantMiddleware
from sidestream_sdk.identity import Identity
from sidestream_sdk.mapping import MappingClient

if TYPE_CHECKING:
    from sidestream_sdk.aio import AsyncSandboxConsumer
    from sidestream_sdk.consumer import SandboxConsumer
    from sidestream_sdk.producer import SandboxProducer

__all__ = [
    "AsyncSandboxConsumer",
    "HeaderRules",
    "Identity",
    "MappingClient",
    "SandboxConsumer",
    "SandboxProducer",
    "TenantContext",
    "TenantMiddleware",
]

_MODULES: Final = {"AsyncSandboxConsumer": "aio", "SandboxConsumer": "consumer", "SandboxProducer": "producer"}


def __getattr__(name: str) -> Any:
    """Import what was asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    """With the names that are not imported yet."""
    return sorted({*globals(), *__all__})
