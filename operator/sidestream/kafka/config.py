"""The client configuration that a KafkaCluster and its Secrets add up to. Pure; it knows of no client library."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sidestream.api.conditions import Reason
from sidestream.api.kafka import KafkaCluster
from sidestream.errors import InvalidInputError

SecretData = Mapping[str, str]
"""`data` of a Secret as the API server returns it: base64 text by key."""

BOOTSTRAP: Final = "bootstrap.servers"

FORBIDDEN: Final = frozenset(
    {
        "opaque",
        "plugin.library.paths",
        "sasl.kerberos.kinit.cmd",
        "ssl.engine.location",
        "ssl.providers",
    }
)
"""Properties that make the client run a program or load a library: no custom resource may do that in the operator."""

OURS: Final = frozenset({BOOTSTRAP, "metadata.broker.list"})
"""Properties that `spec.bootstrapServers` stands for."""


@dataclass(frozen=True)
class ClientConfig:
    """Properties for the client library. Two equal ones need no new client. Never shown: it may hold credentials."""

    properties: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def redact(self, text: str) -> str:
        """`text` without any value that came from a Secret: the client library quotes bad values in its errors."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def client_config(cluster: KafkaCluster, secrets: Mapping[str, SecretData]) -> ClientConfig:
    """Properties of the spec, then those of its Secrets in their order; later ones win.

    Raises:
        InvalidInputError: CLUSTER_INVALID, a property that is not allowed or no text.
    """
    properties: dict[str, str] = dict(cluster.spec.properties)
    values: set[str] = set()
    for reference in cluster.spec.properties_from:
        decoded = {
            key: _decoded(cluster, reference.secret, key, value) for key, value in secrets[reference.secret].items()
        }
        properties.update(decoded)
        values.update(value for value in decoded.values() if value)
    for key in sorted(properties):
        if key in FORBIDDEN:
            raise _invalid(cluster, f"property {key} is not allowed: it would run code in the operator")
        if key in OURS:
            raise _invalid(cluster, f"property {key} is set by spec.bootstrapServers; remove it")
    properties[BOOTSTRAP] = ",".join(cluster.spec.bootstrap_servers)
    return ClientConfig(properties, frozenset(values))


def _decoded(cluster: KafkaCluster, secret: str, key: str, value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _invalid(cluster, f"key {key} of Secret {secret} is no UTF-8 text") from error


def _invalid(cluster: KafkaCluster, message: str) -> InvalidInputError:
    return InvalidInputError(Reason.CLUSTER_INVALID, f"KafkaCluster {cluster.metadata.name}: {message}")
