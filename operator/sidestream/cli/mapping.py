"""`sidestream mapping`: tell consumers whose records are whose."""

from __future__ import annotations

import asyncio
from pathlib import Path
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
from sidestream.config import HeaderMode, LogFormat
from sidestream.runtime.logging import configure_logging


def run(
    *,
    header_mode: HeaderModeOption = HeaderMode.BAGGAGE,
    baggage_keys: BaggageKeysOption = None,
    header_name: HeaderNameOption = "x-tenant-id",
    http_port: HttpPortOption = 8080,
    max_waiters: Annotated[
        int, typer.Option(envvar="SIDESTREAM_MAX_WAITERS", min=0, help="Requests that may wait for a change at once.")
    ] = 3000,
    auth: Annotated[
        bool, typer.Option(envvar="SIDESTREAM_AUTH", help="Answer only who shows a ServiceAccount's token.")
    ] = False,
    tls_folder: Annotated[
        Path | None,
        typer.Option(
            envvar="SIDESTREAM_TLS_FOLDER",
            exists=True,
            file_okay=False,
            help="Has tls.crt and tls.key to serve HTTPS by.",
        ),
    ] = None,
    log_format: LogFormatOption = LogFormat.JSON,
    log_level: LogLevelOption = "info",
) -> None:
    """Serve the mapping of every consumer; any number of replicas, none of which keeps anything."""
    from sidestream.mapping.service import MappingSettings, serve  # noqa: PLC0415 - see cli.main

    configure_logging(as_json=log_format is LogFormat.JSON, level=log_level)
    header = header_settings(header_mode, baggage_keys, header_name)
    settings = MappingSettings(
        header=header, http_port=http_port, max_waiters=max_waiters, auth=auth, tls_folder=tls_folder
    )
    asyncio.run(serve(settings))
