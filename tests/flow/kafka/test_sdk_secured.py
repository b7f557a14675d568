"""The SDK's own client gets in wherever the consumer does that it reads for, and needs no right beside those."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from flow.kafka.cluster import eventually, real_arena
from flow.kafka.secured import PLAIN_LOGIN, PLAIN_USER, Right, SecuredKafka, oidc, over_tls, sasl
from flow.kafka.tokens import CLIENT, unsigned_token
from sidestream_sdk.endreader import EndReader

BY_CALLBACK = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "OAUTHBEARER",
    "oauth_cb": lambda _: (unsigned_token(), time.time() + 600),
}


@pytest.mark.parametrize("way", ["a password", "SCRAM over TLS", "an identity provider", "a callback"])
async def test_ends_of_logs_are_read_by_who_may_describe_the_topic(
    secured: SecuredKafka, endpoint: str, way: str
) -> None:
    await secured.set_password("scram", "one")
    bootstrap, user, login = {
        "a password": (secured.plain, PLAIN_USER, PLAIN_LOGIN),
        "SCRAM over TLS": (secured.tls, "scram", over_tls(sasl("SCRAM-SHA-256", "scram", "one"), secured.authority)),
        "an identity provider": (secured.plain, CLIENT, oidc(endpoint)),
        "a callback": (secured.plain, CLIENT, BY_CALLBACK),
    }[way]
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "group.id": "shop", "log_level": 0, **login}
    async with real_arena(secured.admin) as arena:
        topic = await arena.topic(records=3)
        await secured.grant(user, Right("Describe", "topic", topic))

        async def is_read() -> bool:
            return await asyncio.to_thread(EndReader(settings).read, [(topic, 0)]) == {(topic, 0): 3}

        await eventually(is_read, "the end of the log is read")
