"""The package's public face, and what it takes to import it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sidestream_sdk


@pytest.mark.parametrize(
    ("program", "needs_kafka"),
    [
        ("import sidestream_sdk", False),
        ("import sidestream_sdk.fences, sidestream_sdk.notes", False),
        ("from sidestream_sdk import HeaderRules, Identity, MappingClient, TenantContext, TenantMiddleware", False),
        ("from sidestream_sdk import SandboxConsumer", True),
        ("from sidestream_sdk import SandboxProducer", True),
        ("from sidestream_sdk import AsyncSandboxConsumer", True),
    ],
)
def test_a_kafka_client_is_loaded_only_where_one_is_used(program: str, *, needs_kafka: bool) -> None:
    code = f"import sys\n{program}\nprint('confluent_kafka' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert ended.stdout.strip() == str(needs_kafka)


def test_everything_public_is_there_and_listed() -> None:
    for name in sidestream_sdk.__all__:
        assert getattr(sidestream_sdk, name).__name__ == name
        assert name in dir(sidestream_sdk)


def test_what_is_not_there_is_said_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'sidestream_sdk' has no attribute 'Nothing'"):
        sidestream_sdk.Nothing  # noqa: B018 - that is the point
