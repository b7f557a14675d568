"""Options that several subcommands share."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestream.config import HeaderMode, HeaderSettings, LogFormat

HeaderModeOption = Annotated[
    HeaderMode,
    typer.Option("--header-mode", envvar="SIDESTREAM_HEADER_MODE", help="Where the routing key travels."),
]
BaggageKeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--baggage-key",
        envvar="SIDESTREAM_BAGGAGE_KEYS",
        help="Its member of the baggage header, tenant unless given; for several, repeat it or put commas between.",
    ),
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


def header_settings(mode: HeaderMode, baggage_keys: list[str] | None, name: str) -> HeaderSettings:
    """The settings that these options stand for; keys may be parted by commas, by blanks or by both."""
    # a variable's value arrives split at blanks alone
    keys = tuple(key for item in baggage_keys or () for part in item.split(",") if (key := part.strip()))
    return HeaderSettings(mode, keys, name) if keys else HeaderSettings(mode, name=name)
