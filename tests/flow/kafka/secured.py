"""A second real broker, with logins, TLS and ACLs, from the image of the lab's Kafka."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not for its types
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from authority import Authority
from flow.kafka.tokens import CLIENT, CLIENT_SECRET
from sidestream_lab import images
from sidestream_lab.errors import CommandFailed
from sidestream_lab.paths import MANIFESTS
from sidestream_lab.shell import Toolbox

Properties = Mapping[str, str]

PROPERTIES: Final = Path(__file__).with_name("secured.properties")
READY_SECONDS: Final = 60.0

PLAIN_USER: Final = "plain"
PLAIN_LOGIN: Final = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": PLAIN_USER,
    "sasl.password": "plain-secret",
}
"""The properties of the one user who is there from the beginning."""

_START: Final = """\
set -eu
options="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx384m -Dlog4j2.configurationFile=/secured/log4j2.properties"
for main in "kafka.tools.StorageTool format --cluster-id c2VjdXJlZC1rYWZrYS0xMQ --config" kafka.Kafka; do
    java $options -cp '/opt/kafka/libs/*' $main /secured/server.properties
done
"""


def sasl(mechanism: str, user: str, password: str) -> Properties:
    """Properties of a login by name and password, without TLS."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
    }


def over_tls(properties: Properties, authority: Authority) -> Properties:
    """The same login over TLS."""
    return {**properties, "security.protocol": "SASL_SSL", "ssl.ca.pem": authority.file.read_text()}


def oidc(endpoint: str, secret: str = CLIENT_SECRET) -> Properties:
    """Properties of a login by a token of the identity provider at this endpoint."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": CLIENT,
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.token.endpoint.url": endpoint,
    }


class Right(NamedTuple):
    """An ACL in the words of the messages: `Right("Read", "group", "g")`; the resource may be a prefix of names."""

    operation: str
    kind: str
    name: str
    is_prefix: bool = False

    def binding(self, user: str) -> AclBinding:
        """The ACL for one user."""
        pattern = ResourcePatternType.PREFIXED if self.is_prefix else ResourcePatternType.LITERAL
        kind = {"cluster": ResourceType.BROKER, "group": ResourceType.GROUP, "topic": ResourceType.TOPIC}[self.kind]
        operation = AclOperation[self.operation.upper()]
        return AclBinding(kind, self.name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


@dataclass(frozen=True)
class SecuredKafka:
    """The addresses of its listeners (`plain` is without TLS, `tls` with, `mtls` asks for a certificate) and its admin.

    `admin` is the address where everybody is the super user.
    """

    admin: str
    plain: str
    tls: str
    mtls: str
    authority: Authority
    client: AdminClient

    async def set_password(self, user: str, password: str) -> None:
        """Give a SCRAM user, new or not, this password."""
        change = UserScramCredentialUpsertion(
            user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), password.encode()
        )
        await asyncio.wrap_future(self.client.alter_user_scram_credentials([change])[user])

    async def grant(self, user: str, *rights: Right) -> None:
        """Let the user do this as well; a moment may pass until it may."""
        if not rights:
            return
        await asyncio.gather(
            *map(asyncio.wrap_future, self.client.create_acls([right.binding(user) for right in rights]).values())
        )

    async def revoke_all(self) -> None:
        """Let nobody but the super user do anything."""
        anything = cast("Any", None)
        everything = AclBindingFilter(
            *(ResourceType.ANY, anything, ResourcePatternType.ANY, anything, anything),
            *(AclOperation.ANY, AclPermissionType.ANY),
        )
        await asyncio.gather(*map(asyncio.wrap_future, self.client.delete_acls([everything]).values()))


@contextmanager
def secured_kafka(tools: Toolbox, folder: Path) -> Iterator[SecuredKafka]:
    """Start it, and remove it in the end."""
    authority = Authority.make(folder)
    ports = dict(zip(("ADMIN", "CONTROLLER", "SASL", "SASLTLS", "MTLS"), _free_ports(5), strict=True))
    _configure(folder, authority, ports)
    name = f"sidestream-secured-{secrets.token_hex(4)}"
    tools.docker(
        *("run", "--detach", "--name", name, "--network", "host", "--volume", f"{folder}:/secured:ro"),
        *(images.catalogue(tools.world)["kafka"].reference, "sh", "/secured/start.sh"),
    )
    try:
        at = {listener: f"127.0.0.1:{port}" for listener, port in ports.items()}
        _wait_for(at["ADMIN"], tools, name)
        client = AdminClient({"bootstrap.servers": at["ADMIN"], "log_level": 0})
        yield SecuredKafka(at["ADMIN"], at["SASL"], at["SASLTLS"], at["MTLS"], authority, client)
    finally:
        tools.docker("rm", "--force", "--volumes", name)


def _configure(folder: Path, authority: Authority, ports: dict[str, int]) -> None:
    own = authority.issue("broker")
    (folder / "broker.store").write_text(own.key.read_text() + own.certificate.read_text())
    text = re.sub(r"PORT_([A-Z]+)", lambda found: str(ports[found[1]]), PROPERTIES.read_text())
    (folder / "server.properties").write_text(text)
    (folder / "start.sh").write_text(_START)
    shutil.copy(MANIFESTS / "kafka" / "log4j2.properties", folder)
    # the broker is another user in its container
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [item.getsockname()[1] for item in opened]


def _wait_for(bootstrap: str, tools: Toolbox, name: str) -> None:
    """Return once a group can have offsets, some time after the broker answers; a consumer asks without harm."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "any", "log_level": 0})
    end = time.monotonic() + READY_SECONDS
    try:
        while time.monotonic() < end:
            with suppress(KafkaException):
                consumer.committed([TopicPartition("any", 0)], timeout=1.0)
                return
    finally:
        consumer.close()
    raise AssertionError(f"the secured broker did not start:\n{_log_of(tools, name)}")


def _log_of(tools: Toolbox, name: str) -> str:
    try:
        return tools.docker("logs", "--tail", "30", name)
    except CommandFailed as error:
        return str(error)
