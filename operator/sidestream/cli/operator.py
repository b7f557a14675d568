"""`sidestream operator`: reconcile Sandboxes."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from sidestream.cli.options import (
    BaggageKeysOption,
    HeaderModeOption,
    HeaderNameOption,
    HttpPortOption,
    LogFormatOption,
    LogLevelOption,
    header_settings,
)
from sidestream.config import HeaderMode, LogFormat, OperatorSettings
from sidestream.runtime.logging import configure_logging


def run(
    *,
    namespace: Annotated[
        str,
        typer.Option(envvar="SIDESTREAM_NAMESPACE", help="Where the operator's Lease and the Kafka Secrets are."),
    ] = "sidestream-system",
    identity: Annotated[
        str, typer.Option(envvar="SIDESTREAM_IDENTITY", help="Unique to this replica; the host's name when left out.")
    ] = "",
    header_mode: HeaderModeOption = HeaderMode.BAGGAGE,
    baggage_keys: BaggageKeysOption = None,
    header_name: HeaderNameOption = "x-tenant-id",
    prober_url: Annotated[
        str,
        typer.Option(
            envvar="SIDESTREAM_PROBER_URL", help="The prober that proves routes; without it they stay Unknown."
        ),
    ] = "",
    http_port: HttpPortOption = 8080,
    workers: Annotated[
        int, typer.Option(envvar="SIDESTREAM_WORKERS", min=1, help="Objects of one kind reconciled at a time.")
    ] = 8,
    resync_seconds: Annotated[
        float, typer.Option(envvar="SIDESTREAM_RESYNC_SECONDS", min=1, help="How often everything is looked at again.")
    ] = 300.0,
    log_format: LogFormatOption = LogFormat.JSON,
    log_level: LogLevelOption = "info",
) -> None:
    """Reconcile Sandboxes; of several replicas one leads and the others stand by."""
    from sidestream.app import run_operator  # noqa: PLC0415 - see cli.main

    configure_logging(as_json=log_format is LogFormat.JSON, level=log_level)
    settings = OperatorSettings(
        namespace=namespace,
        identity=identity or os.uname().nodename,
        header=header_settings(header_mode, baggage_keys, header_name),
        prober_url=prober_url or None,
        http_port=http_port,
        workers=workers,
        resync_seconds=resync_seconds,
    )
    asyncio.run(run_operator(settings))
