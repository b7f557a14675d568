"""Options that several subcommands share."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestream.config import HeaderMode, LogFormat

HeaderModeOption = Annotated[
    HeaderMode,
    typer.Option("--header-mode", envvar="SIDESTREAM_HEADER_MODE", help="Where the routing key travels."),
]
BaggageKeyOption = Annotated[
    str,
    typer.Option("--baggage-key", envvar="SIDESTREAM_BAGGAGE_KEY", help="Its member of the baggage header."),
]
HeaderNameOption = Annotated[
    str,
    typer.Option("--header-name", envvar="SIDESTREAM_HEADER_NAME", help="Its header of its own, for exact and both."),
]
HttpPortOption = Annotated[int, typer.Option("--http-port", envvar="SIDESTREAM_HTTP_PORT", min=1, max=65535)]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", envvar="SIDESTREAM_LOG_FORMAT")]
LogLevelOption = Annotated[
    str, typer.Option("--log-level", envvar="SIDESTREAM_LOG_LEVEL", help="debug, info, warning or error.")
]
