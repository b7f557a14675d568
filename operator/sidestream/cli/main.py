"""The command line's root; subcommands import what they run only when they run it, so that each process stays small."""

from __future__ import annotations

import typer

import sidestream.cli.mapping
import sidestream.cli.operator
import sidestream.cli.prober

app = typer.Typer(
    help="Sidestream: many tenants test in one shared Kubernetes environment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("operator")(sidestream.cli.operator.run)
app.command("mapping")(sidestream.cli.mapping.run)
app.command("prober")(sidestream.cli.prober.run)


def main() -> None:
    """Run the command line."""
    app()
