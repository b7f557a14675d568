"""The `sidestream` command: one module a subcommand; each option can also be set by its SIDESTREAM_ variable."""

from __future__ import annotations

import typer

from sidestream.cli import mapping, operator, prober

app = typer.Typer(
    help="Sidestream: many tenants test in one shared Kubernetes environment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("operator")(operator.run)
app.command("mapping")(mapping.run)
app.command("prober")(prober.run)


def main() -> None:
    """Run the command line."""
    app()
