"""`sidestream prober`: ask the mesh which routes its proxies have."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestream.cli.options import HttpPortOption, LogFormatOption, LogLevelOption
from sidestream.config import LogFormat
from sidestream.routing.hosts import DEFAULT_DOMAIN
from sidestream.runtime.logging import configure_logging


def run(
    *,
    cluster_domain: Annotated[
        str, typer.Option(envvar="SIDESTREAM_CLUSTER_DOMAIN", help="The cluster's DNS domain.")
    ] = DEFAULT_DOMAIN,
    http_port: HttpPortOption = 8080,
    log_format: LogFormatOption = LogFormat.JSON,
    log_level: LogLevelOption = "info",
) -> None:
    """Answer the operator's questions from within the mesh; runs in a pod with a sidecar."""
    import uvicorn  # noqa: PLC0415 - see cli.main

    from sidestream.routing.prober_app import ProberSettings, create_app  # noqa: PLC0415 - see cli.main

    configure_logging(as_json=log_format is LogFormat.JSON, level=log_level)
    app = create_app(ProberSettings(cluster_domain=cluster_domain))
    uvicorn.run(app, host="0.0.0.0", port=http_port, log_config=None, access_log=False)  # noqa: S104 - a pod's port
